"""The device side of a split Keras model; needs numpy and ai-edge-litert, never TensorFlow."""

__version__ = "0.1.0"
