"""Features cut into patches, as a strided convolution sees them."""

import math
from collections.abc import Sequence

import numpy as np


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
