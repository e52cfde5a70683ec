"""The arithmetic of importance, as functions of tensors.

A map kernel takes `features` and `gradients`, both `(N, P, C)`: the tensor F at a cut, and g = dy/dF for each image's
score y, with P positions in space and time (1 for vectors) and C channels. It returns the map before the ReLU in
float32: `(N, P)`, or `(N, P * C)` for methods that treat each element separately. Sums are in float32 at every
precision of the model.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

# Number of positions from which a mean is taken in two stages, and the shortest stage that is worth it.
_MANY, _SHORTEST = 128, 8


def by_position(tensor: tf.Tensor) -> tf.Tensor:
    """Reshape `(N, ..., C)` to `(N, P, C)`.

    If the dimensions are known, this is a single operation, since every operation adds to the time of tracing.
    """
    *space, channels = tensor.shape[1:]
    if None not in (*space, channels):
        return tf.reshape(tensor, [-1, math.prod(space), channels])
    shape = tf.shape(tensor)
    channels = tensor.shape[-1] or shape[-1]
    return tf.reshape(tensor, [shape[0], tf.reduce_prod(shape[1:-1]), channels])


def grad_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `sum_c alpha_c F_pc`, where alpha_c is the mean of g_pc over the positions.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Eq. 1 and 2; Selvaraju et al., Grad-CAM, ICCV 2017.
    """
    if features.dtype == gradients.dtype == tf.bfloat16:
        # Matrix products of bfloat16 are summed in float32. F and g need no float32 copy; only the results are rounded.
        alpha = tf.cast(mean_over_positions(gradients), tf.bfloat16)
        return tf.cast(_over_channels(features, alpha), tf.float32)
    return _over_channels(_wide(features), mean_over_positions(gradients))


