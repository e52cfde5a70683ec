"""A server is measured with a kit: in this process, over REST and gRPC, and until it goes away."""

import shutil

import numpy as np
import pytest

from isplit_edge import Head
from isplit_tf import ServerProfile, measure_server
from isplit_tf.errors import ArgumentError, BundleError, ISplitError, ServerError, ServerUnreachableError
from isplit_tf.planning.kit_calls import InProcess, OverRest
from isplit_tf.planning.timing import Point, measure_points
from isplit_tf.server import Batching, Server
from support.kits import KINDS

QUICK = {"batches": (1, 3), "seconds": 0.001, "progress": False}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_in_this_process(kit_of, tmp_path, kind):
    """Every tail and the whole model for every number of images; what only pictures have, for pictures alone."""
    kit = kit_of(kind)
    profile = measure_server(kit.directory, output=tmp_path / "server.json", **QUICK)
    assert [(tail.index, tail.name) for tail in profile.tails] == [(cut.index, cut.name) for cut in kit.cuts]
    assert all(set(tail.times) == {1, 3} for tail in profile.tails)
    assert (profile.kit_id, profile.model_sha256) == (kit.kit_id, kit.model_sha256)
    assert (profile.transport, profile.url, profile.overhead_s) == ("in_process", None, 0)
    assert profile.complete
    assert set(profile.whole) == {1, 3}
    codecs = {one.codec for one in profile.decoding}
    if kind == "series":
        assert not codecs
        assert not profile.encoded
    else:
        assert {"JPEG", "PNG"} <= codecs
        assert set(profile.encoded) == {1, 3}
        assert {one.size for one in profile.decoding} == {kit.input_shape[:2]}
    for times in (*(tail.times for tail in profile.tails), profile.whole):
        assert all(0 < one.median_s <= one.p95_s and one.n >= 6 for one in times.values())
    assert ServerProfile.load(tmp_path / "server.json") == profile


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_server_over_a_network(kit_of, server_of, kind, transport):
    """The same parts over TensorFlow Serving's APIs, with the time of a call in which no model runs."""
    server = server_of(kind)
    url = server.url if transport == "rest" else server.grpc_url
    profile = measure_server(kit_of(kind), url=url, **QUICK)
    assert (profile.transport, profile.url, profile.complete) == (transport, url, True)
    assert [tail.index for tail in profile.tails] == [cut.index for cut in kit_of(kind).cuts]
    assert all(set(times) == {1, 3} for times in (*(tail.times for tail in profile.tails), profile.whole))
    assert bool(profile.encoded) == (kind != "series")
    assert not profile.decoding
    assert profile.overhead_s > 0


def test_payloads_are_those_of_the_heads(kit_of):
    """The mean size of what the tails are measured with is the mean of what the heads make of the kit's images."""
    kit = kit_of("colour")
    profile = measure_server(kit, **QUICK)
    for cut in kit.cuts:
        sizes = [len(one) for one in Head(kit.directory / cut.directory).payloads(kit.read_images())]
        assert profile.tail(cut).payload_bytes == np.mean(sizes)


@pytest.mark.parametrize("calls", [25, 45])
def test_a_server_that_goes_away_leaves_what_was_measured(kit_of, server_of, tmp_path, monkeypatch, calls):
    """In the first round or a later one: the file is there, says what is missing, and the error says where it is."""
    server, send, left = server_of("colour"), OverRest.send, [calls]

    def close_after(self, request):
        left[0] -= 1
        if not left[0]:
            server.close()
        return send(self, request)

    monkeypatch.setattr(OverRest, "send", close_after)
    with pytest.raises(ServerUnreachableError, match=r"What was measured until then is in '.*server\.json'"):
        measure_server(kit_of("colour"), url=server.url, output=tmp_path / "server.json", **QUICK)
    profile = ServerProfile.load(tmp_path / "server.json")
    assert profile.tails
    assert not profile.complete
    assert "further rounds: " in profile.missing[-1]
    assert ("3 images" in profile.missing[0]) == (calls == 25)


def test_an_interrupted_measurement_leaves_what_was_measured(kit_of, tmp_path, monkeypatch):
    """The interrupt is passed on, with the place of the file; without a place nothing is written."""
    send, left = InProcess.send, [30]

    def interrupt(self, request):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return send(self, request)

    monkeypatch.setattr(InProcess, "send", interrupt)
    with pytest.raises(KeyboardInterrupt, match="until then is in"):
        measure_server(kit_of("grey"), output=tmp_path / "server.json", **QUICK)
    profile = ServerProfile.load(tmp_path / "server.json")
    assert profile.tails
    assert "interrupted" in profile.missing[0]
    left[0] = 0
    with pytest.raises(KeyboardInterrupt):
        measure_server(kit_of("grey"), output=tmp_path / "second.json", **QUICK)
    assert not (tmp_path / "second.json").exists()


