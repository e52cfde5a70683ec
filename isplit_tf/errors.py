"""All errors of the project; the tree is drawn in `isplit_edge.errors`.

The part that a device can raise lives there, because a device installs only that package.
"""

import numbers
from typing import Any

from isplit_edge.errors import (
    ArgumentError,
    BundleError,
    DataError,
    ISplitError,
    MissingDependencyError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)

__all__ = [
    "ArgumentError",
    "BundleError",
    "CutError",
    "DataError",
    "ExistsError",
    "ExportError",
    "ISplitError",
    "MissingDependencyError",
    "ModelError",
    "NumericsError",
    "ServerError",
    "ServerTimeoutError",
    "ServerUnreachableError",
    "SweepError",
]


class CutError(ISplitError, ValueError):
    """There is no such cut, or its name is ambiguous, or more than one tensor is open there."""


class ModelError(ISplitError, ValueError):
    """The model cannot be split, or its output is not class scores, or its backend is another."""


class NumericsError(ISplitError, ArithmeticError):
    """NaN or infinity where a number was needed; the message names the layer."""


class ExportError(ISplitError, ValueError):
    """The head cannot be converted as asked; the message names the operators in the way."""


class ExistsError(ISplitError, FileExistsError):
    """The target exists and `overwrite` was not given."""


class SweepError(ISplitError, RuntimeError):
    """A job of a sweep lost its worker again and again; what was finished is in the file of results."""


def checked_integer(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int of at least `least`, or raises `ArgumentError`; True and 3.0 are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise ArgumentError(f"{name}: expected an integer of at least {least}. Received: {value!r}")
    return int(value)


def checked_share(name: str, value: Any) -> float:
    """Returns `value` as a float strictly between 0 and 1, or raises `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise ArgumentError(f"{name}: expected a number between 0 and 1. Received: {value!r}")
    return float(value)
