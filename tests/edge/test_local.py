"""The whole model on the device: when it answers, and that the answer says so."""

import json

import numpy as np
import pytest

from isplit_edge import BundleError, Client, Manifest, ServerError, ServerTimeoutError, ServerUnreachableError
from isplit_edge.__main__ import main
from isplit_edge.local import LOCAL_FILE
from support.handmade import write_bundle
from support.loopback import Loopback

DOWN = "http://127.0.0.1:9"
QUICK = {"retries": 0, "timeout_s": 5.0}


@pytest.fixture
def bundle(heads, whole, tmp_path):
    """A bundle with the whole model in it."""
    return write_bundle(tmp_path / "whole", heads["float32"], local=whole)


def by_hand(images: np.ndarray) -> np.ndarray:
    """Softmax of a tenth of each channel's mean, and 0, 1/2, -1/2."""
    logits = images.astype(np.float64).mean(axis=(1, 2)) / 10 + [0.0, 0.5, -0.5]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_it_answers_where_there_is_no_server(bundle, images):
    """Nobody listens: run gives the whole model's probabilities, source "local", and why."""
    with Client(bundle, DOWN, **QUICK) as client:
        answer = client.run(images)
        np.testing.assert_allclose(answer.probabilities, by_hand(images), atol=1e-5)
        assert (answer.source, answer.status.tolist(), answer.reasons) == ("local", [0] * 5, {})
        assert answer.local.all()
        assert "connection refused" in answer.local_reason
        assert answer.timings_s["local"] > 0
        assert "source local; " in repr(answer)
        ready = client.run(images.astype(np.float32), preprocessed=True)
        np.testing.assert_array_equal(ready.probabilities, answer.probabilities)


def test_predict_is_the_servers_answer_or_an_error(bundle, images):
    """Predict promises the split's answer: it never falls back."""
    with Client(bundle, DOWN, **QUICK) as client, pytest.raises(ServerUnreachableError):
        client.predict(images)


def test_a_server_that_answers_is_preferred(bundle, images):
    """With the server up, the whole model is not run."""
    with Loopback(Manifest.load(bundle)) as server, Client(bundle, server.url) as client:
        answer = client.run(images)
        assert (answer.source, answer.local.any(), answer.local_reason) == ("server", False, None)
        assert "local" not in answer.timings_s


def test_a_server_that_fails_in_the_middle(bundle, images):
    """Each image is answered once, and it is told which came from where; without a pause the next is asked again."""
    with Loopback(Manifest.load(bundle)) as server:
        server.faults.extend([None, lambda handler: handler.reply(503, {"error": "draining"}), None])
        with Client(bundle, server.url, retries=0, max_batch=2, fallback_pause_s=0) as client:
            answer = client.run(images)
            whole = client.predict(images)
    assert answer.source == "mixed"
    assert answer.local.tolist() == [False, False, True, True, False]
    np.testing.assert_array_equal(answer.probabilities[~answer.local], whole[~answer.local])
    np.testing.assert_allclose(answer.probabilities[2:4], by_hand(images)[2:4], atol=1e-5)
    assert "answered HTTP 503. It said: draining" in answer.local_reason


def test_a_dead_server_is_left_in_peace_for_a_while(bundle, images):
    """After a failure the pause holds, in this call and the next; then the server is asked again."""
    with Loopback(Manifest.load(bundle)) as server:
        server.faults.append(lambda handler: handler.cut())
        with Client(bundle, server.url, retries=0, max_batch=1, fallback_pause_s=60) as client:
            assert client.run(images).source == "local"
            assert client.run(images).source == "local"
            assert len(server.seen) == 1
            client._asking_from = 0.0  # a minute later
            assert client.run(images).source == "server"


def test_a_time_out_falls_back_too(bundle, images):
    """A server that does not answer in time is as good as none."""
    import time

    with Loopback(Manifest.load(bundle)) as server:
        server.faults.append(lambda handler: time.sleep(0.5))
        with Client(bundle, server.url, timeout_s=0.1) as client:
            answer = client.run(images)
            assert (answer.source, "no whole answer within" in answer.local_reason) == ("local", True)
            server.faults.append(lambda handler: time.sleep(0.5))
            with pytest.raises(ServerTimeoutError):
                client.predict(images)


def test_a_server_that_refuses_is_not_covered_up(bundle, images):
    """Another version, rubbish, a token that is missing: these are to be seen, not hidden behind local answers."""
    with Loopback(Manifest.load(bundle), version=7) as server, Client(bundle, server.url) as client:
        answer = client.run(images)
        assert (answer.source, answer.status.tolist()) == ("none", [3] * 5)
        assert "does not have version 1" in answer.reasons[0]
        with pytest.raises(ServerError, match="does not have version 1"):
            client.predict(images)


def test_without_a_whole_model_nothing_changes(bundles, images):
    """An ordinary bundle has no local answers."""
    with Client(bundles["float32"], DOWN, **QUICK) as client:
        answer = client.run(images)
    assert (answer.source, answer.local.tolist(), answer.local_reason) == ("none", [False] * 5, None)


def test_a_whole_model_that_is_none_is_refused(heads, whole, tmp_path):
    """A file that was changed, and one that is another model, are refused when the client is made."""
    changed = write_bundle(tmp_path / "changed", heads["float32"], local=whole)
    (changed / LOCAL_FILE).write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=r"local\.tflite was changed or cut off"):
        Client(changed, DOWN)
    other = write_bundle(tmp_path / "other", heads["float32"], local=heads["float32"])
    with pytest.raises(BundleError, match=r"edge/local\.tflite is not the whole model that the manifest describes"):
        Client(other, DOWN)
    rubbish = write_bundle(tmp_path / "rubbish", heads["float32"], local=b"rubbish")
    with pytest.raises(BundleError, match="is not a model that LiteRT can run"):
        Client(rubbish, DOWN)


def test_the_command_says_what_was_local(bundle, images, tmp_path, capsys):
    """Both forms of the output tell which answers did not come from the server."""
    np.save(tmp_path / "x.npy", images[:1])
    arguments = [str(bundle), "--url", DOWN, "--timeout", "1", str(tmp_path / "x.npy")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.rstrip().endswith("\tlocal")
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "local"
