"""A fitted projection as the weights of layers, and the metric's gradients; what Keras and TensorFlow see of it."""

import keras
import numpy as np
import tensorflow as tf

from ..graph.keras_layers import all_layers
from .kernels import LinearMap


def assign(encode: keras.layers.Layer, decode: keras.layers.Layer, found: LinearMap, mean: np.ndarray) -> None:
    """Gives two layers, as `Projection.build` makes them, the weights of a linear map of patches.

    Args:
        encode: The (strided) convolution or dense layer.
        decode: The transposed one, or the dense layer back.
        found: The map.
        mean: `(C,)`, of each channel, which the encoder takes off and the decoder adds.
    """
    tiled = np.tile(mean, found.encode.shape[1] // len(mean))
    encode.kernel.assign(found.encode.T.reshape(encode.kernel.shape))
    encode.bias.assign(-found.encode @ tiled)
    # A transposed convolution's kernel is that of the convolution which it transposes.
    back = found.decode if len(decode.kernel.shape) > 2 else found.decode.T
    decode.kernel.assign(back.reshape(decode.kernel.shape))
    decode.bias.assign(mean)


def layer_named(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of this name in a model."""
    return next(layer for layer in all_layers(model) if layer.name == name)


def fisher_score(logits: tf.Tensor, noise: tf.Tensor, kind: str) -> tf.Tensor:
    """A number for each image whose gradient g has E[g g^T] = the Fisher information of the output.

    The gradient of the log-likelihood of a label drawn from the output p is `onehot - p` at the logits, which is
    nearly always nearly zero where the model is sure, and seldom large. `sqrt(p) s - p (sqrt(p) . s)` with random
    signs s has the same covariance diag(p) - p p^T, and spreads it over all draws: far fewer images do.

    Args:
        logits: `(N, units)`.
        noise: Random signs, -1.0 or 1.0, `(N, units)`.
        kind: What the output is; see `importance.scores.Output`.

    Returns:
        float32 `(N,)`.
    """
    values = tf.cast(logits, tf.float32)
    if kind in ("softmax", "logits"):
        p = tf.nn.softmax(values)
        drawn = tf.sqrt(p) * noise
        direction = drawn - p * tf.reduce_sum(drawn, axis=1, keepdims=True)
    else:
        p = tf.sigmoid(values)
        direction = tf.sqrt(p * (1 - p)) * noise
    return tf.reduce_sum(tf.stop_gradient(direction) * values, axis=1)
