"""The arithmetic of importance: tensors in, tensors out."""

import tensorflow as tf


def importance_maps(features: tf.Tensor, gradients: tf.Tensor, *, with_features: bool = True) -> tf.Tensor:
    """The class activation map of each image at one cut.

    Args:
        features: `(N, ..., C)`, the tensor at the cut.
        gradients: The same shape, dy/dF of each image's score y.
        with_features: False leaves F out (the paper's "Gradients").

    Returns:
        float32 `(N, P)`, P the positions in space and time (1 for vectors), before the ReLU:
        `sum_c alpha_c F_pc`, with `alpha_c` the mean of `gradients` over the positions.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Eq. 1 and 2; Selvaraju et al., Grad-CAM, ICCV 2017.
    """
    shape = tf.shape(features)
    channels = features.shape[-1] or shape[-1]
    positions = tf.reduce_prod(shape[1:-1])
    grouped = tf.reshape(tf.cast(gradients, tf.float32), [shape[0], positions, channels])
    weights = tf.reduce_mean(grouped, axis=1)
    if not with_features:
        return tf.repeat(tf.reduce_sum(weights, axis=1, keepdims=True), positions, axis=1)
    flat = tf.reshape(tf.cast(features, tf.float32), [shape[0], positions, channels])
    return tf.linalg.matvec(flat, weights)


def cumulate(maps: tf.Tensor) -> tf.Tensor:
    """The sum of the positive part of each image's map: its cumulated importance (CUI) at the cut.

    Args:
        maps: float32 `(N, P)`.

    Returns:
        float32 `(N,)`; NaN where the map holds a value that is not finite.
    """
    total = tf.reduce_sum(tf.nn.relu(maps), axis=1)
    return tf.where(tf.math.is_finite(tf.reduce_sum(maps, axis=1)), total, float("nan"))


def score(logits: tf.Tensor, labels: tf.Tensor, *, binary_unit: bool) -> tf.Tensor:
    """The score y of each image: the logit of its class.

    Args:
        logits: `(N, units)`.
        labels: int64 `(N,)`.
        binary_unit: One unit for two classes: the score of class 1 is the logit, of class 0 minus the logit.

    Returns:
        float32 `(N,)`.
    """
    values = tf.cast(logits, tf.float32)
    if binary_unit:
        return values[:, 0] * tf.cast(2 * labels - 1, tf.float32)
    return tf.gather(values, labels, batch_dims=1)


def predicted(logits: tf.Tensor, *, binary_unit: bool) -> tf.Tensor:
    """The class that the model predicts for each image, int64 `(N,)`."""
    if binary_unit:
        return tf.cast(logits[:, 0] > 0, tf.int64)
    return tf.argmax(logits, axis=1)
