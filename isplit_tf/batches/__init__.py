"""Batches of the data that users bring: tf.data, a pair of arrays, or a PyDataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from ..display.quiet import without_tracing_advice
from ..errors import DataError, checked_integer
from .labels import read_labels

_KINDS = "a batched tf.data.Dataset of (x, y) or (x, y, weight), a pair of arrays (x, y), or a keras.utils.PyDataset"


@dataclass(frozen=True)
class Batch:
    """A batch of images and their labels.

    Attributes:
        x: `(N, ...)`, or a dict or tuple of such arrays for several inputs, as the model takes it.
        labels: int64 `(N,)`, or None if no labels were requested; with `multi_label`, also `(N, n_classes)` of 0 and 1.
        size: N.
    """

    x: Any
    labels: np.ndarray | None
    size: int


def predict_rows(model: keras.Model, x: Any, output: int = 0) -> np.ndarray:
    """Return a model's output for a batch, one row per image.

    A model that was built in the scope of a `tf.distribute` strategy answers once for each replica, each time for the
    whole batch; only the first answer is returned. A model with a `predict` or `predict_step` of its own is asked by
    `predict`, since Keras hands its `predict_step` other structures in `predict_on_batch`.

    Args:
        model: The model.
        x: `(N, ...)`, or a dict or tuple of such arrays.
        output: Index of the output, in the order in which Keras flattens the outputs.

    Returns:
        `(N, ...)`.
    """
    size = len(tree.flatten(x)[0])
    if type(model).predict is keras.Model.predict and type(model).predict_step is keras.Model.predict_step:
        with without_tracing_advice():
            outputs = model.predict_on_batch(x)
    else:
        outputs = model.predict(tree.map_structure(np.asarray, x), batch_size=size, verbose=0)
    return np.asarray(tree.flatten(outputs)[output])[:size]


def batches(
    data: Any,
    *,
    n_classes: int | None = None,
    batch_size: int = 32,
    max_images: int | None = None,
    labels: bool = True,
    multi_label: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of the data, in one pass.

    Args:
        data: A batched `tf.data.Dataset` of `(x, y)` or `(x, y, weight)`, a pair of arrays, or a
            `keras.utils.PyDataset`; x may be a dict or tuple of arrays. Weights are not used. With `labels=False`,
            also x alone.
        n_classes: Labels must be below this number; None allows any.
        batch_size: Images per batch if `data` are arrays.
        max_images: Stop after this number of images.
        labels: Whether labels are needed: integers `(N,)` or `(N, 1)`, or one-hot `(N, n_classes)`.
        multi_label: Whether an image may have several labels, or none: labels `(N, n_classes)` are then multi-hot.

    Yields:
        The batches, in the data's order.

    Raises:
        DataError: If the data are of another kind, empty, or endless without `max_images`, or a label is out of range
            or has another shape.
    """
    batch_size = checked_integer("batch_size", batch_size, 1)
    max_images = None if max_images is None else checked_integer("max_images", max_images, 1)
    if max_images is None and is_endless(data):
        raise DataError("The data never ends. Take n batches of it with take(n), or give max_images to what has it.")
    n_images = 0
    for element in _elements(data, batch_size, labels):
        x, y = _pair(element, labels)
        require_dense(x if not labels else (x, y))
        size = _length(x)
        if max_images is not None and n_images + size > max_images:
            size = max_images - n_images
            x, y = tree.map_structure(lambda a, n=size: a[:n], (x, y))
        if size:
            yield Batch(x, read_labels(y, n_classes, size, multi_label=multi_label) if labels else None, size)
        n_images += size
        if n_images == max_images:
            return
    if not n_images:
        raise DataError("The data holds no image.")


def check_data(
    data: Any,
    *,
    n_classes: int | None = None,
    batch_size: int = 32,
    max_images: int | None = None,
    labels: bool = True,
    multi_label: bool = False,
) -> Any:
    """Read the first batch, and all labels that are at hand as arrays, before any work is done on the data.

    Args:
        data: As in `batches`, as are the other arguments.

    Returns:
        x of the first batch.

    Raises:
        DataError: As in `batches`.
    """
    are_arrays = isinstance(data, tuple | list)
    first = next(
        iter(
            batches(
                data,
                n_classes=n_classes,
                batch_size=2**31 if are_arrays else batch_size,
                max_images=max_images,
                labels=labels,
                multi_label=multi_label,
            )
        )
    )
    return tree.map_structure(lambda a: a[:batch_size], first.x) if are_arrays else first.x


def first_images(data: Any, count: int = 8) -> Any:
    """Return the x of the first images of the data, at most `count` of the first batch."""
    return next(iter(batches(data, batch_size=count, max_images=count, labels=False))).x


def count_images(data: Any, max_images: int | None = None, batch_size: int = 32) -> int | None:
    """Return the number of images that `batches` will give, or None if it is unknown without reading.

    For a batched data set it is an upper bound, since the last batch may be smaller.
    """
    n_images: int | None = None
    require_dense(_images_of(data))
    if isinstance(data, tf.data.Dataset):
        n_batches = int(data.cardinality())
        first = tree.flatten(data.element_spec)[0].shape
        n_images = n_batches * first[0] if n_batches >= 0 and first.rank and first[0] else None
    elif isinstance(data, keras.utils.PyDataset):
        n_images = None
    elif isinstance(data, tuple | list) and data:
        n_images = _length(data[0])
    if n_images is None or max_images is None:
        return n_images if max_images is None else max_images
    return min(n_images, max_images)


