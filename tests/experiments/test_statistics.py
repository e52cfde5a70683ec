"""The statistics, against numbers worked out by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from isplit_tf.experiments.statistics import (
    bootstrapped,
    holm,
    kendall,
    noise_ceiling,
    partial_spearman,
    permutation_p,
    resampled_accuracies,
    spearman,
    spearman_each,
)


def test_spearman_and_kendall_are_scipys():
    """Ranks with ties, both coefficients."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(6, size=(2, 12)).astype(float)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


def test_a_constant_predicts_nothing():
    """A score that is the same everywhere correlates by 0, not NaN."""
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0
    assert kendall(np.ones(4), np.arange(4.0)) == 0.0


def test_partial_correlation_takes_out_what_depth_explains():
    """By hand: with rank correlations xy 0.8, xz 0.6, yz 0.5: (0.8 - 0.3) / sqrt(0.64 * 0.75) = 0.7217."""
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 200))
    y, x = y + z, x + z
    xy, xz, yz = spearman(x, y), spearman(x, z), spearman(y, z)
    assert partial_spearman(x, y, z) == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    assert abs(partial_spearman(x, y, z)) < 0.2 < xy, "x and y share nothing but z"
    assert np.isnan(partial_spearman(z, y, z)), "nothing of z is left"


def test_holm_by_hand():
    """p = 0.01, 0.04, 0.03 of three: 0.03, then max(2 * 0.03, 0.03) = 0.06, then max(0.06, 0.04) = 0.06."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_permutations_agree_with_the_exact_test():
    """Seven values: all 5,040 permutations give the p-value that 10,000 random ones come near."""
    x, y = np.arange(7.0), np.array([2.0, 0, 1, 4, 3, 6, 5])
    exact = stats.permutation_test(
        (x,), lambda one: spearman(one, y), permutation_type="pairings", n_resamples=np.inf
    ).pvalue
    assert permutation_p([x], [y]) == pytest.approx(exact, abs=0.01)


def test_a_p_value_is_never_zero():
    """Perfect agreement of many values: 1 / (draws + 1)."""
    x = np.arange(30.0)
    assert permutation_p([x], [x], draws=99) == pytest.approx(0.01)


def test_correlations_of_many_draws_are_those_of_each():
    """The fast form for a bootstrap equals the plain one, ties included."""
    rng = np.random.default_rng(2)
    score, draws = rng.normal(size=9), rng.integers(5, size=(50, 9)).astype(float)
    assert spearman_each(score, draws) == pytest.approx([spearman(score, row) for row in draws], abs=1e-12)


def test_the_bootstrap_has_the_spread_of_a_binomial():
    """One seed and one cut: the standard deviation of the draws is sqrt(p (1 - p) / n)."""
    right = np.random.default_rng(3).random((1, 1, 400)) < 0.8
    draws = resampled_accuracies(right, draws=4000)
    p = right.mean()
    assert draws.mean() == pytest.approx(p, abs=0.002)
    assert draws.std() == pytest.approx(np.sqrt(p * (1 - p) / 400), rel=0.05)


def test_the_bootstrap_draws_the_same_images_at_every_cut():
    """Two cuts that are right on the same images differ in no draw; seeds that differ widen the interval."""
    row = np.random.default_rng(4).random(300) < 0.7
    same = resampled_accuracies(np.stack([[row, row]]), draws=200)
    assert np.array_equal(same[:, 0], same[:, 1])
    other = np.zeros(300, bool)
    mixed = resampled_accuracies(np.stack([[row], [other]]), draws=200)
    assert mixed.std() > 3 * same[:, 0].std()


def test_the_noise_ceiling_is_the_mean_over_pairs_of_seeds():
    """Three seeds: two that agree and one turned round give (1 - 1 - 1) / 3; one seed tells nothing."""
    up = np.arange(5.0)
    assert noise_ceiling(np.stack([up, up, -up])) == pytest.approx(-1 / 3)
    assert noise_ceiling(up[None]) is None


def test_an_estimate_has_percentiles():
    """Of 0 to 100 in steps of 1: 2.5 and 97.5."""
    estimate = bootstrapped(50, np.arange(101.0))
    assert (estimate.value, estimate.low, estimate.high) == (50, 2.5, 97.5)
