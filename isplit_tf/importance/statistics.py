"""Running means and spreads for each class, in constant memory and for any order of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassStatistics:
    """Running statistics of vectors, class by class.

    Attributes:
        counts: int64 `(n_classes,)`, the number of vectors.
        means: float64 `(n_classes, n)`; 0 for a class without vectors.
        squares: float64 `(n_classes, n)`, the sum of squared distances to the mean.
    """

    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray

    @classmethod
    def empty(cls, n_classes: int, n: int) -> "ClassStatistics":
        """Return the statistics of no vectors."""
        return cls(np.zeros(n_classes, np.int64), np.zeros((n_classes, n)), np.zeros((n_classes, n)))

    @classmethod
    def of(cls, labels: np.ndarray, values: np.ndarray, n_classes: int) -> "ClassStatistics":
        """Return the statistics of some vectors.

        Args:
            labels: Class of each vector, int64 `(N,)`.
            values: The vectors, `(N, n)`.
            n_classes: Number of classes.
        """
        values = values.astype(np.float64)
        counts = np.bincount(labels, minlength=n_classes)
        means = np.zeros((n_classes, values.shape[1]))
        np.add.at(means, labels, values)
        means /= np.maximum(counts, 1)[:, None]
        squares = np.zeros_like(means)
        np.add.at(squares, labels, (values - means[labels]) ** 2)
        return cls(counts, means, squares)

    def merge(self, other: "ClassStatistics") -> "ClassStatistics":
        """Return the statistics of both sets together (Chan, Golub and LeVeque, 1979)."""
        counts = self.counts + other.counts
        share = (other.counts / np.maximum(counts, 1))[:, None]
        distance = other.means - self.means
        return ClassStatistics(
            counts,
            self.means + distance * share,
            self.squares + other.squares + distance**2 * (self.counts[:, None] * share),
        )

    def only(self, classes: np.ndarray) -> "ClassStatistics":
        """Return the statistics of the given classes; all other classes count as empty."""
        keep = np.zeros(len(self.counts), bool)
        keep[classes] = True
        return ClassStatistics(
            np.where(keep, self.counts, 0),
            np.where(keep[:, None], self.means, 0.0),
            np.where(keep[:, None], self.squares, 0.0),
        )

    def pooled(self) -> "ClassStatistics":
        """Return the statistics with all classes pooled into one."""
        total = self.counts.sum()
        mean = self.counts @ self.means / max(total, 1)
        squares = self.squares.sum(axis=0) + self.counts @ (self.means - mean) ** 2
        return ClassStatistics(np.array([total]), mean[None], squares[None])


def peak_positions(values: Sequence[float] | np.ndarray) -> list[int]:
    """Return the positions of the local maxima. A plateau counts as its first position; the ends are no maxima."""
    peaks = []
    k = 1
    while k < len(values) - 1:
        end = k
        while end + 1 < len(values) and values[end + 1] == values[k]:
            end += 1
        if end < len(values) - 1 and values[k - 1] < values[k] > values[end + 1]:
            peaks.append(k)
        k = end + 1
    return peaks


def best_position(values: np.ndarray, peaks: Sequence[int]) -> int:
    """Return the position of the highest peak, or of the highest value except the last if there is no peak."""
    if peaks:
        return max(peaks, key=lambda k: values[k])
    return int(np.argmax(values[:-1])) if len(values) > 1 else 0
