"""Keras models as graphs, their cuts and cost; flat programs, and the rebuilding of parts of a model."""
