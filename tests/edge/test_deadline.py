"""A client with a time for each call: its payloads follow what it saw of the link, and the answer says so."""

import json

import numpy as np
import pytest

from isplit_edge import ArgumentError, Client, DataError, Head, Manifest, ServerTimeoutError, wire
from isplit_edge.__main__ import main
from isplit_edge.code import Code
from isplit_edge.deadline import Deadline
from support.grpc_loopback import GrpcLoopback
from support.handmade import INPUT, write_bundle
from support.loopback import Loopback

# So much that the loopback is always in time, on a busy machine too.
LONG_S = 300.0


def least_bytes(code: Code, latent: np.ndarray) -> int:
    """The shortest payload of a latent: with its first channel alone."""
    for bound in range(1, 200):
        try:
            return len(wire.pack_coded(bytes(8), latent, code, bound))
        except ArgumentError:
            continue
    raise AssertionError("no payload fits")


@pytest.fixture(scope="module")
def coded(heads, whole, bundles, tmp_path_factory):
    """A bundle with coded payloads, measured at two bounds, and the whole model in it."""
    plain = Manifest.load(bundles["int8"])
    images = np.random.default_rng(1).integers(0, 256, (40, *INPUT), np.uint8)
    latents = np.stack([plain.form.unpack(one)[1] for one in Head(bundles["int8"]).payloads(images)])
    code = Code.fit(latents)
    sizes = [len(wire.pack_coded(bytes(8), latent, code)) for latent in latents]
    rates = [
        {"payload_bytes": bound, "mean_bytes": bound, "p95_bytes": bound, "most_bytes": bound, "accuracy": accuracy}
        for bound, accuracy in (
            (max(sizes) + 8, 0.9),
            (max(least_bytes(code, latent) for latent in latents), 0.6),
        )
    ]
    changes = {"precision": "int8", "dtype": "int8", "scale": plain.scale, "zero_point": plain.zero_point}
    changes |= {"wire_version": 3, "code": code.to_json(), "payload_bytes": int(np.mean(sizes)), "rates": rates}
    changes |= {"max_payload_bytes": rates[0]["payload_bytes"]}
    return write_bundle(tmp_path_factory.mktemp("coded") / "b", heads["int8"], local=whole, **changes)


@pytest.fixture(params=["rest", "grpc"])
def tail(request, coded):
    """The bundle's tail over each protocol."""
    with (Loopback if request.param == "rest" else GrpcLoopback)(Manifest.load(coded)) as server:
        yield server


def seen(client: Client, took_s: float, *, in_time: bool = True, times: int = 40) -> None:
    """Let a client believe that requests took so long."""
    for _ in range(times):
        client._deadline.answered(30, took_s, in_time=in_time)


def bounds_of(bundle) -> tuple[int, int]:
    rates = Manifest.load(bundle).rates
    return rates[1]["payload_bytes"], rates[0]["payload_bytes"]


def test_payloads_follow_the_link(tail, coded, images):
    """Fast answers allow all bytes; slow ones leave the first channel; all are answered, and the answer says why."""
    least, most = bounds_of(coded)
    with Client(coded, tail.url, deadline_s=LONG_S) as client:
        seen(client, 1.0)
        fast = client.run(images[0])
        seen(client, 290.0)
        slow = client.run(images[0])
        assert (fast.source, slow.source, fast.local_reason) == ("server", "server", None)
        assert slow.payload_bytes.tolist() < fast.payload_bytes.tolist()
        assert slow.payload_bytes[0] <= least
        assert fast.pace.startswith("at most ")
        assert "ms to the answer" in slow.pace
        assert client.predict(images[0]).shape == (1, 3)
    with Client(coded, tail.url) as client:
        answer = client.run(images[0])
        assert (answer.pace, answer.payload_bytes[0] <= most) == (None, True)
        np.testing.assert_array_equal(answer.probabilities, fast.probabilities)


def test_a_bound_of_the_caller_stays_one(tail, coded, images):
    """With all the time there is, payload_bytes of the client or of the call is still the most that is sent."""
    least, _ = bounds_of(coded)
    with Client(coded, tail.url, deadline_s=LONG_S, payload_bytes=least) as client:
        seen(client, 1.0)
        assert (client.run(images).payload_bytes <= least).all()
        with pytest.raises(DataError, match="Possible: a larger payload_bytes"):
            client.run(images, payload_bytes=13)


