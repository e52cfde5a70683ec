"""A sequential test that decides when enough images were measured. It may be evaluated after every batch.

A curve makes one claim for each cut between the ends, that it is a peak or that it is not, and one for the best cut,
that it is above every other peak. The curve is settled once all claims together reach the confidence. A difference of
less than a twentieth is a tie, for which either answer is right (the indifference zone of Bechhofer, Annals of
Mathematical Statistics 25, 1954); otherwise two nearly equal cuts would need all available images.

- All cuts are measured on the same images, so a claim is tested on paired differences. Let X_j and X_k be the
  importance of an image at two cuts, D = X_j - 0.95 X_k, and T = sqrt(n) mean(D) / deviation(D) after n images. The
  claim that cut j is above cut k, or tied with it, has the p-value
  min(1, sqrt(1 + n r) exp(-T^2 n r / (2 (1 + n r)))), or 1 if T < 0. This is a normal mixture: the probability that
  it EVER falls below a level is at most that level, so evaluating it after each batch needs no correction (Robbins,
  Annals of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021).
  With an estimated deviation this holds as n grows, for any distribution with a finite deviation (Waudby-Smith,
  Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 52, 2024). r makes the test most powerful near 64 images.
- A peak is above both neighbours, so its p-value is the larger of the two. Any other cut is below at least one
  neighbour, so its p-value is the smaller of the two. Testing the best peak against the strongest other peak needs no
  further correction (Gutmann and Maymin, Annals of Statistics 15, 1987).
- Holm's correction is applied over the claims (Scandinavian Journal of Statistics 6, 1979).
- Images come in an order that keeps each class in proportion, so the deviation is the one within classes (stratified
  sampling).
"""

import math

import numpy as np

from .statistics import best_position, peak_positions

FIRST_LOOK = 32
TIE = 0.05
_TUNED_FOR = 64


class Settling:
    """A running test of how sure the curve's best cut and peaks are, updated with each batch.

    Args:
        n_cuts: Number of cuts.
        n_classes: Number of classes.
        confidence: The confidence to reach, between 0 and 1.
    """

    def __init__(self, n_cuts: int, n_classes: int, confidence: float):
        self.wanted = confidence
        self._counts = np.zeros(n_classes, np.int64)
        self._means = np.zeros((n_classes, n_cuts))
        self._within = np.zeros((n_cuts, n_cuts))

    def add(self, labels: np.ndarray, values: np.ndarray) -> None:
        """Add the importance of some images: labels int64 `(N,)`, values float64 `(N, n_cuts)`."""
        for label in np.unique(labels):
            rows = values[labels == label]
            old, new = self._counts[label], len(rows)
            mean = rows.mean(axis=0)
            step = mean - self._means[label]
            self._within += (rows - mean).T @ (rows - mean) + np.outer(step, step) * (old * new / (old + new))
            self._means[label] += step * (new / (old + new))
            self._counts[label] += new

    @property
    def settled(self) -> bool:
        """Return whether the requested confidence is reached."""
        return self.reached >= self.wanted

    @property
    def reached(self) -> float:
        """Return the confidence in best cut and peaks, from 0 to 1; 0 before the first test, at 32 images."""
        n = int(self._counts.sum())
        if n < FIRST_LOOK:
            return 0.0
        means, covariance = self._moments(n)
        above = p_above(means, covariance, n, 1 - self.wanted)
        p = np.sort(_claims(means, above))
        return 1.0 - min(1.0, max((p * np.arange(len(p), 0, -1)).tolist(), default=0.0))

    def _moments(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the covariance of the cuts.

        The covariance is the one within classes if there are at least two images per class on average, else the total.
        """
        means = self._counts @ self._means / n
        classes = np.count_nonzero(self._counts)
        if n >= 2 * classes:
            return means, self._within / (n - classes)
        between = self._means - means
        return means, (self._within + between.T @ (between * self._counts[:, None])) / (n - 1)


def p_above(means: np.ndarray, covariance: np.ndarray, n: int, level: float) -> np.ndarray:
    """Return the p-values of the claims that one cut is above another, or below it by less than a tie.

    They are valid at every evaluation of the test, as stated in this module's docstring.

    Args:
        means: Mean importance of the cuts, `(K,)`.
        covariance: Covariance of the cuts over images, `(K, K)`.
        n: Number of images.
        level: The level that the test is tuned for, between 0 and 1.

    Returns:
        `(K, K)`: row j, column k for the claim that j is above k.
    """
    factor = 1 - TIE
    difference = means[:, None] - factor * means
    cut_variances = np.diag(covariance)
    variance = cut_variances[:, None] + factor**2 * cut_variances - 2 * factor * covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        t2 = np.where(difference > 0, n * difference**2 / np.maximum(variance, 0), 0.0)
    mixing = n / _TUNED_FOR * (-2 * math.log(level) + math.log(1 - 2 * math.log(level)))
    return np.exp(np.minimum(0.0, 0.5 * math.log1p(mixing) - 0.5 * t2 * mixing / (1 + mixing)))


def _claims(means: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return the p-value of each claim of the curve."""
    peaks = peak_positions(means)
    p_values = []
    for k in range(1, len(means) - 1):
        neighbours = (k - 1, k + 1)
        p_values.append(max(above[k, j] for j in neighbours) if k in peaks else min(above[j, k] for j in neighbours))
    best = best_position(means, peaks)
    # Without a peak a curve falls, rises, or falls and then rises. The best is then the first or the last but one.
    rivals = set(peaks or (0, len(means) - 2)) - {best}
    if len(means) > 2 and rivals:
        p_values.append(max(above[best, k] for k in rivals))
    return np.array(p_values)
