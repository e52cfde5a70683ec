"""Second moments of patches of features and of their gradients, in memory that does not grow with the images."""

import math
from collections.abc import Sequence

import numpy as np

from ..batches.sampling import Reservoir
from .linear_map import Fitted, lost_variance, metric_of, solve, solve_rows


def grid_of(space: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Return the number of patches on each axis; the last patches may be padded."""
    return tuple(-(-n // p) for n, p in zip(space, patch, strict=True))


def padding_of(space: Sequence[int], patch: Sequence[int]) -> list[tuple[int, int]]:
    """Return the zeros before and after each axis, as a convolution with `padding="same"`, stride = kernel adds."""
    excess = [g * p - n for g, p, n in zip(grid_of(space, patch), patch, space, strict=True)]
    return [(e // 2, e - e // 2) for e in excess]


def patch_view(features: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """Return features `(N, *space, C)` as `(N, *grid, *patch, C)`, copied only if padding is needed."""
    space = features.shape[1:-1]
    padding = padding_of(space, patch)
    if any(after for _, after in padding):
        features = np.pad(features, [(0, 0), *padding, (0, 0)])
    split = [n for pair in zip(grid_of(space, patch), patch, strict=True) for n in pair]
    view = features.reshape(len(features), *split, features.shape[-1])
    axes = len(space)
    return view.transpose(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)


def patch_rows(features: np.ndarray, patch: Sequence[int], chosen: np.ndarray | None = None) -> np.ndarray:
    """Return patches as rows.

    Args:
        features: `(N, *space, C)`.
        patch: Elements on each axis of `space`.
        chosen: int `(N, m)`, the positions on the flat grid to take from each image; None for all.

    Returns:
        `(N * positions, prod(patch) * C)`, with the elements of a patch in the order of a convolution's kernel.
    """
    axes = len(patch)
    if chosen is not None and axes:
        return _chosen_rows(features, patch, np.unravel_index(chosen, grid_of(features.shape[1:-1], patch)))
    view = patch_view(features, patch)
    return view.reshape(-1, math.prod(view.shape[1 + axes :]))


def _chosen_rows(features: np.ndarray, patch: Sequence[int], coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """Return patches as rows from their coordinates on the grid, `(N, m)` on each axis, without a padded copy."""
    space, axes = features.shape[1:-1], len(patch)
    images = np.arange(len(features)).reshape(-1, *[1] * (axes + 1))
    places, inside = [], np.ones([1] * (axes + 2), bool)
    for k, (n, p, (before, _)) in enumerate(zip(space, patch, padding_of(space, patch), strict=True)):
        place = coordinates[k][..., np.newaxis] * p + (np.arange(p) - before)
        place = place.reshape(*coordinates[k].shape, *(p if k == axis else 1 for axis in range(axes)))
        inside = inside & (place >= 0) & (place < n)
        places.append(np.clip(place, 0, n - 1))
    rows = features[(images, *places)]
    if not inside.all():
        rows[~inside] = 0
    return rows.reshape(coordinates[0].size, -1)


def elements_on_grid(space: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """Return how many elements of the patch at each grid position are not padding, int `(positions,)`."""
    ones = np.ones((1, *space, 1), np.int64)
    return patch_rows(ones, patch).sum(axis=1)


# Most and fewest positions of a map that are sampled per image, and the multiply-accumulates that they may cost:
# neighbouring positions are much alike, and on early layers all of them would cost more than the network itself.
_POSITIONS, _FEWEST_POSITIONS, _PRODUCTS = 64, 4, 2**25
# Sums of larger matrices are kept in float32: there are few of them, and they would fill the memory.
_LARGE = 2048
# Rows per product: each product moves the whole matrix through memory, so it should take many rows.
_ROWS = 2048


class Products:
    """The running sum of x x^T over rows x: products in float32, sums in float64, or float32 above 2,048 elements."""

    def __init__(self, size: int):
        self.sum = np.zeros((size, size), np.float64 if size <= _LARGE else np.float32)
        self._rows: list[np.ndarray] = []
        self._waiting = 0

    def add(self, rows: np.ndarray) -> None:
        """Add rows, float32 `(n, size)`."""
        self._rows.append(rows)
        self._waiting += len(rows)
        if self._waiting >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Bring `sum` up to date."""
        if self._rows:
            rows = np.concatenate(self._rows)
            self.sum += rows.T @ rows
            self._rows, self._waiting = [], 0


class Moments:
    """Mean of each channel, covariance of patches, and mean product of the gradients of patches.

    The mean is one number per channel, not one per element of the patch, since a transposed convolution adds one
    number per channel. The covariance is taken about this mean.

    Args:
        shape: Features without the batch: `(D, H, W, C)`, `(H, W, C)`, `(T, D)` or `(D,)`.
        patch: Elements on each axis besides the channels.
        weighted: Whether gradients are given too.
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
        self._inside = 0  # elements per channel that are not padding
        self._sum = np.zeros(self.size)
        self._shift = np.zeros(self.size, np.float32)

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Add a batch.

        Args:
            features: float32 `(N, *shape)`.
            gradients: float32 `(N, *shape)`, or None.
            random: A generator per image, which chooses the positions on large maps.
        """
        positions = len(self._elements)
        chosen = None
        if positions > self._looked_at:
            chosen = np.stack([generator.choice(positions, self._looked_at, replace=False) for generator in random])
        rows = patch_rows(features, self.patch, chosen)
        if not self._rows:
            # An estimate of the mean: sums about it keep digits that sums about zero lose if the mean is large.
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
        """Return the mean over all elements that are not padding, float64 `(C,)`."""
        total = self._sum + self._rows * self._shift.astype(np.float64)
        return total.reshape(-1, self.channels).sum(axis=0) / self._inside

    @property
    def energy(self) -> float:
        """Return the mean over patches of ||x||^2."""
        self._features.flush()
        shift, centered = self._shift.astype(np.float64), float(np.trace(self._features.sum)) / self._rows
        return centered + float(2 * shift @ self._sum / self._rows + shift @ shift)

    def _tiled(self, channels: np.ndarray) -> np.ndarray:
        return np.tile(channels, self.size // self.channels)

    def fit(self, k: int) -> Fitted:
        """Return the projection onto k numbers."""
        covariance = self.covariance()
        projection = solve(covariance, metric_of(self.fisher(), self.size), k)
        return Fitted(projection, self.mean, lost_variance(covariance, projection), self.energy)

    def covariance(self) -> np.ndarray:
        """Return the covariance `(d, d)` of patches about the mean of their channels; padding counts as zeros."""
        self._features.flush()
        dtype = self._features.sum.dtype
        first = (self._sum / self._rows).astype(dtype)
        offset = (self._tiled(self.mean) - self._shift).astype(dtype)
        return self._features.sum / dtype.type(self._rows) - np.outer(first - offset, offset) - np.outer(offset, first)

    def fisher(self) -> np.ndarray | None:
        """Return the mean of g g^T over patches, `(d, d)`; None without gradients."""
        if self._gradients is None:
            return None
        self._gradients.flush()
        return self._gradients.sum / self._gradients.sum.dtype.type(self._rows)


# Elements of a patch up to which full matrices are summed up and decomposed.
LARGE = 4096
# Most rows kept of the features, and as many of the gradients; and their most elements, which take 128 MiB.
_KEPT_ROWS = 2048
_KEPT_ELEMENTS = 2**25


class Sample:
    """Up to 2,048 patches, or fewer very large ones, and their gradients; the counterpart of `Moments`.

    Each patch of the data is chosen with the same probability.

    Args:
        shape: Features without the batch: `(D, H, W, C)`, `(H, W, C)`, `(T, D)` or `(D,)`.
        patch: Elements on each axis besides the channels.
    """

    def __init__(self, shape: Sequence[int], patch: Sequence[int]):
        *space, self.channels = shape
        self.patch = tuple(patch)
        self.size = math.prod(self.patch) * self.channels
        self._elements = elements_on_grid(space, self.patch)
        self._kept = Reservoir(min(_KEPT_ROWS, _KEPT_ELEMENTS // self.size))

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Add a batch.

        Args:
            features: float32 `(N, *shape)`.
            gradients: float32 `(N, *shape)`, or None.
            random: A generator per image, which chooses a patch and the patch that it replaces.
        """
        for k, generator in enumerate(random):
            position = int(generator.integers(len(self._elements)))
            if (place := self._kept.draw(generator)) is not None:
                gradient = None if gradients is None else self._patch_of(gradients[k], position)
                self._kept.put(place, (self._patch_of(features[k], position), gradient, int(self._elements[position])))

    def _patch_of(self, values: np.ndarray, position: int) -> np.ndarray:
        return patch_rows(values[np.newaxis], self.patch, np.array([[position]]))[0].copy()

    def fit(self, k: int) -> Fitted:
        """Return the projection onto k numbers."""
        features, gradients, inside = zip(*self._kept.items, strict=True)
        rows = np.stack(features)
        mean = rows.reshape(-1, self.channels).sum(axis=0, dtype=np.float64) / sum(inside)
        centered = rows - np.tile(mean, self.size // self.channels).astype(np.float32)
        projection = solve_rows(centered, None if gradients[0] is None else np.stack(gradients), k)
        residual = centered - (centered @ projection.encode.T.astype(np.float32)) @ projection.decode.T.astype(
            np.float32
        )
        lost, energy = (float(np.sum(np.square(values, dtype=np.float64))) / len(rows) for values in (residual, rows))
        return Fitted(projection, mean, lost, energy)


def collector(shape: Sequence[int], patch: Sequence[int], *, weighted: bool) -> Moments | Sample:
    """Return an object that collects patches for a fit.

    It sums up products (`Moments`), or keeps rows (`Sample`) if the matrices of products would be too large.
    """
    large = math.prod(patch) * shape[-1] > LARGE
    return Sample(shape, patch) if large else Moments(shape, patch, weighted=weighted)
