"""The tables: whole numbers that add up, without memory, and costs that other languages can compute."""

import numpy as np
import pytest

from isplit_edge.geometric import ENTRIES, SHARES, SYMBOLS, TOTAL, Entries, geometric_tables

TABLES = geometric_tables()


def test_each_table_gives_away_all_of_4096():
    """Each symbol has a part of at least 1, in order from 0."""
    counts = np.diff(TABLES.astype(int), axis=1, append=TOTAL)
    assert TABLES.shape == (32, 17)
    assert (TABLES[:, 0] == 0).all()
    assert counts.min() >= 1
    assert (counts.sum(axis=1) == TOTAL).all()


@pytest.mark.parametrize("ratio", [0.02, 0.1, 0.4, 0.8, 0.95, 0.995, 0.9999])
def test_some_table_fits_every_ratio(ratio):
    """Geometric symbols of any ratio cost at most 2 % and 0.03 bits more than their entropy."""
    share = np.append((1 - ratio) * ratio ** np.arange(16), ratio**16)
    counts = np.diff(TABLES.astype(int), axis=1, append=TOTAL)
    entropy = -(share * np.log2(share)).sum()
    assert (np.log2(TOTAL / counts) @ share).min() < 1.02 * entropy + 0.03


def test_the_parts_under_a_limit_are_a_distribution():
    """Below the limit the parts are the table's own; the last one takes what remains."""
    entries = Entries.of(TABLES[5:6])
    for limit in range(SYMBOLS):
        of = slice(limit * SYMBOLS, limit * SYMBOLS + limit + 1)
        assert entries.count[of].sum() == TOTAL
        np.testing.assert_array_equal(entries.start[of], TABLES[5, : limit + 1])
    assert (entries.start[0], entries.count[0], entries.most[0], entries.cost[0]) == (0, TOTAL, 0, 0)


def test_costs_in_whole_numbers_are_close():
    """A cost differs from the exact one by at most 4 of 256 parts of a bit."""
    entries = Entries.of(TABLES)
    assert len(entries.cost) == 32 * ENTRIES
    assert np.abs(entries.cost / SHARES - entries.bits).max() <= 4 / SHARES


def test_states_stay_within_their_range():
    """For every count, the number of bits that a state gives brings it to 16 to 32 times the count."""
    entries = Entries.of(TABLES)
    for state in (1 << 16, 70001, 99999, (1 << 17) - 1):
        shifted = state >> (entries.most - (state < entries.threshold)).astype(int)
        assert (16 * entries.count <= shifted).all()
        assert (shifted < 32 * entries.count).all()
