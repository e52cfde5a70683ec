"""Importance of images with several labels: each label's logit, and the mean over the labels that are present."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit
from isplit_tf.errors import DataError
from isplit_tf.importance.statistics import ClassStatistics, image_means

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 1))
    for k in range(3):
        x = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name=f"conv{k}")(x)
    return keras.Model(inputs, keras.layers.Dense(3, "sigmoid")(keras.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((10, 6, 6, 1), "float32")


# Ten images: without a label, with one, two and three.
LABELS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0],
                   [1, 1, 1]])  # fmt: skip


@pytest.fixture(scope="module")
def single(model, images):
    """The importance of each image for each label, measured one by one, `(10, 3, n_cuts)`."""
    return np.array(
        [
            [
                isplit.measure_importance(model, (images[k : k + 1], np.array([label])), **QUIET).values
                for label in range(3)
            ]
            for k in range(10)
        ]
    )


def test_the_mean_over_the_labels_that_are_present(model, images, single):
    """Images without a label are left out; each class has its own labels' mean; batches and streams change nothing."""
    present = LABELS.any(axis=1)
    expected = np.mean([single[k][LABELS[k] == 1].mean(axis=0) for k in np.flatnonzero(present)], axis=0)
    stream = tf.data.Dataset.from_tensor_slices((images, LABELS.astype("float32"))).batch(1)
    for data, options in (((images, LABELS), {}), ((images, LABELS), {"batch_size": 4}), (stream, {})):
        curve = isplit.measure_importance(model, data, **options, **QUIET)
        np.testing.assert_allclose(curve.values, expected, rtol=1e-6)
        assert curve.n_images == present.sum()
        np.testing.assert_array_equal(curve.counts, LABELS.sum(axis=0))
        by_label = [single[LABELS[:, label] == 1, label].mean(axis=0) for label in range(3)]
        np.testing.assert_allclose(curve.per_class, by_label, rtol=1e-6)


def test_one_hot_rows_are_classes(model, images):
    """Rows of a single label give the curve of the integers, to the bit."""
    labels = np.arange(10) % 3
    one = isplit.measure_importance(model, (images, labels), **QUIET)
    hot = isplit.measure_importance(model, (images, np.eye(3)[labels]), **QUIET)
    np.testing.assert_array_equal(hot.values, one.values)
    np.testing.assert_array_equal(hot.per_class, one.per_class)
    np.testing.assert_array_equal(hot.interval(), one.interval())
    assert hot.statistics.arrays().keys() == one.statistics.arrays().keys()


def test_merged_saved_and_of_some_labels(model, images, tmp_path):
    """Shards are merged to the whole curve, files keep the mean over images, one label's curve is its class's."""
    whole = isplit.measure_importance(model, (images, LABELS), **QUIET)
    shards = [isplit.measure_importance(model, (images[s], LABELS[s]), **QUIET) for s in (slice(0, 4), slice(4, 10))]
    merged = isplit.Curve.merge(shards)
    np.testing.assert_allclose(merged.values, whole.values, rtol=1e-9)
    merged.save(tmp_path / "curve.npz")
    loaded = isplit.Curve.load(tmp_path / "curve.npz")
    np.testing.assert_array_equal(loaded.values, merged.values)
    assert loaded.n_images == whole.n_images == 8
    np.testing.assert_allclose(whole.of_classes([1]).values, whole.per_class[1], rtol=1e-12)
    assert "8 images of 3 classes" in loaded.table()


def test_until_it_is_settled(model):
    """`confidence=` takes images with several labels in a mixed order, from arrays and from a stream."""
    rng = np.random.default_rng(1)
    x, y = rng.random((60, 6, 6, 1), "float32"), (rng.random((60, 3)) < 0.4).astype(int)
    for data in ((x, y), tf.data.Dataset.from_tensor_slices((x, y)).batch(8)):
        curve = isplit.measure_importance(model, data, confidence=0.8, **QUIET)
        assert curve.settled in (True, False)
        assert 30 < curve.n_images <= np.count_nonzero(y.any(axis=1))


def test_no_label_at_all(model, images):
    """There is nothing to measure."""
    with pytest.raises(DataError, match="No image of the data has a label"):
        isplit.measure_importance(model, (images, np.zeros((10, 3))), **QUIET)


def test_sanity_check_and_other_methods(model, images):
    """They take the same labels."""
    assert isplit.sanity_check(model, (images, LABELS), draws=1).n_images == LABELS.sum()
    for options in ({"method": "hires_cam"}, {"target": "predicted"}, {"reduction": "sum"}):
        assert np.isfinite(isplit.measure_importance(model, (images, LABELS), **options, **QUIET).values).all()


def test_statistics_by_hand():
    """Two images of labels {0, 1} and {1}: class means over pairs, the mean over images of their own means."""
    labels, pairs = np.array([[1, 1], [0, 0], [0, 1]]), np.array([[2.0], [4.0], [9.0]])
    np.testing.assert_array_equal(image_means(labels, pairs), [[3.0], [9.0]])
    found = ClassStatistics.of_label_sets(labels, pairs)
    np.testing.assert_array_equal(found.means, [[2.0], [6.5]])
    np.testing.assert_array_equal(found.pooled().means, [[6.0]])
    np.testing.assert_array_equal(found.pooled().counts, [2])
    back = ClassStatistics.from_arrays(found.merge(ClassStatistics.empty(2, 1)).arrays())
    np.testing.assert_array_equal(back.pooled().means, [[6.0]])
    np.testing.assert_array_equal(ClassStatistics.of_label_sets(labels[1:2], np.zeros((0, 1))).counts, [0, 0])
