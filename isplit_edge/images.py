"""Checking images from the user; nothing is copied."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import DataError
from .npy import read_array as read_array  # the kits of former releases import it from here

# numpy's errors, and those of a foreign object's own conversion to an array.
_NO_ARRAY = (
    ArithmeticError,
    AttributeError,
    BufferError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
ARRAYS = (".npy", ".npz")


def is_raw(array: np.ndarray, input_shape: tuple[int, ...]) -> bool:
    """Check whether numbers are as a camera or another sensor gives them, to be preprocessed.

    Images, (H, W, C), are raw in uint8; inputs of another shape in any type of whole numbers. Others are in the model's
    own space.
    """
    return array.dtype == np.uint8 or (len(input_shape) != 3 and array.dtype.kind in "iu")


def frames(
    images: Any,
    input_shape: tuple[int, ...],
    preprocessing: Mapping[str, Any] | None,
    *,
    preprocessed: bool,
) -> np.ndarray:
    """Check images and give them a batch axis.

    Args:
        images: Raw images, uint8: (N, H, W, C) or one (H, W, C); for a model of one channel also (N, H, W) and
            (H, W). A shape that could be either is read as one image. For an input of another shape, whole numbers
            of any type: (N, *input_shape) or one of `input_shape`. With `preprocessed`, numbers in the model's own
            space, likewise.
        input_shape: The shape of the model's input without the batch.
        preprocessing: The manifest's record. Raw images may have another height and width than the model's input
            only if the record has a `size`.
        preprocessed: Whether the images are already in the model's own space.

    Returns:
        (N, ...): a view of the images if they are an array.

    Raises:
        DataError: If there are no images, they have another dtype or shape, or they are not finite.
    """
    try:
        array = np.asarray(images)
    except _NO_ARRAY as error:
        raise DataError(f"Images of one batch have one shape. Received a list that has not: {error}") from error
    if array.size == 0:
        raise DataError(f"There are no images to classify: received an array of shape {array.shape}")
    if preprocessed:
        _check_numbers(array)
        return _batched(array, input_shape, f"{_written(input_shape)}, as preprocessed=True")
    if not is_raw(array, input_shape):
        raise DataError(_dtype_message(array, input_shape))
    if len(input_shape) != 3:
        return _batched(array, input_shape, _written(input_shape))
    return _raw_images(array, input_shape, resizable=preprocessing is not None and preprocessing["size"] is not None)


def _raw_images(array: np.ndarray, input_shape: tuple[int, ...], *, resizable: bool) -> np.ndarray:
    height, width, channels = input_shape
    shape = array.shape
    # (N, H, W). But an array with a last axis of 3 or 4 that does not match the model's size is one image in colour.
    stack = array.ndim == 3 and shape[-1] != 1 and (shape[1:] == (height, width) or shape[-1] not in (3, 4))
    if channels == 1 and (array.ndim == 2 or stack):
        array = array[..., None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] != channels:
        grey = " or (N, H, W)" if channels == 1 else ""
        raise DataError(
            f"Raw images must have the shape (H, W, {channels}) or (N, H, W, {channels}){grey}: the model's input "
            f"has {channels} channels. Received: shape {shape}"
        )
    if array.shape[1:3] != (height, width) and not resizable:
        raise DataError(
            f"Images must be {height} x {width}, the size of the model's input: this bundle's preprocessing does "
            f"not resize. Received: {array.shape[1]} x {array.shape[2]}. Resize them, or export the bundle with a "
            "preprocessing that has a size."
        )
    return array


def _batched(array: np.ndarray, input_shape: tuple[int, ...], expected: str) -> np.ndarray:
    if array.shape == input_shape:
        return array[None]
    if array.shape[1:] != input_shape:
        raise DataError(f"Images must have the shape {expected}, alone or as a batch. Received: shape {array.shape}")
    return array


def _check_numbers(array: np.ndarray) -> None:
    if array.dtype.kind not in "fiub":
        raise DataError(f"Preprocessed images must be numbers. Received: dtype {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("Preprocessed images must be finite. Received: NaN or infinity among them")
    if array.dtype.kind == "f" and array.dtype.itemsize > 4 and np.abs(array).max() > np.finfo(np.float32).max:
        raise DataError("Preprocessed images must be numbers that float32 holds. Received: larger ones among them")


def _dtype_message(array: np.ndarray, input_shape: tuple[int, ...]) -> str:
    found = f"dtype {array.dtype}"
    if array.dtype.kind in "fiu":
        found += f" with values from {array.min():g} to {array.max():g}"
    is_image = len(input_shape) == 3
    expected = (
        "Raw images must be uint8, from 0 to 255" if is_image else "Raw numbers must be whole, of an integer type"
    )
    return (
        f"{expected}. Received: {found}. Pass preprocessed=True if these are in the model's own space; otherwise "
        f"convert them to {'uint8' if is_image else 'integers'} first."
    )


def _written(shape: tuple[int, ...]) -> str:
    return str(tuple(shape))
