"""Layers at both ends of a bottleneck, so that it learns with the rounding of the wire: coded latents, and few bits.

A coded latent z becomes symbols, channel by channel, as (z - center) / reach, where the reach is one step for all
channels; the head's int8 outputs are the symbols, and `isplit_edge.code` writes them without loss.

For 8, 4 or 2 bits:

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

from isplit_edge.code import Code
from isplit_edge.geometric import geometric_tables

from ..graph.keras_layers import all_layers
from ..graph.program import read_program

# Shares of the widest range to try, from all of it to 1/32. For 2 bits of a normal distribution the best share is
# about one half.
_SHARES = np.geomspace(1.0, 1 / 32, 24)
_OF_CHANNELS = ("runs", "magnitudes", "centres")
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


class Rounding(_Ranged):
    """The end of an encoder that scales and rounds the latent once its range was observed.

    Attributes:
        rounds: Whether the latent is rounded; False while the head is converted, whose integers do the rounding.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.rounds = True

    def build(self, shape: tuple) -> None:
        """Create the range, and a weight that says whether it was observed."""
        super().build(shape)
        self.latent_shape = tuple(shape[1:])
        self.observed = self.add_weight((), initializer="zeros", trainable=False, name="observed")

    def scaled(self, latent: Any) -> Any:
        """Return the latent about its center, in units of its reach."""
        # A converter folds a product and a sum into the layer before them, but not a quotient.
        return latent * (1 / self.reach) + self.center * (-1 / self.reach)


