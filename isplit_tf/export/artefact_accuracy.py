"""The accuracy in a manifest: of the exported files, of the split, and of the original model."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import DataError
from ..evaluation.evaluation import evaluate
from ..graph.outputs import Output, describe_output, to_probabilities
from .litert.representative import model_input


class Prepared:
    """A Keras model that takes images as a bundle does: uint8 images are preprocessed first.

    Args:
        model: One input, class scores.
        output: What its output is.
        preprocessing: The whole record, or None.
    """

    def __init__(self, model: keras.Model, output: Output, preprocessing: Mapping[str, Any] | None):
        self._shape = tuple(model.inputs[0].shape[1:])
        self._output = output
        self._preprocessing = preprocessing
        # Traced once: `predict_on_batch` of several models warns of tracing too often.
        spec = tf.TensorSpec((None, *self._shape), tf.float32)
        self._run = tf.function(lambda x: model(x, training=False), input_signature=[spec], autograph=False)

    def predict(self, images: Any) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        x = np.stack([model_input(image, self._shape, self._preprocessing) for image in np.asarray(images)])
        return to_probabilities(self._run(tf.constant(x)).numpy(), self._output)


def measure_accuracy(
    bundle: Any,
    split: keras.Model,
    data: Any,
    *,
    original: keras.Model | None,
    output: Output,
    from_logits: bool | None,
    max_images: int | None,
    progress: bool,
) -> dict[str, Any]:
    """Measure the accuracy of the original, the split and the exported files on the same images.

    Args:
        bundle: The bundle, from its files.
        split: The whole split model.
        data: Images with labels, as `evaluate` takes them.
        original: The model that was split, or None.
        output: What the split's output is.
        from_logits: Says of the original's linear outputs whether they are logits.
        max_images: Stop after as many.
        progress: Whether bars may show.

    Returns:
        The manifest's record of accuracy.
    """
    record = bundle.manifest.preprocessing
    artefacts = evaluate(bundle, data, max_images=max_images, progress=progress)
    halves = evaluate(Prepared(split, output, record), data, max_images=max_images, progress=progress)
    original_accuracy = None
    if original is not None:
        whole = Prepared(original, describe_output(original, from_logits=from_logits), record)
        original_accuracy = evaluate(whole, data, max_images=max_images, progress=progress).accuracy
    return {
        "original": original_accuracy,
        "split": halves.accuracy,
        "artefacts": artefacts.accuracy,
        "images": artefacts.n_images,
    }


class _Weighed:
    """A bundle at a bound, which notes the bytes of each payload."""

    def __init__(self, bundle: Any):
        self._bundle = bundle
        self.manifest = bundle.manifest
        self.lengths: list[int] = []

    def predict(self, images: Any, preprocessed: bool = False) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        payloads = self._bundle.payloads(images, preprocessed)
        self.lengths += map(len, payloads)
        return self._bundle.answer(payloads)[0]


def measure_rates(bundle: Any, data: Any, *, max_images: int | None, progress: bool) -> list[dict[str, Any]] | None:
    """Measure the accuracy of a bundle with coded payloads at five bounds: the longest payload, the mean, and less.

    Args:
        bundle: The bundle, from its files.
        data: Images with labels, as `evaluate` takes them.
        max_images: Stop after as many.
        progress: Whether bars may show.

    Returns:
        For each bound, from the longest on: payload_bytes, the bound; mean_bytes, p95_bytes and most_bytes of the
        payloads; accuracy. Bounds within which not every image fits are left out. None if payloads are not coded.
    """
    manifest = bundle.manifest
    if manifest.form.code is None:
        return None
    mean = manifest.payload_bytes
    found = []
    for bound in dict.fromkeys([manifest.max_payload_bytes, *(math.ceil(mean / share) for share in (1, 1.5, 2.5, 4))]):
        weighed = _Weighed(bundle.at(bound))
        try:
            accuracy = evaluate(weighed, data, max_images=max_images, progress=progress).accuracy
        except DataError:
            break
        lengths = np.array(weighed.lengths)
        found.append(
            {
                "payload_bytes": bound,
                "mean_bytes": float(lengths.mean()),
                "p95_bytes": float(np.quantile(lengths, 0.95)),
                "most_bytes": int(lengths.max()),
                "accuracy": accuracy,
            }
        )
    return found
