"""Links: by rate and delay, measured, or as a trace; and what is none."""

import numpy as np
import pytest

from isplit_tf import Link
from isplit_tf.errors import ArgumentError
from isplit_tf.planning.link import LinkTimes, link_times, rate_text
from isplit_tf.planning.protocol import Exchange, exchange_of, on_the_wire
from support.profiles import link_fit

EXCHANGE = Exchange(request_bytes=2000, answer_bytes=500)


def test_a_rate_and_a_delay():
    """A request of 2,000 bytes takes two packets: 2,132 bytes at 8 Mbit/s are 2.132 ms, and the answer is slower."""
    times = link_times(Link(1e6, 0.04, up_bit_s=8e6))
    assert times.up_s(EXCHANGE) == pytest.approx([2132e-6])
    assert times.down_s(EXCHANGE) == pytest.approx([0.04 + 566 * 8e-6])
    assert (times.is_measured, times.text) == (False, "8 Mbit/s up and 1 Mbit/s down, 40 ms there and back")


def test_a_measured_link_is_what_was_measured():
    """The line, and the distance of the points from it; bodies are counted without headers, as they were measured."""
    times = link_times(link_fit())
    assert times.up_s(EXCHANGE) == pytest.approx([0.016 + 0.002])
    assert times.up_s(Exchange(6000, 0)) == pytest.approx([0.048 + 0.001])
    assert times.up_s(Exchange(90000, 0)) == pytest.approx([0.72])
    assert times.down_s(EXCHANGE) == pytest.approx([0.02 + 0.0005])
    assert (times.is_measured, times.transport, times.p95_over_median) == (True, "rest", 1.5)
    assert link_times(link_fit(scheme="grpcs", down_s_per_byte=None)).transport == "grpc"
    assert link_times(link_fit(up_s_per_byte=0.0)).up_s_per_byte[0] > 0


def test_a_trace_holds_each_rate_until_the_next():
    """The last one as long as the others in the mean."""
    times = link_times([(0, 8e6, 0.01), (10, 4e6, 0.02), (40, 1e6, 0.1)])
    assert times.shares == pytest.approx([10 / 60, 30 / 60, 20 / 60])
    assert times.up_s_per_byte == pytest.approx([1e-6, 2e-6, 8e-6])
    assert times.rate_bit_s == pytest.approx(4e6)
    assert times.delay_s == pytest.approx((0.1 + 0.6 + 2) / 60)
    assert link_times([(5.0, np.float64(2e6), 0)]).shares.tolist() == [1.0]


def test_a_link_comes_back_from_json():
    """With its arrays and its bends."""
    times = link_times(link_fit())
    again = LinkTimes.from_json(times.to_json())
    assert again.to_json() == times.to_json()
    assert again.up_s(EXCHANGE) == times.up_s(EXCHANGE)
    with pytest.raises(ArgumentError, match="one length"):
        LinkTimes.from_json(times.to_json() | {"shares": [0.5, 0.5]})


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "4e6", None])
def test_a_rate_is_above_zero(rate):
    """Wherever it is given."""
    with pytest.raises(ArgumentError, match="rate_bit_s must be a number above 0"):
        Link(rate, 0.01)
    if rate is not None:
        with pytest.raises(ArgumentError, match="down_bit_s must be a number above 0"):
            Link(1e6, 0.01, down_bit_s=rate)
        with pytest.raises(ArgumentError, match=r"link\[1\]"):
            link_times([(0, 1e6, 0.01), (1, rate, 0.01)])


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ([(0, 1e6, -0.1)], r"link\[0\]\[2\] must be a number from 0"),
        ([(0, 1e6)], r"link\[0\]: expected \(second"),
        ([(1, 1e6, 0.1), (1, 1e6, 0.1)], "the seconds of a trace must ascend"),
        ([(0, 1e6, 0.1), (2, 0, 0.1)], "a rate of 0 at second 2: no request would ever be answered"),
        ([], "expected a Link"),
        ("4e6", "expected a Link"),
        (4e6, "expected a Link"),
    ],
)
def test_what_is_no_link_is_refused(link, message):
    """With what a link is."""
    with pytest.raises(ArgumentError, match=message):
        link_times(link)


def test_a_delay_is_not_negative():
    """Nor is it missing."""
    with pytest.raises(ArgumentError, match="rtt_s must be a number from 0"):
        Link(1e6, -0.01)


def test_bytes_of_the_protocols():
    """REST writes a payload as text, 4 bytes for 3; gRPC sends it as it is."""
    rest, grpc = exchange_of(3000, 10, "rest"), exchange_of(3000, 10, "grpc")
    assert 4000 < rest.request_bytes < 4100
    assert 3000 < grpc.request_bytes < 3100
    assert grpc.answer_bytes < rest.answer_bytes
    assert rest.sent(bodies=True) == rest.request_bytes < rest.sent(bodies=False)
    assert on_the_wire(1448) == 1448 + 66
    assert on_the_wire(1449) == 1449 + 132
    with pytest.raises(ArgumentError, match="transport: expected one of 'rest', 'grpc'"):
        exchange_of(1, 1, "mqtt")


def test_rates_are_told_as_people_say_them():
    """In the unit that gives the shortest number."""
    assert [rate_text(rate) for rate in (250e3, 1e6, 2.5e9, 12)] == ["250 kbit/s", "1 Mbit/s", "2.5 Gbit/s", "12 bit/s"]
