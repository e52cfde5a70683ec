"""The test that ends a pass early: its p-values, its promise over repeated looks, and what it counts as settled."""

import numpy as np
import pytest

from isplit_tf.importance.data_pass import stratified_order
from isplit_tf.importance.settling import TIE, Settling, p_above
from isplit_tf.importance.statistics import best_position, peak_positions


def test_p_value_by_hand():
    """n = 64, T = 4, level 0.05: n r = 5.9915 + ln 6.9915 = 7.9362, p = sqrt(8.9362) exp(-8 * 7.9362 / 8.9362)."""
    means = np.array([1.0, 0.5 / (1 - TIE)])
    covariance = np.diag([1.0, 0.0])  # the difference is 0.5 with a deviation of 1: T = 8 * 0.5
    p = p_above(means, covariance, 64, 0.05)
    np.testing.assert_allclose(p[0, 1], 2.98935 * np.exp(-7.10476), rtol=1e-4)
    assert p[1, 0] == 1.0


def gamma(rng: np.random.Generator, means: np.ndarray, n: int) -> np.ndarray:
    """Skewed importance of n images: each cut's share of what an image has, and an image's own size."""
    return means * rng.gamma(2.0, 0.5, (n, len(means))) * rng.gamma(3.0, 1 / 3, (n, 1))


def test_looking_after_every_batch_costs_nothing():
    """A cut below its neighbour by exactly a tie is called above it, ever in 16 looks, in at most 5 % of 300 runs."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        values = gamma(rng, np.array([1.0, 1 - TIE]), 512)
        p = [p_above(v.mean(axis=0), np.cov(v.T), len(v), 0.05) for v in (values[:n] for n in range(32, 513, 32))]
        wrong += min(one[1, 0] for one in p) <= 0.05
    assert wrong <= 0.05 * 300


def settle(values: np.ndarray, labels: np.ndarray | None = None, batch: int = 32) -> tuple[int, Settling]:
    """Take in images until settled; how many that were."""
    labels = np.zeros(len(values), int) if labels is None else labels
    rule = Settling(values.shape[1], labels.max() + 1, 0.95)
    for start in range(0, len(values), batch):
        rule.add(labels[start : start + batch], values[start : start + batch])
        if rule.settled:
            return start + batch, rule
    return len(values), rule


def test_a_clear_curve_settles_at_once_and_stays_as_it_is():
    """In 100 orders of 2,000 images: soon, and with best cut and peaks of all of them in at least 95."""
    values = gamma(np.random.default_rng(0), np.array([1.0, 2.0, 1.0, 1.5, 3.0, 2.0, 6.0]), 2000)
    same, seen = 0, []
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(2000)
        n, _ = settle(values[order])
        mean = values[order[:n]].mean(axis=0)
        same += peak_positions(mean) == [1, 4] and best_position(mean, [1, 4]) == 4
        seen.append(n)
    assert same >= 95
    assert np.median(seen) <= 128


def test_two_cuts_that_are_tied_do_not_hold_it_up():
    """A plateau of two cuts that differ by noise alone settles; the order within it is not claimed."""
    values = gamma(np.random.default_rng(0), np.array([1.0, 3.0, 3.0, 1.0, 4.0]), 4000)
    values[:, 2] = values[:, 1] * np.random.default_rng(1).normal(1.0, 0.01, 4000)
    n, _ = settle(values)
    assert n <= 512


def test_a_curve_that_is_flat_or_too_short_is_never_settled():
    """Zeros everywhere, and 31 images of anything."""
    _, rule = settle(np.zeros((200, 5)))
    assert rule.reached == 0.0
    _, rule = settle(np.tile([1.0, 5.0, 1.0, 2.0], (31, 1)) + np.random.default_rng(0).normal(0, 0.01, (31, 4)))
    assert rule.reached == 0.0


def test_one_or_two_cuts_leave_nothing_to_settle():
    """The best of them is the first, whatever the values."""
    for k in (1, 2):
        n, rule = settle(np.random.default_rng(0).gamma(2.0, size=(200, k)))
        assert (n, rule.reached) == (32, 1.0)


def test_classes_apart_count_as_classes_not_as_noise():
    """Two classes whose curves differ: what every image of a class shares is no spread."""
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    values = np.array([[10.0, 8.0, 7.0, 9.0], [10.0, 13.0, 7.0, 9.0]])[labels] * rng.gamma(200, 1 / 200, (2000, 4))
    together, _ = settle(values)
    apart, _ = settle(values, labels)
    assert apart < together


def test_moments_are_numpys():
    """Taken in batch by batch: the pooled covariance of two classes, and with one image per class that of all."""
    rng = np.random.default_rng(0)
    values, labels = rng.gamma(2.0, size=(50, 3)), rng.integers(0, 2, 50)
    rule = Settling(3, 50, 0.95)
    for part in np.array_split(np.arange(50), 7):
        rule.add(labels[part], values[part])
    means, covariance = rule._moments(50)
    np.testing.assert_allclose(means, values.mean(axis=0))
    within = sum((labels == c).sum() * np.cov(values[labels == c].T, bias=True) for c in (0, 1))
    np.testing.assert_allclose(covariance, within / 48)
    rule = Settling(3, 50, 0.95)
    rule.add(np.arange(50), values)
    np.testing.assert_allclose(rule._moments(50)[1], np.cov(values.T))


@pytest.mark.parametrize("counts", [[30, 30, 30], [80, 20, 1], [1, 0, 50]])
def test_every_beginning_holds_each_class_in_its_share(counts):
    """However the labels are sorted: to within two images, and every image comes once."""
    labels = np.repeat([0, 1, 2], counts)
    order = stratified_order(labels, seed=3)
    assert sorted(order.tolist()) == list(range(len(labels)))
    shares = np.array(counts) / len(labels)
    for n in range(1, len(labels) + 1):
        assert (np.abs(np.bincount(labels[order[:n]], minlength=3) - n * shares) < 2).all()


def test_within_a_class_the_order_is_random():
    """Another seed gives another order, the same seed the same."""
    labels = np.repeat([0, 1], 50)
    one, again, other = (stratified_order(labels, seed) for seed in (0, 0, 1))
    assert one.tolist() == again.tolist() != other.tolist()
    assert abs(np.corrcoef(np.arange(50), one[labels[one] == 0])[0, 1]) < 0.5
