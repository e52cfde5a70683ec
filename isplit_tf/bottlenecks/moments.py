"""Second moments of patches of features and of their gradients, in constant memory whatever the number of images."""

import math
from collections.abc import Sequence

import numpy as np

from ..batches import Reservoir
from .linear_map import Fitted, lost_variance, metric_of, solve, solve_rows


def grid_of(space: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Patches on each axis, the last ones padded."""
    return tuple(-(-n // p) for n, p in zip(space, patch, strict=True))


def padding_of(space: Sequence[int], patch: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each axis, as a convolution with `padding="same"` and stride = kernel adds them."""
    excess = [g * p - n for g, p, n in zip(grid_of(space, patch), patch, space, strict=True)]
    return [(e // 2, e - e // 2) for e in excess]


def patch_view(features: np.ndarray, patch: Sequence[int]) -> np.ndarray:
    """Features `(N, *space, C)` as `(N, *grid, *patch, C)`; nothing is copied where no padding is needed."""
    space = features.shape[1:-1]
    padding = padding_of(space, patch)
    if any(after for _, after in padding):
        features = np.pad(features, [(0, 0), *padding, (0, 0)])
    split = [n for pair in zip(grid_of(space, patch), patch, strict=True) for n in pair]
    view = features.reshape(len(features), *split, features.shape[-1])
    axes = len(space)
    return view.transpose(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)


def patch_rows(features: np.ndarray, patch: Sequence[int], chosen: np.ndarray | None = None) -> np.ndarray:
    """Patches as rows.

    Args:
        features: `(N, *space, C)`.
        patch: Elements on each axis of `space`.
        chosen: int `(N, m)`, for each image the positions on the flat grid to take; None for all.

    Returns:
        `(N * positions, prod(patch) * C)`, a patch's elements in the order of a convolution's kernel.
    """
    view = patch_view(features, patch)
    axes = len(patch)
    grid = view.shape[1 : 1 + axes]
    size = math.prod(view.shape[1 + axes :])
    if chosen is None or not axes:
        return view.reshape(-1, size)
    images = np.arange(len(features))[:, None]
    return view[(images, *np.unravel_index(chosen, grid))].reshape(-1, size)


def elements_on_grid(space: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """Of each position on the flat grid, how many elements of its patch are not padding; int `(positions,)`."""
    ones = np.ones((1, *space, 1), np.int64)
    return patch_rows(ones, patch).sum(axis=1)


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


# Elements of a patch up to which full matrices are kept and taken apart.
LARGE = 4096
# Rows that are kept of features, and as many of gradients; and elements of them at most, which take 128 MiB.
_KEPT_ROWS = 2048
_KEPT_ELEMENTS = 2**25


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
        self._kept = Reservoir(min(_KEPT_ROWS, _KEPT_ELEMENTS // self.size))

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Takes a batch, float32 `(N, *shape)` each; `random`, one an image, chooses a patch and what it replaces."""
        for k, one in enumerate(random):
            position = int(one.integers(len(self._elements)))
            if (place := self._kept.draw(one)) is not None:
                gradient = None if gradients is None else self._patch_of(gradients[k], position)
                self._kept.put(place, (self._patch_of(features[k], position), gradient, int(self._elements[position])))

    def _patch_of(self, values: np.ndarray, position: int) -> np.ndarray:
        return patch_rows(values[np.newaxis], self.patch, np.array([[position]]))[0].copy()

    def fit(self, k: int) -> Fitted:
        """The projection onto k numbers."""
        features, gradients, inside = zip(*self._kept.items, strict=True)
        rows = np.stack(features)
        mean = rows.reshape(-1, self.channels).sum(axis=0, dtype=np.float64) / sum(inside)
        away = rows - np.tile(mean, self.size // self.channels).astype(np.float32)
        found = solve_rows(away, None if gradients[0] is None else np.stack(gradients), k)
        missed = away - (away @ found.encode.T.astype(np.float32)) @ found.decode.T.astype(np.float32)
        lost, energy = (float(np.sum(np.square(one, dtype=np.float64))) / len(rows) for one in (missed, rows))
        return Fitted(found, mean, lost, energy)


def collector(shape: Sequence[int], patch: Sequence[int], *, weighted: bool) -> Moments | Sample:
    """What collects the patches of features for a fit: sums of products, or rows where those would be too large."""
    large = math.prod(patch) * shape[-1] > LARGE
    return Sample(shape, patch) if large else Moments(shape, patch, weighted=weighted)
