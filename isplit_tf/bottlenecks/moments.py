"""Second moments of patches of features and of their gradients, in constant memory whatever the number of images."""

import math
from collections.abc import Sequence

import numpy as np

from .linear_map import Fitted, lost_variance, metric_of, solve
from .patches import elements_on_grid, patch_rows

# Positions of a map that are looked at in each image, and the multiply-accumulates that they may cost: neighbours say
# much the same, and on early layers all of them would cost more than the network itself.
_POSITIONS, _FEWEST_POSITIONS, _PRODUCTS = 64, 4, 2**25
# Sums of larger matrices are kept in float32: there are few of them, and they would fill the memory.
_LARGE = 2048
# Rows that one product takes: few of them would move the whole matrix through memory each time.
_ROWS = 2048


class Products:
    """The running sum of x x^T over rows x: products in float32, sums in float64, or float32 above 2,048 elements."""

    def __init__(self, size: int):
        self.sum = np.zeros((size, size), np.float64 if size <= _LARGE else np.float32)
        self._rows: list[np.ndarray] = []
        self._waiting = 0

    def add(self, rows: np.ndarray) -> None:
        """Takes rows, float32 `(n, size)`."""
        self._rows.append(rows)
        self._waiting += len(rows)
        if self._waiting >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Brings `sum` up to date."""
        if self._rows:
            rows = np.concatenate(self._rows)
            self.sum += rows.T @ rows
            self._rows, self._waiting = [], 0


class Moments:
    """Mean of each channel, covariance of patches, and mean product of the gradients of patches.

    The mean is one number a channel and not one an element of the patch, since a transposed convolution adds one
    number a channel; the covariance is taken about it.

    Args:
        shape: Features without the batch: `(H, W, C)`, `(T, D)` or `(D,)`.
        patch: Elements on each axis besides the channels.
        weighted: Whether gradients come too.
    """

    def __init__(self, shape: Sequence[int], patch: Sequence[int], *, weighted: bool):
        *space, self.channels = shape
        self.patch = tuple(patch)
        self.size = math.prod(self.patch) * self.channels
        self._elements = elements_on_grid(space, self.patch)
        self._looked_at = min(_POSITIONS, max(_FEWEST_POSITIONS, _PRODUCTS // self.size**2))
        self._features = Products(self.size)
        self._gradients = Products(self.size) if weighted else None
        self._rows = 0
        self._inside = 0  # elements, for each channel, that are not padding
        self._sum = np.zeros(self.size)
        self._shift = np.zeros(self.size, np.float32)

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Takes a batch, float32 `(N, *shape)` each; `random`, one an image, chooses positions of large maps."""
        positions = len(self._elements)
        chosen = None
        if positions > self._looked_at:
            chosen = np.stack([one.choice(positions, self._looked_at, replace=False) for one in random])
        rows = patch_rows(features, self.patch, chosen)
        if not self._rows:
            # Roughly the mean: sums about it keep the digits that sums about zero would lose to a large mean.
            self._shift = self._tiled(rows.reshape(-1, self.channels).mean(axis=0, dtype=np.float64)).astype(np.float32)
        rows = rows - self._shift
        self._sum += rows.sum(axis=0, dtype=np.float64)
        self._rows += len(rows)
        inside = self._elements.sum() * len(features) if chosen is None else self._elements[chosen].sum()
        self._inside += int(inside)
        self._features.add(rows)
        if self._gradients is not None and gradients is not None:
            self._gradients.add(patch_rows(gradients, self.patch, chosen))

    @property
    def mean(self) -> np.ndarray:
        """float64 `(C,)`, over all elements that are not padding."""
        total = self._sum + self._rows * self._shift.astype(np.float64)
        return total.reshape(-1, self.channels).sum(axis=0) / self._inside

    @property
    def energy(self) -> float:
        """The mean over patches of ||x||^2."""
        self._features.flush()
        shift, away = self._shift.astype(np.float64), float(np.trace(self._features.sum)) / self._rows
        return away + float(2 * shift @ self._sum / self._rows + shift @ shift)

    def _tiled(self, channels: np.ndarray) -> np.ndarray:
        return np.tile(channels, self.size // self.channels)

    def fit(self, k: int) -> Fitted:
        """The projection onto k numbers."""
        covariance = self.covariance()
        found = solve(covariance, metric_of(self.fisher(), self.size), k)
        return Fitted(found, self.mean, lost_variance(covariance, found), self.energy)

    def covariance(self) -> np.ndarray:
        """`(d, d)`, of patches about the mean of their channels; padding counts as the zeros that it is."""
        self._features.flush()
        kind = self._features.sum.dtype
        first = (self._sum / self._rows).astype(kind)
        away = (self._tiled(self.mean) - self._shift).astype(kind)
        return self._features.sum / kind.type(self._rows) - np.outer(first - away, away) - np.outer(away, first)

    def fisher(self) -> np.ndarray | None:
        """`(d, d)`, the mean of g g^T over patches; None without gradients."""
        if self._gradients is None:
            return None
        self._gradients.flush()
        return self._gradients.sum / self._gradients.sum.dtype.type(self._rows)
