"""The accuracy in a manifest: of the exported files, of the split, and of the original model."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..evaluation.evaluation import evaluate
from ..graph.output_kinds import Output, to_probabilities
from ..graph.outputs import describe_output
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
        self.output = output
        self._preprocessing = preprocessing
        # Traced once: `predict_on_batch` of several models warns of tracing too often.
        spec = tf.TensorSpec((None, *self._shape), tf.float32)
        self._run = tf.function(lambda x: model(x, training=False), input_signature=[spec], autograph=False)

    def predict(self, images: Any) -> np.ndarray:
        """Return probabilities, float32 `(N, n_classes)`."""
        x = np.stack([model_input(image, self._shape, self._preprocessing) for image in np.asarray(images)])
        return to_probabilities(self._run(tf.constant(x)).numpy(), self.output)


def measure_accuracy(
    bundle: Any,
    split: keras.Model,
    data: Any,
    *,
    original: keras.Model | None,
    output: Output,
    max_images: int | None,
    progress: bool,
) -> dict[str, Any]:
    """Measure the accuracy of the original, the split and the exported files on the same images.

    Args:
        bundle: The bundle, from its files.
        split: The whole split model.
        data: Images with labels, as `evaluate` takes them.
        original: The model that was split, or None.
        output: What the output of the split is, and of the original.
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
        whole = Prepared(original, describe_output(original, known=output), record)
        original_accuracy = evaluate(whole, data, max_images=max_images, progress=progress).accuracy
    return {
        "original": original_accuracy,
        "split": halves.accuracy,
        "artefacts": artefacts.accuracy,
        "images": artefacts.n_images,
    }
