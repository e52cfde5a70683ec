"""Names of classes that data bring, also behind the steps that `tf.data` puts around them."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from keras import tree

from ..errors import checked_class_names


def known_class_names(names: Sequence[str] | None, data: Any, n_classes: int) -> list[str] | None:
    """Return the names that were given, else those that the data bring, or None.

    Raises:
        ArgumentError: If they are not as many as the classes.
    """
    own = getattr(data, "class_names", None) if names is None else names
    return checked_class_names(class_names_of(data, n_classes) if own is None else own, n_classes)


def class_names_of(data: Any, n_classes: int) -> list[str] | None:
    """Return the attribute `class_names` of data, or of the data set that they were made from, or None.

    `keras.utils.image_dataset_from_directory` sets this attribute, and `prefetch`, `cache`, `shuffle`, `take`, `map`
    and others give data sets without it. Each names the one that it reads from. Names are taken from there if they are
    as many as the classes, and if the labels still have the same type, or are one-hot.

    Args:
        data: As in `batches`.
        n_classes: The number of classes; other names are none of theirs.
    """
    source = data
    while getattr(source, "class_names", None) is None:
        inputs = source._inputs() if isinstance(source, tf.data.Dataset) else []
        if len(inputs) != 1:
            return None
        source = inputs[0]
    names = source.class_names
    if isinstance(names, str) or len(names) != n_classes:
        return None
    if source is not data and not _same_labels(_labels_of(data), _labels_of(source), n_classes):
        return None
    return [str(name) for name in names]


def _labels_of(data: tf.data.Dataset) -> Any:
    """Return the specification of the labels; None if there are none, or several."""
    spec = data.element_spec
    leaves = tree.flatten(spec[1]) if isinstance(spec, tuple | list) and len(spec) > 1 else []
    return leaves[0] if len(leaves) == 1 else None


def _same_labels(now: Any, before: Any, n_classes: int) -> bool:
    if now is None:
        return True  # labels are not read
    is_one_hot = bool(now.shape.rank) and now.shape[-1] == n_classes
    return is_one_hot or (before is not None and now.dtype == before.dtype)
