"""notMNIST; README.md in this folder says what is in it."""
