"""The check of a curve's file, which may have been changed since it was written."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from isplit_edge import schema

from ..storage.records import check_arrays

_FIELDS: dict[str, schema.Check] = {
    "class_names": schema.nullable(schema.sequence(schema.text)),
    **dict.fromkeys(("method", "reduction", "target", "model_name", "weighting", "precision"), schema.text),
    "confidence": schema.nullable(schema.number(0, 1)),
    "settled": schema.nullable(schema.flag),
}


def check_curve(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_cuts: int) -> None:
    """Check values and shapes of a curve that was read.

    Args:
        record: Its plain values.
        arrays: Its arrays by name.
        n_cuts: The number of its cuts.

    Raises:
        ValueError, KeyError, TypeError: If any is missing or cannot be.
    """
    for name, check in _FIELDS.items():
        if name in record:
            check(name, record[name])
    n_classes = len(np.atleast_1d(arrays["counts"]))
    check_arrays(arrays, {"means": (n_classes, n_cuts), "squares": (n_classes, n_cuts)}, "f")
    check_arrays(arrays, {"counts": (n_classes,)}, "iu")
    if arrays["counts"].min(initial=0) < 0 or arrays["squares"].min(initial=0) < 0:
        raise ValueError("numbers of images and squares are at least 0")
    if record["class_names"] is not None and len(record["class_names"]) != n_classes:
        raise ValueError(f"{len(record['class_names'])} names for {n_classes} classes")
    schema.sequence(schema.nullable(schema.integer(1)))("input_shape", record["input_shape"])
