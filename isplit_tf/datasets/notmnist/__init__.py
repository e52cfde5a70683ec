"""notMNIST; README.md in this folder describes the data set."""
