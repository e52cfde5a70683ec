"""Checks of plain arguments that several verbs share."""

import numbers
from typing import Any

from .errors import ArgumentError


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
