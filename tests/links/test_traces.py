"""Links over time: what leaves when, and that a seed gives the same link again."""

import math

import numpy as np
import pytest
from links.traces import TRACES, Trace, steady


@pytest.fixture
def trace():
    """1,000 bytes per second for 2 s, nothing for 3 s, 10,000 bytes per second for 5 s."""
    rates = np.array([8000.0, 0.0, 80000.0])
    return Trace("by hand", np.array([0.0, 2.0, 5.0]), rates, np.array([0.1, 0.2, 0.3]), 10.0)


def test_a_state_is_held_until_the_next_and_begins_anew(trace):
    """At and after a change the new state counts; behind its end the trace is repeated."""
    assert [trace.at(moment) for moment in (0.0, 1.9, 2.0, 9.9, 11.0)] == [
        (8000.0, 0.1),
        (8000.0, 0.1),
        (0.0, 0.2),
        (80000.0, 0.3),
        (8000.0, 0.1),
    ]
    assert list(trace.points())[1] == (2.0, 0.0, 0.2)
    assert [trace.next_change(moment) for moment in (0.0, 2.0, 6.0, 12.5)] == [2.0, 5.0, 10.0, 15.0]


@pytest.mark.parametrize(
    ("start", "n_bytes", "end"),
    [(0, 1000, 1), (1.5, 500, 2), (1.5, 1500, 5.1), (3, 10, 5.001), (9, 20000, 15.8), (0, 0, 0)],
)
def test_bytes_leave_at_the_rates_of_their_moments(trace, start, n_bytes, end):
    """Across changes, an outage and the beginning anew, computed by hand."""
    assert trace.sent(start, n_bytes) == pytest.approx(end)


def test_a_link_that_never_passes_anything_is_endless():
    """It is told as infinity, without a search without end."""
    assert trace_end(0.0) == math.inf
    assert trace_end(8e6) == pytest.approx(1e-3)


def trace_end(rate_bit_s: float) -> float:
    return steady(rate_bit_s, 0.01).sent(0.0, 1000)


@pytest.mark.parametrize("name", TRACES)
def test_a_seed_gives_the_same_link_again(name):
    """Same seed, same link; another seed, another link; a scale multiplies the rate alone."""
    first, again, other, larger = (TRACES[name](seed, scale) for seed, scale in ((1, 1), (1, 1), (2, 1), (1, 3)))
    np.testing.assert_array_equal(first.rate_bit_s, again.rate_bit_s)
    np.testing.assert_allclose(larger.rate_bit_s, 3 * first.rate_bit_s)
    np.testing.assert_array_equal(larger.rtt_s, first.rtt_s)
    assert first.name == name
    assert first.rate_bit_s.shape != other.rate_bit_s.shape or (first.rate_bit_s != other.rate_bit_s).any()
    assert first.times_s[0] == 0
    assert (np.diff(first.times_s) > 0).all()
    assert first.times_s[-1] < first.duration_s
    assert (first.rtt_s > 0).all()
