"""Training data for `fit`, in an order that depends only on a seed and the number of the epoch.

A run that continues after an interruption therefore sees the same batches as an uninterrupted one.
"""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..batches import batches, count_images, predict_rows, require_dense
from ..batches.labels import is_multi_hot
from ..display.progress import bar
from ..errors import DataError
from ..graph.inputs import feed
from ..graph.program import Program
from .objectives import Objective


class Feed(keras.utils.PyDataset):
    """A PyDataset with a new order of its items in each epoch.

    Attributes:
        epoch: Number of the current epoch, set by a callback at its start.
        seed: Seed of the order, which also depends on `epoch`; None for the data's own order.
    """

    def __init__(self, n_items: int, **workers: Any):
        super().__init__(**workers)
        self.epoch = 0
        self.seed: tuple[int, ...] | None = None
        self._n_items = n_items
        self._order: tuple[int, np.ndarray] = (-1, np.arange(n_items))

    def order(self) -> np.ndarray:
        """Return the positions of the items in this epoch's order; without a seed, the data's own order."""
        epoch, order = self._order
        if self.seed is not None and epoch != self.epoch:
            epoch = self.epoch
            order = np.random.default_rng([*self.seed, epoch]).permutation(self._n_items)
            self._order = (epoch, order)
        return order


class ArrayFeed(Feed):
    """A tuple of arrays, or of dicts and tuples of arrays, shuffled per image."""

    def __init__(self, parts: tuple[Any, ...], *, batch_size: int):
        super().__init__(len(tree.flatten(parts)[0]))
        self._parts = parts
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-self._n_items // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        positions = self.order()[index * self._batch_size : (index + 1) * self._batch_size]
        return tree.map_structure(lambda array: array[positions], self._parts)


class BatchFeed(Feed):
    """A user's PyDataset, shuffled per batch, with its own settings of workers."""

    def __init__(self, data: keras.utils.PyDataset, pick: Callable[..., tuple]):
        super().__init__(
            int(data.num_batches or 0),
            workers=data.workers,
            use_multiprocessing=data.use_multiprocessing,
            max_queue_size=data.max_queue_size,
        )
        self._data = data
        self._pick = pick

    def __len__(self) -> int:
        return self._n_items

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self._pick(self._data[int(self.order()[index])])

    def on_epoch_begin(self) -> None:
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._data.on_epoch_end()


def check_images(program: Program, data: Any, batch_size: int) -> None:
    """Read the first batch, and check that the model accepts it.

    Raises:
        DataError: If the data are of an unknown kind, empty, endless, not batched, or of another shape.
        NumericsError: If an image contains NaN or infinity.
    """
    feed(program, next(iter(batches(data, batch_size=batch_size, labels=False))).x)


def labels_shape(data: Any, batch_size: int) -> tuple[int | None, ...]:
    """Return the shape of the labels in the first batch, before any conversion.

    Raises:
        DataError: If there are no labels.
    """
    shape = labels_shape_if_any(data, batch_size)
    if shape is None:
        raise DataError(
            "Fine-tuning needs labels: give (x, y). Without labels, loss='distill' fine-tunes all the same, and with "
            "fine_tune_epochs=0 the bottleneck alone is trained."
        )
    return shape


def labels_shape_if_any(data: Any, batch_size: int) -> tuple[int | None, ...] | None:
    """Return the shape of the labels in the first batch before any conversion; None if there are no labels."""
    if isinstance(data, tf.data.Dataset):
        first = data.element_spec
        is_declared = isinstance(first, tuple) and len(first) > 1 and _is_static(getattr(first[1], "shape", None))
        if not is_declared:  # only an element tells the shape
            first = next(iter(data))
    else:
        first = _first_element(data, batch_size)
    if isinstance(first, tuple | list):
        require_dense(first[:2])
    if not isinstance(first, tuple | list) or len(first) < 2 or first[1] is None:
        return None
    return tuple(first[1].shape if hasattr(first[1], "shape") else np.shape(first[1]))


def is_multi_label(data: Any, batch_size: int) -> bool:
    """Check whether the labels of the first batch give some image none or several."""
    first = next(iter(data)) if isinstance(data, tf.data.Dataset) else _first_element(data, batch_size)
    return is_multi_hot(np.asarray(first[1]))


