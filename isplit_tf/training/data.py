"""Training data as `fit` takes it, in an order that depends on a seed and on the number of the epoch alone.

So a run that was interrupted sees the same batches after it goes on as one that was not.
"""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..batches import batches, count_images, predict_rows
from ..display.progress import bar
from ..errors import DataError
from ..graph.inputs import feed
from ..graph.program import Program
from .objectives import Objective


class Feed(keras.utils.PyDataset):
    """A PyDataset whose items are in another order in each epoch.

    Attributes:
        epoch: Number of the epoch that is read; set by a callback as each begins.
        seed: What the order depends on besides; None for the data's own order.
    """

    def __init__(self, n_items: int, **workers: Any):
        super().__init__(**workers)
        self.epoch = 0
        self.seed: tuple[int, ...] | None = None
        self._n_items = n_items
        self._order: tuple[int, np.ndarray] = (-1, np.arange(n_items))

    def order(self) -> np.ndarray:
        """Positions of the items in this epoch; the data's own order without a seed."""
        epoch, order = self._order
        if self.seed is not None and epoch != self.epoch:
            epoch = self.epoch
            order = np.random.default_rng([*self.seed, epoch]).permutation(self._n_items)
            self._order = (epoch, order)
        return order


class ArrayFeed(Feed):
    """Arrays, shuffled image by image: a tuple of arrays, or of dicts and tuples of such."""

    def __init__(self, parts: tuple[Any, ...], *, batch_size: int):
        super().__init__(len(tree.flatten(parts)[0]))
        self._parts = parts
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-self._n_items // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self.order()[index * self._batch_size : (index + 1) * self._batch_size]
        return tree.map_structure(lambda array: array[chosen], self._parts)


class BatchFeed(Feed):
    """A user's PyDataset, shuffled batch by batch, its workers as they are."""

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
    """Read a first batch, and see whether the model takes it.

    Raises:
        DataError: The data are of another kind, empty, endless, not batched, or of another shape.
        NumericsError: An image holds NaN or infinity.
    """
    feed(program, next(iter(batches(data, batch_size=batch_size, labels=False))).x)


def labels_shape(data: Any, batch_size: int) -> tuple[int | None, ...]:
    """Shape of the first batch's labels, as they come.

    Raises:
        DataError: There are no labels.
    """
    shape = labels_shape_if_any(data, batch_size)
    if shape is None:
        raise DataError(
            "Fine-tuning needs labels: give (x, y). Without labels, loss='distill' fine-tunes all the same, and with "
            "fine_tune_epochs=0 the bottleneck alone is trained."
        )
    return shape


def labels_shape_if_any(data: Any, batch_size: int) -> tuple[int | None, ...] | None:
    """Shape of the first batch's labels, as they come; None where there are none. See `check_images` for the data."""
    if isinstance(data, tf.data.Dataset):
        first = data.element_spec
        known = isinstance(first, tuple) and len(first) > 1 and _is_static(getattr(first[1], "shape", None))
        if not known:  # a pipeline that does not declare its shapes has to be asked
            first = next(iter(data))
    else:
        first = _first_element(data, batch_size)
    if not isinstance(first, tuple | list) or len(first) < 2 or first[1] is None:
        return None
    return tuple(first[1].shape if hasattr(first[1], "shape") else np.shape(first[1]))


def image_feed(data: Any, *, batch_size: int) -> Any:
    """The images alone, as tuples `(x,)`: a `Feed`, or a `tf.data.Dataset` where the data are one."""
    if isinstance(data, tf.data.Dataset):
        _check_ranks(data)
        return data.map(lambda *element: (element[0],), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    if isinstance(data, keras.utils.PyDataset):
        return BatchFeed(data, _images_of)
    x = data[0] if isinstance(data, tuple | list) else data
    return ArrayFeed((tree.map_structure(np.asarray, _inputs(x)),), batch_size=batch_size)


def pair_feed(data: Any, objective: Objective, *, batch_size: int) -> Any:
    """Images, labels in the form that the loss wants, and weights where there are any.

    Raises:
        DataError: Labels of arrays are out of range or of another shape; those of a stream are looked at as
            they come.
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
    """Features of all images at the cut, computed once; None where they do not fit.

    Args:
        head: From the images to the cut.
        data: The images.
        program: The head's program, by which the images are checked.
        batch_size: Images at once, where the data are arrays.
        budget_bytes: What the features may take.
        progress: Whether to show a bar.

    Returns:
        float32 `(N, *cut.shape)` in the data's order, or None.
    """
    shape = tuple(head.outputs[0].shape[1:])
    most = budget_bytes // (4 * int(np.prod(shape))) if None not in shape else 0
    known = count_images(data)
    if most == 0 or (known is not None and known > most):
        return None
    # An array that is not written to takes no memory yet, so the bound can be reserved where it is known.
    features = None if known is None else np.empty((known, *shape), np.float32)
    parts: list[np.ndarray] = []
    seen = 0
    with bar(total=known, desc="features at the cut", enabled=progress, unit="image") as shown:
        for batch in batches(data, batch_size=batch_size, labels=False):
            if seen + batch.size > most:
                return None
            feed(program, batch.x)
            values = predict_rows(head, batch.x).astype(np.float32, copy=False)
            if features is None:
                parts.append(values)
            else:
                features[seen : seen + batch.size] = values
            seen += batch.size
            shown.update(batch.size)
    return np.concatenate(parts) if features is None else features[:seen]


def _images_of(element: Any) -> tuple[Any, ...]:
    return (_inputs(element[0] if isinstance(element, tuple | list) else element),)


def _inputs(x: Any) -> Any:
    """Several inputs as a tuple: Keras takes a list of them from arrays, not from a stream."""
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
    heads = [tree.map_structure(lambda a: a[:batch_size], data[0])]
    heads += [None if part is None else np.asarray(part[:batch_size]) for part in itertools.islice(data, 1, None)]
    return tuple(heads)
