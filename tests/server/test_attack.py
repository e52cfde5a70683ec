"""Crowds that wait, requests that grow, requests within requests: the others keep their service."""

import base64
import contextlib
import json
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from isplit_edge import messages
from isplit_edge.client import Client
from isplit_tf.server import Server
from isplit_tf.server.rest import handle

HEAD = b"POST /v1/models/tail:predict HTTP/1.1\r\nHost: localhost\r\n"
SECOND = b"GET /v1/models/tail HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"inputs":["x"]}'


@contextlib.contextmanager
def waiting(port: int, count: int, *, start: bytes, drop: bytes = b""):
    """Connections that send a beginning, and then a drop each in turn, and open anew where they are closed."""
    stop, opened = threading.Event(), []

    def one() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(start)
        connection.settimeout(5)
        return connection

    def drip():
        while not stop.wait(0.02):
            for k in range(0, count, 7):
                try:
                    opened[k].sendall(drop or b"")
                except OSError:
                    opened[k].close()
                    with contextlib.suppress(OSError):
                        opened[k] = one()

    for _ in range(count):
        with contextlib.suppress(OSError):
            opened.append(one())
    count = len(opened)
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield opened
    finally:
        stop.set()
        thread.join()
        for connection in opened:
            connection.close()


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b""),
        (HEAD, b"A"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (HEAD[:9], b""),
    ],
    ids=["idle", "heads", "bodies", "chunks", "beginnings"],
)
def test_good_clients_beside_a_crowd(bundle, images, start, drop):
    """Seven hundred connections that send nothing, or a byte at a time: every request of a client is answered."""
    with Server(bundle, port=0) as server, waiting(server.port, 700, start=start, drop=drop):
        right = bundle.predict(images[:4])
        for _ in range(3):
            with Client(bundle.directory, server.url, retries=0) as client:
                for _ in range(10):
                    np.testing.assert_allclose(client.predict(images[:4]), right, atol=1e-5)
        assert len(server._http._crowd) <= 512


@pytest.mark.parametrize("count", [64, 600])
def test_calls_without_a_message(bundle, images, count):
    """gRPC calls that never send their message take no worker, and end within the time for it."""
    with Server(bundle, port=0, grpc_port=0, request_timeout_s=3.0) as server:
        channels = [grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("x", k)]) for k in range(8)]
        release = threading.Event()

        def nothing():
            release.wait(60)
            yield from ()

        stubs = [channel.stream_unary("/tensorflow.serving.PredictionService/Predict") for channel in channels]
        calls = [stubs[k % 8].future(nothing()) for k in range(count)]
        try:
            with Client(bundle.directory, server.grpc_url, retries=0) as client:
                right = bundle.predict(images[:4])
                for _ in range(20):
                    np.testing.assert_allclose(client.predict(images[:4]), right, atol=1e-5)
            codes = {call.exception(timeout=60).code().name for call in calls}
            assert codes <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
        finally:
            release.set()
            for channel in channels:
                channel.close()


