"""How much of the features a bottleneck keeps: what is asked for, and what its grid makes of it."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .arguments import checked_integer
from .errors import ArgumentError

DEFAULT_COMPRESSION = 0.9


@dataclass(frozen=True)
class LatentPlan:
    """What a bottleneck does to features of one shape: pure arithmetic, no Keras.

    Attributes:
        shape: Features at the cut, without the batch.
        latent_shape: What the encoder makes of them.
        latent_size: Elements of the latent.
        requested_size: The elements that were asked for, which the grid may not allow exactly.
        compression: What was reached: `1 - latent_size / size`.
        filters: Hidden width of encoder and decoder; 0 where they have no hidden layer.
        encoder_params: Weights of the encoder (elements).
        encoder_macs: Multiply-accumulates of the encoder for one image.
        decoder_params: Weights of the decoder (elements).
        patch: Elements on each axis that a latent position stands for; empty where such patches overlap.
    """

    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    latent_size: int
    requested_size: int
    compression: float
    filters: int
    encoder_params: int
    encoder_macs: int
    decoder_params: int
    patch: tuple[int, ...] = ()

    def __repr__(self) -> str:
        size = math.prod(self.shape)
        hidden = [f"{self.filters} filters"] if self.filters else []
        patches = [f"patches of {'x'.join(map(str, self.patch))}"] if self.patch else []
        parts = [
            f"compression {self.compression:.4f}",
            *hidden,
            *patches,
            f"encoder {self.encoder_params:,} weights, {self.encoder_macs:,} MACs",
            f"decoder {self.decoder_params:,} weights",
        ]
        return (
            f"LatentPlan({self.shape} -> {self.latent_shape}: {self.latent_size:,} of {size:,} elements, "
            f"{self.requested_size:,} asked; {'; '.join(parts)})"
        )


def checked_amount(compression: Any, latent_size: Any) -> tuple[float | None, int | None]:
    """The two ways to say how much is kept, of which one is given: compression and elements of the latent.

    Returns:
        Both, one of them None; a compression of 0.9 where neither was given.

    Raises:
        ArgumentError: Both are given, or one is out of its range.
    """
    if latent_size is None:
        return checked_compression(DEFAULT_COMPRESSION if compression is None else compression), None
    if compression is not None:
        raise ArgumentError(
            "Give compression, the share of elements left out, or latent_size, the elements kept, not both. Received: "
            f"compression={compression!r}, latent_size={latent_size!r}"
        )
    return None, checked_integer("latent_size", latent_size, 1)


def requested_size(size: int, compression: float | None, latent_size: int | None) -> int:
    """The elements asked for, of features of `size` elements: never none, and never more than there are."""
    if latent_size is not None:
        return min(latent_size, size)
    return max(1, round((1 - (compression or 0.0)) * size))


def checked_compression(value: Any) -> float:
    """Returns `value` as a float in [0, 1), or raises `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
        raise ArgumentError(
            f"compression is the share of elements left out: expected a number in [0, 1). Received: {value!r}"
        )
    return float(value)


def checked_shape(shape: Sequence[Any]) -> tuple[int, ...]:
    """A shape of features without the batch, `(D,)`, `(T, D)` or `(H, W, C)`, or an `ArgumentError`."""
    shape = tuple(shape)
    if None in shape:
        raise ArgumentError(
            f"The features have the shape {shape}, where None varies: a bottleneck needs fixed dimensions. "
            "Build the model with a fixed input shape, or cut where the shape is fixed."
        )
    if not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) and int(n) >= 1 for n in shape):
        raise ArgumentError(f"Expected a shape of integers of at least 1, without the batch. Received: {shape!r}")
    if not 1 <= len(shape) <= 3:
        raise ArgumentError(
            f"Expected features of the shape (D,), (T, D) or (H, W, C), batch left out. Received: {shape}. "
            "There is no bottleneck for volumes: LiteRT convolves in three dimensions only in float."
        )
    return tuple(int(n) for n in shape)
