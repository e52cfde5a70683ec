"""Tiny-ImageNet-200; README.md in this folder says what is in it."""
