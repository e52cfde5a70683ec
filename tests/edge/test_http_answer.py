"""Answers that are out of step, too long, too slow, or none: never another request's answer, never a raw error."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest

from isplit_edge import ArgumentError, Client, Manifest, ServerError, ServerTimeoutError, ServerUnreachableError
from isplit_edge.rest import RestTransport
from isplit_edge.transport import HttpConnection
from support.handmade import record_of
from support.loopback import expected

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextlib.contextmanager
def saying(*pieces: bytes, pause_s: float = 0.0):
    """A server whose answer to every request is these pieces; gives its URL and the list of its connections."""
    connections: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        stop = threading.Event()

        def speak():
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connections.append(0)
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(0.5)
                    while connection.recv(1 << 16):
                        for piece in pieces:
                            connection.sendall(piece)
                            stop.wait(pause_s)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.0 199 \r\nConnection: close\r\n\r\nHTTP/1.1 100\r\n\r\n",
    ],
)
def test_interim_answers_are_read_over(server, bundles, images, interim):
    """Before every answer, together with it or long before: each image gets its own class."""
    server.interim = interim
    with Client(bundles["float32"], server.url, retries=0) as client:
        right = expected(client, images)
        for row in [*range(len(images))] * 3:
            np.testing.assert_allclose(client.predict(images[row])[0], right[row], atol=1e-6)


@pytest.mark.parametrize(
    "extra",
    [
        b"x",
        b"\r\n",
        OK,
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled",
    ],
)
@pytest.mark.parametrize("pause_s", [0.0, 0.02])
def test_bytes_after_an_answer_end_the_connection(extra, pause_s):
    """With the answer or behind it: the answer stands, and the next request goes over a new connection."""
    with saying(OK + extra[:1], extra[1:], pause_s=pause_s) as (url, connections):
        connection = HttpConnection(url, retries=0)
        for _ in range(4):
            assert connection.request("GET", "/") == (200, b"{}")
        connection.close()
    assert len(connections) == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n{}",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50,
        b"HTTP/1.1 600 What\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/2 200\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
    ],
)
def test_answers_whose_end_is_not_clear_are_refused(answer):
    """Each is an error of ours, and ends its connection."""
    with saying(answer) as (url, connections):
        connection = HttpConnection(url, retries=0)
        for _ in range(2):
            with pytest.raises(ServerError, match="the answer is not HTTP"):
                connection.request("GET", "/")
        connection.close()
    assert len(connections) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n" + b"3e8\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2000,
    ],
)
def test_answers_that_claim_too_much_are_refused_by_their_claim(head):
    """Before a byte more than allowed is read, however the length is told."""
    with saying(head) as (url, _), pytest.raises(ServerError, match="answered more than 1000 bytes"):
        HttpConnection(url, retries=0).request("GET", "/", max_answer_bytes=1000)


def test_an_answer_up_to_the_end_of_the_connection():
    """An older server says no length: what it sent before it closed is the answer."""
    with saying(b"HTTP/1.0 200 OK\r\n\r\n{}") as (url, connections):
        connection = HttpConnection(url, retries=0)
        assert connection.request("GET", "/") == (200, b"{}")
        assert connection.request("GET", "/") == (200, b"{}")
    assert len(connections) == 2


@pytest.mark.parametrize("piece", [b"HTTP/1.1 103 E\r\n\r\n", b"", b"HTTP/1.1 2"])
def test_a_dripping_answer_is_given_up_in_time(piece):
    """Interim answers without end, a head without end: one time for all of it."""
    drops = [piece or b"H"] + [b"A"] * 500 if not piece.endswith(b"\n") else [piece] * 500
    with saying(*drops, pause_s=0.02) as (url, _):
        begin = time.monotonic()
        with pytest.raises((ServerTimeoutError, ServerError)):
            HttpConnection(url, retries=0, timeout_s=0.3).request("GET", "/")
        assert time.monotonic() - begin < 5


def test_a_deadline_bounds_all_tries(bundles, images):
    """Requests that each have more time than the whole call has end with it; what is left is told as failed."""
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with (
        saying(b"", pause_s=0.0) as (silent, _),
        saying(busy) as (refusing, _),
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        for url in (silent, refusing, closed):
            options = {"timeout_s": 30, "retries": 50, "max_batch": 1, "deadline_s": 0.4}
            with Client(bundles["float32"], url, **options) as client:
                begin = time.monotonic()
                answer = client.run(images)
                assert time.monotonic() - begin < 10
                assert answer.status.tolist() == [3] * len(images)
                assert url != silent or "The time for the whole call, 0.4 s, is over" in answer.reasons[len(images) - 1]
                with pytest.raises(ServerError):
                    client.predict(images)


def test_an_unreachable_server_is_told_as_such_by_a_deadline():
    """The last try's own error is said, not that time is over."""
    with pytest.raises(ServerUnreachableError, match="connection refused"):
        HttpConnection("http://127.0.0.1:1", retries=100).request("GET", "/", until=time.monotonic() + 0.2)


def test_a_token_that_the_server_echoes_is_left_out():
    """In an error's text, in what is no JSON, at the edge of what is shown, and in what is no HTTP."""
    token = "s3cret-" + "x" * 40
    for body in (b'{"error": "no %s"}', b"<p>%s", b"y" * 180 + b"%s"):
        content = body % token.encode()
        answer = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        for said in (answer, b"%s\r\n\r\n" % token.encode()):
            with saying(said) as (url, _):
                tail = RestTransport(HttpConnection(url, token=token, retries=0), Manifest.from_dict(record_of(b"")))
                with pytest.raises(ServerError) as caught:
                    tail.predict([b"x"])
                tail.close()
            assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pass:word@server",
        "grpc://user:password@server:8500",
        "grpc://user:password@server",
        "user:password@server",
        "http://user:password@server:99999",
        "http://user:password@[::1",
        "ftp://user:p@ssword@server/x",
        "http://user:pass word@server",
    ],
)
def test_passwords_in_addresses_are_never_shown(bundles, url):
    """Whatever else is wrong with the address, and over both APIs."""
    with pytest.raises(ArgumentError) as caught:
        Client(bundles["float32"], url)
    for shown in (str(caught.value), str(caught.value.__cause__)):
        assert "ssword" not in shown
        assert "word@" not in shown


def test_a_token_needs_a_way_that_nobody_reads(bundles):
    """Over plain gRPC a token goes to this machine only."""
    for host in ("server", "10.0.0.1", "[2001:db8::1]", "localhost.example"):
        with pytest.raises(ArgumentError, match="possible is grpcs://"):
            Client(bundles["float32"], f"grpc://{host}:8500", token="x")
    for host in ("localhost", "127.0.0.5", "[::1]"):
        Client(bundles["float32"], f"grpc://{host}:8500", token="x").close()
