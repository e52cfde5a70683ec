"""What a predictor says about data, and the figures that follow from it."""
