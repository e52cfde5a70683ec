"""Layers at both ends of a bottleneck for latents of 8, 4 or 2 bits, so that it learns with the rounding of the wire.

A latent z is scaled into [-1, 1], channel by channel, as u = (z - center) / reach. The head ends there: its integers
cover [-1, 1], and a device sends the highest bits of each (`isplit_edge.wire`), which divide [-1, 1] into 2^bits equal
cells. The tail takes the middle of the cell and scales it back to z. In training u is rounded in the same way, and the
gradient passes as if nothing had been rounded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from ..graph.keras_layers import all_layers
from ..graph.program import read_program

# Shares of the widest range to try, from all of it to 1/32. For 2 bits of a normal distribution the best share is
# about one half.
_SHARES = np.geomspace(1.0, 1 / 32, 24)
# A channel that hardly varies gets a range of at least this share of the widest one.
_NARROWEST = 1e-3


class _Ranged(keras.layers.Layer):
    """A layer with a range for each channel, the last axis; before a range is observed, it changes nothing."""

    def build(self, shape: tuple) -> None:
        """Create the range, at first [-1, 1]."""
        channels = (shape[-1],)
        self.center = self.add_weight(channels, initializer="zeros", trainable=False, name="center")
        self.reach = self.add_weight(channels, initializer="ones", trainable=False, name="reach")

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Return the input's shape."""
        return shape

    def set_range(self, center: np.ndarray, reach: np.ndarray) -> None:
        """Set the range of each channel; `center` and `reach` are `(C,)`."""
        self.center.assign(center)
        self.reach.assign(reach)


