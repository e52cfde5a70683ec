"""The local server on a real socket, asked by the real client."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from isplit_edge.client import Client
from isplit_tf.errors import ArgumentError, BundleError, ServerError, ServerUnreachableError
from isplit_tf.server import Server
from isplit_tf.server import http as module


def raw(server: Server, request: bytes, *, finish: bool = False) -> bytes:
    """Sends bytes as they are and returns all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_a_client_gets_what_the_bundle_answers(server, bundle, halves, images):
    """Keras split, bundle, server, client: equal to `Bundle.predict` to the bit, and close to the float split."""
    with Client(bundle.directory, server.url) as client:
        assert client.check() == "AVAILABLE"
        found = client.predict(images)
        answer = client.run(images[:3])
    np.testing.assert_array_equal(found, bundle.predict(images))
    logits = halves.predict(images.astype(np.float32) / 255)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, exponents / exponents.sum(axis=1, keepdims=True), atol=0.1)
    assert (answer.source, answer.status.tolist()) == ("server", [0, 0, 0])


def test_another_version_is_told(server):
    """A device of another export asks for its own version, which this server does not have."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/v1/models/tail/versions/9")
    response = connection.getresponse()
    assert response.status == 404
    assert json.loads(response.read()) == {"error": "Could not find version 9 of model tail"}
    connection.close()


def test_many_clients_at_once(server, bundle, images):
    """Sixteen clients in parallel all get their own right answers."""
    expected = bundle.predict(images)
    failures = []

    def classify(start: int) -> None:
        with Client(bundle.directory, server.url) as client:
            for index in range(start, start + 10):
                rows = [index % len(images), (index * 7) % len(images)]
                if not np.allclose(client.predict(images[rows]), expected[rows], atol=1e-5):
                    failures.append(rows)

    threads = [threading.Thread(target=classify, args=(start,)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_connection_serves_many_requests(server):
    """Connections are kept alive, and errors of the API do not end them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    sockets = set()
    for target in ("/v1/models/tail", "/v1/models/nobody", "/v1/models/tail/metadata"):
        connection.request("GET", target)
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        json.loads(response.read())
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1