def test_a_call_that_ends_without_a_message(bundle):
    """It is told so, and so is one of two messages answered by its first."""
    with (
        Server(bundle, port=0, grpc_port=0) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        call = channel.stream_unary("/tensorflow.serving.ModelService/GetModelStatus")
        with pytest.raises(grpc.RpcError, match="The call has no message"):
            call(iter([]), timeout=20)
        spec = messages.field(1, messages.model_spec("tail"))
        assert messages.read_states(call(iter([spec, spec]), timeout=20)) == {"3": "AVAILABLE"}


SMUGGLED = {
    "both": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two lengths": HEAD + b"Content-Length: 16\r\nContent-Length: 0\r\n\r\n" + BODY + SECOND,
    "a list of lengths": HEAD + b"Content-Length: 0, 16\r\n\r\n" + BODY + SECOND,
    "blank before the colon": HEAD + b"Content-Length : 16\r\n\r\n" + BODY + SECOND,
    "tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "not chunked": HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "of 1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "0x": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x10\r\n" + BODY + b"\r\n0\r\n\r\n" + SECOND,
    "underline": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n" + BODY + b"\r\n0\r\n\r\n" + SECOND,
    "bare LF": HEAD[:-2] + b"\nContent-Length: 16\r\n\r\n" + BODY + SECOND,
    "bare CR": HEAD + b"X: y\rContent-Length: 16\r\n\r\n" + BODY + SECOND,
    "bare LF in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n" + SECOND,
    "folded": HEAD + b"X: y\r\n Content-Length: 16\r\n\r\n" + BODY + SECOND,
    "NUL": HEAD + b"Content-Length: 16\0\r\n\r\n" + BODY + SECOND,
    "plus": HEAD + b"Content-Length: +16\r\n\r\n" + BODY + SECOND,
    "a chunk that is longer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + SECOND,
    "two hosts": HEAD + b"Host: attacker.example\r\n\r\n" + SECOND,
    "another name": SECOND.replace(b"localhost", b"attacker.example") + SECOND,
    "a page of another site": SECOND[:-2] + b"Origin: http://attacker.example\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("case", SMUGGLED)
@pytest.mark.parametrize("piece", [1, 10_000])
def test_a_request_within_a_request_is_not_answered(server, case, piece):
    """One answer, an error, and the connection is closed, however the bytes arrive."""
    content, answer = SMUGGLED[case], b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(content), piece):
                connection.sendall(content[at : at + piece])
        while part := connection.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer[9:12] in (b"400", b"403", b"501")
    assert b"Connection: close" in answer


def test_requests_one_behind_the_other(server):
    """Good ones that are sent at once are answered in order, bodies and chunks and empty lines between them."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n10;x\r\n" + BODY + b"\r\n0\r\nA: b\r\n\r\n"
    whole = HEAD + b"Content-Length: 16\r\n\r\n" + BODY + b"\r\n"
    last = SECOND[:-2] + b"Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(chunked + whole + SECOND + chunked + last)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 200 OK") == 5
    assert answer.count(b'"outputs"') == 3


def asked(catalogue, body: bytes) -> tuple[int, str]:
    """Status and message of an answer."""
    response = handle(catalogue, "POST", "/v1/models/tail:predict", body)
    return response.status, json.loads(response.body).get("error", "")


@pytest.mark.parametrize(
    "values",
    [
        b'{"payload":{"b64":""}},' * 200_000,
        b'"x",' * 1_000_000,
        b"{}," * 2_000_000,
        b"[]," * 2_000_000,
        b"[" * 1_000_000 + b"0" + b"]" * 1_000_000 + b",",
        b"[1,2,3]," * 500_000,
        b'{"a":1,"b":2},' * 300_000,
    ],
)
@pytest.mark.parametrize("key", [b'{"instances":[', b'{"inputs":['])
def test_more_values_than_a_request_has(bundle, values, key):
    """Refused by counting them, before a hundredth of the work and of the memory that they would take."""
    from isplit_tf.server.batching import Batching
    from isplit_tf.server.model import Catalogue

    catalogue = Catalogue.of_bundle(bundle.directory, batching=Batching(max_size=32))
    begin = time.process_time()
    status, message = asked(catalogue, key + values[:-1] + b"]}")
    assert status == 400
    assert "larger than maximum input batch size 32" in message
    assert time.process_time() - begin < 2.0


def test_as_many_as_a_request_may_have(bundle):
    """The largest batch is answered, in every form; one more is told by its number."""
    from isplit_tf.server.batching import Batching
    from isplit_tf.server.model import Catalogue

    catalogue = Catalogue.of_bundle(bundle.directory, batching=Batching(max_size=32))
    specs = catalogue.find("tail").inputs("from_latent")
    ((name, spec),) = specs.items()
    latent = np.zeros(spec.shape[1:]).tolist()
    for n, status in ((32, 200), (33, 400)):
        payload = {"payload": {"b64": base64.b64encode(b"x").decode()}}
        for body in (
            {"instances": [payload] * n},
            {"inputs": ["x"] * n},
            {"signature_name": "from_latent", "instances": [{name: latent}] * n},
            {"signature_name": "from_latent", "inputs": {name: [latent] * n}},
        ):
            found, message = asked(catalogue, json.dumps(body).encode())
            assert found == status
            assert status == 200 or "ask size 33 is larger than maximum" in message or "values" in message


def test_what_a_request_holds_is_echoed_in_part(bundle, catalogue):
    """Names of any length: an error of a thousand letters, over both APIs."""
    for body in (
        {"signature_name": "s" * 3_000_000, "instances": ["x"]},
        {"signature_name": {"s" * 3_000_000: 1}},
        {"inputs": {"n" * 3_000_000: 1}},
        {"instances": [{"n" * 3_000_000: 1}]},
        ["v" * 3_000_000],
    ):
        response = handle(catalogue, "POST", "/v1/models/tail:predict", json.dumps(body).encode())
        assert (response.status, len(response.body) < 8000) == (400, True)
    assert len(handle(catalogue, "GET", "/" + "x" * 30_000, b"").body) < 8000
    with (
        Server(bundle, port=0, grpc_port=0) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        spec = messages.model_spec("tail", 3, "\u00e9" * 1_000_000)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(
                messages.predict_request(spec, "payload", [b"x"]), timeout=20
            )
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_bodies_that_are_never_completed(bundle, images, monkeypatch):
    """Together they take no more memory than a limit: the largest ends, and good requests are answered."""
    monkeypatch.setattr("isplit_tf.server.connection.MAX_HELD_BYTES", 1 << 20)
    content = HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 400_000
    with Server(bundle, port=0) as server, contextlib.ExitStack() as stack:
        opened = []
        for _ in range(6):
            opened.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)))
            with contextlib.suppress(OSError):
                opened[-1].sendall(content)
        with Client(bundle.directory, server.url, retries=0) as client:
            np.testing.assert_allclose(client.predict(images[:2]), bundle.predict(images[:2]), atol=1e-5)
        held = sum(place.held_bytes for place in server._http._crowd)
        assert held <= 1 << 20


def test_an_answer_that_takes_too_long(bundle, monkeypatch):
    """It is told by 504, and the server goes on."""
    from isplit_tf.server import http

    release, real = threading.Event(), http.handle
    monkeypatch.setattr(http, "handle", lambda *arguments: (release.wait(20), real(*arguments))[1])
    with Server(bundle, port=0, request_timeout_s=0.3, grace_s=0.1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(SECOND)
            assert connection.recv(100).startswith(b"HTTP/1.1 504")
        release.set()
        monkeypatch.setattr(http, "handle", real)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(SECOND)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
