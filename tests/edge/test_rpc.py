"""The client over gRPC, against a server of TensorFlow Serving's own stubs."""

import builtins
import os
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest

from isplit_edge import (
    ArgumentError,
    Client,
    Manifest,
    MissingDependencyError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from support.grpc_loopback import GrpcLoopback
from support.handmade import write_bundle
from support.loopback import expected

QUICK = {"retries": 0, "timeout_s": 5.0}


@pytest.fixture
def rpc_server(bundles):
    """The tail of the float32 bundle, served over gRPC."""
    with GrpcLoopback(Manifest.load(bundles["float32"])) as server:
        yield server


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_predict_gives_the_tails_probabilities(bundles, images, precision, as_bytes):
    """Head, gRPC and tail together give what the tail gives, whichever form the answer's tensors have."""
    manifest = Manifest.load(bundles[precision])
    with GrpcLoopback(manifest, as_bytes=as_bytes) as server, Client(bundles[precision], server.url) as client:
        assert client.check() == "AVAILABLE"
        np.testing.assert_array_equal(client.predict(images), expected(client, images))
        answer = client.run(images)
        assert (answer.source, answer.status.tolist()) == ("server", [0] * 5)
    assert server.seen[1] == ("Predict", 1, 5)
    assert server.metadata["user-agent"].startswith("isplit-edge/")


def test_batches_are_cut_to_what_the_server_takes(rpc_server, bundles, images):
    """By images and by bytes, as over REST."""
    with Client(bundles["float32"], rpc_server.url, max_batch=2) as client:
        np.testing.assert_array_equal(client.predict(images), expected(client, images))
    with Client(bundles["float32"], rpc_server.url, max_request_bytes=250) as client:
        client.predict(images[:3])
    assert [count for _, _, count in rpc_server.seen] == [2, 2, 1, 2, 1]


def abort(code, text="no"):
    """A fault: the call ends with a code."""
    return lambda request, context: context.abort(code, text)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("INTERNAL", ServerError, r"answered INTERNAL\. It said: no"),
        ("UNAUTHENTICATED", ServerError, "it asks for a token"),
        ("PERMISSION_DENIED", ServerError, "does not accept this token"),
        ("RESOURCE_EXHAUSTED", ServerError, "smaller max_batch"),
        ("UNIMPLEMENTED", ServerError, "gRPC port, usually 8500"),
        ("UNAVAILABLE", ServerUnreachableError, "no connection, or it broke off, or the server is too busy: no"),
        ("DEADLINE_EXCEEDED", ServerTimeoutError, "no whole answer within 5 s"),
        ("NOT_FOUND", ServerError, r"does not have version 1 of model 'tail'\. It has: version 1 \(AVAILABLE\)"),
    ],
)
def test_codes_become_our_errors(rpc_server, bundles, images, code, error, text):
    """Each code is the error that REST's would be, with the server's words."""
    rpc_server.faults.append(abort(getattr(grpc.StatusCode, code)))
    with Client(bundles["float32"], rpc_server.url, **QUICK) as client, pytest.raises(error, match=text):
        client.predict(images)


def test_a_busy_server_is_asked_again(rpc_server, bundles, images):
    """UNAVAILABLE passes by itself: the same call is made again, other codes are not."""
    rpc_server.faults.extend([abort(grpc.StatusCode.UNAVAILABLE)] * 2)
    with Client(bundles["float32"], rpc_server.url) as client:
        client.predict(images)
        assert len(rpc_server.seen) == 3
        rpc_server.faults.append(abort(grpc.StatusCode.INTERNAL))
        with pytest.raises(ServerError, match="INTERNAL"):
            client.predict(images)
    assert len(rpc_server.seen) == 4


def test_a_slow_server_is_a_time_out(rpc_server, bundles, images):
    """No answer in time raises ServerTimeoutError without another try."""
    rpc_server.faults.append(lambda request, context: time.sleep(0.6))
    with (
        Client(bundles["float32"], rpc_server.url, timeout_s=0.2) as client,
        pytest.raises(ServerTimeoutError, match=r"no whole answer within 0\.2 s"),
    ):
        client.predict(images)
    assert len(rpc_server.seen) == 1


def test_a_server_that_comes_back_is_found(bundles, images):
    """One client goes on after its server was stopped and started again on the same port."""
    manifest = Manifest.load(bundles["float32"])
    with GrpcLoopback(manifest) as server, Client(bundles["float32"], server.url, retries=5) as client:
        first = client.predict(images)
        server.__exit__()
        assert client.run(images).source == "none"
        with GrpcLoopback(manifest, port=server.port):
            np.testing.assert_array_equal(client.predict(images), first)
            client.close()
            np.testing.assert_array_equal(client.predict(images), first)


