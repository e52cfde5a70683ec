"""The Keras layers of a projection, their weights, and the score whose gradients give its metric."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from ..graph.keras_layers import all_layers
from ..graph.outputs import Output
from .linear_map import LinearMap
from .moments import padding_of

# Name of the layer that holds the weights, in the encoder and in the decoder.
ENCODE, DECODE = "encoder_projection", "decoder_projection"
_LAYERS_BY_RANK = {
    1: (keras.layers.Dense, keras.layers.Dense, None),
    2: (keras.layers.Conv1D, keras.layers.Conv1DTranspose, keras.layers.Cropping1D),
    3: (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Cropping2D),
    4: (keras.layers.Conv3D, keras.layers.Conv3DTranspose, keras.layers.Cropping3D),
}


class Patched(Protocol):
    """Features that are cut into patches: a `LatentPlan`, or `Patches`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the features without the batch."""

    @property
    def patch(self) -> tuple[int, ...]:
        """Return the elements of a patch on each axis besides the channels."""


@dataclass(frozen=True)
class Patches:
    """Features of a shape without the batch, and the patches that they are cut into."""

    shape: tuple[int, ...]
    patch: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return the number of elements of a patch."""
        return math.prod(self.patch) * self.shape[-1]


def build_halves(patched: Patched, k: int, *, seed: int = 0) -> tuple[keras.Model, keras.Model]:
    """Build an encoder of each patch to k numbers, and a decoder back to the exact shape.

    The weights are those of a random orthogonal projection.
    """
    *space, channels = patched.shape
    down, up, crop = _LAYERS_BY_RANK[len(patched.shape)]
    dtype = keras.config.dtype_policy().variable_dtype
    window: dict[str, Any] = {}
    if space:
        window = {"kernel_size": patched.patch, "strides": patched.patch, "padding": "same"}
        window["data_format"] = "channels_last"

    def layer(kind: Any, units: int, name: str) -> keras.layers.Layer:
        initializer = keras.initializers.Orthogonal(seed=seed)
        return kind(units, kernel_initializer=initializer, name=name, dtype=dtype, **window)

    features = keras.Input(patched.shape, name="features", dtype=dtype)
    encoder = keras.Model(features, layer(down, k, ENCODE)(features), name="encoder")
    latent = keras.Input(encoder.output_shape[1:], name="latent", dtype=dtype)
    restored = layer(up, channels, DECODE)(latent)
    padding = padding_of(space, patched.patch)
    if crop is not None and any(after for _, after in padding):
        cropping = padding[0] if len(padding) == 1 else tuple(padding)
        restored = crop(cropping, name="decoder_crop", dtype=dtype)(restored)
    return encoder, keras.Model(latent, restored, name="decoder")


def assign(encode: keras.layers.Layer, decode: keras.layers.Layer, found: LinearMap, mean: np.ndarray) -> None:
    """Assign the weights of a linear map of patches to two layers of `Projection.build`.

    Args:
        encode: The encoder's (strided) convolution or dense layer.
        decode: The decoder's transposed convolution or dense layer.
        found: The map.
        mean: `(C,)`, the mean of each channel, which the encoder subtracts and the decoder adds.
    """
    tiled = np.tile(mean, found.encode.shape[1] // len(mean))
    encode.kernel.assign(found.encode.T.reshape(encode.kernel.shape))
    encode.bias.assign(-found.encode @ tiled)
    # A transposed convolution has the kernel of the convolution that it transposes.
    kernel = found.decode if len(decode.kernel.shape) > 2 else found.decode.T
    decode.kernel.assign(kernel.reshape(decode.kernel.shape))
    decode.bias.assign(mean)


def layer_named(model: keras.Model, name: str) -> keras.layers.Layer:
    """Return the layer of this name in a model."""
    return next(layer for layer in all_layers(model) if layer.name == name)


def fisher_score(logits: tf.Tensor, noise: tf.Tensor, output: Output) -> tf.Tensor:
    """Return a number for each image whose gradient g has E[g g^T] = the Fisher information of the output.

    The gradient of the log-likelihood of a label drawn from the output p is `onehot - p` at the logits. Where the model
    is sure, it is nearly zero for most draws and large for a few. `sqrt(p) s - p (sqrt(p) . s)` with random signs s has
    the same covariance diag(p) - p p^T, but spreads it over all draws, so that far fewer images suffice.

    Args:
        logits: `(N, units)`.
        noise: Random signs, -1.0 or 1.0, `(N, units)`.
        output: The kind of the model's output.

    Returns:
        float32 `(N,)`.
    """
    values = tf.cast(logits, tf.float32)
    if output.is_exclusive:
        p = tf.nn.softmax(values)
        drawn = tf.sqrt(p) * noise
        direction = drawn - p * tf.reduce_sum(drawn, axis=1, keepdims=True)
    else:
        p = tf.sigmoid(values)
        direction = tf.sqrt(p * (1 - p)) * noise
    return tf.reduce_sum(tf.stop_gradient(direction) * values, axis=1)
