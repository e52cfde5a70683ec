"""The tail as a SavedModel for TensorFlow Serving, with the checks of the wire format in its graph."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import wire
from isplit_edge.code import Code
from isplit_edge.files import writing

from ...display.quiet import without_saving_lines
from ...graph.output_kinds import Output
from ..litert.float32 import Read, in_float32, in_inference
from .wire_graph import read_coded, read_payloads

SERVING_DEFAULT = "serving_default"
FROM_LATENT = "from_latent"


@dataclass(frozen=True)
class LatentFormat:
    """The form of latents on the wire.

    Attributes:
        dtype: Of the head's output: "int8", "int16" or "float32".
        shape: Without the batch.
        scale: value = scale * (integer - zero_point); None where dtype is float32.
        zero_point: None where dtype is float32.
        bits: Of each element, where the highest bits travel alone: the integer is then taken to be the middle of those
            that have them. None where the latent travels as it is.
        code: By which the latent is coded, or None.
        max_bytes: The longest coded payload, or None.
    """

    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None
    bits: int | None = None
    code: Code | None = None
    max_bytes: int | None = None

    def read(self, payload: tf.Tensor, tag: bytes) -> tuple[tf.Tensor, tf.Tensor]:
        """Check payloads, string `(N,)`: the latents as on the wire, and the status."""
        if self.code is not None:
            return read_coded(payload, tag=tag, code=self.code, max_bytes=int(self.max_bytes or 0))
        return read_payloads(payload, tag=tag, dtype=self.dtype, shape=self.shape, bits=self.bits)

    def dequantize(self, latents: tf.Tensor) -> tf.Tensor:
        """Turn latents `(N, *shape)` as on the wire into float32."""
        values = tf.cast(latents, tf.float32)
        if self.bits is not None:
            lowest, second = wire.middles(np.array([0, 1], np.uint8), self.dtype, self.bits)
            values = values * (second - lowest) + lowest
        return values if self.scale is None else (values - float(self.zero_point or 0)) * self.scale


def output_record(output: Output) -> dict[str, Any]:
    """Return the manifest's record of how probabilities come from a model's own output."""
    return {
        "kind": "multi_label" if output.is_multi_label else output.kind,
        "softmax_added": output.kind == "logits",
        "sigmoid_added": output.kind in ("binary_logit", "multi_label_logits"),
        "complement_added": output.is_binary_unit,
        "independent": output.is_multi_label,
    }


def write(
    directory: str | os.PathLike[str],
    tail: keras.Model,
    decoder: keras.Model | None = None,
    *,
    latent: LatentFormat,
    output: Output,
    tag: bytes,
    read: Read = in_inference,
) -> None:
    """Write the SavedModel of decoder and tail, each weight once.

    Its signatures are `serving_default`: `payload` (string `(N,)`) to `probabilities` (float32 `(N, n_classes)`)
    and `status` (int32 `(N,)`); and `from_latent`: `latent` (float32 `(N, *shape)`) to `probabilities`. N may be 0.

    Args:
        directory: Where to; `<model_name>/<version>` of a model server's base path.
        tail: From the cut to class scores.
        decoder: From the latent to the cut, or None.
        latent: How latents come over the wire.
        output: What the tail's output is.
        tag: The 8 bytes that this bundle's payloads begin with.
        read: What reads a model; a split knows the programs of its parts.
    """

    def served(values: tf.Tensor) -> tf.Tensor:
        # oneDNN's convolution gives an empty batch another shape: an empty batch gets a row, and loses it again.
        count = tf.shape(values)[0]
        values = tf.pad(values, [[0, 1 - tf.minimum(count, 1)]] + [[0, 0]] * len(latent.shape))
        if decoder is not None:
            values = answer(decoder, values)
        return output.probabilities(tf.cast(answer(tail, values), tf.float32))[:count]

    def serving_default(payload: tf.Tensor) -> Mapping[str, tf.Tensor]:
        latents, status = latent.read(payload, tag)
        probabilities = served(latent.dequantize(latents))
        is_ok = tf.reshape(status == 0, [-1, 1])
        return {"probabilities": tf.where(is_ok, probabilities, float("nan")), "status": status}

    def from_latent(values: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {"probabilities": served(values)}

    module = tf.Module()
    with in_float32(decoder, tail, read=read) as answer:
        signatures = {
            SERVING_DEFAULT: _traced(serving_default, tf.TensorSpec([None], tf.string, name="payload")),
            FROM_LATENT: _traced(from_latent, tf.TensorSpec([None, *latent.shape], tf.float32, name="latent")),
        }
    # What the functions read has to hang on the module, and only that: dropout's seeds need not be served.
    used_ids = {id(variable) for function in signatures.values() for variable in function.variables}
    stored = [variable.value for model in (decoder, tail) if model is not None for variable in model.variables]
    module.weights = [variable for variable in stored if id(variable) in used_ids]
    module.signatures_ = list(signatures.values())
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with writing(directory, tf.errors.OpError), without_saving_lines():
        tf.saved_model.save(module, os.fspath(Path(directory)), signatures=signatures, options=options)


def _traced(function: Any, spec: tf.TensorSpec) -> Any:
    return tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
