"""The device side, `isplit_edge`, as a part of `isplit_tf`.

On a device, `from isplit_edge import Client` gives the same class without TensorFlow.
"""

from isplit_edge import (
    Answer,
    ArgumentError,
    BundleError,
    Client,
    DataError,
    DeviceProfile,
    Head,
    ISplitError,
    Kit,
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
    "DeviceProfile",
    "Head",
    "ISplitError",
    "Kit",
    "Manifest",
    "MissingDependencyError",
    "ServerError",
    "ServerTimeoutError",
    "ServerUnreachableError",
]
