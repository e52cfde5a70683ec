"""The device side of a split Keras model; needs numpy and ai-edge-litert, never TensorFlow.

```python
from isplit_edge import Client

with Client("bundle/", url="http://server:8501") as client:
    probabilities = client.predict(images)
```
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import Answer
    from .client import Client
    from .device_profile import DeviceProfile
    from .errors import (
        ArgumentError,
        BundleError,
        DataError,
        ISplitError,
        MissingDependencyError,
        ServerError,
        ServerTimeoutError,
        ServerUnreachableError,
    )
    from .interpreter import Head
    from .kit import Kit
    from .manifest import Manifest

__version__ = "0.1.0"

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
    "__version__",
]

_HOMES = {
    "Answer": "answer",
    "Client": "client",
    "DeviceProfile": "device_profile",
    "Head": "interpreter",
    "Kit": "kit",
    "Manifest": "manifest",
}


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
