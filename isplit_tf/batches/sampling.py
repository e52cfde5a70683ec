"""A part of the images: spread over all of the data, or a random sample of a stream."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from . import batches, require_dense


def take_part(data: Any, images: int, *, seed: int | None = None) -> Any:
    """Return about `images` images of the data, spread over all of them; labels are left out of arrays.

    Args:
        data: As in `batches`; x alone is also allowed.
        images: Number of images.
        seed: Choose at random among arrays; None takes images in even steps, including the first and the last.

    Returns:
        Data of the same kind with at least `images` images, if there are so many. Arrays give exactly this number, a
        PyDataset and a `tf.data.Dataset` of known length give every n-th batch, and other data are returned unchanged.
    """
    if isinstance(data, tf.data.Dataset):
        n_batches = int(data.cardinality())
        step = _step(n_batches, data, images)
        return data.shard(step, 0) if step > 1 else data
    if isinstance(data, keras.utils.PyDataset):
        step = _step(data.num_batches or 0, data, images)
        return _Every(data, step) if step > 1 else data
    x = data[0] if isinstance(data, tuple | list) and 1 <= len(data) <= 3 else data
    require_dense(x)
    leaves = tree.flatten(x)
    if not leaves or not all(getattr(leaf, "shape", ()) for leaf in leaves):
        return data  # refused when it is read
    total = len(leaves[0])
    if total > images:
        if seed is None:
            positions = np.linspace(0, total - 1, images).round().astype(int)
        else:
            positions = np.sort(np.random.default_rng(seed).choice(total, images, replace=False))
        x = tree.map_structure(lambda array: np.asarray(array)[positions], x)
    return (x, None)


def _step(n_batches: int, data: Any, images: int) -> int:
    if n_batches <= 1:
        return 1
    size = next(iter(batches(data, labels=False, max_images=2**31))).size
    return max(1, n_batches // -(-images // size))


class _Every(keras.utils.PyDataset):
    """Every n-th batch of another PyDataset."""

    def __init__(self, data: keras.utils.PyDataset, step: int):
        super().__init__()
        self._data, self._step = data, step

    def __len__(self) -> int:
        return -(-int(self._data.num_batches or 0) // self._step)

    def __getitem__(self, index: int) -> Any:
        return self._data[index * self._step]


class Reservoir:
    """A random sample of a stream, where each item has the same probability (Vitter, ACM TOMS 11, 1985, Algorithm R).

    Args:
        room: Most items to keep.

    Attributes:
        items: The items kept.
        seen: The number of items so far.
    """

    def __init__(self, room: int):
        self.items: list[Any] = []
        self.seen = 0
        self._room = room

    def draw(self, random: np.random.Generator) -> int | None:
        """Count one more item, and return the place where to put it, or None if it is not kept."""
        place = self.seen if self.seen < self._room else int(random.integers(self.seen + 1))
        self.seen += 1
        return place if place < self._room else None

    def put(self, place: int, item: Any) -> None:
        """Keep an item at a place that `draw` returned."""
        self.items[place : place + 1] = [item]

    @property
    def is_whole(self) -> bool:
        """Check whether all items so far are kept."""
        return self.seen <= self._room
