"""A local server for trying a bundle out; in production, TensorFlow Serving serves the same folder.

The server answers the calls of TensorFlow Serving's REST and gRPC APIs. The modules have separate tasks: `rest` and
`rpc` interpret requests, `http` receives them, `batching` joins them, and `model` runs the SavedModel.
"""

from .batching import Batching
from .service import Server

__all__ = ["Batching", "Server"]
