"""Statistics of scores against accuracies, on arrays alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: The figure.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation of two vectors, ties by mean ranks; 0 if one of them is constant.

    Reference:
        Spearman, "The proof and measurement of association between two things", 1904.
    """
    return _pearson(stats.rankdata(x), stats.rankdata(y))


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Return Kendall's tau-b of two vectors; 0 if one of them is constant.

    Reference:
        Kendall, "The treatment of ties in ranking problems", 1945.
    """
    return float(np.nan_to_num(stats.kendalltau(x, y).statistic))


def partial_spearman(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Return Spearman's correlation of x and y with the ranks of a third vector removed from both.

    NaN if the third vector explains x or y completely.

    Reference:
        Kendall, "Partial rank correlation", 1942; here for Spearman's coefficients.
    """
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    rest = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / np.sqrt(rest)) if rest > 1e-12 else float("nan")


def permutation_p(
    scores: list[np.ndarray], accuracies: list[np.ndarray], *, draws: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of the mean Spearman correlation over studies.

    Its permutations exchange cuts within each study.

    Args:
        scores: A vector of scores for each study.
        accuracies: A vector of accuracies for each study.
        draws: Number of random permutations.
        seed: Seed of the permutations.

    Returns:
        The p-value, at least 1 / (draws + 1).

    Reference:
        Phipson, Smyth, "Permutation p-values should never be zero", 2010.
    """
    rng = np.random.default_rng(seed)
    observed = abs(np.mean([spearman(x, y) for x, y in zip(scores, accuracies, strict=True)]))
    drawn = np.zeros(draws)
    for x, y in zip(scores, accuracies, strict=True):
        score_ranks = _standardised(stats.rankdata(x))
        accuracy_ranks = _standardised(stats.rankdata(y))
        drawn += rng.permuted(np.tile(score_ranks, (draws, 1)), axis=1) @ accuracy_ranks / len(scores)
    return float((1 + np.count_nonzero(np.abs(drawn) >= observed - 1e-12)) / (draws + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number.

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    ranked = sorted(p_values, key=lambda name: p_values[name])
    corrected, highest = {}, 0.0
    for rank, name in enumerate(ranked):
        highest = max(highest, min(1.0, (len(ranked) - rank) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def resampled_accuracies(right: np.ndarray, *, draws: int = 2_000, seed: int = 0) -> np.ndarray:
    """Return bootstrap samples of each cut's accuracy, with seeds and test images drawn with replacement.

    Args:
        right: bool `(n_seeds, n_cuts, n_images)`: whether an image was classified right.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        float64 `(draws, n_cuts)`: means over the drawn seeds and images. All cuts share the images of a draw.

    Reference:
        Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    rng = np.random.default_rng(seed)
    n_seeds, n_cuts, n_images = right.shape
    accuracies = np.empty((draws, n_cuts))
    for k in range(draws):
        images = np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
        seeds = np.bincount(rng.integers(n_seeds, size=n_seeds), minlength=n_seeds)
        accuracies[k] = np.tensordot(seeds, right @ images, 1) / (n_seeds * n_images)
    return accuracies


def bootstrapped(value: float, draws: np.ndarray) -> Estimate:
    """Return a figure with the interval between the 2.5th and 97.5th percentile of its draws."""
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def spearman_each(score: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of one score `(n_cuts,)` with each row of `(draws, n_cuts)`."""
    ranks = stats.rankdata(accuracies, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((ranks**2).sum(axis=1))
    return np.where(norms > 0, ranks @ _standardised(stats.rankdata(score)) / np.where(norms > 0, norms, 1), 0.0)


def noise_ceiling(accuracies: np.ndarray) -> float | None:
    """Return the mean Spearman correlation between seeds' accuracies `(n_seeds, n_cuts)`; None for one seed."""
    n_seeds = len(accuracies)
    pairs = [(a, b) for a in range(n_seeds) for b in range(a)]
    return float(np.mean([spearman(accuracies[a], accuracies[b]) for a, b in pairs])) if pairs else None


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(_standardised(x) @ _standardised(y))


def _standardised(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean()
    norm = np.sqrt((centred**2).sum())
    return centred / norm if norm > 0 else centred
