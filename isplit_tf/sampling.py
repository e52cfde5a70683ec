"""A part of the data that stands for all of it: data are often sorted by class."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from .batches import batches


def spread(data: Any, images: int, *, seed: int = 0) -> Any:
    """About `images` of the data, spread over them; labels are left out of arrays.

    Args:
        data: As in `batches`, x alone included.
        images: How many are wanted.
        seed: Of the choice among arrays.

    Returns:
        Data of the same kind, of at least `images` images where there are so many: exactly these of arrays, chosen at
        random; every n-th batch of a PyDataset and of a `tf.data.Dataset` whose length is known; another
        `tf.data.Dataset` as it is.
    """
    if isinstance(data, tf.data.Dataset):
        n_batches = int(data.cardinality())
        step = _step(n_batches, data, images)
        return data.shard(step, 0) if step > 1 else data
    if isinstance(data, keras.utils.PyDataset):
        step = _step(data.num_batches or 0, data, images)
        return _Every(data, step) if step > 1 else data
    x = data[0] if isinstance(data, tuple | list) and 1 <= len(data) <= 3 else data
    leaves = tree.flatten(x)
    if not leaves or not all(getattr(leaf, "shape", ()) for leaf in leaves):
        return data  # refused where it is read
    total = len(leaves[0])
    if total > images:
        chosen = np.sort(np.random.default_rng(seed).choice(total, images, replace=False))
        x = tree.map_structure(lambda array: np.asarray(array)[chosen], x)
    return (x, None)


def _step(n_batches: int, data: Any, images: int) -> int:
    if n_batches <= 1:
        return 1
    size = next(iter(batches(data, labels=False, max_images=2**31))).size
    return max(1, n_batches // -(-images // size))


class _Every(keras.utils.PyDataset):
    """Every n-th batch of another."""

    def __init__(self, data: keras.utils.PyDataset, step: int):
        super().__init__()
        self._data, self._step = data, step

    def __len__(self) -> int:
        return -(-int(self._data.num_batches or 0) // self._step)

    def __getitem__(self, index: int) -> Any:
        return self._data[index * self._step]
