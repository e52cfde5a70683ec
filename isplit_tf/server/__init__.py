"""A local server for trying a bundle out; in production the same folder goes to TensorFlow Serving.

It answers the calls of TensorFlow Serving's REST and gRPC APIs. What a request means (`rest`, `rpc`), how it arrives
(`http`), how requests are joined (`batching`) and how the model answers (`model`) are kept apart.
"""

from .batching import Batching
from .service import Server

__all__ = ["Batching", "Server"]
