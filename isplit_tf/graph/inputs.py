"""A batch as a program takes it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..errors import DataError, NumericsError
from .program import Program


def feed(program: Program, x: Any) -> list[tf.Tensor]:
    """A batch as the program's inputs, in their order and dtype.

    Args:
        program: The model.
        x: One array, or a list, tuple or dict of arrays as the model takes them; a dict goes by input name, or by
            the keys of a model that takes a dict, which then takes nothing else.

    Raises:
        DataError: Number, names, rank or shape do not fit.
        NumericsError: An image holds NaN or infinity, which some layers would hide.
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
    wanted = spec.sample_shape
    if value.shape.rank == len(wanted) and wanted[-1:] == (1,) and value.shape[1:] == wanted[:-1]:
        value = tf.expand_dims(value, -1)
    fits = value.shape.rank == len(wanted) + 1 and all(
        w is None or w == f for w, f in zip(wanted, value.shape[1:], strict=True)
    )
    if not fits:
        hint = " The data set seems not to be batched: call .batch(32) on it." if value.shape == wanted else ""
        raise DataError(
            f"Input '{spec.name}' of model '{program.name}' takes (N, {', '.join(map(str, wanted))}). "
            f"Received: {tuple(value.shape)}.{hint}"
        )
    _require_finite(value)
    return value if value.dtype == spec.dtype else keras.ops.cast(value, spec.dtype)


def _require_finite(value: tf.Tensor) -> None:
    # One number tells, unless the sum of finite ones is too large.
    if not value.dtype.is_floating or np.isfinite(tf.reduce_sum(value).numpy()):
        return
    wrong = tf.math.logical_not(tf.math.is_finite(tf.reshape(value, [value.shape[0], -1])))
    rows = np.flatnonzero(tf.reduce_any(wrong, axis=1).numpy())
    if rows.size:
        raise NumericsError(f"Image {rows[0]} of a batch holds NaN or infinity before it enters the model.")
