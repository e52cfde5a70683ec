"""Warm-up requests, which TensorFlow Serving replays when it loads the tail, so that the first device does not wait.

The file is a TFRecord of `tensorflow.serving.PredictionLog`. Its classes are in a package that needs TensorFlow
Serving's own distribution; the few messages needed are written here field by field.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from isplit_edge.files import writing
from isplit_edge.messages import field, integer_field

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MOST_BYTES = 2**20


def warmup_batches(payload_bytes: int, max_batch: int) -> list[int]:
    """Return the batch sizes to warm up with: 1, 2, 4 ... up to `max_batch`, as far as the file stays below 1 MiB."""
    sizes = [1]
    while sizes[-1] * 2 <= max_batch and (sum(sizes) + sizes[-1] * 2) * payload_bytes < _MOST_BYTES:
        sizes.append(sizes[-1] * 2)
    return sizes


def write_warmup(
    directory: str | os.PathLike[str],
    payload: bytes,
    *,
    batches: Iterable[int],
    model_name: str,
    version: int,
) -> None:
    """Write the warm-up requests of a SavedModel.

    Args:
        directory: The SavedModel's.
        payload: A well-formed payload of this bundle.
        batches: For each request how often the payload is in it.
        model_name: As the model server knows the model.
        version: The same.
    """
    path = Path(directory) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with writing(path, tf.errors.OpError), tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for count in batches:
            writer.write(prediction_log(model_name, version, "payload", [payload] * count))


def prediction_log(model_name: str, version: int, input_name: str, strings: Sequence[bytes]) -> bytes:
    """Return a serialized `PredictionLog` of one Predict request with one tensor of strings."""
    tensor = tf.make_tensor_proto(np.array(strings, object), tf.string).SerializeToString(deterministic=True)
    model_spec = field(1, model_name.encode()) + field(2, integer_field(1, version))
    entry = field(1, input_name.encode()) + field(2, tensor)
    request = field(1, model_spec) + field(2, entry)
    return field(6, field(1, request))  # PredictionLog.predict_log, PredictLog.request
