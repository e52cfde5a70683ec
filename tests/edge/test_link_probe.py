"""The measuring of a link with payloads that are none: a robust line, and what is said when a server goes away."""

import numpy as np
import pytest

from isplit_edge.errors import ArgumentError, ServerError
from isplit_edge.link_probe import Asked, LinkProbe
from isplit_edge.link_samples import LinkSamples

ASKED = Asked(model_name="tail", version=1)


def samples(*, up=8e-6, down=4e-6, base=0.04, served=0.003, noise=0.0, outliers=0, seed=0):
    """Requests over a link of known numbers."""
    rng, found = np.random.default_rng(seed), LinkSamples()
    for k in range(12):
        for size in (150, 1400, 22000, 86000):
            found.add(f"payload of {size} B", k, size, 60, base + served + up * size + down * 60)
        found.add("state", k, 0, 200, base + down * 200)
        found.add("signatures", k, 0, 5000, base + down * 5000)
    rows = [(*row[:4], row[4] * (1 + noise * rng.normal())) for row in found.rows]
    for k in rng.choice(len(rows), outliers, replace=False):
        rows[k] = (*rows[k][:4], rows[k][4] + 0.5)
    found.rows = rows
    return found


@pytest.mark.parametrize(
    "numbers",
    [
        {"base": 0.005, "up": 8e-8, "down": 8e-8},
        {"base": 0.04, "up": 8e-6, "down": 1e-6},
        {"base": 0.15, "up": 3.2e-5, "down": 3.2e-5, "served": 0.0},
    ],
)
def test_the_line_is_that_of_the_link(numbers):
    """Up, down, the round trip and the model's part are told apart, for fast and slow links."""
    link = samples(**numbers).fit("http://server", "http")
    assert link.up_s_per_byte == pytest.approx(numbers["up"])
    assert link.down_s_per_byte == pytest.approx(numbers["down"])
    assert link.base_s == pytest.approx(numbers["base"])
    assert link.served_s == pytest.approx(numbers.get("served", 0.003))
    assert link.residual_s == pytest.approx(0, abs=1e-12)
    assert len(link.points) == 6


def test_outliers_and_noise_do_not_bend_the_line():
    """A tenth of the requests half a second late, and noise of 3 %, change the rate by a few per cent."""
    link = samples(noise=0.03, outliers=7).fit("http://server", "http")
    assert link.up_s_per_byte == pytest.approx(8e-6, rel=0.05)
    assert link.base_s == pytest.approx(0.04, rel=0.05)
    assert link.p95_over_median > 1


def test_a_server_without_signatures_leaves_the_way_down_open():
    """Answers of one size tell nothing of the way down; payloads of one size no line at all."""
    found = samples()
    found.rows = [row for row in found.rows if row[0] != "signatures"]
    assert found.fit("http://server", "http").down_s_per_byte is None
    found.rows = [row for row in found.rows if not row[0].startswith("payload") or row[2] == 150]
    assert found.fit("http://server", "http") is None


def test_a_clock_that_was_set_back_is_left_out():
    """Negative intervals, and one over which the machine slept, are counted and do not matter."""
    found = samples()
    found.add("state", 3, 0, 200, -7200.0)
    found.add("payload of 150 B", 3, 150, 60, 90000.0)
    assert found.clean() == 2
    assert found.fit("http://server", "http").base_s == pytest.approx(0.04)


def test_a_real_server_is_measured(server):
    """Random payloads are answered with status 2 over a kept connection, a request of each size in each round."""
    probe = LinkProbe(server.url, ASKED)
    probe.check()
    link, missing, dropped = probe.measure(sizes=(5, 2000, 40000), seconds=0.01)
    assert (missing, dropped) == ([], 0)
    assert link.url == server.url
    assert {point.sent_bytes > 50000 for point in link.points} == {True, False}
    assert server.connections == 2  # one for the check
    assert min(point.time.n for point in link.points) >= 3


def test_a_server_that_goes_away_leaves_what_was_measured(server):
    """After three failures in a row the measurement ends, and says so; the points before are kept."""
    probe = LinkProbe(server.url, ASKED)
    server.faults.extend([None] * 20 + [lambda handler: handler.cut()] * 400)
    link, missing, _ = probe.measure(sizes=(100, 3000), seconds=60)
    assert len(missing) == 1
    assert missing[0].startswith("link: the server went away: ")
    assert link.failures >= 3
    assert len(link.points) == 3


def test_a_server_that_is_gone_from_the_first_round_gives_no_link(server):
    """Nothing to fit: no link, and two reasons."""
    probe = LinkProbe(server.url, ASKED, timeout_s=1)
    server.faults.extend([lambda handler: handler.cut()] * 100)
    link, missing, _ = probe.measure(sizes=(100, 3000), seconds=5)
    assert link is None
    assert missing[-1] == "link: too few requests were answered"


def test_what_is_no_tail_is_refused(server):
    """Another model, a server that says status 0 to rubbish, no server, and no address are told before any minute."""
    with pytest.raises(ServerError, match=r"answered HTTP 404 for model 'other', version 1, .*Any tail will do"):
        LinkProbe(server.url, Asked(model_name="other", version=1)).check()
    answer = {"predictions": [{"probabilities": [1.0], "status": 0}]}
    server.faults.append(lambda handler: handler.reply(200, answer))
    with pytest.raises(ServerError, match=r"with status \[0\], expected \[2\]: is this model the tail"):
        LinkProbe(server.url, ASKED).check()
    with pytest.raises(ServerError, match="connection refused"):
        LinkProbe("http://127.0.0.1:9", ASKED).check()
    with pytest.raises(ArgumentError, match="url must be like"):
        LinkProbe("server:8501", ASKED)
    with pytest.raises(ArgumentError, match="at least two sizes"):
        LinkProbe(server.url, ASKED).measure(sizes=(100, 100))
