"""The step and the tables of a coded latent, from the latents of some images.

All channels share one step. With many channels and one step, most symbols are zero and cost a small part of a bit, so
that bytes go where they are worth most: this is reverse water-filling (Cover and Thomas, "Elements of Information
Theory", Sec. 10.3.3).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from isplit_edge.code import Code
from isplit_edge.wire import HEADER_BYTES

from ..errors import DataError
from .quantizer import LatentSymbols, roundings, scales

# Bytes of a coded frame besides the ideal length: header, numbers of channels and lanes, and the coder's own loss.
OVERHEAD_BYTES = HEADER_BYTES + 5
# Without a rate, a step is this share of the largest deviation of a channel: it loses nothing that can be measured.
_FINE = 1 / 16
_LARGEST = 127
# Rounds of bisection for a step; the last of 20 halvings of a range of 2^20 changes it by a part in a million.
_ROUNDS, _RANGE = 20, 2.0**20
# After so many rounds what remains is narrowed down by interpolation, so many times or to logarithms that are so close.
_COARSE, _TIMES, _CLOSE = 5, 6, 1e-5
# Sums of so many magnitudes are exact in float32.
_EXACT_ROWS = 2**24 // (_LARGEST + 1)
# Images whose exact length corrects the estimate.
_EXACT = 64


@dataclass(frozen=True, eq=False)
class Symbols:
    """The step of a coded latent and its tables.

    Attributes:
        center: float32 `(C,)`, what becomes symbol 0.
        step: What a symbol counts.
        code: The tables.
        mean_bytes: Mean bytes of a whole payload over the images of the fit.
    """

    center: np.ndarray
    step: float
    code: Code
    mean_bytes: float


def fit_symbols(latents: np.ndarray, payload_bytes: int | None) -> Symbols:
    """Choose the step and the tables of a latent.

    Args:
        latents: float32 `(N, ..., C)`, before rounding; for a rate, of images of all kinds.
        payload_bytes: Mean bytes of a payload, header included; None for a step that loses nothing.

    Returns:
        The step, at which no symbol of these images is above 127, and the tables.

    Raises:
        DataError: If there are no images.
    """
    if not len(latents):
        raise DataError("A code is fitted from the latents of at least one image. Received: none.")
    rows = latents.reshape(len(latents), -1, latents.shape[-1]).astype(np.float32)
    center = rows.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    rows = rows - center
    deviation = float(np.sqrt(np.square(rows, dtype=np.float64).mean(axis=(0, 1)).max()))
    if not deviation > 0:
        return _symbols(latents, center, 1.0)
    least = float(np.abs(rows).max()) / _LARGEST
    if payload_bytes is None:
        return _symbols(latents, center, max(deviation * _FINE, least))
    asked = float(max(payload_bytes - OVERHEAD_BYTES, 1))
    rate = Rate(rows)
    step = _step_for(rate, asked, least, deviation)
    for _ in range(2):  # the estimate is corrected by the exact length
        found = _symbols(latents, center, step)
        excess = (found.mean_bytes - OVERHEAD_BYTES) / asked
        if 0.99 <= excess <= 1 or (excess < 1 and step <= least):
            return found
        step = _step_for(rate, asked * asked / max(asked * excess * 1.003, 1e-9), least, deviation)
    return _symbols(latents, center, step)


def symbols_of(latents: np.ndarray, center: np.ndarray, step: float) -> np.ndarray:
    """Return the int8 symbols of latents `(N, ..., C)`, as the head gives them."""
    return np.clip(np.rint((latents - center) / np.float32(step)), -128, 127).astype(np.int8)


def _symbols(latents: np.ndarray, center: np.ndarray, step: float) -> Symbols:
    symbols = symbols_of(latents, center, step)
    code = Code.fit(symbols)
    exact = symbols[:: -(-len(symbols) // _EXACT)]
    return Symbols(center, step, code, OVERHEAD_BYTES + float(code.ideal_bits(exact).mean()) / 8)


def _step_for(rate: "Rate", asked: float, least: float, deviation: float) -> float:
    """Return the step at which the estimate of the mean bytes is what is asked, by bisection."""
    low, high = least, max(deviation, least) * _RANGE**0.5
    if rate.at(low) <= asked:
        return low
    for k in range(_ROUNDS):
        if k == _COARSE:
            rate.approach(asked, low, high)
        middle = (low * high) ** 0.5
        low, high = (middle, high) if rate.exceeds(asked, middle) else (low, middle)
    return high


class Rate:
    """The mean bytes of the symbols of latents at any step, from their counts in each channel.

    Zeros follow one geometric distribution and magnitudes another, each with the ratio of the channel's own counts. As
    the bytes fall with the step, those at some steps tell on which side others are.

    Args:
        rows: Latents about their centers, float32 `(N, P, C)`.
    """

    def __init__(self, rows: np.ndarray):
        self._images = len(rows)
        self._magnitudes = np.abs(rows).reshape(-1, rows.shape[-1])
        self._room = np.empty_like(self._magnitudes[:_EXACT_ROWS])
        self._known: dict[float, float] = {}

    def at(self, step: float) -> float:
        """Return the mean bytes at a step."""
        if step not in self._known:
            sum_of, nonzero = np.zeros((2, self._magnitudes.shape[1]))
            for begin in range(0, len(self._magnitudes), _EXACT_ROWS):
                part = self._magnitudes[begin : begin + _EXACT_ROWS]
                room, ones = self._room[: len(part)], np.ones(len(part), np.float32)
                np.rint(np.multiply(part, np.float32(1 / step), out=room), out=room)
                sum_of += ones @ room
                nonzero += ones @ np.minimum(room, 1, out=room)
            zero = len(self._magnitudes) - nonzero
            bits = nonzero + _entropy(nonzero, zero) + _entropy(nonzero, sum_of - nonzero)
            self._known[step] = float(bits.sum()) / 8 / self._images
        return self._known[step]

    def exceeds(self, asked: float, step: float) -> bool:
        """Check whether the bytes at a step are more than what is asked."""
        if any(bytes_at > asked for known, bytes_at in self._known.items() if known >= step):
            return True
        return not any(bytes_at <= asked for known, bytes_at in self._known.items() if known <= step) and (
            self.at(step) > asked
        )

    def approach(self, asked: float, low: float, high: float) -> None:
        """Find the bytes at steps close to the one that is asked for, between two steps.

        Reference:
            Dowell and Jarratt, "A modified regula falsi method", BIT 1971 (the Illinois algorithm).
        """
        places, values = [math.log(low), math.log(high)], [self._excess(asked, step) for step in (low, high)]
        side = 0
        for _ in range(_TIMES):
            if places[1] - places[0] < _CLOSE or not (values[0] > 0 >= values[1] > -math.inf):
                return
            place = (places[0] * values[1] - places[1] * values[0]) / (values[1] - values[0])
            value = self._excess(asked, math.exp(place))
            new = 0 if value > 0 else 1
            if side == new + 1:
                values[1 - new] /= 2
            places[new], values[new], side = place, value, new + 1

    def _excess(self, asked: float, step: float) -> float:
        return math.log(found / asked) if (found := self.at(step)) > 0 else -math.inf


def _entropy(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the bits of `first` and `second` independent choices between two, with the ratio of their counts."""
    both = first + second
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(count > 0, count * np.log2(both / count), 0.0) for count in (first, second)]
    return parts[0] + parts[1]


