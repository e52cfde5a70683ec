"""Data sets, embedded or the user's own.

`load("glyphs")` needs neither TensorFlow nor a network. `open_data` reads a folder, an `.npz` file, a data set of
TensorFlow Datasets or an embedded set in batches. After `import isplit_tf.datasets`, `tfds.load` knows
`tiny_imagenet200`, `notmnist` and `chest_xray_pneumonia`; `from_archive` reads them from a local archive.

Each data set has a folder here, named after it.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from . import registration as _registration
from .splits import Splits, load

if TYPE_CHECKING:
    from .recognition import from_archive
    from .source import open_data

_HOMES = {"from_archive": "recognition", "open_data": "source"}  # they load TensorFlow

__all__ = ["Splits", "from_archive", "load", "open_data"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))


_registration.register()
