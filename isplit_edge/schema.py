"""Checks for values read from JSON: each takes a key and a value, and returns the value or raises `ArgumentError`.

Lists become tuples and objects read-only mappings, so that a record built from them cannot be changed.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import ArgumentError

Check = Callable[[str, Any], Any]


def wrong(key: str, value: Any, expected: str) -> ArgumentError:
    """Return the error for a value that `key` may not hold."""
    return ArgumentError(f"{key} must be {expected}. Received: {_short(value)}")


def equal(key: str, found: Any, expected: Any, why: str) -> None:
    """Check that a value is the one that follows from others."""
    if found != expected:
        raise ArgumentError(f"{key} must be {expected} ({why}). Received: {found}")


def utc(key: str, value: Any) -> str:
    """Check that a value is a date and time in UTC, ISO 8601."""
    expected = "a date and time in UTC such as '2026-01-31T12:00:00+00:00'"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise wrong(key, value, expected) from error
    if moment.utcoffset() != timedelta(0):
        raise wrong(key, value, expected)
    return value


def text(key: str, value: Any) -> str:
    """Check that a value is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise wrong(key, value, "a text that is not empty")
    return value


def _plain_number(value: Any) -> Any:
    """Return Python's own number for a number of numpy, and any other value unchanged."""
    return value.item() if isinstance(value, np.number) else value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def flag(key: str, value: Any) -> bool:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise wrong(key, value, "true or false")
    return value


def integer(low: int, high: int | None = None) -> Check:
    """Return the check of a whole number of at least `low`, and at most `high` if given; 1.0 and true are none."""

    def check(key: str, value: Any) -> int:
        limits = f"from {low} on" if high is None else f"from {low} to {high}"
        value = _plain_number(value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            raise wrong(key, value, f"a whole number {limits}")
        return value

    return check


def number(low: float = -math.inf, high: float = math.inf, *, above: float | None = None) -> Check:
    """Return the check of a finite number in [low, high], and above `above` if given."""

    def check(key: str, value: Any) -> float:
        value = _plain_number(value)
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not _is_finite(value) or not low <= value <= high or (above is not None and value <= above):
            limits = f"from {low:g} to {high:g}" if above is None else f"above {above:g}"
            raise wrong(key, value, "a finite number" if limits == "from -inf to inf" else f"a number {limits}")
        return value

    return check


def choice(*possible: Any) -> Check:
    """Return the check that a value is one of those named, with the same type."""

    def check(key: str, value: Any) -> Any:
        for candidate in possible:
            if type(candidate) is type(value) and candidate == value:
                return value
        raise wrong(key, value, "one of " + ", ".join(repr(candidate) for candidate in possible))

    return check


def hexadecimal(digits: int) -> Check:
    """Return the check of a string of so many lowercase hexadecimal digits."""

    def check(key: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) != digits or not set(value) <= set("0123456789abcdef"):
            raise wrong(key, value, f"{digits} lowercase hexadecimal digits")
        return value

    return check


def sequence(item: Check, length: int | None = None) -> Check:
    """Return the check of a list whose values each pass `item`, of `length` values if given."""

    def check(key: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
            raise wrong(key, value, "a list" if length is None else f"a list of {length}")
        return tuple(item(f"{key}[{index}]", one) for index, one in enumerate(value))

    return check


def shape(key: str, value: Any) -> tuple[int, ...]:
    """Check that a value is a shape without the batch: at least one axis, each at least 1."""
    axes = sequence(integer(1))(key, value)
    if not axes:
        raise wrong(key, value, "a shape of at least one axis")
    return axes


def nullable(check: Check) -> Check:
    """Return the check that a value is null or passes `check`."""
    return lambda key, value: None if value is None else check(key, value)


def record(fields: Mapping[str, Check], *, more: Check | None = None) -> Check:
    """Return the check of an object with exactly these keys, or with further keys that pass `more` if given."""

    def check(key: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong(key, value, f"an object with the keys {', '.join(fields)}")
        missing = [name for name in fields if name not in value]
        unknown = [str(name) for name in value if name not in fields]
        if missing or (unknown and more is None):
            what = f"lacks {', '.join(missing)}" if missing else f"has unknown keys: {', '.join(unknown)}"
            raise ArgumentError(f"{key} {what}. Expected keys: {', '.join(fields)}")
        checked = {name: test(f"{key}.{name}", value[name]) for name, test in fields.items()}
        if more is not None:
            checked |= {name: more(f"{key}.{name}", value[name]) for name in unknown}
        return MappingProxyType(checked)

    return check


def mapping(item: Check) -> Check:
    """Return the check of an object with any keys, whose values pass `item`."""
    return record({}, more=item)


def scalar(key: str, value: Any) -> Any:
    """Check that a value is null, a flag, a finite number or a text."""
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(key, value, "a finite number")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise wrong(key, value, "null, true, false, a number or a text")
    return value


def plain(value: Any) -> Any:
    """Turn checked values back into those that `json` writes: tuples to lists, read-only mappings to dicts."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def parse_json(content: bytes) -> Any:
    """Parse JSON that every reader takes for the same value: no key twice, no NaN, not nested without end.

    Raises:
        ArgumentError: If it is no such JSON.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
    except ArgumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"it is no JSON that can be read: {error}") from error


def _refuse_constant(token: str) -> float:
    raise ArgumentError(f"{token} is not a number that a manifest may hold")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ArgumentError(f"the key {_short(key)} is there twice: which of its values counts?")
        record[key] = value
    return record


def _short(value: Any, limit: int = 120) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
