"""Conversion of a batch into a program's inputs."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..errors import DataError, NumericsError
from .program import Program


def feed(program: Program, x: Any) -> list[tf.Tensor]:
    """Convert a batch into the program's input tensors, in their order and dtype.

    Args:
        program: The model.
        x: One array, or a list, tuple or dict of arrays, as the model takes them. A dict has the names of the inputs
            as keys. A model whose own input is a dict of several tensors takes only a dict, with the model's keys.

    Returns:
        One tensor per input of the program.

    Raises:
        DataError: If the number, names, rank or shape of the arrays do not fit.
        NumericsError: If an image holds NaN or infinity, which some layers would hide.
    """
    names = [program.tensors[tensor].name for tensor in program.inputs]
    structure = program.input_structure
    if isinstance(x, dict):
        keys = list(structure) if isinstance(structure, dict) else names
        if set(keys) != set(x):
            raise DataError(f"Model '{program.name}' takes inputs {sorted(keys)}. Received: {sorted(map(str, x))}.")
        parts = tree.flatten({key: x[key] for key in keys}) if keys is not names else [x[name] for name in names]
    elif isinstance(structure, dict) and len(names) > 1:
        raise DataError(
            f"Model '{program.name}' takes a dict with the keys {sorted(structure)}. Received: {type(x).__name__}."
        )
    else:
        parts = tree.flatten(x) if isinstance(x, dict | list | tuple) else [x]
    if len(parts) != len(names):
        raise DataError(f"Model '{program.name}' takes {len(names)} inputs: {names}. Received: {len(parts)}.")
    return [_as_input(program, tensor, part) for tensor, part in zip(program.inputs, parts, strict=True)]


def _as_input(program: Program, tensor: int, part: Any) -> tf.Tensor:
    spec = program.tensors[tensor]
    value = tf.convert_to_tensor(part)
    sample_shape = spec.sample_shape
    if value.shape.rank == len(sample_shape) and sample_shape[-1:] == (1,) and value.shape[1:] == sample_shape[:-1]:
        value = tf.expand_dims(value, -1)
    fits = value.shape.rank == len(sample_shape) + 1 and all(
        expected is None or expected == size for expected, size in zip(sample_shape, value.shape[1:], strict=True)
    )
    if not fits:
        hint = " The data set seems not to be batched: call .batch(32) on it." if value.shape == sample_shape else ""
        raise DataError(
            f"Input '{spec.name}' of model '{program.name}' takes (N, {', '.join(map(str, sample_shape))}). "
            f"Received: {tuple(value.shape)}.{hint}"
        )
    _require_finite(value)
    return value if value.dtype == spec.dtype else keras.ops.cast(value, spec.dtype)


def _require_finite(value: tf.Tensor) -> None:
    # The sum is a fast check: if it is finite, all values are. If not, it may only have overflowed.
    if not value.dtype.is_floating or np.isfinite(tf.reduce_sum(value).numpy()):
        return
    non_finite = tf.math.logical_not(tf.math.is_finite(tf.reshape(value, [value.shape[0], -1])))
    rows = np.flatnonzero(tf.reduce_any(non_finite, axis=1).numpy())
    if rows.size:
        raise NumericsError(f"Image {rows[0]} of a batch holds NaN or infinity before it enters the model.")
