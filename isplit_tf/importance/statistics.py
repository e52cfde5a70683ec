"""Running means and spreads for each class, in constant memory and for any order of the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

_ARRAYS = ("counts", "means", "squares")


@dataclass(frozen=True)
class ClassStatistics:
    """Running statistics of vectors, class by class.

    Attributes:
        counts: int64 `(n_classes,)`, the number of vectors.
        means: float64 `(n_classes, n)`; 0 for a class without vectors.
        squares: float64 `(n_classes, n)`, the sum of squared distances to the mean.
        images: The statistics of all images as one class, where an image may be of several classes; else None.
    """

    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    images: "ClassStatistics | None" = None

    def _with_several(self) -> bool:
        """Return whether some image is of several classes; each is of one at least."""
        return self.images is not None and bool(self.images.counts[0] != self.counts.sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a file; those of `images` where an image is of several classes."""
        own = {name: getattr(self, name) for name in _ARRAYS}
        return own | {f"images_{name}": getattr(self.images, name) for name in _ARRAYS if self._with_several()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "ClassStatistics":
        """Return the statistics in the arrays of a file; KeyError if one is missing."""
        images = None
        if "images_counts" in arrays:
            images = cls(arrays["images_counts"], arrays["images_means"], arrays["images_squares"])
        return cls(arrays["counts"], arrays["means"], arrays["squares"], images)

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

    @classmethod
    def of_label_sets(cls, labels: np.ndarray, values: np.ndarray) -> "ClassStatistics":
        """Return the statistics of images with several labels each. Those without a label are left out.

        Args:
            labels: `(N, n_classes)` of 0 and 1.
            values: A vector for each label of each image, in the order of `np.nonzero(labels)`, `(n_pairs, n)`.
        """
        return replace(
            cls.of(np.nonzero(labels)[1], values, labels.shape[1]),
            images=cls.of(np.zeros(np.count_nonzero(labels.any(axis=1)), np.int64), image_means(labels, values), 1),
        )

    def merge(self, other: "ClassStatistics") -> "ClassStatistics":
        """Return the statistics of both sets together (Chan, Golub and LeVeque, 1979)."""
        images = None
        if self.images is not None or other.images is not None:
            images = (self.images or self.pooled()).merge(other.images or other.pooled())
        counts = self.counts + other.counts
        share = (other.counts / np.maximum(counts, 1))[:, None]
        distance = other.means - self.means
        return ClassStatistics(
            counts,
            self.means + distance * share,
            self.squares + other.squares + distance**2 * (self.counts[:, None] * share),
            images,
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
        """Return the statistics with all classes pooled into one, each image once."""
        if self._with_several():
            return self.images or self
        total = self.counts.sum()
        mean = self.counts @ self.means / max(total, 1)
        squares = self.squares.sum(axis=0) + self.counts @ (self.means - mean) ** 2
        return ClassStatistics(np.array([total]), mean[None], squares[None])


def image_means(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean over the labels of each image that has any, float64 `(n_labelled, n)`.

    Args:
        labels: `(N, n_classes)` of 0 and 1.
        values: As in `ClassStatistics.of_label_sets`.
    """
    counts = labels.sum(axis=1)
    counts = counts[counts > 0]
    if not len(counts):
        return np.zeros((0, values.shape[1]))
    sums = np.add.reduceat(values.astype(np.float64), np.cumsum(counts) - counts, axis=0)
    return sums / counts[:, None]


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