@keras.saving.register_keras_serializable("isplit_tf")
class LatentQuantizer(Rounding):
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

    def call(self, latent: Any) -> Any:
        """Return the latent `(N, ..., C)` scaled and rounded to the middles of cells in [-1, 1]."""
        unit = self.scaled(latent)
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
class LatentSymbols(Rounding):
    """The end of an encoder of a coded latent, which gives whole numbers from -128 to 127, channel by channel.

    The gradient is that of the clipping alone. In training, half of the images lose the channels behind a random one,
    so that any prefix of the channels is of use; where `rate_weight` is above 0, noise replaces the rounding there and
    the bits that the tables need, in the mean over images, are added to the loss.

    The tables of the code are weights that no training changes, so that they are saved and restored with the layer.

    Attributes:
        rate_weight: Weight of the bits in the loss of a training.
        costs: Bits of a symbol 0, of a symbol of magnitude 1, and of each further unit, float32 `(3, C)`; a training
            with `rate_weight` needs them.

    Reference:
        Ballé, Laparra and Simoncelli, "End-to-end optimized image compression", ICLR 2017, Sec. 3 (noise for rounding).
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.costs: np.ndarray | None = None
        self.rate_weight = 0.0
        self._random = keras.random.SeedGenerator(0)

    def build(self, shape: tuple) -> None:
        """Create the range and the tables."""
        super().build(shape)
        shapes = {"tables": geometric_tables().shape, **dict.fromkeys(_OF_CHANNELS, (shape[-1],))}
        self._tables = {
            name: self.add_weight(shape, dtype="int32", initializer="zeros", trainable=False, name=name)
            for name, shape in shapes.items()
        }

    @property
    def code(self) -> Code:
        """Return the code of the latent, once its tables are set."""
        return Code(**{name: np.asarray(weight) for name, weight in self._tables.items()}, shape=self.latent_shape)

    def set_code(self, code: Code) -> None:
        """Set the tables of the code; its number of tables must be that of `geometric_tables`."""
        for name, weight in self._tables.items():
            weight.assign(getattr(code, name).astype(np.int32))

    def call(self, latent: Any, training: bool = False) -> Any:
        """Return the symbols of the latent `(N, ..., C)`."""
        unit = self.scaled(latent)
        if not self.rounds:
            return unit
        clipped = ops.clip(unit, -128.0, 127.0)
        if training and self.rate_weight and self.costs is not None:
            noisy = clipped + keras.random.uniform(ops.shape(clipped), -0.5, 0.5, unit.dtype, seed=self._random)
            self.add_loss(self.rate_weight * self._bits(noisy, self.costs))
            symbols = noisy
        else:
            symbols = clipped + ops.stop_gradient(ops.round(clipped) - clipped)
        if training:
            symbols = symbols * self._prefixes(symbols)
        return ops.where(self.observed > 0, symbols, unit)

    def _bits(self, symbols: Any, costs: np.ndarray) -> Any:
        """Return the bits that symbols need, in the mean over images; linear between whole numbers."""
        zero, one, more = (ops.convert_to_tensor(cost, symbols.dtype) for cost in costs)
        magnitude = ops.abs(symbols)
        bits = zero + (one - zero) * ops.minimum(magnitude, 1.0) + more * ops.maximum(magnitude - 1.0, 0.0)
        return ops.mean(ops.sum(bits, axis=tuple(range(1, len(symbols.shape)))))

    def _prefixes(self, symbols: Any) -> Any:
        """Return for each image ones for a random prefix of the channels: of all, or from an eighth on."""
        channels = symbols.shape[-1]
        shape = (ops.shape(symbols)[0], *[1] * (len(symbols.shape) - 1))
        share = 8.0 ** -ops.maximum(keras.random.uniform(shape, -1.0, 1.0, symbols.dtype, seed=self._random), 0.0)
        return ops.cast(ops.arange(channels, dtype=symbols.dtype) < share * channels, symbols.dtype)


@keras.saving.register_keras_serializable("isplit_tf")
class LatentScale(_Ranged):
    """The beginning of a decoder, which scales a rounded latent back to its own range."""

    def call(self, unit: Any) -> Any:
        """Return the latent `(N, ..., C)`."""
        return unit * self.reach + self.center


def with_rounding(
    encoder: keras.Model, decoder: keras.Model, bits: int | None, *, coded: bool = False
) -> tuple[keras.Model, keras.Model]:
    """Return a bottleneck with the two layers at its ends; unchanged if the latent is sent as it is.

    Args:
        encoder: An encoder with an input named `features`; its layers are used in the new one.
        decoder: A decoder with an input named `latent`; its layers are used in the new one.
        bits: 8, 4 or 2, or None.
        coded: Whether the latent is coded.
    """
    if bits is None and not coded:
        return encoder, decoder
    latent = encoder.outputs[0]
    layer: Rounding
    if bits is None:
        layer = LatentSymbols(name="encoder_symbols", dtype=latent.dtype)
    else:
        layer = LatentQuantizer(bits, name="encoder_levels", dtype=latent.dtype)
    ends = layer(latent)
    code = keras.Input(latent.shape[1:], name="latent", dtype=latent.dtype)
    start = LatentScale(name="decoder_scale", dtype=latent.dtype)(code)
    program = read_program(decoder)
    restored = program.run({program.inputs[0]: start})[program.outputs[0]]
    return keras.Model(encoder.inputs[0], ends, name="encoder"), keras.Model(code, restored, name="decoder")


def roundings(model: keras.Model | None) -> list[Rounding]:
    """Return the rounding layers of an encoder in the order of their latents; none if the latent is sent as it is."""
    layers = [layer for layer in all_layers(model) if isinstance(layer, Rounding)] if model is not None else []
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
    """Check whether every rounding layer of an encoder has a range; also true without one."""
    return all(float(layer.observed.numpy()) > 0 for layer in roundings(encoder))


def forget(encoder: keras.Model, decoder: keras.Model) -> None:
    """Reset the ranges, so that encoder and decoder pass the latent unchanged, without rounding."""
    for quantizer, scale in zip(roundings(encoder), scales(decoder), strict=True):
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
    levels = [layer for layer in roundings(encoder) if isinstance(layer, LatentQuantizer)]
    for quantizer, scale in zip(levels, scales(decoder), strict=True):
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
    """Let an encoder not round its latent within the context; the head's integers do the rounding."""
    layers = roundings(encoder)
    try:
        for layer in layers:
            layer.rounds = False
        yield
    finally:
        for layer in layers:
            layer.rounds = True
