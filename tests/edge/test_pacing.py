"""The pace of payloads: links made by hand, and the bytes that are chosen on them."""

import numpy as np
import pytest

from isplit_edge.code import Code
from isplit_edge.form import PayloadForm
from isplit_edge.pacing import Ladder, Pace

FORM = {"tag": bytes(8), "dtype": "int8", "shape": (4, 4, 6)}
CODE = Code.fit(np.random.default_rng(0).integers(-3, 4, (1, 4, 4, 6)).astype(np.int8))
CODED = PayloadForm(**FORM, payload_bytes=1000, code=CODE, max_payload_bytes=2000)
RATES = [
    {"payload_bytes": bound, "mean_bytes": 0.9 * p95, "p95_bytes": p95, "most_bytes": bound, "accuracy": accuracy}
    for bound, p95, accuracy in ((2000, 1200, 0.85), (1000, 990, 0.86), (600, 590, 0.7), (300, 300, 0.2))
]
LADDER = Ladder.of(CODED, RATES)
LEFT_S, PERIOD_S = 0.08, 0.2


class Line:
    """A link of a rate in bytes per second and a time for no bytes, with frames on a clock of its own."""

    def __init__(self, pace: Pace, rate: float, base_s: float, *, jitter: float = 0.0):
        self.pace, self.rate, self.base_s, self.now_s = pace, rate, base_s, 0.0
        self.jitter, self.rng = jitter, np.random.default_rng(0)

    def needs(self, n_bytes: float) -> float:
        return self.base_s + n_bytes / self.rate

    def frames(self, n: int) -> list[int]:
        """Send frames as a client does; the bounds that were chosen."""
        chosen = []
        for _ in range(n):
            bound = self.pace.choose(1, LEFT_S, self.now_s).payload_bytes
            size = float(np.interp(bound, LADDER.bounds, LADDER.sizes))
            took_s = self.needs(size) * float(np.exp(self.jitter * self.rng.normal()))
            self.pace.observe(size, min(took_s, LEFT_S), self.now_s + min(took_s, LEFT_S), answered=took_s <= LEFT_S)
            self.now_s += PERIOD_S
            chosen.append(bound)
        return chosen


def test_a_ladder_of_measured_rates():
    """All bounds that were measured and some between; accuracy nowhere falls, sizes are what 95 % of payloads need."""
    assert {300, 600, 1000, 2000} <= set(LADDER.bounds.tolist())
    assert (np.diff(LADDER.bounds) / LADDER.bounds[:-1] <= 0.21).all()
    at = {bound: (size, worth) for bound, size, worth in zip(LADDER.bounds, LADDER.sizes, LADDER.worth, strict=True)}
    assert at[600] == (590, 0.7)
    assert at[2000] == (1200, 0.86)
    assert (np.diff(LADDER.worth) >= 0).all()
    assert (LADDER.sizes <= LADDER.bounds).all()


@pytest.mark.parametrize(
    ("form", "rates", "bounds", "worth"),
    [
        (PayloadForm(**FORM, payload_bytes=108), None, [108], [1.0]),
        (PayloadForm(**FORM, payload_bytes=60, bits=4), None, [60], [1.0]),
        (CODED, [RATES[1]], [1000], [0.86]),
        (CODED, [row | {"payload_bytes": 0, "p95_bytes": 0} for row in RATES[:1]], [1], [0.85]),
    ],
)
def test_a_ladder_of_one_rung(form, rates, bounds, worth):
    """Payloads of one size, or measured at one bound, leave no choice of bytes, only one of sending or not."""
    ladder = Ladder.of(form, rates)
    assert (ladder.bounds.tolist(), ladder.worth.tolist()) == (bounds, worth)
    assert Pace(ladder, 0.1).choose(1, LEFT_S, 0.0).payload_bytes == bounds[0]


@pytest.mark.parametrize("rates", [None, ()])
def test_a_ladder_without_measured_rates(rates):
    """More bytes then count as better in proportion, up to the mean."""
    ladder = Ladder.of(CODED, rates)
    assert (ladder.bounds[0], ladder.bounds[-1]) == (250, 1000)
    np.testing.assert_allclose(ladder.worth, ladder.bounds / 1000, atol=2e-3)