def require_dense(parts: Any) -> None:
    """Raise a DataError if arrays, tensors or their specifications, in any structure, are sparse or ragged."""
    for leaf in tree.flatten(parts):
        kind = f"{type(leaf).__module__.partition('.')[0]}.{type(leaf).__name__.removesuffix('Spec')}"
        if isinstance(leaf, tf.SparseTensor | tf.SparseTensorSpec) or hasattr(leaf, "tocsr"):
            raise DataError(
                f"Expected dense arrays or tensors. Received: {kind}, which is sparse. Make it dense: "
                "tf.sparse.to_dense(x), for a data set .map(lambda x, y: (tf.sparse.to_dense(x), y)), for a matrix of "
                "SciPy x.toarray()."
            )
        if (
            isinstance(leaf, tf.RaggedTensor | tf.RaggedTensorSpec)
            or getattr(getattr(leaf, "dtype", None), "kind", "") == "O"
        ):
            raise _ragged(kind)


def _ragged(kind: str) -> DataError:
    return DataError(
        f"Expected arrays or tensors whose rows all have one shape. Received: {kind}, which is ragged. Pad or crop the "
        "rows: x.to_tensor(shape=[None, 128]) or keras.utils.pad_sequences(x), for a data set "
        ".map(lambda x, y: (x.to_tensor(shape=[None, 128]), y)) or padded_batch."
    )


def _images_of(data: Any) -> Any:
    """Return what can be known of the images without reading: their arrays or specifications; () if nothing."""
    parts = data.element_spec if isinstance(data, tf.data.Dataset) else data
    if isinstance(parts, keras.utils.PyDataset):
        return ()
    return parts[0] if isinstance(parts, tuple | list) and 1 <= len(parts) <= 3 else parts


def is_endless(data: Any) -> bool:
    """Check whether the data declare that they have no end."""
    if isinstance(data, tf.data.Dataset):
        return bool(data.cardinality() == tf.data.INFINITE_CARDINALITY)
    return isinstance(data, keras.utils.PyDataset) and data.num_batches is None


def _elements(data: Any, batch_size: int, labels: bool) -> Iterator[Any]:
    if isinstance(data, tf.data.Dataset):
        yield from data.prefetch(tf.data.AUTOTUNE)
    elif isinstance(data, keras.utils.PyDataset):
        yield from _py_dataset(data)
    elif (isinstance(data, tuple | list) and 2 <= len(data) <= 3) or (not labels and _is_arrays(data)):
        pair = tuple(data) if isinstance(data, tuple | list) else (data,)
        pair = (pair[0], *(_as_array(part, labels) for part in pair[1:]))
        require_dense(pair if labels else pair[0])
        sizes = {_length(part) for part in pair if part is not None}
        if len(sizes) > 1:
            x_is_list = isinstance(pair[0], list | tuple) and len(pair[0]) in sizes
            hint = (
                f" x is {len(pair[0])} arrays, which stand for {len(pair[0])} inputs: np.stack(x)." if x_is_list else ""
            )
            raise DataError(f"Images and labels must be equally many. Received: {sorted(sizes)}.{hint}")
        pair = pair if labels else pair[:1]
        for start in range(0, sizes.pop(), batch_size):
            yield tree.map_structure(lambda a, s=start: None if a is None else a[s : s + batch_size], pair)
    else:
        raise DataError(f"Expected {_KINDS}. Received: {type(data).__module__}.{type(data).__qualname__}.")


def _as_array(part: Any, is_read: bool) -> Any:
    if not isinstance(part, list):
        return part
    try:
        return np.asarray(part)
    except ValueError as error:
        if not is_read:
            return np.arange(len(part))  # only the length is compared
        raise _ragged("a list of rows of different lengths") from error


def _is_arrays(data: Any) -> bool:
    leaves = tree.flatten(data)
    return bool(leaves) and all(hasattr(leaf, "shape") and hasattr(leaf, "__getitem__") for leaf in leaves)


def _py_dataset(data: keras.utils.PyDataset) -> Iterator[Any]:
    index = 0
    while data.num_batches is None or index < data.num_batches:
        yield data[index]
        index += 1


def _pair(element: Any, labels: bool) -> tuple[Any, Any]:
    if isinstance(element, tuple | list) and 1 <= len(element) <= 3:
        x, y = element[0], element[1] if len(element) > 1 else None
    else:
        x, y = element, None
    if labels and y is None:
        received = f" Received: a dict of {sorted(x)}; .map() it to (x, y)." if isinstance(x, dict) else ""
        raise DataError(f"The data gives no labels. Expected {_KINDS}.{received}")
    if labels and getattr(y, "shape", None) == ():
        raise DataError("The data gives single images with single labels. Batch it: call .batch(32) on the data set.")
    return x, y


def _length(x: Any) -> int:
    lengths = {leaf.shape[0] if getattr(leaf, "shape", ()) != () else -1 for leaf in tree.flatten(x)}
    if len(lengths) != 1 or -1 in lengths:
        raise DataError(f"Expected a batch of images. Received parts of {sorted(lengths)} images (-1: a single value).")
    return lengths.pop()
