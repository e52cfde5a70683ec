"""The device side: `isplit_edge` under the name that a program with `isplit_tf` reaches it by.

On a device, `from isplit_edge import Client` is the same class without TensorFlow.
"""

from isplit_edge import (
    Answer,
    ArgumentError,
    BundleError,
    Client,
    DataError,
    Head,
    ISplitError,
    Manifest,
    MissingDependencyError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)

__all__ = [
    "Answer",
    "ArgumentError",
    "BundleError",
    "Client",
    "DataError",
    "Head",
    "ISplitError",
    "Manifest",
    "MissingDependencyError",
    "ServerError",
    "ServerTimeoutError",
    "ServerUnreachableError",
]
