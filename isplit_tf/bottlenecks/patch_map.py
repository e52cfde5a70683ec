"""A fitted projection as plain arithmetic on arrays of features, without Keras layers."""

import math
from collections.abc import Sequence

import numpy as np

from .linear_map import Fitted
from .moments import grid_of, padding_of, patch_rows


def join_patches(rows: np.ndarray, shape: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """Return features of a shape from the rows of their patches, the inverse of `patch_rows`; padding is cut off.

    Args:
        rows: `(N * positions, prod(patch) * C)`.
        shape: Shape of the features without the batch.
        patch: Elements of a patch on each axis besides the channels.

    Returns:
        `(N, *shape)`.
    """
    *space, channels = shape
    grid, axes = grid_of(space, patch), len(space)
    view = rows.reshape(-1, *grid, *patch, channels)
    order = [0, *(axis for k in range(axes) for axis in (1 + k, 1 + axes + k)), 2 * axes + 1]
    whole = view.transpose(order).reshape(-1, *(g * p for g, p in zip(grid, patch, strict=True)), channels)
    inner = (slice(before, before + n) for (before, _), n in zip(padding_of(space, patch), space, strict=True))
    return whole[(slice(None), *inner)]


class PatchMap:
    """Encoder and decoder of features, patch by patch, of which the first latents alone can be used too.

    Args:
        found: The fitted projection of a patch.
        shape: Shape of the features without the batch.
        patch: Elements of a patch on each axis besides the channels.

    Attributes:
        found: The fitted projection.
        positions: Patches of an image.
    """

    def __init__(self, found: Fitted, shape: Sequence[int], patch: Sequence[int]):
        self.found = found
        self.positions = math.prod(grid_of(shape[:-1], patch))
        self._shape, self._patch = tuple(shape), tuple(patch)
        mean = np.tile(found.mean, found.map.encode.shape[1] // len(found.mean))
        self._encode = np.ascontiguousarray(found.map.encode.T, np.float32)
        self._bias = (-found.map.encode @ mean).astype(np.float32)
        self._decode = np.ascontiguousarray(found.map.decode.T, np.float32)
        self._mean = mean.astype(np.float32)

    def encode(self, features: np.ndarray) -> np.ndarray:
        """Return the latents `(N, positions, k)` of features, float32 `(N, *shape)`."""
        rows = patch_rows(features, self._patch)
        latents = rows @ self._encode
        latents += self._bias
        return latents.reshape(len(features), self.positions, -1)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Return features `(N, *shape)` from the first latents of each patch, float32 `(N, positions, at most k)`."""
        count = latents.shape[-1]
        rows = latents.reshape(-1, count) @ self._decode[:count]
        rows += self._mean
        return join_patches(rows, self._shape, self._patch)