def test_what_a_server_refuses_is_missing(kit_of, server_of):
    """More images than it takes in a call are left out and named; the rest is measured."""
    server = server_of("series", batching=Batching(max_size=2))
    profile = measure_server(kit_of("series"), url=server.url, **QUICK)
    assert not profile.complete
    assert all(set(tail.times) == {1} for tail in profile.tails)
    assert len(profile.missing) == len(profile.tails) + 1
    assert all("3 images: " in text and "larger than maximum input batch size 2" in text for text in profile.missing)
    with pytest.raises(ServerError, match="Nothing could be measured: .*batch size 2"):
        measure_server(kit_of("series"), url=server.url, batches=(8,), seconds=0.001, progress=False)


def test_a_server_of_another_kit_is_refused(kit_of, server_of, monkeypatch):
    """Payloads of other heads are not answered, which is an error and no time."""
    payloads = Head.payloads
    monkeypatch.setattr(Head, "payloads", lambda *a, **k: [bytes(8) + one[8:] for one in payloads(*a, **k)])
    for url in (None, server_of("colour").url, server_of("colour").grpc_url):
        with pytest.raises(BundleError, match=r"status \[1\]: it serves another kit. Expected the folder serving/"):
            measure_server(kit_of("colour"), url=url, **QUICK)


def test_a_server_without_the_kit_is_refused(kit_of, server_of, tmp_path):
    """An address where nothing answers, one that serves another model, and one that is none are told apart."""
    server = server_of("grey")
    url = server.url
    copy = tmp_path / "serving"
    shutil.copytree(kit_of("grey").directory / "serving", copy)
    (copy / "kit").rename(copy / "other")
    config = copy / "models.config"
    config.write_text(config.read_text().replace("kit", "other"))
    with Server(copy, port=0) as other, pytest.raises(ServerError, match="does not have version 1 of model 'kit'"):
        measure_server(kit_of("grey"), url=other.url, **QUICK)
    server.close()
    with pytest.raises(ServerUnreachableError, match="connection refused"):
        measure_server(kit_of("grey"), url=url, **QUICK)
    for wrong in ("server:8501", "ftp://server", "grpc://", ""):
        with pytest.raises(ArgumentError, match="url must be like"):
            measure_server(kit_of("grey"), url=wrong, **QUICK)


def test_a_kit_that_is_damaged_is_refused(kit_of, tmp_path):
    """A folder that is no kit, a served model that was changed, and numbers that are none."""
    with pytest.raises(BundleError, match="is not a kit"):
        measure_server(tmp_path, **QUICK)
    copy = shutil.copytree(kit_of("series").directory, tmp_path / "kit")
    with (copy / "serving/kit/1/saved_model.pb").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="saved_model.pb was changed"):
        measure_server(copy, **QUICK)
    for options in ({"batches": ()}, {"batches": (0,)}, {"batches": (1.5,)}, {"seconds": 0}):
        with pytest.raises(ISplitError, match="batches|seconds"):
            measure_server(kit_of("series"), **{**QUICK, **options})


def test_intervals_of_a_clock_that_jumps_are_left_out(monkeypatch):
    """A clock set back and a machine that slept give no time; where it never runs, the measurement still ends."""
    now, steps = [0.0], iter([0.001] * 22 + [-500.0] + [0.001] * 20 + [9000.0] + [0.001] * 10_000)

    def clock() -> float:
        now[0] += next(steps)
        return now[0]

    monkeypatch.setattr("isplit_tf.planning.timing.time.perf_counter", clock)
    point = Point("part", "part", 1, lambda: lambda: None)
    measure_points([point], 0.3, progress=False)
    assert min(point.seconds) < 0
    assert max(point.seconds) > 1000
    assert 0 < point.times.median_s <= point.times.p95_s < 0.01
    assert point.times.n < len(point.seconds)
    monkeypatch.setattr("isplit_tf.planning.timing.time.perf_counter", lambda: 1.0)
    still = Point("part", "part", 1, lambda: lambda: None)
    measure_points([still], 0.3, progress=False)
    assert still.times.median_s == 0
