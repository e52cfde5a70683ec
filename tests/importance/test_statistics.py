"""Running statistics: whatever the order and the shards, those of the whole."""

import numpy as np

from isplit_tf.importance.statistics import ClassStatistics


def test_shards_in_any_order_give_the_whole():
    """Means and squared distances of merged shards equal numpy's on all vectors, to rounding."""
    rng = np.random.default_rng(3)
    labels, values = rng.integers(0, 3, 100), rng.normal(1e6, 1.0, (100, 4))
    whole = ClassStatistics.empty(4, 4)
    for part in np.array_split(rng.permutation(100), 7):
        whole = whole.merge(ClassStatistics.of(labels[part], values[part], 4))
    for c in range(3):
        mine = values[labels == c]
        np.testing.assert_allclose(whole.means[c], mine.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(whole.squares[c], ((mine - mine.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-8)
    np.testing.assert_array_equal(whole.counts, [*np.bincount(labels), 0])


def test_pooled_forgets_the_classes():
    """All classes as one have the mean and the spread of all vectors."""
    labels, values = np.array([0, 0, 1]), np.array([[1.0], [3.0], [8.0]])
    pooled = ClassStatistics.of(labels, values, 2).pooled()
    assert pooled.counts.tolist() == [3]
    assert pooled.means.tolist() == [[4.0]]
    assert pooled.squares.tolist() == [[26.0]]  # 9 + 1 + 16


def test_only_keeps_some_classes():
    """A class left out is as if it had not been seen."""
    kept = ClassStatistics.of(np.array([0, 1]), np.array([[1.0], [3.0]]), 2).only(np.array([1]))
    assert kept.counts.tolist() == [0, 1]
    assert kept.pooled().means.tolist() == [[3.0]]
