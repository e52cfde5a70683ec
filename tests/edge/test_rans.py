"""The lanes and their stream: literal bytes, and bounded work."""

import numpy as np
import pytest

from isplit_edge import rans
from isplit_edge.geometric import Entries, geometric_tables
from isplit_edge.operations import Operations

HALVES = np.array([[0, 2048, *range(4081, 4096)]], np.uint16)
"""A table that gives one half to 0, and nearly one half to 1."""


def encoded(symbols, limit=10**6):
    """Encode rows of symbols by the table of halves."""
    kinds = np.zeros(len(symbols), int)
    operations = Operations.of(np.array(symbols), kinds, kinds)
    return rans.encode(operations, Entries.of(HALVES), len(operations.per_unit), limit)


def test_a_code_by_hand():
    """One position with -1: the sign makes the first state 2^16 + 2^15; two halvings give two bits and another state.

    A magnitude of 0: the state 98304 gives its lowest bit, 0, and becomes 49152 // 2048 * 4096 = 98304. A run of 0:
    the same. So the states are 0x8000 and the stream is 00, padded.
    """
    assert encoded([[-1]]).hex() == "01" + "0080" + "00"


def test_signs_beyond_the_states_follow_in_the_stream():
    """Seventeen signs in one lane: the last one is the last bit before the padding."""
    signs = [-1] + [1] * 15
    rest = [1] + [0] * 15
    plus, minus = encoded([signs, rest]), encoded([signs, [-1, *rest[1:]]])
    assert plus[0] == minus[0] == 1
    assert plus[:-1] == minus[:-1]
    assert (plus[-1] ^ minus[-1]).bit_count() == 1


@pytest.mark.parametrize("limit", [40, 90, 200])
def test_lanes_are_added_until_the_steps_suffice(limit):
    """Where the rule gives too few lanes for the most steps that are valid, they are doubled."""
    symbols = np.zeros((300, 16), int)
    symbols[:, 3] = 200
    few, many = encoded(symbols), encoded(symbols, limit)
    assert many[0] > few[0] or limit == 200
    found = rans.decode(many, [(0, 0)] * 300, [16] * 300, HALVES.tolist(), limit * 2)
    np.testing.assert_array_equal(found, symbols)


def test_no_code_takes_more_steps_than_the_largest_valid_one():
    """A lane of magnitudes without end is given up at the limit."""
    endless = np.array([list(range(17))], np.uint16)
    code = bytes([1, 255, 255]) + bytes([255] * 40)
    for limit in (5, 500):
        assert rans.decode(code, [(0, 0)], [16], endless.tolist(), limit) is None


def test_reading_beyond_the_end_gives_zeros():
    """The reader never fails; its position tells that it went too far."""
    reader = rans.Reader(b"\xa5\xff")
    assert [reader.read(3), reader.read(5), reader.read(16), reader.read(1)] == [5, 5, 0xFF00, 0]
    assert reader.position > reader.length


def test_tables_of_the_family_code_zeros_for_nearly_nothing():
    """A thousand units of zeros under the table of the largest ratio cost at most ten bytes and the states."""
    tables = geometric_tables()
    kinds = np.full(1000, len(tables) - 1)
    operations = Operations.of(np.zeros((1000, 16), int), kinds, kinds)
    code = rans.encode(operations, Entries.of(tables), 1000, 10**6)
    assert len(code) <= 1 + 2 * code[0] + 10