def test_a_server_that_is_down_is_said_to_be(bundles, images):
    """Predict raises soon; run answers with the reason."""
    begin = time.monotonic()
    with Client(bundles["float32"], "grpc://127.0.0.1:9", **QUICK) as client:
        with pytest.raises(ServerUnreachableError, match="Is the server up"):
            client.predict(images)
        answer = client.run(images)
    assert (answer.source, answer.status.tolist()) == ("none", [3] * 5)
    assert time.monotonic() - begin < 4


def test_other_models_and_states(rpc_server, heads, bundles, tmp_path):
    """A model that is not there, and a version that is still loading, are told."""
    other = write_bundle(tmp_path / "b", heads["float32"], model_name="other")
    with (
        Client(other, rpc_server.url) as client,
        pytest.raises(ServerError, match=r"does not have version 1 of model 'other'\. It said: Servable not found"),
    ):
        client.check()
    with (
        GrpcLoopback(Manifest.load(bundles["float32"]), state=20) as loading,
        Client(bundles["float32"], loading.url) as client,
        pytest.raises(ServerError, match=r"is not available on grpc://.*: version 1 \(LOADING\)"),
    ):
        client.check()


def test_another_models_outputs(rpc_server, bundles, images):
    """A server whose model is no tail is told."""
    from tensorflow_serving.apis import predict_pb2

    rpc_server.faults.append(lambda request, context: predict_pb2.PredictResponse())
    with (
        Client(bundles["float32"], rpc_server.url) as client,
        pytest.raises(ServerError, match=r"not probabilities and status but \[\]: is this model the tail"),
    ):
        client.predict(images)


def test_an_endless_answer_is_refused(rpc_server, bundles, images):
    """An answer of more than a tail can say is not taken in."""
    from tensorflow_serving.apis import predict_pb2

    huge = predict_pb2.PredictResponse()
    huge.outputs["probabilities"].tensor_content = bytes(1 << 20)
    rpc_server.faults.append(lambda request, context: huge)
    with Client(bundles["float32"], rpc_server.url, max_batch=4) as client, pytest.raises(ServerError, match="larger"):
        client.predict(images)


OVER_TLS = """
import sys
import numpy as np
from isplit_edge import Client
with Client(sys.argv[1], sys.argv[2], token="abc", retries=0, connect_timeout_s=5) as client:
    np.save(sys.argv[4], client.predict(np.load(sys.argv[3])))
loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras", "google", "isplit_tf"))
assert not loaded, loaded
"""


def test_tls_and_a_device_without_tensorflow(bundles, images, certificate, tmp_path):
    """Over grpcs, in a process of its own that loads neither TensorFlow nor protobuf: the same probabilities where the
    certificate is trusted, an error where it is not."""
    np.save(tmp_path / "x.npy", images)
    with GrpcLoopback(Manifest.load(bundles["float32"]), certificate=certificate) as server:
        url = server.url.replace("grpc:", "grpcs:")
        command = [sys.executable, "-c", OVER_TLS, bundles["float32"], url, tmp_path / "x.npy", tmp_path / "y.npy"]
        trusting = {**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate)}
        done = subprocess.run(command, env=trusting, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert server.metadata["authorization"] == "Bearer abc"
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "ServerUnreachableError: Predict grpcs://" in done.stderr
    with GrpcLoopback(Manifest.load(bundles["float32"])) as server, Client(bundles["float32"], server.url) as client:
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), client.predict(images))


def test_a_token_is_sent(rpc_server, bundles, images):
    """As the bearer of the authorization header, in every call."""
    with Client(bundles["float32"], rpc_server.url, token="abc.def") as client:
        client.predict(images)
    assert rpc_server.metadata["authorization"] == "Bearer abc.def"


@pytest.mark.parametrize(
    "url",
    [
        "grpc://",
        "grpc://host",
        "grpc://host:x",
        "grpc://u@host:1",
        "grpc://host:1/path",
        "grpc://host:99999",
        "grpcs://a:1?x",
    ],
)
def test_addresses_that_are_none(bundles, url):
    """The message shows the form."""
    with pytest.raises(ArgumentError, match="url must be like 'grpc://server:8500'"):
        Client(bundles["float32"], url)


def test_options_of_https_are_not_those_of_grpcs(bundles):
    """gRPC takes its certificates elsewhere: said, not ignored."""
    import ssl

    with pytest.raises(ArgumentError, match="GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        Client(bundles["float32"], "grpcs://host:1", ssl_context=ssl.create_default_context())


def test_without_grpcio_the_line_that_installs_it_is_named(bundles, monkeypatch):
    """REST needs nothing; gRPC says what it needs."""
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name == "grpc":
            raise ImportError("No module named 'grpc'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match="pip install grpcio"):
        Client(bundles["float32"], "grpc://host:1")