def image_feed(data: Any, *, batch_size: int) -> Any:
    """Return the images without labels, as tuples `(x,)`: a `tf.data.Dataset` if the data are one, else a `Feed`."""
    if isinstance(data, tf.data.Dataset):
        _check_ranks(data)
        return data.map(lambda *element: (element[0],), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    if isinstance(data, keras.utils.PyDataset):
        return BatchFeed(data, _images_of)
    x = data[0] if isinstance(data, tuple | list) else data
    return ArrayFeed((tree.map_structure(np.asarray, _inputs(x)),), batch_size=batch_size)


def pair_feed(data: Any, objective: Objective, *, batch_size: int) -> Any:
    """Return images, labels in the form that the loss needs, and sample weights, if any.

    Raises:
        DataError: If labels in arrays are out of range or of another shape. Labels of a stream are checked when they
            are read.
    """

    def pick(element: Any) -> tuple[Any, ...]:
        x, y, *weights = element
        return (_inputs(x), objective.labels(y), *weights)

    if isinstance(data, tf.data.Dataset):
        _check_ranks(data)
        rank = len(labels_shape(data, batch_size))
        dtype = data.element_spec[1].dtype
        if objective.form is not None and not (dtype.is_integer or dtype.is_floating or dtype.is_bool):
            raise DataError(f"Expected labels that are numbers. Received: {dtype.name}.")

        def pick_in_graph(x: Any, y: Any, *weights: Any) -> tuple[Any, ...]:
            return (x, objective.labels_in_graph(y, rank), *weights)

        return data.map(pick_in_graph, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    if isinstance(data, keras.utils.PyDataset):
        return BatchFeed(data, pick)
    x, y, *weights = (part for part in data if part is not None)
    y = objective.labels(np.asarray(y) if isinstance(y, list) else y)
    parts = (tree.map_structure(np.asarray, _inputs(x)), y, *(np.asarray(w) for w in weights))
    return ArrayFeed(parts, batch_size=batch_size)


def cached_features(
    head: keras.Model, data: Any, *, program: Program, batch_size: int, budget_bytes: int, progress: bool
) -> np.ndarray | None:
    """Compute the features of all images at the cut, or return None if they do not fit into memory.

    Args:
        head: Model from the images to the cut.
        data: The images.
        program: Program of the head, with which the images are checked.
        batch_size: Images per batch, if the data are arrays.
        budget_bytes: Memory for the features.
        progress: Whether to show a bar.

    Returns:
        float32 `(N, *cut.shape)` in the data's order, or None.
    """
    shape = tuple(head.outputs[0].shape[1:])
    max_images = budget_bytes // (4 * int(np.prod(shape))) if None not in shape else 0
    n_images = count_images(data)
    if max_images == 0 or (n_images is not None and n_images > max_images):
        return None
    # An array takes no memory before it is written to, so all of it can be reserved if the number of images is known.
    features = None if n_images is None else np.empty((n_images, *shape), np.float32)
    parts: list[np.ndarray] = []
    n_read = 0
    with bar(total=n_images, desc="features at the cut", enabled=progress, unit="image") as progress_bar:
        for batch in batches(data, batch_size=batch_size, labels=False):
            if n_read + batch.size > max_images:
                return None
            feed(program, batch.x)
            values = predict_rows(head, batch.x).astype(np.float32, copy=False)
            if features is None:
                parts.append(values)
            else:
                features[n_read : n_read + batch.size] = values
            n_read += batch.size
            progress_bar.update(batch.size)
    return np.concatenate(parts) if features is None else features[:n_read]


def _images_of(element: Any) -> tuple[Any, ...]:
    return (_inputs(element[0] if isinstance(element, tuple | list) else element),)


def _inputs(x: Any) -> Any:
    """Return several inputs as a tuple, since Keras accepts a list of inputs from arrays but not from a stream."""
    return tuple(x) if isinstance(x, list) else x


def _check_ranks(data: tf.data.Dataset) -> None:
    if any(spec.shape.rank is None for spec in tree.flatten(data.element_spec)):
        raise DataError(
            "The data set does not declare the shapes of its elements, which Keras needs. Give output_signature to "
            f"Dataset.from_generator, or use ensure_shape. Found: {data.element_spec}"
        )


def _is_static(shape: Any) -> bool:
    rank = getattr(shape, "rank", None)
    return rank == 1 or (rank == 2 and shape[1] is not None)


def _first_element(data: Any, batch_size: int) -> Any:
    if isinstance(data, keras.utils.PyDataset):
        return data[0]
    if not isinstance(data, tuple | list):
        return data
    require_dense(data[:2])
    parts = [tree.map_structure(lambda a: a[:batch_size], data[0])]
    parts += [None if part is None else np.asarray(part[:batch_size]) for part in itertools.islice(data, 1, None)]
    return tuple(parts)
