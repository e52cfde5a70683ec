"""The arithmetic of a plan, against numbers that were counted by hand."""

import numpy as np
import pytest

from isplit_tf.planning import kernels


def test_a_part_is_drawn_through_its_median_and_its_95th_percentile():
    """So that a sum of parts has the percentiles that the parts say."""
    drawn = kernels.draw_times(0.01, 0.02, np.random.default_rng(0), 100_000)
    assert np.quantile(drawn, [0.5, 0.95]) == pytest.approx([0.01, 0.02], rel=0.02)
    assert np.ptp(kernels.draw_times(0.01, 0.01, np.random.default_rng(0))) == 0
    assert kernels.spread_of(0.0, 0.5) == 0


def test_states_are_drawn_as_often_as_their_shares_say():
    """A link that is slow for a quarter of the time is slow in a quarter of the draws."""
    states = kernels.draw_states(np.array([0.25, 0.75]), np.random.default_rng(1), 1000)
    assert np.bincount(states).tolist() == [250, 750]


def test_the_middle_state_is_the_median_over_time():
    """Of states of different length, not of their number."""
    seconds = np.array([9.0, 1.0, 2.0])
    assert kernels.middle_state(seconds, np.array([0.6, 0.2, 0.2])) == 0
    assert kernels.middle_state(seconds, np.array([0.1, 0.2, 0.7])) == 2
    assert kernels.middle_state(seconds, np.array([1, 1, 1]) / 3) == 2
    assert kernels.middle_state(np.array([5.0]), np.array([1.0])) == 0


def test_values_between_points_rise_with_the_place():
    """A point that lies too low is raised to the one before it; beyond the last, the value stays."""
    points = [(300, 2.0), (100, 1.0), (200, 3.0)]
    assert [kernels.interpolate(at, points) for at in (50, 150, 200, 300, 900)] == [1.0, 2.0, 3.0, 3.0, 3.0]
    assert kernels.shift_along(5.0, 100, 150, points) == 6.0
    assert kernels.shift_along(5.0, 100, 100, points) == 5.0
    assert kernels.shift_along(0.5, 200, 100, points) == 0.0


def test_nothing_is_better_than_the_front():
    """Options in the shade of a faster and more accurate one are left out, unknown accuracies too."""
    accuracy = np.array([0.7, 0.9, 0.8, np.nan, 0.8, 0.9])
    latency = np.array([1.0, 4.0, 2.0, 0.1, 3.0, 4.0])
    assert kernels.pareto_front(accuracy, latency) == [0, 2, 1]
    assert kernels.pareto_front(np.array([np.nan]), np.array([1.0])) == []


def test_the_lowest_lines_and_where_they_cross():
    """y = 1 + 2x, 2 + x and 4: the second is lowest from x = 1 on, the third from x = 2 on."""
    assert kernels.lower_envelope(np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 0.0])) == [(0, 0), (1, 1), (2, 2)]
    # The middle line never gets below: 1 + 2x meets 4 at 1.5, where 3.5 + 0.5x is 4.25.
    assert kernels.lower_envelope(np.array([1.0, 3.5, 4.0]), np.array([2.0, 0.5, 0.0])) == [(0, 0), (1.5, 2)]
    assert kernels.lower_envelope(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == [(0, 0)]


def test_the_lowest_line_is_so_at_every_place():
    """Against the minimum over many random lines."""
    rng = np.random.default_rng(3)
    fixed, slopes = rng.uniform(0, 5, 40), rng.uniform(0, 3, 40)
    places = np.linspace(0, 20, 301)
    found = kernels.lower_envelope(fixed, slopes)
    starts = np.array([x for x, _ in found])
    chosen = np.array([k for _, k in found])[np.searchsorted(starts, places, side="right") - 1]
    assert fixed[chosen] + slopes[chosen] * places == pytest.approx((fixed[:, None] + slopes[:, None] * places).min(0))
