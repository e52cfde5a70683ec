"""The representative images from which a quantized head learns its ranges."""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from isplit_edge.images import is_raw
from isplit_edge.preprocessing import preprocess

from ...batches import batches
from ...batches.sampling import take_part
from ...display.progress import bar
from ...errors import DataError

LEAST_IMAGES = 16
ENOUGH_IMAGES = 100
MOST_IMAGES = 500
_CHECKED_IMAGES = 8
_MOST_BYTES = 256 * 2**20


class FewImagesWarning(UserWarning):
    """A head is quantized from so few representative images that its ranges may be off."""


def representative_images(
    data: Any,
    input_shape: tuple[int, ...],
    *,
    preprocessing: Mapping[str, Any] | None = None,
    quantizing: bool = True,
    progress: bool = True,
) -> np.ndarray:
    """Read the images to quantize a head with: at most 500, and more than 100 only within 256 MiB.

    A head that is not quantized only gets a few images, for a check.

    Args:
        data: Images, with or without labels, as `isplit_tf.batches` takes them. They are spread over all of the data by
            `take_part`; a stream of unknown length gives its first images, and should be shuffled.
        input_shape: The head's input shape without the batch.
        preprocessing: The preprocessing record, which is applied to uint8 images, and to whole numbers where the input
            is no image; others must be in the model's own space already.
        quantizing: Whether the images are for quantization.
        progress: Whether to show a bar.

    Returns:
        float32 `(N, *input_shape)`.

    Raises:
        DataError: If there are fewer than 16 images for quantization, or an image has another shape or holds NaN or
            infinity.
    """
    image_bytes = 4 * math.prod(input_shape)
    max_images = min(MOST_IMAGES, max(ENOUGH_IMAGES, _MOST_BYTES // image_bytes)) if quantizing else _CHECKED_IMAGES
    images: list[np.ndarray] = []
    with bar(desc="reading representative images", total=max_images, enabled=progress, unit="image") as progress_bar:
        for image in each_image(take_part(data, max_images), max_images):
            images.append(model_input(image, input_shape, preprocessing))
            progress_bar.update(1)
    if quantizing:
        _check_number(len(images))
    return np.stack(images)


def model_input(image: np.ndarray, input_shape: tuple[int, ...], preprocessing: Mapping[str, Any] | None) -> np.ndarray:
    """Return an image as the model takes it, float32 of `input_shape`.

    Raises:
        DataError: If the image has another shape or dtype, or holds NaN or infinity.
    """
    is_of_rank = image.ndim == len(input_shape)
    if is_of_rank and preprocessing is not None and is_raw(image, input_shape):
        image = preprocess(image, preprocessing)
    if image.shape != input_shape or image.dtype.kind not in "biuf":
        hint = "" if is_of_rank else " Single images are batched first: x[np.newaxis], or .batch(32) on a data set."
        raise DataError(
            f"Expected images of the model's input shape {input_shape}. Received: {image.dtype} {image.shape}"
            f"{' in each row' if image.ndim < len(input_shape) else ''}.{hint}"
        )
    image = image.astype(np.float32)
    if not np.isfinite(image).all():
        raise DataError("An image holds NaN or infinity.")
    return image


def each_image(data: Any, most: int) -> Iterator[np.ndarray]:
    """Yield up to `most` images of the data, one by one.

    Raises:
        DataError: If there are several arrays for an image.
    """
    for batch in batches(data, max_images=most, labels=False):
        if isinstance(batch.x, dict | list | tuple):
            raise DataError(f"Expected one array of images. Received: {type(batch.x).__name__} of {len(batch.x)}.")
        yield from np.asarray(batch.x)


def _check_number(found: int) -> None:
    if found < LEAST_IMAGES:
        raise DataError(
            f"representative_data must hold at least {LEAST_IMAGES} images, {ENOUGH_IMAGES} or more for good ranges. "
            f"Found: {found}."
        )
    if found < ENOUGH_IMAGES:
        warnings.warn(
            f"The head is quantized from {found} representative images; with {ENOUGH_IMAGES} or more its ranges "
            "are safer.",
            FewImagesWarning,
            stacklevel=5,  # the line that called `export_bundle`
        )
