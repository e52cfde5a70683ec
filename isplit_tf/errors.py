"""All errors of the project, and checks of arguments; `isplit_edge.errors` draws the tree of errors.

Errors that can occur on a device are defined there, because a device installs only that package.
"""

import numbers
import re
from collections.abc import Iterable, Set
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
    StorageError,
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
    "PlanError",
    "ServerError",
    "ServerTimeoutError",
    "ServerUnreachableError",
    "StorageError",
    "SweepError",
]


class CutError(ISplitError, ValueError):
    """There is no such cut, its name is ambiguous, or more than one tensor is still to be read there."""


class ModelError(ISplitError, ValueError):
    """The model cannot be split or loaded, its output is not class scores, or its backend is not TensorFlow."""


class NumericsError(ISplitError, ArithmeticError):
    """NaN or infinity instead of a finite number; the message names the layer."""


class PlanError(ISplitError, ValueError):
    """No option of a plan keeps the bounds, or what a plan is made from is not of one model.

    Attributes:
        nearest: The option that misses the bounds by least; None where the error is another.
        fails: The bounds that this one fails, with what was asked for and what it has.
    """

    def __init__(self, message: str, nearest: Any = None, fails: tuple[Any, ...] = ()):
        super().__init__(message)
        self.nearest, self.fails = nearest, fails


class ExportError(ISplitError, ValueError):
    """The head cannot be converted as requested; the message names the operators that prevent it."""


class ExistsError(ISplitError, FileExistsError):
    """The target exists and `overwrite` was not given."""


class SweepError(ISplitError, RuntimeError):
    """A job of a sweep lost its worker repeatedly; the results file holds all finished jobs."""


def keras_reason(error: BaseException) -> str:
    """Return why Keras refused something, as one line, without the whole configuration that Keras prints around it."""
    text = str(error).strip() or type(error).__name__
    text = text.rsplit("Exception encountered: ", 1)[-1]
    text = re.split(r"(?:Full object config|Full config|using config|config)\s*[:=]\s*\{|Example:", text, maxsplit=1)[0]
    return " ".join(text.split())


def checked_integer(name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`; booleans and floats such as 3.0 are refused.

    Raises:
        ArgumentError: If `value` is no such integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise ArgumentError(f"{name}: expected an integer of at least {least}. Received: {value!r}")
    return int(value)


def checked_share(name: str, value: Any) -> float:
    """Return `value` as a float strictly between 0 and 1.

    Raises:
        ArgumentError: If `value` is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise ArgumentError(f"{name}: expected a number between 0 and 1. Received: {value!r}")
    return float(value)


def checked_class_names(
    names: Any, n_classes: int | None, *, source: Any = None, distinct: bool = False
) -> list[str] | None:
    """Return the names of classes as texts, one for each class, or raise `ArgumentError`.

    Args:
        names: What the user gave, or None.
        n_classes: How many there must be; None where that is not known yet.
        source: Data, or a manifest, whose attribute `class_names` is taken where no names are given.
        distinct: Whether no two may be the same.

    Returns:
        The names; None where there are none.
    """
    names = getattr(source, "class_names", None) if names is None else names
    if names is None:
        return None
    if isinstance(names, str | bytes | Set) or not isinstance(names, Iterable):
        many = "" if n_classes is None else f"{n_classes} "
        raise ArgumentError(f"class_names must be a list of {many}texts, or None. Received: {names!r}.")
    texts = [str(name) for name in names]
    if n_classes is not None and len(texts) != n_classes:
        raise ArgumentError(f"The model tells {n_classes} classes apart. Received: {len(texts)} class names.")
    if distinct and len(set(texts)) < len(texts):
        raise ArgumentError(f"class_names must differ from each other. Received: {texts}.")
    return texts
