"""Conversion between arrays and the JSON tensors of TensorFlow Serving's REST API."""

import base64
import binascii
import json
import math
from typing import Any

import numpy as np
import tensorflow as tf

from .refusal import INVALID_ARGUMENT, Refusal

_BASE64_KEY = "b64"
_SHOWN = 200
_MOST_AXES = 32
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def is_base64(value: Any) -> bool:
    """Check whether a JSON value is `{"b64": "..."}`, the form of bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_BASE64_KEY), str)


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of nested lists, found from their first elements down to the first empty list."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def tensor(value: Any, dtype: tf.DType) -> np.ndarray:
    """Convert nested lists, or a single value, to an array.

    Args:
        value: A parsed JSON value.
        dtype: Type of the signature's input: string or float32.

    Returns:
        An array of bytes objects, or of float32.

    Raises:
        Refusal: If the lists are ragged, or a value is not of that type (INVALID_ARGUMENT).
    """
    shape = shape_of(value)
    if len(shape) > _MOST_AXES:
        raise _invalid(f"Tensor has {len(shape)} dimensions, more than any input of this model")
    flat: list[Any] = []
    _flatten(value, 0, shape, dtype, flat)
    return np.array(flat, object if dtype == tf.string else dtype.as_numpy_dtype).reshape(shape)


def shown(value: Any) -> str:
    """Return a JSON value as text for an error message, shortened if it is long."""
    text = ""
    for piece in json.JSONEncoder().iterencode(value):  # not all of a long value is written to show its beginning
        text += piece[: _SHOWN + 1]
        if len(text) > _SHOWN:
            return f"{text[:_SHOWN]}..."
    return text


def _flatten(value: Any, level: int, shape: tuple[int, ...], dtype: tf.DType, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        flat.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _flatten(element, level + 1, shape, dtype, flat)


def _scalar(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        return _bytes(value)
    if dtype != tf.float32 or isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, dtype)
    exact = abs(value) < 2**24 if isinstance(value, int) else abs(value) <= _LARGEST_FLOAT
    if not exact and not (isinstance(value, float) and not math.isfinite(value)):
        raise _invalid(f"Cannot convert JSON value: {shown(value)} to float without loss of precision.")
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair
            raise _invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    if not isinstance(value, dict):
        raise _wrong_type(value, tf.string)
    if not is_base64(value):
        raise _invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = value[_BASE64_KEY]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("Unable to base64 decode") from error


def _wrong_type(value: Any, dtype: tf.DType) -> Refusal:
    kinds = {bool: str(value), int: "Number", float: "Number", str: "String", dict: "Object", list: "Array"}
    name = {"float32": "float"}.get(dtype.name, dtype.name)
    return _invalid(
        f"JSON Value: {shown(value)} Type: {kinds.get(type(value), 'Null')} is not of expected type: {name}"
    )


def _invalid(message: str) -> Refusal:
    return Refusal(INVALID_ARGUMENT, message)


def rows(outputs: dict[str, np.ndarray]) -> list[Any]:
    """Return outputs in row format: for each instance a value, or an object if there are several outputs.

    Raises:
        Refusal: If the outputs differ in the size of the first axis (INVALID_ARGUMENT).
    """
    sizes = {name: array.shape[0] if array.ndim else -1 for name, array in outputs.items()}
    if len(set(sizes.values())) != 1 or -1 in sizes.values():
        raise _invalid(f"Tensors have inconsistent batch sizes: {sizes}")
    if len(outputs) == 1:
        return as_lists(next(iter(outputs.values())))
    columns = {name: as_lists(array) for name, array in outputs.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def columns(outputs: dict[str, np.ndarray]) -> Any:
    """Return outputs in column format: an object of lists, or a plain list if there is only one output."""
    lists = {name: as_lists(array) for name, array in outputs.items()}
    return next(iter(lists.values())) if len(lists) == 1 else lists


def as_lists(array: np.ndarray) -> Any:
    """Return an array as nested lists whose float32 are written short: nine digits tell every one of them apart.

    Python would write a float32 with seventeen digits, which makes the answer of many classes half as long again.
    """
    if array.dtype != np.float32:
        return array.tolist()
    x = array.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        tens = 10.0 ** np.clip(8 - np.floor(np.log10(np.abs(x))), -30, 300)
        short = np.rint(x * tens) / tens
    return np.where(np.isfinite(short), short, x).tolist()
