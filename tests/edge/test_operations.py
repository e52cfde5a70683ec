"""What is coded: runs and magnitudes in units, against a hand-made list."""

import numpy as np
import pytest

from isplit_edge.geometric import ENTRIES, SYMBOLS
from isplit_edge.operations import ESCAPE, Operations, lanes_of, most_steps, rows_of, units


@pytest.mark.parametrize("positions", [1, 15, 16, 17, 49, 196, 225, 1000])
def test_units_share_the_positions(positions):
    """They are as few as 16 positions each allow, follow each other, and differ by at most one."""
    grid = units(positions)
    sizes = grid.end - grid.begin
    assert grid.count == -(-positions // 16)
    assert sizes.max() - sizes.min() <= 1
    assert grid.begin[0] == 0
    assert grid.end[-1] == positions
    np.testing.assert_array_equal(grid.begin[1:], grid.end[:-1])
    np.testing.assert_array_equal(np.bincount(grid.of), sizes)


def test_operations_of_a_latent_by_hand():
    """Two channels of 3 positions: 0 0 -40 and 1 0 0, with tables 2 and 3 for runs, 4 and 5 for magnitudes."""
    found = Operations.of(np.array([[0, 0, -40], [1, 0, 0]]), np.array([2, 3]), np.array([4, 5]))
    run, size = 2 * ENTRIES, 4 * ENTRIES
    first = [run + 3 * SYMBOLS + 2, size + ESCAPE, size + ESCAPE, size + 16 * SYMBOLS + 7]
    second = [3 * ENTRIES + 3 * SYMBOLS, 5 * ENTRIES + 16 * SYMBOLS, 3 * ENTRIES + 2 * SYMBOLS + 2]
    assert found.entries.tolist() == first + second
    assert found.per_unit.tolist() == [4, 3]
    assert found.negative.tolist() == [True, False]
    assert found.signs.tolist() == [0, 1, 2]


def test_zeros_alone_are_one_operation_a_unit():
    """A run that reaches the end of its unit is coded once, and needs no sign."""
    found = Operations.of(np.zeros((2, 20), int), np.array([0, 1]), np.array([0, 0]))
    each = 10 * SYMBOLS + 10
    assert found.entries.tolist() == [each, each, ENTRIES + each, ENTRIES + each]
    assert found.signs.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("operations", "signs", "n_units", "lanes"),
    [(0, 0, 1, 1), (31, 0, 9, 1), (320, 0, 99, 4), (320, 160, 99, 10), (320, 999, 5, 5), (10**5, 10**5, 9999, 255)],
)
def test_lanes_follow_the_operations_and_the_signs(operations, signs, n_units, lanes):
    """One for 32 operations, no more than 16 signs pay for (four are free), than units, than 255."""
    assert lanes_of(operations, signs, n_units) == lanes


@pytest.mark.parametrize(("positions", "farthest", "most"), [(16, 255, 2 * 16 * 17), (49, 128, 235), (1, 16, 235)])
def test_the_most_steps_allow_the_worst_latent(positions, farthest, most):
    """With 255 lanes, units of magnitudes as large as they can be need no more; four lanes of zeros neither."""
    rows = 300 // units(positions).count
    worst = Operations.of(np.full((rows, positions), farthest), np.zeros(rows, int), np.zeros(rows, int))
    assert worst.per_unit.max() * 2 <= most
    assert most_steps(300, positions, farthest) == most


def test_rows_are_channels_around_their_centres():
    """Positions are row-major; differences of int8 do not wrap around."""
    latent = np.array([[[-128, 1]], [[127, 2]]], np.int8)
    assert rows_of(latent, 2, [127, -1]).tolist() == [[-255, 0], [2, 3]]
