"""The whole split model as one `.tflite` for the device, which answers from it where the server cannot be reached."""

from collections.abc import Mapping
from typing import Any

import keras

from isplit_edge.local import LOCAL_FILE

from ..errors import ExportError, ModelError
from ..splitting import SplitModel
from .tflite import QUANTIZED, ConvertedHead, convert

__all__ = ["LOCAL_FILE", "convert_whole", "local_precision", "local_report"]


def local_precision(precision: str) -> str:
    """The precision of the whole model beside a head of some precision.

    Probabilities of 8 bit would be steps of 1/256: where the head is of integers, the whole model has weights of 8 bit
    and computes in float, which also needs no representative images.
    """
    return "dynamic" if precision in QUANTIZED else precision


def convert_whole(split: SplitModel, kind: str, precision: str, *, progress: bool = True) -> ConvertedHead:
    """Converts head, encoder, decoder, tail and the step to probabilities into one file of batch 1.

    Args:
        split: The split; it stays as it is.
        kind: What its output is, as `isplit_tf.importance.scores` names it.
        precision: Of the bundle's head.
        progress: Whether a bar may show.

    Returns:
        The file: float32 `(1, *input_shape)` to float32 probabilities `(1, n_classes)`.

    Raises:
        ExportError: If an operation of the tail has no built-in operator of LiteRT.
    """
    last = probability_model(int(split.model.output_shape[-1]), kind)
    try:
        return convert(split.model, last, precision=local_precision(precision), progress=progress)
    except ExportError as error:
        raise ExportError(
            f"local_fallback=True puts the whole model on the device, and it cannot go there. {error} Possible too: "
            "local_fallback=False."
        ) from error


def probability_model(units: int, kind: str) -> keras.Model:
    """From a model's own outputs `(N, units)` to probabilities `(N, n_classes)`, as the served tail has them.

    Raises:
        ModelError: If the kind is unknown.
    """
    outputs = keras.Input((units,), name="outputs")
    if kind == "logits":
        found = keras.ops.softmax(outputs)
    elif kind == "sigmoid":
        found = keras.ops.concatenate([1.0 - outputs, outputs], axis=1)
    elif kind == "binary_logit":
        found = keras.ops.sigmoid(keras.ops.concatenate([outputs * -1.0, outputs], axis=1))
    elif kind in ("softmax", "sigmoids"):
        found = keras.layers.Identity(name="probabilities")(outputs)
    else:
        raise ModelError(f"The model's output is of an unknown kind: {kind!r}.")
    return keras.Model(outputs, found, name="probabilities")


def local_report(whole: ConvertedHead) -> Mapping[str, Any]:
    """What is in the file, read from it, and how far it is from Keras."""
    return {
        "precision": whole.precision,
        "size_bytes": len(whole.content),
        "operators": dict(whole.contents.counts),
        "relative_error": whole.relative_error,
        "checked_images": whole.checked_images,
    }
