"""Near duplicates among small grey images: all pairs up to a distance, and no others."""

import math
from collections.abc import Iterator

import numpy as np

_WAVES = 6  # cosines an axis, the lowest
_AXES = 12  # of the search tree
_POINTS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 16384


def near_pairs(pixels: np.ndarray, limit: float) -> Iterator[tuple[int, int]]:
    """Find all pairs of images whose root mean square difference is at most `limit`.

    Coordinates along orthonormal axes never differ by more than the images themselves do: a search tree over a few
    of them misses no pair, and what it finds is then compared pixel by pixel in whole numbers. So every such pair is
    found, no other is, and the result is the same on every machine. Shifted or scaled copies are not near in this
    sense.

    Args:
        pixels: uint8 `(N, H, W)`, all different (equal images would be compared pair by pair).
        limit: Root mean square difference of pixels, in grey levels.

    Yields:
        Pairs `(i, j)` with i < j.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((3, 4, 4), np.uint8)
        >>> images[1], images[2] = 5, 90
        >>> list(near_pairs(images, limit=8))
        [(0, 1)]
    """
    from scipy.spatial import cKDTree  # here, so that registering the builders does not load it

    bound = math.floor(limit * limit * pixels.shape[1] * pixels.shape[2])  # of the sum of squares, a whole number
    points = _coordinates(pixels)
    tree = cKDTree(points)
    radius = math.sqrt(bound) * (1 + 1e-9) + 1e-6  # more than rounding can take away
    for start in range(0, len(points), _POINTS_AT_ONCE):
        found = tree.query_ball_point(points[start : start + _POINTS_AT_ONCE], radius, return_sorted=True)
        pairs = [(i, j) for i, near in enumerate(found, start) for j in near if j > i]
        for part in range(0, len(pairs), _PAIRS_AT_ONCE):
            first, second = np.array(pairs[part : part + _PAIRS_AT_ONCE]).T
            difference = pixels[first].astype(np.int32) - pixels[second]
            near = (difference * difference).sum(axis=(1, 2), dtype=np.int64) <= bound
            yield from zip(first[near].tolist(), second[near].tolist(), strict=True)


def _coordinates(pixels: np.ndarray) -> np.ndarray:
    """Low frequencies, turned so that the first coordinates differ most: float64 `(N, up to 12)`."""
    rows, columns = (_cosines(length) for length in pixels.shape[1:])
    parts = [
        (rows @ pixels[start : start + _POINTS_AT_ONCE].astype(np.float64) @ columns.T).reshape(
            -1, len(rows) * len(columns)
        )
        for start in range(0, len(pixels), _POINTS_AT_ONCE)
    ]
    waves = np.concatenate(parts)
    centred = waves - waves.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # orthonormal, the one of most variance last
    return centred @ axes[:, ::-1][:, :_AXES]


def _cosines(length: int) -> np.ndarray:
    """The lowest orthonormal cosines (DCT-II) of that length: `(up to 6, length)`."""
    waves = np.arange(min(_WAVES, length))[:, np.newaxis]
    values = np.cos(np.pi / length * (np.arange(length) + 0.5) * waves) * math.sqrt(2 / length)
    values[0] /= math.sqrt(2)
    return values
