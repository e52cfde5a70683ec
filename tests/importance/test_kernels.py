"""The arithmetic of importance, against numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.importance import kernels
from isplit_tf.importance.kernels import METHODS, by_position, cumulate, predicted, score

pytestmark = pytest.mark.numerical

# One image, two positions, two channels.
FEATURES = tf.constant([[[[1.0, 2.0]], [[3.0, -4.0]]]])
GRADIENTS = tf.constant([[[[1.0, 0.0]], [[3.0, -2.0]]]])


def importance_maps(features, gradients, method="grad_cam") -> np.ndarray:
    """The map of tensors as they stand at a cut."""
    return METHODS[method].maps(by_position(features), by_position(gradients)).numpy()


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        # alpha = (mean(1, 3), mean(0, -2)) = (2, -1): (2*1 - 1*2, 2*3 - 1*-4)
        ("grad_cam", [0.0, 10.0]),
        # alpha_1 + alpha_2 at either position
        ("gradients", [1.0, 1.0]),
        # sums of ReLU(F): 4 and 2. w_1 = 1/(2 + 1*4) + 3/(2 + 3*4) = 8/21; w_2 = 0, as no gradient is positive
        ("grad_cam++", [8 / 21, 24 / 21]),
        # 1*1 + 0*2 and 3*3 + -2*-4
        ("hires_cam", [1.0, 17.0]),
        # the negative gradient left out: 1*1 + 0*2 and 3*3
        ("layer_cam", [1.0, 9.0]),
        # each element on its own, position by position
        ("gradient_x_activation", [1.0, 0.0, 9.0, 8.0]),
    ],
)
def test_maps_by_hand(method, wanted):
    """Two positions, two channels: each method's map, worked out by hand."""
    np.testing.assert_allclose(importance_maps(FEATURES, GRADIENTS, method), [wanted], rtol=1e-6)


def test_grad_cam_plus_plus_is_the_ratio_of_derivatives():
    """Features >= 0, Y = exp(y): a = D2 / (2 D2 + D3 sum F), w = sum a ReLU(D1) / exp(y), Dk the k-th derivative."""
    rng = np.random.default_rng(0)
    f, g, y = rng.gamma(1.0, size=(6, 3)), rng.normal(size=(6, 3)), 1.7
    first, second, third = (np.exp(y) * g**k for k in (1, 2, 3))
    a = second / (2 * second + third * f.sum(axis=0))
    wanted = f @ (a * np.maximum(first, 0)).sum(axis=0) / np.exp(y)
    np.testing.assert_allclose(importance_maps(f[None], g[None], "grad_cam++")[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("gradient", [0.0, 1.0, -1.0])
def test_grad_cam_plus_plus_has_no_pole(gradient):
    """Features that add up to -2 would make the denominator 2 + g sum F zero for a gradient of 1."""
    maps = importance_maps(np.array([[[-2.0], [0.0]]]), np.array([[[gradient], [0.0]]]), "grad_cam++")
    np.testing.assert_allclose(maps, [[-max(gradient, 0), 0.0]])


def test_path_part_is_the_mean_gradient_times_the_change():
    """From F = (1, 4) to (3, 3) with gradients (1, 2) and (3, 0): (2 * 2, 1 * -1), in float32."""
    half = [tf.constant(one, tf.bfloat16) for one in ([1.0, 4.0], [3.0, 3.0], [1.0, 2.0], [3.0, 0.0])]
    part = kernels.path_part((half[0], half[1]), (half[2], half[3]))
    assert part.dtype == tf.float32
    np.testing.assert_array_equal(part, [4.0, -1.0])


def test_cumulate_adds_the_positive_part_only():
    """ReLU(4) + ReLU(-7) = 4."""
    np.testing.assert_array_equal(cumulate(tf.constant([[4.0, -7.0]])), [4.0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_cumulate_does_not_hide_what_is_not_finite(bad):
    """A ReLU would turn minus infinity into zero; the sum must say NaN instead, and only for that image."""
    total = cumulate(tf.constant([[1.0, bad], [1.0, 2.0]])).numpy()
    assert np.isnan(total[0])
    assert total[1] == 3.0


def test_vectors_need_no_average():
    """(D,): alpha is the gradient itself, the map one number: 1*2 + 3*-1 = -1."""
    maps = importance_maps(tf.constant([[1.0, 3.0]]), tf.constant([[2.0, -1.0]]))
    np.testing.assert_array_equal(maps, [[-1.0]])


def test_sequences_average_over_time():
    """(T, D) = (2, 1): alpha = mean(1, 5) = 3, map = (3*2, 3*-1)."""
    maps = importance_maps(tf.constant([[[2.0], [-1.0]]]), tf.constant([[[1.0], [5.0]]]))
    np.testing.assert_array_equal(maps, [[6.0, -3.0]])


@pytest.mark.parametrize("positions", [100, 224 * 224, 50_021, 2 * 251, 16_000])
@pytest.mark.parametrize("known", [True, False])
def test_the_mean_over_many_positions_keeps_its_digits(positions, known):
    """Equal numbers, where a running float32 sum drifts, and numbers of both signs: as float64 has it, to 5e-6."""
    rng = np.random.default_rng(0)
    equal, mixed = np.full((2, positions, 3), 0.1, "f4"), rng.normal(0.3, 1, (2, positions, 3)).astype("f4")
    shape = tf.TensorSpec([None, positions if known else None, 3])
    mean = tf.function(kernels.mean_over_positions, input_signature=[shape])
    for values in (equal, mixed):
        np.testing.assert_allclose(mean(values), values.astype("f8").mean(axis=1), rtol=5e-6)


def test_low_precision_is_summed_in_float32():
    """In float16 the sum of 4,096 ones and their products would stop at 2,048."""
    ones = tf.ones([1, 64, 64, 1], tf.float16)
    assert cumulate(importance_maps(ones, ones)).numpy()[0] == 4096.0


def test_score_of_several_units_is_the_logit_of_the_class():
    """Row by row, the entry of the label."""
    logits = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(score(logits, tf.constant([1, 0], tf.int64), binary_unit=False), [2.0, 3.0])


def test_score_of_one_unit_is_the_logit_or_minus_the_logit():
    """Class 1 has the logit, class 0 minus the logit."""
    logits = tf.constant([[1.5], [1.5]])
    np.testing.assert_array_equal(score(logits, tf.constant([1, 0], tf.int64), binary_unit=True), [1.5, -1.5])


def test_predicted_class():
    """The largest logit; with one unit, the sign."""
    np.testing.assert_array_equal(predicted(tf.constant([[1.0, 2.0], [3.0, -1.0]]), binary_unit=False), [1, 0])
    np.testing.assert_array_equal(predicted(tf.constant([[0.5], [-0.5]]), binary_unit=True), [1, 0])
