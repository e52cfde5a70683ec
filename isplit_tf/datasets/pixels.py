"""Images brought to one size, number of channels and dtype."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..errors import ArgumentError, DataError

DTYPES = ("float32", "uint8")
RESIZES = ("bilinear", "nearest")
_ONE_ORDER = 0  # the seed of "once", where none is given


@dataclass(frozen=True)
class ImageForm:
    """What images are to look like.

    Attributes:
        size: Height and width; None leaves images as they are.
        channels: 1 for grey, 3 for RGB; None leaves them as they are.
        dtype: "float32", from 0 to 255, or "uint8".
        resize: "bilinear" or "nearest".
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
        """Bring images into this form.

        Args:
            images: `(H, W, C)` or `(N, H, W, C)`, values from 0 to 255; C is known.

        Returns:
            The images; rounded where they are resized by interpolation and the dtype is "uint8".
        """
        images = convert_channels(images, self.channels)
        if self.size is not None and tuple(images.shape[-3:-1]) != tuple(self.size):
            images = tf.image.resize(images, self.size, self.resize)  # bilinear gives float32
        return convert_dtype(images, self.dtype)


def convert_channels(images: tf.Tensor, channels: int | None) -> tf.Tensor:
    """Grey from colour, or three equal channels from grey; transparency is dropped."""
    found = images.shape[-1]
    if channels is None or found == channels:
        return images
    if found in (2, 4):
        return convert_channels(images[..., :-1], channels)
    if found == 1:
        return tf.repeat(images, 3, axis=-1)
    if found == 3:
        return tf.image.rgb_to_grayscale(images)
    raise DataError(f"Images have {found} channels: no way to make {channels} of them.")


def convert_dtype(images: tf.Tensor, dtype: str) -> tf.Tensor:
    """The same values from 0 to 255 in another dtype."""
    if images.dtype == dtype:
        return images
    if dtype == "uint8" and images.dtype.is_floating:
        images = tf.clip_by_value(tf.round(images), 0, 255)
    return tf.cast(images, dtype)


def shuffled(data: tf.data.Dataset, buffer: int, shuffle: bool | str, seed: int | None) -> tf.data.Dataset:
    """The order that `open_data` is asked for.

    Raises:
        ArgumentError: There is no such order.
    """
    if shuffle not in (False, True, "once"):
        raise ArgumentError(f"shuffle must be False, True or 'once'. Received: {shuffle!r}.")
    if not shuffle:
        return data
    again = shuffle is True
    return data.shuffle(buffer, seed=seed if again or seed is not None else _ONE_ORDER, reshuffle_each_iteration=again)


def map_images(data: tf.data.Dataset, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    """Apply a function to the first of each pair; its errors reach the caller as they are."""
    return data.map(
        tf.autograph.experimental.do_not_convert(lambda first, label: (function(first), label)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def enlarge_whole(images: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Enlarge small images by the largest whole factor that fits, and set them in the middle of black.

    So 28x28 becomes 32x32 by a border of 2, and 224x224 by a factor of 8; strokes stay as sharp as they are.

    Args:
        images: `(N, H, W, C)`.
        size: Height and width of the result; where None, or where the images do not fit, they are left as they are.

    Returns:
        `(N, *size, C)`.
    """
    height, width = images.shape[1:3]
    if size is None or size[0] < height or size[1] < width:
        return images
    factor = min(size[0] // height, size[1] // width)
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = size[0] - images.shape[1], size[1] - images.shape[2]
    border = [(gap // 2, gap - gap // 2) for gap in missing]
    return np.pad(images, ((0, 0), *border, (0, 0)))