def put_symbols(found: Symbols, layer: LatentSymbols, decoder: keras.Model) -> None:
    """Set step and tables of a coded bottleneck, which rounds from here on."""
    (scale,) = scales(decoder)
    channels = found.center.shape
    for ranged in (layer, scale):
        ranged.set_range(found.center, np.full(channels, found.step, np.float32))
    layer.observed.assign(1.0)
    layer.set_code(found.code)


def refit_code(layer: LatentSymbols, symbols: np.ndarray) -> None:
    """Fit the tables anew to what a trained encoder gives, `(N, ..., C)`; the step stays."""
    layer.set_code(Code.fit(np.clip(np.rint(symbols), -128, 127).astype(np.int8)))


def symbol_layer(encoder: keras.Model | None) -> LatentSymbols | None:
    """Return the layer of an encoder that makes the symbols of a coded latent; None if the latent is not coded."""
    return next((layer for layer in roundings(encoder) if isinstance(layer, LatentSymbols)), None)


def code_of(encoder: keras.Model | None) -> Code | None:
    """Return the code of a coded latent; None if the latent is not coded, or its tables are not fitted."""
    layer = symbol_layer(encoder)
    return layer.code if layer is not None and float(layer.observed.numpy()) > 0 else None


@contextmanager
def weighing_bits(encoder: keras.Model | None, weight: float) -> Iterator[None]:
    """Add the bits of a coded latent to the loss of a training within the context; nothing for a weight of 0."""
    layer = symbol_layer(encoder) if weight else None
    if layer is None:
        yield
        return
    layer.rate_weight, layer.costs = weight, costs_of(layer.code)
    try:
        yield
    finally:
        layer.rate_weight, layer.costs = 0.0, None


def costs_of(code: Code) -> np.ndarray:
    """Return the bits of a symbol 0, of one of magnitude 1, and of each further unit, float32 `(3, C)`."""
    starts = code.tables.astype(np.float64) / 4096
    runs, magnitudes = starts[code.runs, 1], starts[code.magnitudes, 1]  # shares of a run and a rest of nothing
    zero = -np.log2(1 - runs)
    one = -np.log2(runs) + 1 - np.log2(magnitudes)
    return np.stack([zero, one, -np.log2(1 - magnitudes)]).astype(np.float32)