def _over_channels(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return `sum_c w_c F_pc`, `(N, P)`. A row times the transpose of F takes half the time of `matvec` on a CPU."""
    return tf.squeeze(tf.matmul(tf.expand_dims(weights, 1), features, transpose_b=True), 1)


def mean_over_positions(tensor: tf.Tensor) -> tf.Tensor:
    """Return the mean over the positions: `(N, P, C)` to float32 `(N, C)`.

    Many positions are added up in two stages, since a single float32 sum over them loses digits: the sum of 224 x 224
    equal numbers is wrong in the fourth digit.
    """
    if tensor.dtype == tf.bfloat16:  # TensorFlow sums matrix products of bfloat16 in float32, in blocks
        n, count, _ = tf.unstack(tf.shape(tensor))
        sums = tf.matmul(tf.ones([n, 1, count], tf.bfloat16), tensor)
        return tf.cast(sums[:, 0], tf.float32) / tf.cast(count, tf.float32)
    tensor = _wide(tensor)
    _, positions, channels = tensor.shape
    if positions is not None and positions < _MANY:
        return tf.reduce_mean(tensor, axis=1)
    width = _stage(positions)
    if width >= _SHORTEST:
        rows = tf.reshape(tensor, [-1, positions // width, width, channels])
        return tf.reduce_mean(tf.nn.avg_pool2d(rows, [1, width], 1, "VALID"), axis=[1, 2])
    n, count, channels = tf.unstack(tf.shape(tensor))
    width = tf.cast(tf.sqrt(tf.cast(count, tf.float32)), tf.int32)
    rows = tf.reshape(tf.pad(tensor, [[0, 0], [0, -count % width], [0, 0]]), [n, -1, width, channels])
    return tf.reduce_sum(tf.reduce_sum(rows, axis=2), axis=1) / tf.cast(count, tf.float32)


def _stage(positions: int | None) -> int:
    """Return the largest divisor up to the square root, or 1 if the number of positions is not known."""
    if positions is None:
        return 1
    return next(width for width in range(math.isqrt(positions), 0, -1) if positions % width == 0)


def _wide(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def gradients_alone(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `sum_c alpha_c` at every position: Grad-CAM without F.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Fig. 4.
    """
    alpha = mean_over_positions(gradients)
    return tf.repeat(tf.reduce_sum(alpha, axis=1, keepdims=True), tf.shape(features)[1], axis=1)


def grad_cam_plus_plus(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `sum_c w_c F_pc`, with `w_c = sum_p a_pc ReLU(g_pc)` and `a_pc = 1 / (2 + g_pc sum_q F_qc)`.

    This is the form for a score exp(y). Its second and third derivatives are exp(y) g^2 and exp(y) g^3 if the
    network is piecewise linear. Numerator and denominator of the paper's a_pc are divided by exp(y) g^2. The factor
    exp(y) that remains in w_c is left out: it is the same at all cuts of an image, and with it the images with the
    largest logits would dominate a mean over images.

    The paper derives a_pc for features that are not negative. For other features its denominator can be zero, so the
    sum over q is taken of ReLU(F): it is the same after a ReLU, and never negative before one.

    Reference:
        Chattopadhay et al., Grad-CAM++, WACV 2018, arXiv:1710.11063.
    """
    features, rising = _wide(features), tf.nn.relu(_wide(gradients))
    total = tf.reduce_sum(tf.nn.relu(features), axis=1, keepdims=True)
    return _over_channels(features, tf.reduce_sum(rising / (2.0 + rising * total), axis=1))


def hires_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `sum_c g_pc F_pc`, without a mean over positions.

    Reference:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv:2011.08891, 2020.
    """
    return tf.reduce_sum(_wide(features) * _wide(gradients), axis=2)


def layer_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `sum_c ReLU(g_pc) F_pc`.

    Reference:
        Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30, 2021.
    """
    return tf.reduce_sum(_wide(features) * tf.nn.relu(_wide(gradients)), axis=2)


def gradient_x_activation(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Return `g_pc F_pc` for each element separately.

    Reference:
        Shrikumar et al., Not Just a Black Box, arXiv:1605.01713, 2016, applied to a layer instead of the input.
    """
    return elements(_wide(features) * _wide(gradients))


def path_part(features: tuple[tf.Tensor, tf.Tensor], gradients: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Return the contribution of one step of a path to the line integral of g dF.

    It is the mean of g at the two ends of the step times the change of F.

    Args:
        features: F at the start and the end of the step.
        gradients: g at the start and the end of the step.

    Returns:
        float32, the shape of F. At a cut of one tensor, the sum over all steps and elements is y at the end of the
        path minus y at its start, up to an error that shrinks with the length of the steps.

    Reference:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017 (path methods); Shrikumar, Su and
        Kundaje, Computationally Efficient Measures of Internal Neuron Importance, arXiv:1807.09946, 2018, for the
        sum over steps; here by the trapezoidal rule.
    """
    start, end = map(_wide, features)
    before, after = map(_wide, gradients)
    return 0.5 * (before + after) * (end - start)


def elements(by_position: tf.Tensor) -> tf.Tensor:
    """Reshape `(N, P, C)` to a map of single elements, `(N, P * C)`."""
    shape = tf.shape(by_position)
    return tf.reshape(by_position, [shape[0], shape[1] * shape[2]])


def cumulate(maps: tf.Tensor) -> tf.Tensor:
    """Return the sum of the positive part of each image's map: its cumulated importance (CUI) at the cut.

    Args:
        maps: float32 `(N, P)`.

    Returns:
        float32 `(N,)`; NaN if the map holds a value that is not finite.
    """
    total = tf.reduce_sum(tf.nn.relu(maps), axis=1)
    return tf.where(tf.math.is_finite(tf.reduce_sum(maps, axis=1)), total, float("nan"))


def score(logits: tf.Tensor, labels: tf.Tensor, *, binary_unit: bool) -> tf.Tensor:
    """Return the score y of each image: the logit of its class.

    Args:
        logits: `(N, units)`.
        labels: int64 `(N,)`.
        binary_unit: Whether one unit stands for two classes. The score is then the logit for class 1, and minus the
            logit for class 0.

    Returns:
        float32 `(N,)`.
    """
    values = tf.cast(logits, tf.float32)
    if binary_unit:
        return values[:, 0] * tf.cast(2 * labels - 1, tf.float32)
    return tf.gather(values, labels, batch_dims=1)


def predicted(logits: tf.Tensor, *, binary_unit: bool) -> tf.Tensor:
    """Return the class that the model predicts for each image, int64 `(N,)`."""
    if binary_unit:
        return tf.cast(logits[:, 0] > 0, tf.int64)
    return tf.argmax(logits, axis=1)


@dataclass(frozen=True)
class Method:
    """A method to measure the importance of a cut.

    Attributes:
        title: The name for tables and messages.
        maps: The kernel that computes a map from features and gradients, or from attributions of elements.
        on_path: Whether gradients are integrated along the path from an input of zeros to the image.
    """

    title: str
    maps: Callable[..., tf.Tensor]
    on_path: bool = False


METHODS = {
    "grad_cam": Method("Grad-CAM", grad_cam),
    "gradients": Method("Gradients", gradients_alone),
    "grad_cam++": Method("Grad-CAM++", grad_cam_plus_plus),
    "hires_cam": Method("HiResCAM", hires_cam),
    "layer_cam": Method("LayerCAM", layer_cam),
    "gradient_x_activation": Method("Gradient times activation", gradient_x_activation),
    "layer_integrated_gradients": Method("Layer integrated gradients", elements, on_path=True),
}


def title(method: str) -> str:
    """Return the title of a method; an unknown name, such as in a file of a later release, is returned unchanged."""
    return METHODS[method].title if method in METHODS else method
