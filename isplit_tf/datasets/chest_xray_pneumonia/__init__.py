"""Chest X-Ray Pneumonia; README.md in this folder says what is in it."""
