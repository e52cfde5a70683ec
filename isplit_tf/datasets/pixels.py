"""Conversion of images to one size, number of channels and dtype."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, DataError

DTYPES = ("float32", "uint8")
RESIZES = ("bilinear", "nearest")
_ONE_ORDER = 0  # the default seed of "once"


@dataclass(frozen=True)
class ImageForm:
    """The form of images: size, channels and dtype.

    Attributes:
        size: Height and width; None keeps the size.
        channels: 1 for grey, 3 for RGB; None keeps the channels.
        dtype: "float32", from 0 to 255, or "uint8".
        resize: How images are resized: "bilinear" or "nearest".
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    dtype: str = "float32"
    resize: str = "bilinear"

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ArgumentError(f"image_size must be (height, width), each at least 1. Received: {self.size}.")
        if self.channels not in (None, 1, 3):
            raise ArgumentError(f"channels must be 1 (grey) or 3 (RGB). Received: {self.channels}.")
        if self.dtype not in DTYPES:
            raise ArgumentError(f"dtype must be one of {', '.join(DTYPES)}. Received: {self.dtype!r}.")
        if self.resize not in RESIZES:
            raise ArgumentError(f"resize must be one of {', '.join(RESIZES)}. Received: {self.resize!r}.")

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        """Convert images to this form.

        Args:
            images: `(H, W, C)` or `(N, H, W, C)`, values from 0 to 255; C is known.

        Returns:
            The images; with dtype "uint8", values are rounded after interpolation.
        """
        images = convert_channels(images, self.channels)
        if self.size is not None and tuple(images.shape[-3:-1]) != tuple(self.size):
            images = tf.image.resize(images, self.size, self.resize)  # bilinear gives float32
        return convert_dtype(images, self.dtype)


def convert_channels(images: tf.Tensor, channels: int | None) -> tf.Tensor:
    """Convert colour to grey, or grey to three equal channels; transparency is dropped.

    Raises:
        DataError: If the number of channels cannot be converted.
    """
    present = images.shape[-1]
    if channels is None or present == channels:
        return images
    if present in (2, 4):
        return convert_channels(images[..., :-1], channels)
    if present == 1:
        return tf.repeat(images, 3, axis=-1)
    if present == 3:
        return tf.image.rgb_to_grayscale(images)
    raise DataError(f"Images have {present} channels: no way to make {channels} of them.")


def convert_dtype(images: tf.Tensor, dtype: str) -> tf.Tensor:
    """Convert values from 0 to 255 to another dtype; they are rounded for uint8."""
    if images.dtype == dtype:
        return images
    if dtype == "uint8" and images.dtype.is_floating:
        images = tf.clip_by_value(tf.round(images), 0, 255)
    return tf.cast(images, dtype)


def shuffled(data: tf.data.Dataset, buffer: int, shuffle: bool | str, seed: int | None) -> tf.data.Dataset:
    """Return the data in the order that `shuffle` requests, as described in `open_data`.

    Raises:
        ArgumentError: If `shuffle` has another value.
    """
    if shuffle not in (False, True, "once"):
        raise ArgumentError(f"shuffle must be False, True or 'once'. Received: {shuffle!r}.")
    if not shuffle:
        return data
    renew = shuffle is True
    return data.shuffle(buffer, seed=seed if renew or seed is not None else _ONE_ORDER, reshuffle_each_iteration=renew)


def map_images(data: tf.data.Dataset, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    """Apply a function to the image of each pair; AutoGraph is off, so errors reach the caller unchanged."""
    return data.map(
        tf.autograph.experimental.do_not_convert(lambda image, label: (function(image), label)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def enlarge_whole(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Enlarge small images by the largest whole factor that fits, and centre them on black.

    So 28x28 becomes 32x32 with a border of 2, and 224x224 with a factor of 8; strokes stay sharp.

    Args:
        images: `(N, H, W, C)`.
        size: Height and width of the result. If None, or smaller than the images, the images are returned unchanged.

    Returns:
        The images, `(N, *size, C)` if enlarged.
    """
    height, width = images.shape[1:3]
    if size is None or size[0] < height or size[1] < width:
        return images
    factor = min(size[0] // height, size[1] // width)
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = size[0] - images.shape[1], size[1] - images.shape[2]
    border = [(gap // 2, gap - gap // 2) for gap in missing]
    return np.pad(images, ((0, 0), *border, (0, 0)))
