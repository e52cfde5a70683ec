"""Keras graphs: a model as a flat program, its cuts, their cost, and rebuilding parts of it."""