def test_what_would_be_late_is_answered_here_and_asked_again(tail, coded, images):
    """No request for the time of the pause, with the reason; then one, whatever is believed; predict asks always."""
    with Client(coded, tail.url, deadline_s=LONG_S, fallback_pause_s=60) as client:
        assert client.run(images[0]).source == "server"
        seen(client, LONG_S, in_time=False)
        requests = len(tail.seen)
        for _ in range(2):
            answer = client.run(images)
            assert (answer.source, answer.status.tolist(), answer.reasons) == ("local", [0] * 5, {})
            assert answer.payload_bytes.tolist() == [0] * 5
            assert "The server's answer would probably come too late: at most " in answer.local_reason
        assert len(tail.seen) == requests
        assert client.predict(images[0]).shape == (1, 3)
        seen(client, LONG_S, in_time=False)
        client._asking_from = 0.0  # a minute later
        assert client.run(images[0]).source == "server"
        seen(client, 1.0)
        assert client.run(images[0]).source == "server"


def test_without_a_whole_model_late_payloads_are_sent_all_the_same(heads, coded, images, tmp_path):
    """Something may still come in time: the server is asked for each image, with few bytes."""
    record = {key: value for key, value in Manifest.load(coded).to_dict().items() if key not in ("bundle_id", "files")}
    bundle = write_bundle(tmp_path / "b", heads["int8"], **record)
    with Loopback(Manifest.load(bundle)) as server, Client(bundle, server.url, deadline_s=LONG_S) as client:
        seen(client, LONG_S, in_time=False)
        answer = client.run(images)
        assert (answer.source, answer.local_reason) == ("server", None)
        assert len(server.seen) == 1
        assert (answer.payload_bytes <= max(bounds_of(coded))).all()


def test_a_time_out_costs_one_image_and_no_pause(coded, images):
    """With a deadline the pace decides after a time-out: the next image is asked for, and nothing pauses."""

    class Slow:
        def predict(self, payloads, *, until):
            raise ServerTimeoutError("no whole answer")

        def close(self):
            pass

    limits = {"deadline_s": LONG_S, "fallback_pause_s": 60}
    with Loopback(Manifest.load(coded)) as server, Client(coded, server.url, **limits) as client:
        seen(client, 1.0)
        client._transport, kept = Slow(), client._transport
        lost = client.run(images[0])
        assert (lost.source, lost.local_reason) == ("local", "no whole answer")
        assert lost.payload_bytes[0] > 0
        client._transport = kept
        assert client.run(images[0]).source == "server"


def test_images_share_the_time_of_their_call(coded):
    """Each of those without an answer has the same share of what is left, less the time of the head."""
    deadline = Deadline(1000.0, Manifest.load(coded))
    until = 1e12
    first = deadline.choose(2, 10, until, None)
    assert deadline.choose(2, 2, until, None).chance > 0.99
    deadline.encoded(1e11)
    second = deadline.choose(2, 10, until, None)
    assert first.chance > second.chance or "0 ms are left" in second.reason
    assert Deadline(None, Manifest.load(coded)).choose(1, 1, until, None) is None


@pytest.mark.parametrize("deadline_s", [0, -1.0, float("nan"), float("inf"), "0.1"])
def test_impossible_deadlines_are_refused(coded, deadline_s):
    """A deadline is a finite number of seconds above 0."""
    with pytest.raises(ArgumentError, match="deadline_s must be a number above 0"):
        Client(coded, "http://127.0.0.1:1", deadline_s=deadline_s)


def test_the_command_tells_the_bytes(coded, images, tmp_path, capsys):
    """One JSON object for each image, with the bytes that were sent of it."""
    np.save(tmp_path / "x.npy", images[:2])
    with Loopback(Manifest.load(coded)) as server:
        assert main([str(coded), "--url", server.url, "--deadline", "300", "--json", str(tmp_path / "x.npy")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(0 < line["payload_bytes"] <= max(bounds_of(coded)) for line in lines)
