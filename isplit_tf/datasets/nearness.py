"""Exact search for near duplicates among small grey images."""

import math
from collections.abc import Iterator

import numpy as np

_WAVES = 6  # cosines per image axis, those of lowest frequency
_AXES = 12  # dimensions of the search tree
_POINTS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 16384


def near_pairs(pixels: np.ndarray, limit: float) -> Iterator[tuple[int, int]]:
    """Find all pairs of images whose root mean square difference is at most `limit`.

    The distance in a few orthonormal coordinates is never larger than the distance of the images. Therefore a search
    tree over these coordinates misses no pair. Its candidates are then compared pixel by pixel in integers, so the
    result is exact and the same on every machine. Shifted or scaled copies do not count as near duplicates.

    Args:
        pixels: uint8 `(N, H, W)`, all different (many equal images would give too many pairs).
        limit: Largest root mean square difference of pixels, in grey levels.

    Yields:
        Pairs `(i, j)` with i < j.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((3, 4, 4), np.uint8)
        >>> images[1], images[2] = 5, 90
        >>> list(near_pairs(images, limit=8))
        [(0, 1)]
    """
    from scipy.spatial import cKDTree  # imported here, so that registering the builders does not load SciPy

    bound = math.floor(limit * limit * pixels.shape[1] * pixels.shape[2])  # of the sum of squares, an integer
    points = _coordinates(pixels)
    tree = cKDTree(points)
    radius = math.sqrt(bound) * (1 + 1e-9) + 1e-6  # the margin is larger than all rounding errors
    for start in range(0, len(points), _POINTS_AT_ONCE):
        neighbours = tree.query_ball_point(points[start : start + _POINTS_AT_ONCE], radius, return_sorted=True)
        pairs = [(i, j) for i, indices in enumerate(neighbours, start) for j in indices if j > i]
        for part in range(0, len(pairs), _PAIRS_AT_ONCE):
            first, second = np.array(pairs[part : part + _PAIRS_AT_ONCE]).T
            difference = pixels[first].astype(np.int32) - pixels[second]
            near = (difference * difference).sum(axis=(1, 2), dtype=np.int64) <= bound
            yield from zip(first[near].tolist(), second[near].tolist(), strict=True)


def _coordinates(pixels: np.ndarray) -> np.ndarray:
    """Return the principal components of the images' low frequencies, float64 `(N, up to 12)`."""
    rows, columns = (_cosines(length) for length in pixels.shape[1:])
    parts = [
        (rows @ pixels[start : start + _POINTS_AT_ONCE].astype(np.float64) @ columns.T).reshape(
            -1, len(rows) * len(columns)
        )
        for start in range(0, len(pixels), _POINTS_AT_ONCE)
    ]
    waves = np.concatenate(parts)
    centred = waves - waves.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # orthonormal, the one with the largest variance last
    return centred @ axes[:, ::-1][:, :_AXES]


def _cosines(length: int) -> np.ndarray:
    """Return the orthonormal cosines (DCT-II) of lowest frequency, `(up to 6, length)`."""
    waves = np.arange(min(_WAVES, length))[:, np.newaxis]
    values = np.cos(np.pi / length * (np.arange(length) + 0.5) * waves) * math.sqrt(2 / length)
    values[0] /= math.sqrt(2)
    return values
