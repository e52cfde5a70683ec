"""The tables of a coder: geometric distributions in whole numbers, and the cost of what they code.

A table gives each of 17 symbols a part of 4096: the numbers 0 to 15, and "16 or more". As the distributions have no
memory, "16 or more" means: 16, and go on with the same table. An entry is a part of a table that a single operation
codes. With a limit of `l` (1 to 16), the symbols below `l` keep their parts, and what remains is one part, that of `l`
or more. Entry `17 * l + s` of a table is symbol `s` under the limit `l`.
"""

import dataclasses

import numpy as np

TOTAL_BITS = 12
TOTAL = 1 << TOTAL_BITS
LIMIT = 16
"""The largest limit, which is also the number of positions in a unit."""
SYMBOLS = LIMIT + 1
ENTRIES = SYMBOLS * SYMBOLS
SHARES = 256
"""Costs in whole numbers are so many to a bit."""

_TABLES = 32
_LOGITS = (-3.9, 9.2)
_BEND = 88


def geometric_tables() -> np.ndarray:
    """Return the tables of a new coder: ratios from 0.02 to 0.9999, evenly spaced in their logits.

    Returns:
        uint16 `(32, 17)`: where the part of each symbol begins.
    """
    ratio = 1 / (1 + np.exp(-np.linspace(*_LOGITS, _TABLES)))[:, np.newaxis]
    shares = np.concatenate([(1 - ratio) * ratio ** np.arange(LIMIT), ratio**LIMIT], axis=1)
    counts = np.maximum(1, np.rint(shares * TOTAL)).astype(int)
    counts[np.arange(_TABLES), counts.argmax(axis=1)] += TOTAL - counts.sum(axis=1)
    return (counts.cumsum(axis=1) - counts).astype(np.uint16)


@dataclasses.dataclass(frozen=True, eq=False)
class Entries:
    """What the coder needs of each entry, all flat of `K * 289` entries; entry 0 is the one that changes nothing.

    Attributes:
        start, count: The part of 4096.
        most: The most bits that a state gives for it, 12 less the whole part of the count's binary logarithm; the
            others give one bit less.
        threshold: The first state that gives the most bits.
        cost: Its whole-number cost, `SHARES` to a bit.
    """

    start: np.ndarray
    count: np.ndarray
    most: np.ndarray
    threshold: np.ndarray
    cost: np.ndarray

    @classmethod
    def of(cls, tables: np.ndarray) -> "Entries":
        """Return the entries of tables `(K, 17)`."""
        starts = np.concatenate([tables.astype(np.uint32), np.full((len(tables), 1), TOTAL, np.uint32)], axis=1)
        limit, symbol = np.divmod(np.arange(ENTRIES), SYMBOLS)
        possible = symbol <= limit
        start = np.where(possible, starts[:, np.minimum(symbol, LIMIT)], 0)
        end = np.where(possible & (symbol < limit), starts[:, symbol + 1], TOTAL)
        start, count = (a.ravel().astype(np.uint32) for a in (start, end - start))
        whole = np.frexp(count)[1].astype(np.uint32) - 1
        most = (TOTAL_BITS - whole).astype(np.uint32)
        return cls(start, count, most, count << (most + 4), _cost(count, whole))

    @property
    def bits(self) -> np.ndarray:
        """Return the exact cost of each entry in bits, float64."""
        return TOTAL_BITS - np.log2(self.count)


def _cost(count: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return 256 (12 - log2 count) to within 4, in whole numbers: a parabola through the powers of two."""
    rest = ((count * SHARES) >> whole) - SHARES
    return (TOTAL_BITS - whole) * SHARES - (rest + ((_BEND * rest * (SHARES - rest)) >> 16))
