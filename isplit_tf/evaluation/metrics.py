"""Figures of classification, from arrays: confusion, recall, F1, the area under the ROC curve, Wilson's
interval."""

import math
from statistics import NormalDist

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the pairs of label (row) and prediction (column), int64 `(n_classes, n_classes)`."""
    pairs = labels * n_classes + predictions
    return np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def recall(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each row on the diagonal, NaN for an empty row; of the transpose it is the precision."""
    totals = confusion.sum(axis=1)
    return np.where(totals > 0, np.diag(confusion) / np.maximum(totals, 1), np.nan)


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN) per class, `(n_classes,)`; NaN for a class without images."""
    labelled, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return np.where(labelled > 0, 2 * np.diag(confusion) / np.maximum(labelled + predicted, 1), np.nan)


def rank_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the probability that a positive scores above a negative, ties counting half (Mann and Whitney).

    Args:
        positive: bool `(N,)`.
        scores: `(N,)`.

    Returns:
        The area under the ROC curve; NaN where there are no positives or no negatives.
    """
    n_positive = int(np.count_nonzero(positive))
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def wilson_interval(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of a probability, from `successes` in `trials`.

    Args:
        successes: 0 to `trials`.
        trials: At least 1.
        confidence: Between 0 and 1.

    Returns:
        Its lower and upper end, in [0, 1].

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n, p = trials, successes / trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The ends are exact there, which rounding would miss by a bit.
    return 0.0 if successes == 0 else centre - reach, 1.0 if successes == trials else centre + reach