def test_chunked_bodies(server):
    """A body in chunks is put together."""
    body = json.dumps({"inputs": ["x", "y"]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    pieces = iter([body[:5], body[5:]])
    headers = {"Transfer-Encoding": "chunked"}
    connection.request("POST", "/v1/models/tail:predict", pieces, headers, encode_chunked=True)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["outputs"]["status"] == [2, 2]


HEAD = b"POST /v1/models/tail:predict HTTP/1.1\r\nHost: localhost\r\n"
BROKEN = {
    "too long": (HEAD + b"Content-Length: 999999999999\r\n\r\n", b"413"),
    "no length": (HEAD + b"Content-Length: -5\r\n\r\n", b"400"),
    "huge length": (HEAD + b"Content-Length: " + b"9" * 300 + b"\r\n\r\n", b"400"),
    "cut off": (HEAD + b"Content-Length: 50\r\n\r\n{", b"400"),
    "bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    "long chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"413"),
    "short chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n", b"400"),
    "unknown coding": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
    "expect": (HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n", b"413"),
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    "unknown verb": (b"BREW /v1/models/tail HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
    "long line": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "many headers": (HEAD + b"A: b\r\n" * 200 + b"\r\n", b"431"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_requests_are_answered_and_closed(server, case):
    """What is no request gets an error in the API's form and a closed connection; the server goes on."""
    request, status = BROKEN[case]
    answer = raw(server, request, finish=True)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status in head.split(b"\r\n")[0], answer
    assert list(json.loads(body)) == ["error"]
    assert b"HTTP/1.1 200" in raw(
        server, b"GET /v1/models/tail HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )


def test_a_slow_body_is_given_up(bundle):
    """A body that drips in does not hold its thread for ever."""
    with Server(bundle, port=0, request_timeout_s=0.3) as server:
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
            answer = b""
            while not answer and time.monotonic() - begin < 15:
                try:
                    connection.sendall(b" ")
                    connection.settimeout(0.05)
                    answer = connection.recv(1000)
                except TimeoutError:
                    continue
        assert b"408" in answer.split(b"\r\n")[0]
        assert b"HTTP/1.1 408" in raw(server, HEAD + b"Content-Length: 1000\r\n\r\n")


def test_close_lets_a_request_end_and_takes_no_more(bundle, images):
    """A request that is under way is answered; afterwards nobody listens, and idle connections are closed."""
    server = Server(bundle, port=0).start()
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    busy = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    body = json.dumps({"inputs": ["x"]}).encode()
    busy.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:3])
    time.sleep(0.3)
    closing = threading.Thread(target=server.close)
    closing.start()
    time.sleep(0.3)
    busy.sendall(body[3:])
    answer = busy.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    closing.join(10)
    assert not closing.is_alive()
    assert idle.recv(1) == b""
    idle.close()
    busy.close()
    with pytest.raises(ServerUnreachableError), Client(bundle.directory, server.url, retries=0) as client:
        client.predict(images[:1])


def test_close_does_not_wait_for_ever(bundle):
    """A request that never ends is cut off after the grace."""
    server = Server(bundle, port=0, grace_s=0.2).start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as stuck:
        stuck.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        time.sleep(0.2)
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 5
    server.close()


GET = b"GET /v1/models/tail HTTP/1.1\r\nHost: localhost\r\n"


def test_connections_without_end_make_room(server):
    """Beyond so many open connections the one that has waited longest is closed, and a new one is answered."""
    server._http._crowd.most = 2
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(4)]
        idle[3].sendall(GET[:9])
        assert raw(server, GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        for each in idle[:3]:
            with contextlib.suppress(ConnectionError):
                assert each.recv(1) == b""


def test_where_all_are_busy_a_further_one_is_told(server, monkeypatch):
    """A connection whose request is being answered gives its place to nobody."""
    server._http._crowd.most = 1
    begun, go_on = threading.Event(), threading.Event()
    handle = module.handle

    def slow(*arguments):
        begun.set()
        go_on.wait(20)
        return handle(*arguments)

    monkeypatch.setattr(module, "handle", slow)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as busy:
        busy.sendall(GET + b"\r\n")
        assert begun.wait(20)
        assert raw(server, GET + b"\r\n").startswith(b"HTTP/1.1 503")
        go_on.set()
        assert busy.recv(100).startswith(b"HTTP/1.1 200")


def test_it_listens_on_this_machine_only(server):
    """Unless told otherwise, nobody else can reach it."""
    assert server.url == f"http://127.0.0.1:{server.port}"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port), timeout=2)


def test_a_port_in_use_is_told(server, bundle):
    """The error says where it could not listen."""
    with pytest.raises(ServerError, match=f"Cannot listen on 127.0.0.1:{server.port}"):
        Server(bundle, port=server.port)


def test_bad_arguments(bundle, tmp_path):
    """What is no bundle and what is no port are refused before anything listens."""
    with pytest.raises(BundleError, match="is not a bundle"):
        Server(tmp_path)
    with pytest.raises(ArgumentError, match="port from 0 to 65535.*70000"):
        Server(bundle, port=70000)


def test_a_changed_tail_is_not_served(bundle, tmp_path):
    """The files of serving/ are compared with the manifest first."""
    copy = shutil.copytree(bundle.directory, tmp_path / "copy")
    (copy / "serving/tail/3/saved_model.pb").write_bytes(b"")
    with pytest.raises(BundleError, match="saved_model.pb"):
        Server(copy, port=0)


def test_serve_forever_ends_with_a_signal(bundle):
    """From a shell it says where it listens and what production is, and SIGTERM ends it well."""
    script = (
        "import sys\n"
        "from isplit_tf.server import Server\n"
        "Server(sys.argv[1], port=0).serve_forever()\n"
        "print('closed well')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(bundle.directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        line = next(line for line in process.stderr if "Serving on" in line)
        assert "http://127.0.0.1:" in line
        assert "production" in line
        assert "TensorFlow Serving" in line
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (0, "closed well\n")
