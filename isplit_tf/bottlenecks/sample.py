"""Rows of patches that are too large for matrices of all their elements: a sample of them, in constant memory."""

import math
from collections.abc import Sequence

import numpy as np

from .linear_map import Fitted, solve_rows
from .moments import Moments
from .patches import elements_on_grid, patch_rows

# Elements of a patch up to which full matrices are kept and taken apart.
LARGE = 4096
# Rows that are kept of features, and as many of gradients; and elements of them at most, which take 128 MiB.
_ROWS = 2048
_MOST = 2**25


class Sample:
    """Up to 2,048 patches, fewer where they are very large, and their gradients; the counterpart of `Moments`.

    Each patch of the data is as likely as any other.

    Args:
        shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`.
        patch: Elements on each axis besides the channels.
    """

    def __init__(self, shape: Sequence[int], patch: Sequence[int]):
        *space, self.channels = shape
        self.patch = tuple(patch)
        self.size = math.prod(self.patch) * self.channels
        self._elements = elements_on_grid(space, self.patch)
        self._features: list[np.ndarray] = []
        self._gradients: list[np.ndarray] = []
        self._inside: list[int] = []
        self._seen = 0
        self._rows = min(_ROWS, _MOST // self.size)

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Takes a batch, float32 `(N, *shape)` each; `random`, one an image, chooses a patch and what it replaces."""
        for k, one in enumerate(random):
            position = int(one.integers(len(self._elements)))
            self._seen += 1
            place = self._seen - 1
            if place >= self._rows:
                place = int(one.integers(self._seen))
                if place >= self._rows:
                    continue
            chosen = np.array([[position]])
            _put(self._features, place, patch_rows(features[k : k + 1], self.patch, chosen)[0].copy())
            _put(self._inside, place, int(self._elements[position]))
            if gradients is not None:
                _put(self._gradients, place, patch_rows(gradients[k : k + 1], self.patch, chosen)[0].copy())

    def fit(self, k: int) -> Fitted:
        """The projection onto k numbers."""
        rows = np.stack(self._features)
        mean = rows.reshape(-1, self.channels).sum(axis=0, dtype=np.float64) / (sum(self._inside))
        away = rows - np.tile(mean, self.size // self.channels).astype(np.float32)
        found = solve_rows(away, np.stack(self._gradients) if self._gradients else None, k)
        missed = away - (away @ found.encode.T.astype(np.float32)) @ found.decode.T.astype(np.float32)
        lost, energy = (float(np.sum(np.square(one, dtype=np.float64))) / len(rows) for one in (missed, rows))
        return Fitted(found, mean, lost, energy)


def _put(kept: list, place: int, value: object) -> None:
    if place == len(kept):
        kept.append(value)
    else:
        kept[place] = value


def collector(shape: Sequence[int], patch: Sequence[int], *, weighted: bool) -> Moments | Sample:
    """What collects the patches of features for a fit: sums of products, or rows where those would be too large."""
    large = math.prod(patch) * shape[-1] > LARGE
    return Sample(shape, patch) if large else Moments(shape, patch, weighted=weighted)
