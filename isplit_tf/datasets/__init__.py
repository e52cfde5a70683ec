"""Data sets: those that ship with the package, and the ones that users point at.

`load("glyphs")` needs neither TensorFlow nor a network. `open_data` turns a folder, an `.npz` file, a name in
TensorFlow Datasets or an embedded set into batches.

A data set has a folder of its own here, named after it.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from .splits import Splits, load

if TYPE_CHECKING:
    from .source import open_data

__all__ = ["Splits", "load", "open_data"]


def __getattr__(name: str):
    if name == "open_data":  # loads TensorFlow
        return _import_module(f"{__name__}.source").open_data
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
