"""Importance of every cut; the methods, one backward pass for all cuts, statistics over images, and the curve."""
