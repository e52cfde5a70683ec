"""The client against a server on the loopback: what it answers, and what it says when things go wrong."""

import time

import numpy as np
import pytest

from isplit_edge import (
    ArgumentError,
    Client,
    DataError,
    Manifest,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from isplit_edge.answer import STATUS_NO_ANSWER
from isplit_edge.manifest import HEAD_FILE
from support.handmade import write_bundle
from support.loopback import Loopback, expected

QUICK = {"retries": 0, "timeout_s": 5.0}


def garbled(change) -> object:
    """A fault: the usual rows of this request, changed."""

    def fault(handler):
        good = [{"probabilities": [0.5, 0.25, 0.25], "status": 0} for _ in range(handler.server.seen[-1][2])]
        handler.reply(200, {"predictions": change(good)})

    return fault


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_predict_gives_the_tails_probabilities(bundles, images, precision):
    """Head, wire and server together give what the tail gives for the head's latents, image by image."""
    with Loopback(Manifest.load(bundles[precision])) as server, Client(bundles[precision], server.url) as client:
        found = client.predict(images)
        assert (found.dtype, found.shape) == (np.float32, (5, 3))
        np.testing.assert_array_equal(found, expected(client, images))
        np.testing.assert_array_equal(client.predict(images[0]), found[:1])
        ready = images.astype(np.float32)
        np.testing.assert_array_equal(client.predict(ready, preprocessed=True), found)


def test_run_tells_answers_times_and_source(server, bundles, images):
    """An answer holds probabilities, statuses, classes, where it came from and how long each phase took."""
    with Client(bundles["float32"], server.url) as client:
        answer = client.run(images)
        np.testing.assert_array_equal(answer.probabilities, client.predict(images))
    assert answer.status.tolist() == [0] * 5
    assert answer.answered.all()
    assert answer.classes.tolist() == answer.probabilities.argmax(axis=1).tolist()
    assert answer.source == "server"
    assert answer.reasons == {}
    assert list(answer.timings_s) == ["preprocess", "head", "wire"]
    assert all(seconds > 0 for seconds in answer.timings_s.values())
    assert repr(answer).startswith("Answer: 5 of 5 images, source server; preprocess ")
    assert f"image 0: {['ant', 'bee', 'cow'][answer.classes[0]]} 0." in repr(answer).replace("1.000", "0.")


def test_the_manifests_version_is_asked_for(server, bundles, images):
    """The call goes to the model and version of the manifest."""
    with Client(bundles["float32"], server.url) as client:
        client.predict(images)
    assert server.seen == [("POST", "/v1/models/tail/versions/1:predict", 5)]


def test_batches_are_cut_to_what_the_server_takes(server, bundles):
    """No request has more than max_batch images, and the answers keep their order."""
    images = np.random.default_rng(3).integers(0, 256, (10, 8, 6, 3), np.uint8)
    with Client(bundles["float32"], server.url, max_batch=4) as client:
        np.testing.assert_array_equal(client.predict(images), expected(client, images))
    assert [n for _, _, n in server.seen] == [4, 4, 2]
    assert server.connections == 1


def test_batches_are_cut_to_a_bound_on_the_body(server, bundles, images):
    """A request carries as many payloads as fit, and one where none fits."""
    with Client(bundles["float32"], server.url, max_request_bytes=400) as client:
        client.predict(images)
    with Client(bundles["float32"], server.url, max_request_bytes=1) as client:
        client.predict(images[:2])
    assert [n for _, _, n in server.seen] == [2, 2, 1, 1, 1]


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"max_batch": 1.5}, {"max_request_bytes": 0}])
def test_impossible_bounds_are_refused(bundles, options):
    """A client that could send nothing is not made."""
    with pytest.raises(ArgumentError, match=r"max_\w+ must be a whole number from 1 on\. Received: [01]"):
        Client(bundles["float32"], "http://127.0.0.1:1", **options)


@pytest.mark.parametrize("verb", ["predict", "run"])
def test_wrong_images_raise_before_anything_is_sent(server, bundles, verb):
    """Wrong images are the caller's mistake, for run too."""
    with Client(bundles["float32"], server.url) as client:
        with pytest.raises(DataError, match="Images must be 8 x 6"):
            getattr(client, verb)(np.zeros((2, 9, 6, 3), np.uint8))
        with pytest.raises(DataError, match="There are no images"):
            getattr(client, verb)(np.zeros((0, 8, 6, 3), np.uint8))
    assert server.seen == []


def test_a_server_that_is_down_is_said_to_be(bundles, images):
    """Predict raises; run answers with rows of NaN, status 3, and the reason."""
    with Client(bundles["float32"], "http://127.0.0.1:9", **QUICK) as client:
        with pytest.raises(ServerUnreachableError, match=r"connection refused\. Is the server up"):
            client.predict(images)
        answer = client.run(images)
    assert answer.status.tolist() == [STATUS_NO_ANSWER] * 5
    assert np.isnan(answer.probabilities).all()
    assert answer.classes.tolist() == [-1] * 5
    assert answer.source == "none"
    assert "connection refused" in answer.reasons[4]
    assert "image 0: status 3, POST http://127.0.0.1:9" in repr(answer)


