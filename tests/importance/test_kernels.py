"""The arithmetic of importance, against numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.importance.kernels import cumulate, importance_maps, predicted, score

# One image, two positions, two channels.
FEATURES = tf.constant([[[[1.0, 2.0]], [[3.0, -4.0]]]])
GRADIENTS = tf.constant([[[[1.0, 0.0]], [[3.0, 2.0]]]])


def test_grad_cam_map_is_the_weighted_sum_over_channels():
    """alpha = (mean(1, 3), mean(0, 2)) = (2, 1); map = (2*1 + 1*2, 2*3 + 1*-4) = (4, 2)."""
    np.testing.assert_array_equal(importance_maps(FEATURES, GRADIENTS), [[4.0, 2.0]])


def test_gradients_leave_the_features_out():
    """sum of alpha = 2 + 1 = 3 at either position."""
    np.testing.assert_array_equal(importance_maps(FEATURES, GRADIENTS, with_features=False), [[3.0, 3.0]])


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
