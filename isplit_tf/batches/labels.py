"""Labels as users bring them: integers, one-hot, and several for an image."""

from typing import Any

import numpy as np

from ..errors import DataError


def read_labels(y: Any, n_classes: int | None, size: int, *, multi_label: bool = False) -> np.ndarray:
    """Return labels as int64 `(N,)`, from integers `(N,)` or `(N, 1)`, or from one-hot `(N, n_classes)`.

    With `multi_label`, labels `(N, n_classes)` of 0 and 1 stay what they are, int64.

    Raises:
        DataError: If the labels have another shape, are not whole numbers, or are out of range.
    """
    if isinstance(y, dict | list | tuple):
        raise DataError(f"Expected one array of labels. Received: {type(y).__name__} of {len(y)}.")
    labels = np.asarray(y)
    form = "multi-hot" if multi_label else "one-hot"
    expected = "integers (N,) or (N, 1)" + (f", or {form} (N, {n_classes})" if n_classes else f", or {form}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iufb" or labels.ndim not in (1, 2) or len(labels) != size:
        hint = (
            " Batch it: call .batch(32) on the data set."
            if labels.shape == (n_classes,) and labels.dtype.kind in "iufb"
            else ""
        )
        raise DataError(
            f"Expected labels as {expected} for {size} images. Received: {labels.dtype} {labels.shape}.{hint}"
        )
    if labels.ndim == 2:
        return _read_rows(labels, n_classes, expected, multi_label=multi_label)
    with np.errstate(invalid="ignore"):  # NaN becomes a whole number, which then differs
        whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels):
        raise DataError(
            f"Expected labels as {expected}. Received: {labels.dtype}, {labels[whole != labels][0]} among them."
        )
    if whole.size and (whole.min() < 0 or (n_classes is not None and whole.max() >= n_classes)):
        limit = "" if n_classes is None else f" to {n_classes - 1}"
        raise DataError(f"Expected labels from 0{limit}. Received: labels from {whole.min()} to {whole.max()}.")
    return whole


def is_multi_hot(labels: np.ndarray) -> bool:
    """Check whether labels `(N, n_classes)` give some image none or several; integers `(N,)` never do."""
    return labels.ndim == 2 and bool((labels.sum(axis=1) != 1).any())


def _read_rows(labels: np.ndarray, n_classes: int | None, expected: str, *, multi_label: bool) -> np.ndarray:
    """Return labels `(N, n_classes)` as int64: `(N,)` if they are one-hot, unchanged if they are multi-hot."""
    of_labels = bool(((labels == 0) | (labels == 1)).all())
    valid = of_labels and (multi_label or not is_multi_hot(labels))
    if not valid or (n_classes is not None and labels.shape[1] != n_classes):
        why = " in which not every row is a single 1 among zeros"
        if multi_label:
            why = " with other values than 0 and 1 among them"
        elif of_labels:
            why += ". Labels of which an image may have several need a model of independent sigmoids, or one of which "
            why += "output_kind='multi_label' says so"
        raise DataError(
            f"Expected labels as {expected}. Received: {labels.dtype} {labels.shape}{'' if valid else why}."
        )
    return labels.astype(np.int64) if multi_label else labels.argmax(axis=1).astype(np.int64)