def test_a_slow_server_is_a_time_out(server, bundles, images):
    """No answer in time raises ServerTimeoutError, after about the time given and without another try."""
    server.faults.append(lambda handler: time.sleep(0.6))
    with (
        Client(bundles["float32"], server.url, timeout_s=0.1) as client,
        pytest.raises(ServerTimeoutError, match=r"no whole answer within 0\.1 s"),
    ):
        client.predict(images)
    assert len(server.seen) == 1


def test_a_server_that_trickles_is_a_time_out(server, bundles, images):
    """The time is that of the whole answer: bytes that keep coming do not stretch it."""

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(60):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    server.faults.append(trickle)
    begin = time.monotonic()
    with Client(bundles["float32"], server.url, timeout_s=0.2) as client, pytest.raises(ServerTimeoutError):
        client.predict(images)
    assert time.monotonic() - begin < 2


def test_a_server_of_another_version_says_which_it_has(bundles, images):
    """The message names the version wanted and those that are there."""
    manifest = Manifest.load(bundles["float32"])
    with Loopback(manifest, version=7) as server, Client(bundles["float32"], server.url) as client:
        message = r"does not have version 1 of model 'tail'. It has: version 7 \(AVAILABLE\)"
        with pytest.raises(ServerError, match=message):
            client.predict(images)
        with pytest.raises(ServerError, match=message):
            client.check()


def test_a_server_without_the_model_says_so(heads, bundles, tmp_path):
    """Where the server knows no model of this name, the message says that too."""
    other = write_bundle(tmp_path / "b", heads["float32"], model_name="other")
    message = r"model 'other'\. It has: nothing of this name\. It said: Could not find"
    with (
        Loopback(Manifest.load(bundles["float32"])) as server,
        Client(other, server.url) as client,
        pytest.raises(ServerError, match=message),
    ):
        client.check()


def test_check_says_that_the_version_is_there(server, bundles):
    """One small request."""
    with Client(bundles["float32"], server.url) as client:
        assert client.check() == "AVAILABLE"
    assert server.seen == [("GET", "/v1/models/tail/versions/1", 0)]


def test_check_says_that_the_version_is_not_ready(bundles):
    """A version that is loading, or whose loading ended, does not answer yet."""
    manifest = Manifest.load(bundles["float32"])
    with (
        Loopback(manifest, state="LOADING") as server,
        Client(bundles["float32"], server.url) as client,
        pytest.raises(ServerError, match=r"is not available on .*: version 1 \(LOADING\)"),
    ):
        client.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows[:-1],
            r"probabilities of shape \(4, 3\) and 4 statuses; 5 images of 3 classes give \(5, 3\)",
        ),
        (lambda rows: rows + rows, r"shape \(10, 3\)"),
        (lambda rows: [], "predictions are not rows"),
        (lambda rows: "rows", "predictions are not rows of probabilities and status"),
        (lambda rows: [[0.5, 0.25, 0.25]] * 5, "is this model the tail of a bundle"),
        (lambda rows: [{"probabilities": [1, 0, 0]}] * 5, "predictions are not rows"),
        (lambda rows: [row | {"probabilities": [0.5, 0.5]} for row in rows], r"shape \(5, 2\)"),
        (lambda rows: [rows[0] | {"probabilities": [1.0]}, *rows[1:]], "probabilities are not rows of one length"),
        (lambda rows: [row | {"probabilities": ["a", "b", "c"]} for row in rows], "probabilities are not numbers"),
        (lambda rows: [row | {"probabilities": None} for row in rows], "probabilities are not numbers"),
        (lambda rows: [row | {"probabilities": [0.5, 0.1, 0.1]} for row in rows], "do not add up to 1, with status 0"),
        (lambda rows: [row | {"probabilities": [2, -1, 0]} for row in rows], "are not between 0 and 1"),
        (lambda rows: [row | {"probabilities": [float("nan"), 1, 0]} for row in rows], "are not between 0 and 1"),
        (lambda rows: [row | {"probabilities": [10**400, 0.5, 0]} for row in rows], "not numbers|not rows"),
        (lambda rows: [row | {"status": 9} for row in rows], r"a status of 9; possible are \[0, 1, 2\]"),
        (lambda rows: [row | {"status": 0.0} for row in rows], "status are not numbers"),
        (lambda rows: [row | {"status": True} for row in rows], "status are not numbers"),
        (lambda rows: [row | {"status": [0]} for row in rows], "statuses"),
    ],
)
def test_rubbish_is_a_server_error(server, bundles, images, change, message):
    """Whatever is not an answer to these payloads is refused whole: predict raises, run keeps the reason."""
    server.faults.extend([garbled(change)] * 2)
    with Client(bundles["float32"], server.url) as client:
        with pytest.raises(ServerError, match=message):
            client.predict(images)
        answer = client.run(images)
        assert answer.status.tolist() == [STATUS_NO_ANSWER] * 5
        assert client.predict(images).shape == (5, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1]",
        b"{}",
        b"[" * 5000,
        b'{"predictions": ' + b"[" * 5000,
        b"\xff\xfe",
        b'{"predictions": 1e}',
    ],
)
def test_bodies_that_are_no_answer(server, bundles, images, body):
    """Bodies that are no JSON, or none of this API, raise ServerError and nothing else."""
    server.faults.append(lambda handler: handler.reply_bytes(200, body))
    with Client(bundles["float32"], server.url) as client, pytest.raises(ServerError, match="The server's"):
        client.predict(images)