@keras.saving.register_keras_serializable("isplit_tf")
class LatentQuantizer(_Ranged):
    """The end of an encoder, which scales the latent into [-1, 1] and rounds it to the middles of 2^bits equal cells.

    The gradient is that of the clipping alone (a straight-through estimator).

    Args:
        bits: 8, 4 or 2.

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, Sec. 3.
    """

    def __init__(self, bits: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.bits = bits
        self.rounds = True

    def build(self, shape: tuple) -> None:
        """Create the range, and a weight that says whether it was observed."""
        super().build(shape)
        self.latent_shape = tuple(shape[1:])
        self.observed = self.add_weight((), initializer="zeros", trainable=False, name="observed")

    def call(self, latent: Any) -> Any:
        """Return the latent `(N, ..., C)` scaled and rounded to the middles of cells in [-1, 1]."""
        # A converter folds a product and a sum into the layer before them, but not a quotient.
        unit = latent * (1 / self.reach) + self.center * (-1 / self.reach)
        clipped = ops.clip(unit, -1.0, 1.0)
        if not self.rounds:
            return clipped
        half = 2.0 ** (self.bits - 1)
        cells = ops.clip(ops.floor((clipped + 1.0) * half), 0.0, 2 * half - 1)
        middles = (cells + 0.5) * (1 / half) - 1.0
        return ops.where(self.observed > 0, clipped + ops.stop_gradient(middles - clipped), unit)

    def get_config(self) -> dict[str, Any]:
        """Return the bits, besides the layer's own configuration."""
        return super().get_config() | {"bits": self.bits}


@keras.saving.register_keras_serializable("isplit_tf")
class LatentScale(_Ranged):
    """The beginning of a decoder, which scales from [-1, 1] back to the latent's own range."""

    def call(self, unit: Any) -> Any:
        """Return the latent `(N, ..., C)`."""
        return unit * self.reach + self.center


def with_levels(encoder: keras.Model, decoder: keras.Model, bits: int | None) -> tuple[keras.Model, keras.Model]:
    """Return a bottleneck with the two layers at its ends; unchanged if `bits` is None.

    Args:
        encoder: An encoder with an input named `features`; its layers are used in the new one.
        decoder: A decoder with an input named `latent`; its layers are used in the new one.
        bits: 8, 4 or 2, or None.
    """
    if bits is None:
        return encoder, decoder
    latent = encoder.outputs[0]
    ends = LatentQuantizer(bits, name="encoder_levels", dtype=latent.dtype)(latent)
    code = keras.Input(latent.shape[1:], name="latent", dtype=latent.dtype)
    start = LatentScale(name="decoder_scale", dtype=latent.dtype)(code)
    program = read_program(decoder)
    restored = program.run({program.inputs[0]: start})[program.outputs[0]]
    return keras.Model(encoder.inputs[0], ends, name="encoder"), keras.Model(code, restored, name="decoder")


def quantizers(model: keras.Model | None) -> list[LatentQuantizer]:
    """Return the quantizers of an encoder in the order of their latents; an empty list without `latent_bits`."""
    layers = [layer for layer in all_layers(model) if isinstance(layer, LatentQuantizer)] if model is not None else []
    return sorted(layers, key=lambda layer: _number(layer.name))


def scales(model: keras.Model) -> list[LatentScale]:
    """Return the scale layers of a decoder, in the same order."""
    layers = [layer for layer in all_layers(model) if isinstance(layer, LatentScale)]
    return sorted(layers, key=lambda layer: _number(layer.name))


def _number(name: str) -> int:
    """Return the number at the end of a layer's name, or 0.

    If a cut has several tensors, each has its own bottleneck, whose layers are numbered.
    """
    last = name.rsplit("_", 1)[-1]
    return int(last) if last.isdigit() else 0


def is_observed(encoder: keras.Model | None) -> bool:
    """Check whether every quantizer of an encoder has a range; also true without a quantizer."""
    return all(float(layer.observed.numpy()) > 0 for layer in quantizers(encoder))


def forget(encoder: keras.Model, decoder: keras.Model) -> None:
    """Reset the ranges, so that encoder and decoder pass the latent unchanged, without rounding."""
    for quantizer, scale in zip(quantizers(encoder), scales(decoder), strict=True):
        for layer in (quantizer, scale):
            layer.set_range(np.zeros(layer.center.shape), np.ones(layer.reach.shape))
        quantizer.observed.assign(0.0)


def set_ranges(encoder: keras.Model, decoder: keras.Model, latents: np.ndarray) -> None:
    """Set the range of each channel, and let the encoder round from here on.

    Args:
        encoder: An encoder whose ranges are reset (`forget`).
        decoder: Its decoder.
        latents: float32 `(N, *latent_shape)`, the encoder's output for some images.
    """
    start = 0
    rows = latents.reshape(len(latents), -1)
    for quantizer, scale in zip(quantizers(encoder), scales(decoder), strict=True):
        size = int(np.prod(quantizer.latent_shape))
        values = rows[:, start : start + size].reshape(-1, quantizer.latent_shape[-1])
        center, reach = best_ranges(values, quantizer.bits)
        for layer in (quantizer, scale):
            layer.set_range(center, reach)
        quantizer.observed.assign(1.0)
        start += size


def best_ranges(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each channel the range whose 2^bits cells are nearest to the values in mean squared distance.

    The ranges tried lie around the mean and around the middle between the extremes, from wide ones that hold all values
    to narrow ones that clip many: with few cells, fine cells for most values are worth more than room for all.

    Args:
        values: `(M, C)`.
        bits: 8, 4 or 2.

    Returns:
        center and reach, float32 `(C,)`.
    """
    values = values.astype(np.float32)
    low, high = values.min(axis=0), values.max(axis=0)
    half = np.float32(2 ** (bits - 1))
    best = [np.full(values.shape[1], np.inf), np.zeros(values.shape[1]), np.ones(values.shape[1])]
    for center in (values.mean(axis=0), (low + high) / 2):
        widest = np.maximum(high - center, center - low)
        for share in _SHARES:
            reach = np.maximum(widest * share, np.finfo(np.float32).tiny)
            cells = np.clip(np.floor(((values - center) / reach + 1) * half), 0, 2 * half - 1)
            error = np.mean((((cells + 0.5) / half - 1) * reach + center - values) ** 2, axis=0)
            better = error < best[0]
            best = [np.where(better, new, old) for new, old in zip((error, center, reach), best, strict=True)]
    floor = _NARROWEST * best[2].max()
    reach = np.maximum(best[2], floor if floor > np.finfo(np.float32).tiny else 1.0)
    return best[1].astype(np.float32), reach.astype(np.float32)


@contextmanager
def unrounded(encoder: keras.Model | None) -> Iterator[None]:
    """Let an encoder clip but not round its latent within the context; the head's integers do the rounding."""
    layers = quantizers(encoder)
    try:
        for layer in layers:
            layer.rounds = False
        yield
    finally:
        for layer in layers:
            layer.rounds = True
