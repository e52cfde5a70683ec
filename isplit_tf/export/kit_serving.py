"""The served model of a kit: the tails at all cuts, the whole model, and the whole model behind encoded images."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from isplit_edge.files import writing

from ..graph.output_kinds import Output
from .litert.float32 import in_float32
from .serving.saved_model import LatentFormat

WHOLE, ENCODED = "whole", "encoded"


@dataclass(frozen=True, eq=False)
class Tail:
    """A tail of the served model.

    Attributes:
        signature: Its name there.
        decoder: From the latent to the cut, or None.
        tail: From the cut to the output.
        latent: How latents come over the wire.
        tag: The 8 bytes that its payloads begin with.
    """

    signature: str
    decoder: keras.Model | None
    tail: keras.Model
    latent: LatentFormat
    tag: bytes


def write_served(
    directory: Path,
    whole: keras.Model,
    tails: Sequence[Tail],
    *,
    output: Output,
    preprocessing: Mapping[str, Any] | None,
) -> None:
    """Write the SavedModel of a kit, each weight of the model once.

    Its signatures are one for each tail: `payload` (string `(N,)`) to `probabilities` and `status`; `whole`: `image`
    (float32 `(N, *input_shape)`, in the model's own space) to `probabilities`; and, where the input is a picture of one
    or three channels, `encoded`: `image` (string `(N,)`, JPEG, PNG, GIF or BMP) to `probabilities`.

    Args:
        directory: Where to; `<model_name>/<version>` of a model server's base path.
        whole: The model, with whose layers the tails are built.
        tails: The tails.
        output: What the model's output is.
        preprocessing: What turns uint8 images into the model's input, or None.
    """
    models = [whole, *(part for one in tails for part in (one.decoder, one.tail) if part is not None)]
    shape = tuple(whole.inputs[0].shape[1:])
    module = tf.Module()
    with in_float32(*models) as answer:

        def probabilities(model: keras.Model, x: tf.Tensor) -> tf.Tensor:
            return output.probabilities(tf.cast(answer(model, x), tf.float32))

        def of_tail(one: Tail) -> Callable[[tf.Tensor], Mapping[str, tf.Tensor]]:
            def serve(payload: tf.Tensor) -> Mapping[str, tf.Tensor]:
                latents, status = one.latent.read(payload, one.tag)
                # oneDNN's convolution gives an empty batch another shape: an empty batch gets a row, and loses it.
                count = tf.shape(status)[0]
                values = one.latent.dequantize(latents)
                values = tf.pad(values, [[0, 1 - tf.minimum(count, 1)]] + [[0, 0]] * len(one.latent.shape))
                features = values if one.decoder is None else answer(one.decoder, values)
                found = probabilities(one.tail, features)[:count]
                return {"probabilities": tf.where(status[:, tf.newaxis] == 0, found, float("nan")), "status": status}

            return serve

        payloads = tf.TensorSpec([None], tf.string, name="payload")
        signatures = {one.signature: _traced(of_tail(one), payloads) for one in tails}
        spec = tf.TensorSpec([None, *shape], tf.float32, name="image")
        signatures[WHOLE] = _traced(lambda image: {"probabilities": probabilities(whole, image)}, spec)
        if len(shape) == 3 and shape[-1] in (1, 3):

            def encoded(image: tf.Tensor) -> Mapping[str, tf.Tensor]:
                return {"probabilities": probabilities(whole, decoded(image, shape, preprocessing))}

            signatures[ENCODED] = _traced(encoded, tf.TensorSpec([None], tf.string, name="image"))
    used_ids = {id(variable) for function in signatures.values() for variable in function.variables}
    stored = {id(variable.value): variable.value for model in models for variable in model.variables}
    module.weights = [variable for key, variable in stored.items() if key in used_ids]
    module.signatures_ = list(signatures.values())
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with writing(directory, tf.errors.OpError):
        tf.saved_model.save(module, os.fspath(directory), signatures=signatures, options=options)


def decoded(images: tf.Tensor, shape: tuple[int, ...], record: Mapping[str, Any] | None) -> tf.Tensor:
    """Turn encoded images into the model's input, as a device does: decoded, resized, and preprocessed.

    Args:
        images: string `(N,)`.
        shape: `(H, W, C)` of the model's input.
        record: A whole record of preprocessing, or None.

    Returns:
        float32 `(N, H, W, C)`.
    """
    method = "bilinear" if record is None else record["resize"]

    def one(image: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(image, channels=shape[-1], expand_animations=False)
        resized = tf.image.resize(tf.ensure_shape(pixels, [None, None, shape[-1]]), shape[:2], method=method)
        return tf.cast(resized, tf.float32)

    x = tf.map_fn(one, images, fn_output_signature=tf.TensorSpec(shape, tf.float32))
    if record is None:
        return x
    if record["channel_order"] == "BGR":
        x = tf.reverse(x, axis=[-1])
    return (x * record["scale"] - tf.constant(record["mean"], tf.float32)) / tf.constant(record["std"], tf.float32)


def _traced(function: Any, spec: tf.TensorSpec) -> Any:
    return tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