def test_rows_of_other_statuses_are_told_apart(server, bundles, images):
    """A payload of another bundle or a malformed one costs its own row: the neighbours are answered."""

    def mixed(rows):
        nothing = [float("nan")] * 3
        return [
            rows[0],
            {"probabilities": nothing, "status": 1},
            rows[2],
            {"probabilities": nothing, "status": 2},
            rows[4],
        ]

    server.faults.extend([garbled(mixed)] * 2)
    with Client(bundles["float32"], server.url) as client:
        answer = client.run(images)
        with pytest.raises(ServerError, match=r"2 of 5 images were not answered. Image 1: status 1, .* another bundle"):
            client.predict(images)
    assert answer.status.tolist() == [0, 1, 0, 2, 0]
    assert np.isnan(answer.probabilities).all(axis=1).tolist() == [False, True, False, True, False]
    assert "another export than this device's bundle" in answer.reasons[1]
    assert "malformed (length, checksum" in answer.reasons[3]
    assert answer.source == "server"
    assert answer.classes.tolist() == [0, -1, 0, -1, 0]


def test_a_head_of_another_bundle_is_told_by_the_tail(server, heads, tmp_path, images):
    """A device whose bundle is of another export, of the same name and version, learns it from status 1."""
    other = write_bundle(tmp_path / "b", heads["float32"], class_names=["x", "y", "z"])
    with Client(other, server.url) as client:
        assert client.run(images).status.tolist() == [1] * 5


def test_run_goes_on_after_a_request_that_failed(server, bundles):
    """Of three requests the second fails: its images have no answer, all others have theirs."""
    images = np.random.default_rng(4).integers(0, 256, (6, 8, 6, 3), np.uint8)
    server.faults.extend([None, lambda handler: handler.reply(500, {"error": "out of memory"}), None])
    with Client(bundles["float32"], server.url, max_batch=2) as client:
        answer = client.run(images)
        whole = expected(client, images)
    assert answer.status.tolist() == [0, 0, 3, 3, 0, 0]
    np.testing.assert_array_equal(answer.probabilities[[0, 1, 4, 5]], whole[[0, 1, 4, 5]])
    assert sorted(answer.reasons) == [2, 3]
    assert "answered HTTP 500. It said: out of memory" in answer.reasons[2]


@pytest.mark.parametrize("kind", ["multi_label", "sigmoids"])
def test_independent_labels_need_not_add_up(heads, bundles, tmp_path, images, kind):
    """Where the manifest says that the classes are independent, any values from 0 to 1 are probabilities."""
    several = write_bundle(tmp_path / "b", heads["float32"], output={"kind": kind, "softmax_added": False})
    with Loopback(Manifest.load(several)) as server, Client(several, server.url) as client:
        server.faults.append(garbled(lambda rows: [row | {"probabilities": [0.9, 0.8, 0.0]} for row in rows]))
        np.testing.assert_allclose(client.predict(images), [[0.9, 0.8, 0.0]] * 5)
        server.faults.append(garbled(lambda rows: [row | {"probabilities": [0.9, 0.8, 0.0]} for row in rows]))
        assert client.run(images).labels().tolist() == [[True, True, False]] * 5


def test_long_answers_print_short(server, bundles):
    """The text of an answer shows the first images and how many more there are."""
    with Client(bundles["float32"], server.url) as client:
        text = repr(client.run(np.zeros((40, 8, 6, 3), np.uint8)))
    assert text.splitlines()[0].startswith("Answer: 40 of 40 images")
    assert text.splitlines()[-1] == "  and 30 more"


def test_the_head_is_read_once(server, bundle, images):
    """A client opens and checks the bundle when it is made, and never again for a frame."""
    with Client(bundle, server.url) as client:
        first = client.predict(images)
        (bundle / HEAD_FILE).unlink()
        (bundle / "manifest.json").unlink()
        np.testing.assert_array_equal(client.predict(images), first)


def test_a_closed_client_opens_again(server, bundles, images):
    """Closing ends the connection only."""
    client = Client(bundles["float32"], server.url)
    first = client.predict(images)
    client.close()
    np.testing.assert_array_equal(client.predict(images), first)
    client.close()
    assert server.connections == 2
