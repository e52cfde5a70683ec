"""Chest X-Ray Pneumonia; README.md in this folder describes the data set."""
