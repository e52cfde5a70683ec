"""When enough images were seen: a test that may be looked at after every batch.

A curve is settled once all of its claims are sure together: of each cut between the ends that it is a peak, or that it
is none, and of the best cut that it is above every other peak. A difference of less than a twentieth is a tie, and
either answer is right (the indifference zone of Bechhofer, Annals of Mathematical Statistics 25, 1954): two cuts that
are nearly equal would otherwise need all images there are.

- All cuts see the same images, so that a claim rests on a difference image by image. With D = X_j - 0.95 X_k of two
  cuts' importance and T = sqrt(n) mean(D) / deviation(D) after n images, the claim that cut j is above cut k, or tied,
  has the p-value min(1, sqrt(1 + n r) exp(-T^2 n r / (2 (1 + n r)))), or 1 where T < 0. This is a normal mixture: the
  chance that it EVER falls below a level is at most that level, so that looking after each batch costs nothing more
  (Robbins, Annals of Mathematical Statistics 41, 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49,
  2021). With an estimated deviation it holds for any distribution that has one, as n grows (Waudby-Smith, Arbour,
  Sinha, Kennedy and Ramdas, Annals of Statistics 52, 2024). r makes it most powerful near 64 images.
- A peak is above both neighbours, so its p-value is the larger of two; any other cut is below at least one, so the
  smaller. The best peak against the strongest of the others needs no further correction (Gutmann and Maymin, Annals of
  Statistics 15, 1987).
- Over the claims, Holm's correction (Scandinavian Journal of Statistics 6, 1979).
- Images come with every class in its share, so the deviation is that within classes (stratified sampling).
"""

import math

import numpy as np

from .statistics import best_position, peak_positions

FIRST_LOOK = 32
TIE = 0.05
_TUNED_FOR = 64


class Settling:
    """Watches the importance of images come in, and says how sure the curve's best cut and peaks are.

    Args:
        n_cuts: Number of cuts.
        n_classes: Number of classes.
        confidence: What is to be reached, between 0 and 1.
    """

    def __init__(self, n_cuts: int, n_classes: int, confidence: float):
        self.wanted = confidence
        self._counts = np.zeros(n_classes, np.int64)
        self._means = np.zeros((n_classes, n_cuts))
        self._within = np.zeros((n_cuts, n_cuts))

    def add(self, labels: np.ndarray, values: np.ndarray) -> None:
        """Take in the importance of some images: labels int64 `(N,)`, values float64 `(N, n_cuts)`."""
        for label in np.unique(labels):
            mine = values[labels == label]
            seen, new = self._counts[label], len(mine)
            mean = mine.mean(axis=0)
            step = mean - self._means[label]
            self._within += (mine - mean).T @ (mine - mean) + np.outer(step, step) * (seen * new / (seen + new))
            self._means[label] += step * (new / (seen + new))
            self._counts[label] += new

    @property
    def settled(self) -> bool:
        """Whether the confidence that was wanted is reached."""
        return self.reached >= self.wanted

    @property
    def reached(self) -> float:
        """How sure best cut and peaks are, from 0 to 1; 0 before the first look, at 32 images."""
        n = int(self._counts.sum())
        if n < FIRST_LOOK:
            return 0.0
        means, covariance = self._moments(n)
        above = p_above(means, covariance, n, 1 - self.wanted)
        p = np.sort(_claims(means, above))
        return 1.0 - min(1.0, max((p * np.arange(len(p), 0, -1)).tolist(), default=0.0))

    def _moments(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the covariance of the cuts, within classes where two images of each were seen on average."""
        means = self._counts @ self._means / n
        classes = np.count_nonzero(self._counts)
        if n >= 2 * classes:
            return means, self._within / (n - classes)
        between = self._means - means
        return means, (self._within + between.T @ (between * self._counts[:, None])) / (n - 1)


def p_above(means: np.ndarray, covariance: np.ndarray, n: int, level: float) -> np.ndarray:
    """The p-values, good at every look, of the claims that one cut is above another, or below it by less than a tie.

    Args:
        means: `(K,)`.
        covariance: `(K, K)`, of the cuts in one image.
        n: Images seen.
        level: Between 0 and 1; what the test is tuned for.

    Returns:
        `(K, K)`: row j, column k for the claim that j is above k.
    """
    least = 1 - TIE
    difference = means[:, None] - least * means
    spread = np.diag(covariance)
    variance = spread[:, None] + least**2 * spread - 2 * least * covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        t2 = np.where(difference > 0, n * difference**2 / np.maximum(variance, 0), 0.0)
    mixing = n / _TUNED_FOR * (-2 * math.log(level) + math.log(1 - 2 * math.log(level)))
    return np.exp(np.minimum(0.0, 0.5 * math.log1p(mixing) - 0.5 * t2 * mixing / (1 + mixing)))


def _claims(means: np.ndarray, above: np.ndarray) -> np.ndarray:
    """The p-value of each claim that the curve makes."""
    peaks = peak_positions(means)
    p = []
    for k in range(1, len(means) - 1):
        sides = (k - 1, k + 1)
        p.append(max(above[k, j] for j in sides) if k in peaks else min(above[j, k] for j in sides))
    best = best_position(means, peaks)
    # Without a peak a curve falls, rises, or falls and then rises: its best is one of two cuts.
    others = set(peaks or (0, len(means) - 2)) - {best}
    if len(means) > 2 and others:
        p.append(max(above[best, k] for k in others))
    return np.array(p)
