"""The arithmetic of importance: tensors in, tensors out.

A map kernel takes `features` and `gradients`, both `(N, P, C)`: the tensor F at a cut, and g = dy/dF of each image's
score y, P positions in space and time (1 for vectors), C channels. It gives the map before the ReLU in float32:
`(N, P)`, or `(N, P * C)` where each element counts on its own. Sums are taken in float32, whatever the precision.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

# Positions from which a mean is taken in two stages, and the shortest stage that pays.
_MANY, _SHORTEST = 128, 8


def by_position(tensor: tf.Tensor) -> tf.Tensor:
    """`(N, ..., C)` as `(N, P, C)`, in one operation where the dimensions are known: each has to be traced."""
    *space, channels = tensor.shape[1:]
    if None not in (*space, channels):
        return tf.reshape(tensor, [-1, math.prod(space), channels])
    shape = tf.shape(tensor)
    channels = tensor.shape[-1] or shape[-1]
    return tf.reshape(tensor, [shape[0], tf.reduce_prod(shape[1:-1]), channels])


def grad_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`sum_c alpha_c F_pc`, alpha_c the mean of g_pc over the positions.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Eq. 1 and 2; Selvaraju et al., Grad-CAM, ICCV 2017.
    """
    if features.dtype == gradients.dtype == tf.bfloat16:
        # Matrix products of bfloat16 are summed in float32: no wider copy of F and g is needed, only results round.
        alpha = tf.cast(mean_over_positions(gradients), tf.bfloat16)
        return tf.cast(_over_channels(features, alpha), tf.float32)
    return _over_channels(_wide(features), mean_over_positions(gradients))


def _over_channels(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """`sum_c w_c F_pc`: `(N, P)`. A row times the transpose of F takes half the time of `matvec` on a CPU."""
    return tf.squeeze(tf.matmul(tf.expand_dims(weights, 1), features, transpose_b=True), 1)


def mean_over_positions(tensor: tf.Tensor) -> tf.Tensor:
    """`(N, P, C)` to float32 `(N, C)`.

    Many positions are added up in two stages, since one float32 sum over them loses digits: of 224 x 224 equal
    numbers the fourth.
    """
    if tensor.dtype == tf.bfloat16:  # matrix products of bfloat16 are summed in float32, in blocks
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
    """The largest divisor up to the square root; 1 where the number is not known."""
    if positions is None:
        return 1
    return next(width for width in range(math.isqrt(positions), 0, -1) if positions % width == 0)


def _wide(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def gradients_alone(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`sum_c alpha_c` at every position: Grad-CAM without F.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Fig. 4.
    """
    alpha = mean_over_positions(gradients)
    return tf.repeat(tf.reduce_sum(alpha, axis=1, keepdims=True), tf.shape(features)[1], axis=1)


def grad_cam_plus_plus(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`sum_c w_c F_pc`, `w_c = sum_p a_pc ReLU(g_pc)`, `a_pc = 1 / (2 + g_pc sum_q F_qc)`.

    This is the form for a score exp(y), whose second and third derivatives are exp(y) g^2 and exp(y) g^3 where the
    network is piecewise linear; numerator and denominator of the paper's a_pc are divided by exp(y) g^2. The factor
    exp(y) that remains in w_c is left out: it is the same at all cuts of an image, and would let the images with
    the largest logits alone decide a mean over images.

    The paper derives a_pc for features that are not negative. Elsewhere its denominator passes through zero, so the
    sum over q is that of ReLU(F): the same after a ReLU, and at least 0 before one.

    Reference:
        Chattopadhay et al., Grad-CAM++, WACV 2018, arXiv:1710.11063.
    """
    features, rising = _wide(features), tf.nn.relu(_wide(gradients))
    total = tf.reduce_sum(tf.nn.relu(features), axis=1, keepdims=True)
    return _over_channels(features, tf.reduce_sum(rising / (2.0 + rising * total), axis=1))


def hires_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`sum_c g_pc F_pc`: no mean over positions.

    Reference:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv:2011.08891, 2020.
    """
    return tf.reduce_sum(_wide(features) * _wide(gradients), axis=2)


def layer_cam(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`sum_c ReLU(g_pc) F_pc`.

    Reference:
        Jiang et al., LayerCAM, IEEE Transactions on Image Processing 30, 2021.
    """
    return tf.reduce_sum(_wide(features) * tf.nn.relu(_wide(gradients)), axis=2)


def gradient_x_activation(features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """`g_pc F_pc`, each element on its own.

    Reference:
        Shrikumar et al., Not Just a Black Box, arXiv:1605.01713, 2016, at a layer in place of the input.
    """
    return elements(_wide(features) * _wide(gradients))


def path_part(features: tuple[tf.Tensor, tf.Tensor], gradients: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """What one step of a path adds to a line integral of g dF: the mean of g at its ends times what F changed by.

    Args:
        features: F at the start and the end of the step.
        gradients: g there.

    Returns:
        float32, the shape of F. Added up over the steps of a path, and over the elements of a tensor through which
        everything passes, it is y at the path's end minus y at its start, but for the step's length.

    Reference:
        Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017 (path methods); Shrikumar, Su and
        Kundaje, Computationally Efficient Measures of Internal Neuron Importance, arXiv:1807.09946, 2018, for the
        sum over steps; here by the trapezoidal rule.
    """
    start, end = map(_wide, features)
    before, after = map(_wide, gradients)
    return 0.5 * (before + after) * (end - start)


def elements(by_position: tf.Tensor) -> tf.Tensor:
    """`(N, P, C)` as a map of single elements, `(N, P * C)`."""
    shape = tf.shape(by_position)
    return tf.reshape(by_position, [shape[0], shape[1] * shape[2]])


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


@dataclass(frozen=True)
class Method:
    """A way to score a cut.

    Attributes:
        title: Its name in print.
        maps: The kernel that makes a map of features and gradients, or of the elements' attributions alone.
        on_path: Whether gradients are added up on the way from an input of zeros to the image.
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
    """A method's name in print; a name that is not known, as in a file of a later release, stays as it is."""
    return METHODS[method].title if method in METHODS else method
