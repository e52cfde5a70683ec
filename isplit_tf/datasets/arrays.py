"""Reading of images and labels from an .npz file."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from isplit_edge.files import BAD_FILE
from isplit_edge.npy import open_npz

from ..errors import DataError
from .pixels import ImageForm, map_images, shuffled


class _Missing(Exception):
    """An array that a file must hold is not there."""


def read_npz(path: Path, split: str | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None]:
    """Read `x`, `y` and, if present, `class_names` from an .npz file; no code in the file is executed.

    Args:
        path: The file.
        split: If the file has no `x` and `y`, `x_SPLIT` and `y_SPLIT` are read.

    Returns:
        x `(N, ...)`; y int64 `(N,)`, or unchanged if one-hot; the class names or None.

    Raises:
        DataError: If the file is no .npz file, a key is missing, an array holds Python objects, or the lengths differ.
    """
    if not os.access(path, os.R_OK):
        raise DataError(f"{path} may not be read: permission denied.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is no .npz file, or a damaged one. Expected what numpy.savez writes.")
    try:
        with open_npz(path) as arrays:
            x_key, y_key = _keys(path, list(arrays.names), split)
            x, y = arrays.read(x_key), arrays.read(y_key)
            names = tuple(map(str, arrays.read("class_names"))) if "class_names" in arrays.names else None
    except _Missing as error:
        raise DataError(str(error)) from error
    except BAD_FILE as error:
        raise DataError(
            f"{path} cannot be read as an .npz file of plain arrays, as numpy.savez writes them: {error}"
        ) from error
    if x.ndim < 2 or not np.issubdtype(x.dtype, np.number) or not len(x):
        raise DataError(f"{x_key!r} in {path} must be numbers of shape (N, ...). Found: {x.dtype} {x.shape}.")
    if len(x) != len(np.atleast_1d(y)):
        raise DataError(f"{path} holds {len(x)} images in {x_key!r} and labels of shape {y.shape} in {y_key!r}.")
    return x, _labels(y), names


def open_arrays(
    x: np.ndarray, y: np.ndarray, *, form: ImageForm, shuffle: bool | str, seed: int | None
) -> tf.data.Dataset:
    """Return a data set of single pairs `(image, label)`.

    Arrays of four dimensions are brought into the given form. Floating arrays are float32 and are not scaled; all
    others get the form's dtype.
    """
    if form.channels is not None and x.ndim == 3:
        x = x[..., np.newaxis]
    data = shuffled(tf.data.Dataset.from_tensor_slices((x, y)), len(x), shuffle, seed)
    is_float = np.issubdtype(x.dtype, np.floating)
    if is_float:
        form = replace(form, dtype="float32")
    convert = form.apply if x.ndim == 4 else lambda values: tf.cast(values, form.dtype)
    return map_images(data, convert)


def _keys(path: Path, found: list[str], split: str | None) -> tuple[str, str]:
    pairs = [("x", "y")] + ([(f"x_{split}", f"y_{split}")] if split else [])
    for pair in pairs:
        if set(pair) <= set(found):
            return pair
    expected = " or ".join(f"{x!r} and {y!r}" for x, y in pairs)
    raise _Missing(f"{path} must hold {expected}. Found: {', '.join(sorted(found)) or 'nothing'}.")


def _labels(y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return y.astype(np.int64) if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else y
