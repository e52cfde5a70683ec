"""The operations that code symbols: runs of zeros, and magnitudes of what is not zero.

A channel's positions lie in units of at most 16. In a unit, a run of zeros and a magnitude take turns, beginning with a
run, until its last position. A run's limit is the number of positions that remain, so that a run to the end of the unit
is a single operation, and nothing is coded where no position remains. A magnitude is |s| - 1, with a limit of 16:
each 16 of it is an operation, then comes the rest.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from .geometric import ENTRIES, LIMIT, SYMBOLS

_MAGNITUDE = LIMIT * SYMBOLS
"""The entry of magnitude 0 under the limit of a magnitude."""
ESCAPE = _MAGNITUDE + LIMIT


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of a channel with `positions` positions, in equal parts as far as whole numbers allow."""

    positions: int

    @property
    def count(self) -> int:
        """Return the number of units."""
        return -(-self.positions // LIMIT)

    @cached_property
    def begin(self) -> np.ndarray:
        """Return the first position of each unit: unit j of n begins at j * positions // n."""
        return np.arange(self.count) * self.positions // self.count

    @cached_property
    def end(self) -> np.ndarray:
        """Return the position after each unit."""
        return np.arange(1, self.count + 1) * self.positions // self.count

    @cached_property
    def of(self) -> np.ndarray:
        """Return the unit of each position."""
        return np.repeat(np.arange(self.count), self.end - self.begin)


units = lru_cache(maxsize=64)(Units)


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """What is coded of rows of symbols, without the tables.

    Attributes:
        unit: The unit of each symbol that is not zero, counted over all rows; in order.
        run: The entry of the run before it, within a table.
        escapes: How many 16s its magnitude has.
        rest: The entry of the rest of the magnitude, within a table.
        negative: Whether it is below zero.
        last: The entry of each unit's run to its end, within a table; 0 where no position remains.
    """

    unit: np.ndarray
    run: np.ndarray
    escapes: np.ndarray
    rest: np.ndarray
    negative: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, symbols: np.ndarray) -> "Events":
        """Return the events of whole numbers `(rows, positions)`, of which each row is a channel."""
        grid = units(symbols.shape[1])
        flat = symbols.reshape(-1)
        at = np.flatnonzero(flat != 0)
        value = flat[at]
        row = at // grid.positions
        position = at - row * grid.positions
        part = grid.of[position]
        unit = row * grid.count + part
        begin = grid.begin[part]
        follows = unit[1:] == unit[:-1]
        begin[1:][follows] = position[:-1][follows] + 1
        magnitude = np.abs(value) - 1
        after = np.tile(grid.begin, len(symbols))
        is_last = np.append(~follows, True)[: len(unit)]
        after[unit[is_last]] = position[is_last] + 1
        remaining = np.tile(grid.end, len(symbols)) - after
        return cls(
            unit,
            (grid.end[part] - begin) * SYMBOLS + position - begin,
            magnitude >> 4,
            _MAGNITUDE + (magnitude & 15),
            value < 0,
            remaining * (SYMBOLS + 1),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Operations:
    """The operations of one latent in the order of its units, as entries of the coder's tables.

    Attributes:
        entries: Of each operation.
        per_unit: The number of operations of each unit.
        negative: Of each sign, in the order of channels and positions.
        signs: The number of signs in channels 0 to c - 1, for c = 0 to the number of channels.
    """

    entries: np.ndarray
    per_unit: np.ndarray
    negative: np.ndarray
    signs: np.ndarray

    @classmethod
    def of(cls, symbols: np.ndarray, runs: np.ndarray, magnitudes: np.ndarray) -> "Operations":
        """Return the operations of symbols `(channels, positions)` with the kinds of each channel's tables."""
        count = units(symbols.shape[1]).count
        events = Events.of(symbols)
        found = np.bincount(events.unit, minlength=len(events.last))
        has_last = events.last > 0
        each = events.escapes + 2
        ends = each.cumsum()
        # Between the events stand the last runs of the units before.
        lasts = has_last.cumsum() - has_last
        at = ends - each + lasts[events.unit]
        run_table = np.repeat(runs.astype(np.int64) * ENTRIES, count)
        magnitude_table = np.repeat(magnitudes.astype(np.int64) * ENTRIES, count)[events.unit]
        entries = np.empty(int(each.sum() + has_last.sum()), np.int64)
        per_unit = 2 * found + has_last
        if events.escapes.any():
            skipped = np.repeat(at + 1 - (events.escapes.cumsum() - events.escapes), events.escapes)
            filled = skipped + np.arange(len(skipped))
            entries[filled] = np.repeat(magnitude_table + ESCAPE, events.escapes)
            per_unit += np.bincount(events.unit, events.escapes, len(per_unit)).astype(np.int64)
        entries[at] = run_table[events.unit] + events.run
        entries[at + 1 + events.escapes] = magnitude_table + events.rest
        entries[(per_unit.cumsum() - 1)[has_last]] = (run_table + events.last)[has_last]
        signs = np.concatenate([[0], found.cumsum()[count - 1 :: count]])
        return cls(entries, per_unit, events.negative, signs)


def lanes_of(operations: int, signs: int, n_units: int) -> int:
    """Return the number of lanes for so many operations, signs and units: a rule of whole numbers.

    A lane begins with 16 signs, so it costs next to nothing if there are as many; and 32 operations are worth one.
    """
    return max(1, min(255, n_units, operations // 32, max(4, signs // 16)))


def most_steps(n_units: int, positions: int, farthest: int) -> int:
    """Return the most operations that a lane of a valid code may have.

    255 lanes never need more; and four, which cost next to nothing, may share out a latent of
    fewer than 80 signs, wherever they are.

    Args:
        n_units: The number of units in all channels.
        positions: Of a channel.
        farthest: The largest distance of an int8 from a centre.
    """
    unit = -(-positions // units(positions).count)
    return max(-(-n_units // 255) * unit * (2 + (farthest - 1) // LIMIT), n_units // 4 + 160)


def rows_of(latent: np.ndarray, channels: int, centres: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the symbols of latents `(..., channels)` as rows of channels, int16, relative to their centres."""
    flat = latent.reshape(-1, channels)
    return np.ascontiguousarray(flat.T.astype(np.int16) - np.asarray(centres, np.int16)[:, np.newaxis])
