"""What a model predicts on data, and how good that is."""
