"""The code of a latent: the tables by which an int8 latent becomes a few bytes without loss, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from . import rans, schema
from .errors import ArgumentError, DataError
from .geometric import ENTRIES, SHARES, SYMBOLS, TOTAL, Entries, geometric_tables
from .operations import ESCAPE, Events, Operations, most_steps, rows_of, units

MOST_CHANNELS = 65535
_COUNT_BYTES = 2
_MOST_TABLES = 64
_CHUNK = 1 << 22
_CHUNK_OF_BITS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Code:
    """The tables of a coder, and which of them each channel follows.

    Attributes:
        tables: (K, 17) uint16: in each table where the parts of 4096 begin of the numbers 0 to 15 and of "16 or more".
        runs: (C,) uint8, the table of each channel's runs of zeros.
        magnitudes: (C,) uint8, the table of each channel's magnitudes.
        centres: (C,) int8: what counts as zero, and what a channel that is not sent is taken to be.
        shape: Of the latent without the batch; its last axis has the C channels, in the order of what they are worth.

    Example:
        >>> symbols = np.array([[[[0, 3], [0, 0]], [[-1, 0], [0, 0]]]], np.int8)      # 1 image of 2 x 2 x 2
        >>> code = Code.fit(symbols)
        >>> n_channels, latent = code.decode(code.encode(symbols[0]))
        >>> n_channels, np.array_equal(latent, symbols[0])
        (2, True)
    """

    tables: np.ndarray
    runs: np.ndarray
    magnitudes: np.ndarray
    centres: np.ndarray
    shape: tuple[int, ...]

    def __post_init__(self):
        shape = schema.shape("shape", tuple(self.shape))
        object.__setattr__(self, "shape", shape)
        for name, dtype in (("tables", np.uint16), ("runs", np.uint8), ("magnitudes", np.uint8), ("centres", np.int8)):
            object.__setattr__(self, name, _whole(f"code.{name}", getattr(self, name), dtype))
        if self.tables.ndim != 2 or self.tables.shape[1] != SYMBOLS or not 1 <= len(self.tables) <= _MOST_TABLES:
            raise ArgumentError(
                f"code.tables must be 1 to {_MOST_TABLES} tables of {SYMBOLS} numbers. Received: {self.tables.shape}"
            )
        table = self.tables.astype(int)
        if table[:, 0].any() or (np.diff(table, axis=1, append=TOTAL) < 1).any():
            raise ArgumentError(f"Each of code.tables must begin with 0 and rise at each step, below {TOTAL}.")
        for name in ("runs", "magnitudes", "centres"):
            values = getattr(self, name)
            if values.shape != shape[-1:]:
                raise ArgumentError(f"code.{name} must have a number for each of {shape[-1]} channels: {values.shape}")
            if name != "centres" and values.max() >= len(table):
                raise ArgumentError(f"code.{name} names table {values.max()} of {len(table)}, counted from 0")
        if self.n_channels > MOST_CHANNELS:
            raise ArgumentError(f"A code has at most {MOST_CHANNELS} channels. Received: {self.n_channels}")

    @property
    def n_channels(self) -> int:
        """Return C, the number of channels."""
        return self.shape[-1]

    @property
    def positions(self) -> int:
        """Return the number of positions of each channel, the product of all axes but the last."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    @property
    def n_units(self) -> int:
        """Return the number of units of all channels."""
        return self.n_channels * units(self.positions).count

    @property
    def most_steps(self) -> int:
        """Return the most operations that a lane of a valid code has."""
        centres = self.centres.astype(int)
        return most_steps(self.n_units, self.positions, int(np.maximum(127 - centres, centres + 128).max()))

    @cached_property
    def entries(self) -> Entries:
        """Return the parts of the tables that single operations code."""
        return Entries.of(self.tables)

    @classmethod
    def fit(cls, symbols: np.ndarray, tables: np.ndarray | None = None) -> "Code":
        """Choose for each channel the centre and the two tables that need the fewest bits.

        Args:
            symbols: int8 `(n, ..., C)`, the head's output for n images, n at least 1.
            tables: (K, 17); `geometric_tables()` by default.

        Returns:
            The code. The centre is the most frequent symbol, or the mean rounded down or up.

        Raises:
            DataError: If the symbols are not int8, or there are none.
        """
        if symbols.dtype != np.int8 or symbols.ndim < 2 or symbols.size == 0:
            raise DataError(f"A code is fitted to int8 of shape (n, ..., C). Received: {symbols.dtype} {symbols.shape}")
        tables = geometric_tables() if tables is None else tables
        flat = symbols.reshape(len(symbols), -1, symbols.shape[-1])
        mean = flat.mean(axis=(0, 1), dtype=np.float64)
        counts = _counts(flat)
        bits = Entries.of(np.asarray(tables)).bits.reshape(len(tables), ENTRIES)
        centres = (counts.argmax(axis=0) - 128).astype(np.int8)
        runs, magnitudes, cost = _choices(flat, centres, bits)
        for candidate in (np.floor(mean).astype(np.int8), np.ceil(mean).astype(np.int8)):
            # Each symbol that is not zero needs a bit at least: most candidates are out without a look at the runs.
            signs = counts.sum(axis=0) - counts[candidate.astype(int) + 128, np.arange(len(mean))]
            tried = np.flatnonzero((candidate != centres) & (signs < cost))
            if len(tried):
                *found, found_cost = _choices(flat[..., tried], candidate[tried], bits)
                better = found_cost < cost[tried]
                at = tried[better]
                centres[at], cost[at] = candidate[at], found_cost[better]
                runs[at], magnitudes[at] = (kinds[better] for kinds in found)
        return cls(tables, runs, magnitudes, centres, symbols.shape[1:])

    def ideal_bits(self, symbols: np.ndarray, channels: int | None = None) -> np.ndarray:
        """Return the exact length of images by the tables: the sum of log2(4096 / count), and a bit for each sign.

        Args:
            symbols: int8 `(n, *shape)`.
            channels: Of the first so many channels; all by default.

        Returns:
            float64 `(n,)`, bits.
        """
        channels = self.n_channels if channels is None else channels
        bits = self.entries.bits
        found = np.empty(len(symbols))
        step = max(1, _CHUNK_OF_BITS // self.positions // channels)
        for begin in range(0, len(symbols), step):
            images = symbols[begin : begin + step].reshape(-1, self.positions, self.n_channels)[..., :channels]
            operations = self._operations_of(images)
            entries, signs = bits[operations.entries], operations.signs[::channels]
            ends = operations.per_unit.reshape(len(images), -1).sum(axis=1).cumsum()
            for row, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                found[begin + row] = entries[start:end].sum() + (signs[row + 1] - signs[row])
        return found

    def encode(self, symbols: np.ndarray, max_bytes: int | None = None) -> bytes:
        """Write one latent, or as many of its first channels as fit.

        Channels at the end that are at their centres throughout are left out in any case, down to one channel: they are
        read as their centres.

        Args:
            symbols: int8 of `shape`; a leading axis of 1 changes nothing.
            max_bytes: The longest result; None for no bound.

        Returns:
            The number of channels (2 bytes, little-endian), then the code.

        Raises:
            ArgumentError: If the symbols are not int8 of `shape`, or not even one channel fits.
        """
        operations = self._operations(self._checked(symbols), self.n_channels)
        if max_bytes is None:
            return self._body(operations, _trimmed(operations, self.n_channels))
        lengths = self._estimates(operations)
        channels, bound = self.n_channels, max_bytes
        while True:
            fitting = np.flatnonzero(lengths[: channels + 1] <= bound)
            channels = _trimmed(operations, int(fitting[-1]) if len(fitting) else 0)
            body = self._body(operations, channels)
            if len(body) <= max_bytes:
                return body
            if channels == 1:
                raise ArgumentError(
                    f"Not even the first of {self.n_channels} channels fits in {max_bytes} bytes: it needs {len(body)}"
                )
            channels, bound = channels - 1, bound - (len(body) - max_bytes)

    def decode(self, body: bytes) -> tuple[int, np.ndarray] | None:
        """Read what `encode` wrote: the reference for the graph that a server runs.

        Args:
            body: Bytes of any kind.

        Returns:
            The number of channels that were sent, and the latent, int8 of `shape`; None if the bytes are malformed.
        """
        channels = int.from_bytes(body[:_COUNT_BYTES], "little")
        if len(body) < _COUNT_BYTES or not 1 <= channels <= self.n_channels:
            return None
        grid = units(self.positions)
        sizes = (grid.end - grid.begin).tolist() * channels
        chosen = zip(self.runs[:channels].tolist(), self.magnitudes[:channels].tolist(), strict=True)
        kinds = [pair for pair in chosen for _ in range(grid.count)]
        found = rans.decode(body[_COUNT_BYTES:], kinds, sizes, self.tables.tolist(), self.most_steps)
        if found is None:
            return None
        rows = np.array([symbol for unit in found for symbol in unit], np.int64).reshape(channels, -1)
        values = np.repeat(self.centres.astype(np.int64)[:, np.newaxis], self.positions, axis=1)
        values[:channels] += rows
        if values.min() < -128 or values.max() > 127:
            return None
        return channels, values.T.astype(np.int8).reshape(self.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the code as the manifest holds it, without the shape."""
        return {name: getattr(self, name).tolist() for name in ("tables", "runs", "magnitudes", "centres")}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], shape: Sequence[int]) -> "Code":
        """Make a code from `to_json` and the shape of the latent.

        Raises:
            ArgumentError: If the record is none of a code, or does not fit the shape.
        """
        return cls(**RECORD("code", record), shape=tuple(shape))

    def _checked(self, symbols: np.ndarray) -> np.ndarray:
        if symbols.dtype != np.int8 or symbols.shape not in (self.shape, (1, *self.shape)):
            raise ArgumentError(f"Coded are int8 of shape {self.shape}. Received: {symbols.dtype} {symbols.shape}")
        return symbols

    def _operations(self, symbols: np.ndarray, channels: int) -> Operations:
        return self._operations_of(symbols.reshape(1, self.positions, self.n_channels)[..., :channels])

    def _operations_of(self, images: np.ndarray) -> Operations:
        """Return the operations of the first channels of some latents `(n, P, channels)`, one after the other."""
        count, channels = len(images), images.shape[-1]
        rows = np.concatenate([rows_of(image, channels, self.centres[:channels]) for image in images])
        return Operations.of(rows, *(np.tile(kinds[:channels], count) for kinds in (self.runs, self.magnitudes)))

    def _body(self, operations: Operations, channels: int) -> bytes:
        n_units = channels * units(self.positions).count
        code = rans.encode(operations, self.entries, n_units, self.most_steps)
        return channels.to_bytes(_COUNT_BYTES, "little") + code

    def _estimates(self, operations: Operations) -> np.ndarray:
        """Return about how many bytes 0 to C channels need, (C + 1,): a rule of whole numbers."""
        per_channel = units(self.positions).count
        count = np.concatenate([[0], operations.per_unit.cumsum()[per_channel - 1 :: per_channel]])
        cost = np.concatenate([[0], self.entries.cost[operations.entries].cumsum(dtype=np.int64)])[count]
        signs = operations.signs
        limit = np.arange(self.n_channels + 1) * per_channel
        lanes = np.clip(np.minimum(count // 32, np.maximum(4, signs // 16)), 1, np.clip(limit, 1, 255))
        carried = rans.LANE_SIGNS * lanes
        bits = carried + cost // SHARES + np.maximum(signs - carried, 0)
        return _COUNT_BYTES + 2 + (bits + 7) // 8


RECORD = schema.record(
    {
        "tables": schema.sequence(schema.sequence(schema.integer(0, TOTAL - 1), SYMBOLS)),
        "runs": schema.sequence(schema.integer(0, _MOST_TABLES - 1)),
        "magnitudes": schema.sequence(schema.integer(0, _MOST_TABLES - 1)),
        "centres": schema.sequence(schema.integer(-128, 127)),
    }
)
"""The check of the manifest's record of a code."""


def _whole(key: str, values: Any, dtype: type) -> np.ndarray:
    """Return whole numbers as a read-only array of their own in `dtype`, or raise if they do not fit it."""
    found = np.array(values)
    limits = np.iinfo(dtype)
    if found.dtype.kind not in "iu" or found.size == 0 or found.min() < limits.min or found.max() > limits.max:
        raise ArgumentError(f"{key} must be whole numbers from {limits.min} to {limits.max}. Received: {values!r}")
    found = found.astype(dtype)
    found.flags.writeable = False
    return found


def _trimmed(operations: Operations, channels: int) -> int:
    """Return the number of channels without those at the end that have no symbol but zero, at least 1."""
    return max(1, int(np.searchsorted(operations.signs, operations.signs[channels])))


def _counts(flat: np.ndarray) -> np.ndarray:
    """Return how often each symbol, from -128 on, occurs in each channel of `(n, P, C)`, int64 `(256, C)`."""
    channels = flat.shape[-1]
    counts = np.zeros(256 * channels, np.int64)
    step = max(1, _CHUNK // flat[0].size)
    for begin in range(0, len(flat), step):
        place = flat[begin : begin + step].astype(np.int64)
        place += 128
        place *= channels
        place += np.arange(channels)
        counts += np.bincount(place.ravel(), minlength=len(counts))
    return counts.reshape(256, channels)


def _choices(flat: np.ndarray, centres: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tables of runs and of magnitudes of each channel, and the bits with them."""
    positions, channels = flat.shape[1:]
    count = units(positions).count
    runs, magnitudes = np.zeros((channels, ENTRIES)), np.zeros((channels, ENTRIES))
    step = max(1, _CHUNK // (positions * channels))
    for begin in range(0, len(flat), step):
        part = flat[begin : begin + step]
        rows = np.concatenate([rows_of(image, channels, centres) for image in part])
        events = Events.of(rows)
        channel = events.unit // count % channels
        last = np.repeat(np.tile(np.arange(channels), len(part)), count)
        for entries, of, weights in (
            (runs, channel * ENTRIES + events.run, None),
            (runs, (last * ENTRIES + events.last)[events.last > 0], None),
            (magnitudes, channel * ENTRIES + ESCAPE, events.escapes),
            (magnitudes, channel * ENTRIES + events.rest, None),
        ):
            entries += np.bincount(of, weights, entries.size).reshape(entries.shape)
    costs = runs @ bits.T, magnitudes @ bits.T
    signs = magnitudes.sum(axis=1) - magnitudes[:, ESCAPE]
    kinds = [cost.argmin(axis=1).astype(np.uint8) for cost in costs]
    return *kinds, signs + sum(cost.min(axis=1) for cost in costs)
