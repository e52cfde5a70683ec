"""Two projections in sequence as the weights of an autoencoder with a hidden ReLU layer.

Each half of an autoencoder has two layers of stride 2, whose windows of 3 taps hold a patch of 2 elements: in their
last two taps on an odd axis, in their first two on an even one. So the first layer can hold a projection of 2 x 2
patches onto f numbers, and the second layer a projection of 2 x 2 patches of these numbers onto the latent. ReLU passes
each of the f numbers in two units, relu(h) - relu(-h) = h. The remaining taps and units keep their random weights
towards the input and get zeros towards the output: they contribute nothing at first, but can learn.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from .linear_map import LinearMap


def hidden_numbers(filters: int, elements: int) -> int:
    """Return how many numbers per patch of so many elements pass a hidden layer, two units for each."""
    return max(1, min(filters // 2, elements))


def embed(
    layers: Sequence[keras.layers.Layer],
    spaces: Sequence[Sequence[int]],
    maps: Sequence[LinearMap],
    means: Sequence[np.ndarray],
) -> None:
    """Set the weights of an autoencoder's four layers to those of two projections.

    Args:
        layers: The encoder's two layers and the decoder's two, in order.
        spaces: For the encoder's first and second layer, the input's axes without the channels.
        maps: The map from the features to f numbers, and the map from patches of these numbers to the latent.
        means: Means of the features `(C,)` and of the f numbers `(f,)`.
    """
    down, narrow, widen, up = layers
    first, second = maps
    f, k = len(first.encode), len(second.encode)
    signs = np.array([1.0, -1.0])

    kernel, bias = down.kernel.numpy(), down.bias.numpy()
    for sign, units in zip(signs, (slice(0, f), slice(f, 2 * f)), strict=True):
        kernel[..., units] = 0.0
        _window(kernel, spaces[0])[..., units] = sign * _patches(first.encode.T, kernel, spaces[0])
        bias[units] = -sign * first.encode @ _tiled(means[0], first)
    _set(down, kernel, bias)

    kernel, bias = np.zeros_like(narrow.kernel.numpy()), np.zeros_like(narrow.bias.numpy())
    for sign, units in zip(signs, (slice(0, f), slice(f, 2 * f)), strict=True):
        _window(kernel, spaces[1])[..., units, :k] = sign * _patches(second.encode.T, kernel, spaces[1])
    bias[:k] = -second.encode @ _tiled(means[1], second)
    _set(narrow, kernel, bias)

    kernel, bias = _outputs_last(widen), widen.bias.numpy()
    for sign, units in zip(signs, (slice(0, f), slice(f, 2 * f)), strict=True):
        kernel[..., units] = 0.0
        into = np.moveaxis(_patches(second.decode, kernel, spaces[1]), -1, -2)
        _window(kernel, spaces[1])[..., :k, units] = sign * into
        bias[units] = sign * means[1]
    _set(widen, kernel, bias, transposed=True)

    kernel = np.zeros_like(_outputs_last(up))
    for sign, units in zip(signs, (slice(0, f), slice(f, 2 * f)), strict=True):
        into = np.moveaxis(_patches(first.decode, kernel, spaces[0]), -1, -2)
        _window(kernel, spaces[0])[..., units, :] = sign * into
    _set(up, kernel, means[0], transposed=True)


def _tiled(mean: np.ndarray, found: LinearMap) -> np.ndarray:
    return np.tile(mean, found.encode.shape[1] // len(mean))


def _patches(matrix: np.ndarray, kernel: np.ndarray, space: Sequence[int]) -> np.ndarray:
    """Return a matrix `(d, k)` as `(*patch, C, k)`; for a dense layer, return it unchanged."""
    patch = [min(2, n) for n in space]
    return matrix.reshape(*patch, -1, matrix.shape[1]) if kernel.ndim > 2 else matrix


def _window(kernel: np.ndarray, space: Sequence[int]) -> np.ndarray:
    """Return a view of the taps of a kernel that lie on a patch."""
    # Padding "same" starts the window one element before an odd axis.
    starts = [1 if n > 1 and n % 2 else 0 for n in space]
    return kernel[tuple(slice(start, start + min(2, n)) for start, n in zip(starts, space, strict=True))]


def _outputs_last(layer: Any) -> np.ndarray:
    """Return a copy of a transposed or dense layer's kernel as `(*taps, inputs, outputs)`."""
    kernel = layer.kernel.numpy()
    return np.moveaxis(kernel, -1, -2).copy() if kernel.ndim > 2 else kernel


def _set(layer: Any, kernel: np.ndarray, bias: np.ndarray, *, transposed: bool = False) -> None:
    layer.kernel.assign(np.moveaxis(kernel, -1, -2) if transposed and kernel.ndim > 2 else kernel)
    layer.bias.assign(bias)
