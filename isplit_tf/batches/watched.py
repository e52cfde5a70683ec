"""Batches that are read while a progress bar shows how many are left."""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from . import Batch, batches, count_images, is_endless


def watched(progress_bar: Any, data: Any, **reading: Any) -> Iterator[Batch]:
    """Yield the batches of the data, and advance a bar by their images; its total is set by the first of them.

    Args:
        progress_bar: A bar of `display.progress.bar`.
        data: As in `batches`.
        reading: Other arguments of `batches`.
    """
    for batch in batches(data, **reading):
        expect(progress_bar, data, batch.size, reading.get("max_images"))
        yield batch
        progress_bar.update(batch.size)


def expect(progress_bar: Any, data: Any, batch_images: int, max_images: int | None = None) -> None:
    """Set the total of a bar that has none yet."""
    if progress_bar.total is None:
        progress_bar.total = expected_images(data, batch_images, max_images)


def expected_images(data: Any, batch_images: int, max_images: int | None = None) -> int | None:
    """Return how many images will be read, or None where the data do not tell.

    Of batched data it is the number of batches times the images of the first, an upper bound: the last may be smaller.

    Args:
        data: As in `batches`.
        batch_images: The images of the first batch.
        max_images: Images at most.
    """
    n_batches = None
    if isinstance(data, tf.data.Dataset):
        n_batches = int(data.cardinality())
    elif isinstance(data, keras.utils.PyDataset):
        n_batches = data.num_batches
    else:
        return count_images(data, max_images)
    if is_endless(data):
        return max_images
    if n_batches is None or n_batches < 0:
        return None
    total = n_batches * batch_images
    return total if max_images is None else min(total, max_images)
