"""Latents of 8, 4 or 2 bits: what stands at both ends of a bottleneck so that it learns with the steps of the wire.

A latent z is brought into [-1, 1], channel by channel, as u = (z - center) / reach. The head ends there: its integers
cover [-1, 1], and a device sends the highest bits of each (`isplit_edge.wire`), which cut [-1, 1] into 2^bits equal
cells. The tail takes the middle of the cell and goes back to z. In training the same is done to u, and the gradient
passes as if nothing had been rounded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from ..graph.keras_layers import all_layers
from ..graph.program import read_program

# Shares of the widest range that are tried, from all of it to 1/32; the best for 2 bits of a normal distribution lies
# near one half.
_SHARES = np.geomspace(1.0, 1 / 32, 24)
# A channel that hardly varies gets a range of at least this share of the widest one.
_NARROWEST = 1e-3


class _Ranged(keras.layers.Layer):
    """A layer with a range for each channel, the last axis; until one is observed, it passes on what it gets."""

    def build(self, shape: tuple) -> None:
        """Makes the range: [-1, 1]."""
        channels = (shape[-1],)
        self.center = self.add_weight(channels, initializer="zeros", trainable=False, name="center")
        self.reach = self.add_weight(channels, initializer="ones", trainable=False, name="reach")

    def compute_output_shape(self, shape: tuple) -> tuple:
        """As it came."""
        return shape

    def set_range(self, center: np.ndarray, reach: np.ndarray) -> None:
        """Sets the range of each channel, `(C,)` each."""
        self.center.assign(center)
        self.reach.assign(reach)


@keras.saving.register_keras_serializable("isplit_tf")
class LatentQuantizer(_Ranged):
    """The end of an encoder: brings the latent into [-1, 1] and rounds it to the middles of 2^bits equal cells.

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
        """Makes the range, and whether it was observed."""
        super().build(shape)
        self.latent_shape = tuple(shape[1:])
        self.observed = self.add_weight((), initializer="zeros", trainable=False, name="observed")

    def call(self, latent: Any) -> Any:
        """From the latent `(N, ..., C)` to the middles of cells in [-1, 1]."""
        # A product and a sum: a converter folds these into the layer before, where it would leave a quotient alone.
        unit = latent * (1 / self.reach) + self.center * (-1 / self.reach)
        clipped = ops.clip(unit, -1.0, 1.0)
        if not self.rounds:
            return clipped
        half = 2.0 ** (self.bits - 1)
        cells = ops.clip(ops.floor((clipped + 1.0) * half), 0.0, 2 * half - 1)
        middles = (cells + 0.5) * (1 / half) - 1.0
        return ops.where(self.observed > 0, clipped + ops.stop_gradient(middles - clipped), unit)

    def get_config(self) -> dict[str, Any]:
        """The bits."""
        return super().get_config() | {"bits": self.bits}


@keras.saving.register_keras_serializable("isplit_tf")
class LatentScale(_Ranged):
    """The beginning of a decoder: from [-1, 1] back to the latent's own range."""

    def call(self, unit: Any) -> Any:
        """The latent `(N, ..., C)`."""
        return unit * self.reach + self.center


def with_levels(encoder: keras.Model, decoder: keras.Model, bits: int | None) -> tuple[keras.Model, keras.Model]:
    """A bottleneck with the two layers at its ends; as it is where `bits` is None.

    Args:
        encoder: From an input named `features`; its layers go into the new one.
        decoder: From an input named `latent`, likewise.
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
    """Those of an encoder in the order in which their latents lie behind each other; none without bits."""
    found = [layer for layer in all_layers(model) if isinstance(layer, LatentQuantizer)] if model is not None else []
    return sorted(found, key=lambda layer: _number(layer.name))


def scales(model: keras.Model) -> list[LatentScale]:
    """Those of a decoder, in the same order."""
    found = [layer for layer in all_layers(model) if isinstance(layer, LatentScale)]
    return sorted(found, key=lambda layer: _number(layer.name))


def _number(name: str) -> int:
    """Where several tensors cross, each has a bottleneck of its own, whose layers are numbered."""
    last = name.rsplit("_", 1)[-1]
    return int(last) if last.isdigit() else 0


def is_observed(encoder: keras.Model | None) -> bool:
    """Whether every quantizer of an encoder has a range; also where there is none."""
    return all(float(layer.observed.numpy()) > 0 for layer in quantizers(encoder))


def forget(encoder: keras.Model, decoder: keras.Model) -> None:
    """Takes the ranges back: encoder and decoder then work on the latent as it is, without rounding."""
    for quantizer, scale in zip(quantizers(encoder), scales(decoder), strict=True):
        for layer in (quantizer, scale):
            layer.set_range(np.zeros(layer.center.shape), np.ones(layer.reach.shape))
        quantizer.observed.assign(0.0)


def set_ranges(encoder: keras.Model, decoder: keras.Model, latents: np.ndarray) -> None:
    """Sets the range of each channel, and lets the encoder round from here on.

    Args:
        encoder: An encoder that has forgotten its ranges.
        decoder: Its decoder.
        latents: float32 `(N, *latent_shape)`, what the encoder gave for some images.
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
    """For each channel the range whose 2^bits cells are nearest to the values, by the mean squared distance.

    Tried are ranges around the mean and around the middle between the extremes, from those that hold all values to
    narrow ones that clip many: with few cells, fine ones for most values are worth more than room for all.

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
    """While it lasts, an encoder clips its latent and does not round it: the head's own integers do that."""
    layers = quantizers(encoder)
    try:
        for layer in layers:
            layer.rounds = False
        yield
    finally:
        for layer in layers:
            layer.rounds = True
