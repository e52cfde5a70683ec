"""Tiny-ImageNet-200; README.md in this folder describes the data set."""
