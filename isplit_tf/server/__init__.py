"""A local server for trying a bundle out; in production the same folder goes to TensorFlow Serving.

It answers the calls of TensorFlow Serving's REST API. What a request means (`rest`), how it arrives (`http`) and
how the model answers (`model`) are kept apart.
"""

from .http import Server

__all__ = ["Server"]
