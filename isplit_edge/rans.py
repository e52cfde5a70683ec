"""Range asymmetric numeral systems (Duda, arXiv:1311.2540) with many lanes that share one stream of bits.

A lane's state is a whole number x from 2^16 to 2^17 - 1. To decode an operation with the part [start, start + count) of
4096, the remainder of x / 4096 is in that part, and

    y = count * (x // 4096) + x % 4096 - start

is from 16 count to 32 count - 1; as many bits are read as bring it back above 2^16 - 1. Encoding runs backwards. All
lanes take a step at a time, and read in their order; a lane that has ended stays as it is. Where decoding ends,
encoding began: the last states hold 16 signs each, and what signs are left follow in the stream.

```text
byte 0              L, the number of lanes, from 1 to 255
bytes 1 to 2 L      the states less 2^16, little-endian
from 2 L + 1        the stream: bits from the highest on; up to 7 zeros fill the last byte
```
"""

import numpy as np

from .geometric import LIMIT, TOTAL, TOTAL_BITS, Entries
from .operations import Operations, lanes_of

FIRST = 1 << 16
LANE_SIGNS = 16


def encode(operations: Operations, entries: Entries, n_units: int, limit: int) -> bytes:
    """Write the first units' operations.

    Args:
        operations: Of a whole latent.
        entries: The tables.
        n_units: How many units are written, of whole channels.
        limit: The most steps that a valid code may have.

    Returns:
        The code, from the number of lanes on.
    """
    per_unit = operations.per_unit[:n_units]
    count = int(per_unit.sum())
    per_channel = len(operations.per_unit) // (len(operations.signs) - 1)
    signs = operations.negative[: operations.signs[n_units // per_channel]]
    lanes = lanes_of(count, len(signs), n_units)
    steps, at = _places(per_unit, lanes)
    while steps > limit and lanes < min(255, n_units):
        lanes = min(255, n_units, 2 * lanes)
        steps, at = _places(per_unit, lanes)
    flat = np.zeros(steps * lanes, np.int64)
    flat[at] = operations.entries[:count]
    table = flat.reshape(steps, lanes)
    first = np.zeros(LANE_SIGNS * lanes, np.uint8)
    carried = signs[: len(first)]
    first[: len(carried)] = carried
    states, values, lengths = _walk(table, entries, np.packbits(first).view(">u2").astype(np.uint32) | FIRST)
    stream = _packed(values, lengths, signs[len(first) :])
    return bytes([lanes]) + (states - FIRST).astype("<u2").tobytes() + stream


def _places(per_unit: np.ndarray, lanes: int) -> tuple[int, np.ndarray]:
    """Return the number of steps, and for each operation `step * lanes + lane`."""
    n_units = len(per_unit)
    rows = -(-n_units // lanes)
    counts = np.zeros(rows * lanes, np.int64)
    counts[:n_units] = per_unit
    ends = counts.reshape(rows, lanes).cumsum(axis=0)
    # Where a unit's first operation stands, less its number among all operations.
    first = (ends - counts.reshape(rows, lanes)).ravel()[:n_units] - (per_unit.cumsum() - per_unit)
    step = np.repeat(first, per_unit) + np.arange(per_unit.sum())
    return int(ends[-1].max()), step * lanes + np.repeat(np.arange(n_units) % lanes, per_unit)


def _walk(table: np.ndarray, entries: Entries, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encode `(steps, lanes)` entries from the last to the first: the states, and the bits given and their number."""
    start, most, threshold = entries.start[table], entries.most[table], entries.threshold[table]
    count = entries.count[table]
    rest = TOTAL - count
    values, lengths = np.empty(table.shape, np.uint32), np.empty(table.shape, np.uint32)
    for step in range(len(table) - 1, -1, -1):
        values[step] = state
        length = np.subtract(most[step], state < threshold[step], out=lengths[step])
        state = state >> length
        whole = state // count[step]
        whole *= rest[step]
        state += whole
        state += start[step]
    return state, values, lengths


def _packed(values: np.ndarray, lengths: np.ndarray, signs: np.ndarray) -> bytes:
    """Put the lowest bits of values side by side, then the signs."""
    given = lengths.ravel() > 0
    sizes = np.append(lengths.ravel()[given], np.ones(len(signs), np.uint32))
    bits = np.append(values.ravel()[given], signs.astype(np.uint32)) & ((np.uint32(1) << sizes) - np.uint32(1))
    ends = sizes.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    begins = ends - sizes
    byte = (begins >> 3).astype(np.int64)
    shifted = bits << (24 - sizes - (begins & 7)).astype(np.uint32)
    size = -(-total // 8)
    packed = np.zeros(size + 3, np.int64)
    for k, shift in enumerate((16, 8, 0)):
        packed += np.bincount(byte + k, (shifted >> shift) & 255, size + 3).astype(np.int64)
    return packed[:size].astype(np.uint8).tobytes()


class Reader:
    """The bits of a code, from the highest of its first byte on; beyond its end there are zeros."""

    def __init__(self, stream: bytes):
        self.position = 0
        self.length = 8 * len(stream)
        padded = stream + bytes(3)
        self._windows = [int.from_bytes(padded[k : k + 3], "big") for k in range(len(stream) + 1)]

    def read(self, size: int) -> int:
        """Return the next bits, at most 16, as a number."""
        byte, bit = divmod(self.position, 8)
        self.position += size
        if byte >= len(self._windows):
            return 0
        return (self._windows[byte] >> (24 - bit - size)) & ((1 << size) - 1)


def decode(
    code: bytes, kinds: list[tuple[int, int]], sizes: list[int], tables: list[list[int]], limit: int
) -> list[list[int]] | None:
    """Read a code: the reference for every other decoder, written to be understood.

    Args:
        code: From the number of lanes on.
        kinds: The tables of runs and of magnitudes of each unit.
        sizes: The number of positions of each unit.
        tables: The first number of the part of each symbol.
        limit: The most steps that a valid code may have.

    Returns:
        The symbols of each unit; None if the code is malformed.
    """
    if not code or not 1 <= code[0] <= min(255, len(sizes)) or len(code) < 1 + 2 * code[0]:
        return None
    lanes = code[0]
    states = [FIRST + int.from_bytes(code[k : k + 2], "little") for k in range(1, 1 + 2 * lanes, 2)]
    reader = Reader(code[1 + 2 * lanes :])
    symbols: list[list[int]] = [[] for _ in sizes]
    unit, magnitude = list(range(lanes)), [-1] * lanes
    active = list(range(lanes))
    for _ in range(limit):
        for lane in active:
            here = symbols[unit[lane]]
            remaining = sizes[unit[lane]] - len(here)
            is_run = magnitude[lane] < 0
            table = tables[kinds[unit[lane]][0 if is_run else 1]]
            most = remaining if is_run else LIMIT
            symbol, states[lane] = _operation(states[lane], table, most, reader)
            if is_run:
                here += [0] * symbol
                magnitude[lane] = 0 if symbol < most else -1
            elif symbol == LIMIT:
                magnitude[lane] += LIMIT
            else:
                here.append(magnitude[lane] + symbol + 1)
                magnitude[lane] = -1
            if len(here) == sizes[unit[lane]]:
                unit[lane] += lanes
        active = [lane for lane in active if unit[lane] < len(sizes)]
        if not active or reader.position > reader.length:
            break
    if active or not _read_signs(symbols, states, reader):
        return None
    return symbols


def _operation(state: int, table: list[int], limit: int, reader: Reader) -> tuple[int, int]:
    """Decode one operation, and return its symbol and the next state."""
    slot = state % TOTAL
    symbol = min(limit, sum(begin <= slot for begin in table) - 1)
    end = table[symbol + 1] if symbol < limit else TOTAL
    state = (end - table[symbol]) * (state >> TOTAL_BITS) + slot - table[symbol]
    size = 17 - state.bit_length()
    return symbol, state << size | reader.read(size)


def _read_signs(symbols: list[list[int]], states: list[int], reader: Reader) -> bool:
    """Give the magnitudes their signs, and say whether the code ends as it has to."""
    carried = [state >> bit & 1 for state in states for bit in range(LANE_SIGNS - 1, -1, -1)]
    number = 0
    for unit in symbols:
        for k, magnitude in enumerate(unit):
            if magnitude:
                negative = carried[number] if number < len(carried) else reader.read(1)
                unit[k] = -magnitude if negative else magnitude
                number += 1
    left = reader.length - reader.position
    return 0 <= left < 8 and reader.read(left) == 0 and not any(carried[number:])
