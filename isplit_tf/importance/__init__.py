"""Importance of cuts: scores, the one backward pass, statistics, the curve."""