@pytest.mark.parametrize(
    ("rate", "base_s"), [(1e6, 0.02), (40e3, 0.05), (20e3, 0.03), (25e3, 0.05), (12e3, 0.01), (100e3, 0.065)]
)
def test_a_steady_link_gets_what_fits_it(rate, base_s):
    """Fast or slow, near or far: after a while the answer is in time, and far more bytes would not be, or not help."""
    line = Line(Pace(LADDER, 0.1), rate, base_s)
    last = line.frames(60)[-1]
    fitting = [int(b) for b, size in zip(LADDER.bounds, LADDER.sizes, strict=True) if line.needs(size) <= LEFT_S]
    rungs = LADDER.bounds.tolist()
    wanted = min(rungs.index(fitting[-1]), rungs.index(1000))
    assert wanted - 2 <= rungs.index(last) <= wanted


def test_a_fade_is_followed_within_some_frames_and_left_again():
    """A tenth of the rate: the third frame is in time again; when the rate is back, so are the bytes."""
    line = Line(Pace(LADDER, 0.1), 200e3, 0.03)
    assert line.frames(30)[-1] == 1000
    line.rate = 20e3
    assert line.needs(line.frames(4)[-1]) <= LEFT_S
    line.frames(20)
    line.rate = 200e3
    assert line.frames(15)[-1] == 1000


def test_what_is_late_whatever_is_sent_is_told():
    """On a line that is too far away time-outs make it known, and single answers in time end it."""
    line = Line(Pace(LADDER, 0.1), 50e3, 0.02)
    line.frames(30)
    assert not line.pace.choose(1, LEFT_S, line.now_s).late
    line.base_s = 0.2
    line.frames(6)
    choice = line.pace.choose(1, LEFT_S, line.now_s)
    assert choice.late
    assert choice.chance < 0.5
    assert f"at most {choice.payload_bytes} bytes: about " in choice.reason
    assert " to the answer, 80 ms are left, a chance of " in choice.reason
    line.base_s = 0.02
    line.frames(6)
    assert not line.pace.choose(1, LEFT_S, line.now_s).late


def test_it_does_not_waver():
    """Times that differ by some per cent from frame to frame leave the bytes as they are."""
    line = Line(Pace(LADDER, 0.1), 30e3, 0.03, jitter=0.04)
    line.frames(60)
    chosen = line.frames(100)
    assert np.count_nonzero(np.diff(chosen)) <= 10
    assert max(chosen) <= 1.5 * min(chosen)


@pytest.mark.parametrize("most", [5, 299, 300, 640, 1000, 10**6])
def test_a_bound_is_kept(most):
    """The caller's bound stays one on a link where all would fit, also below the smallest rung."""
    line = Line(Pace(LADDER, 0.1), 1e6, 0.01)
    line.frames(20)
    found = line.pace.choose(1, LEFT_S, line.now_s, most).payload_bytes
    assert found <= most
    assert found >= min(most, 1000) / 1.2


def test_several_images_share_their_time():
    """Payloads in one request are smaller than one alone, in the same time."""
    line = Line(Pace(LADDER, 0.1), 16e3, 0.02)
    alone = line.frames(30)[-1]
    assert line.pace.choose(3, LEFT_S, line.now_s).payload_bytes < alone


def test_it_forgets():
    """What was seen counts less and less: after a long time a link is as unknown as at first."""
    line = Line(Pace(LADDER, 0.1), 50e3, 0.2)
    fresh = Pace(LADDER, 0.1).choose(1, LEFT_S, 0.0)
    line.frames(20)
    choices = [line.pace.choose(1, LEFT_S, line.now_s + later) for later in (0.0, 10.0, 70.0, 1e4)]
    assert [choice.late for choice in choices] == [True, True, False, False]  # after a minute it is tried
    chances = [choice.chance for choice in choices if choice is not choices[2]]
    assert chances[0] < chances[1] < chances[2]
    assert chances[2] == pytest.approx(fresh.chance, abs=0.2)
    assert not fresh.late


@pytest.mark.parametrize("deadline_s", [1e-6, 0.1, 3600.0])
def test_strange_times_do_no_harm(deadline_s):
    """Clocks that stand or go back, times of nothing or of years: the belief stays one, and a choice is made."""
    pace = Pace(LADDER, deadline_s)
    for now_s, took_s in ((5.0, 0.0), (5.0, -1.0), (4.0, 1e-300), (-1e9, 1e9), (1e12, 1e-9), (1e12, 1e300)):
        for answered in (True, False):
            pace.observe(500, took_s, now_s, answered=answered)
            for left_s in (-1.0, 0.0, 1e-9, deadline_s, 1e9):
                choice = pace.choose(3, left_s, now_s)
                assert 0 <= choice.chance <= 1 + 1e-9
                assert 300 <= choice.payload_bytes <= 2000
