"""Keras models as graphs, their cuts and costs; flat programs, and the rebuilding of parts of a model."""
