"""The connection: kept, renewed, timed, retried where a repeat is harmless, and honest about its failures."""

import contextlib
import http.client
import socket
import ssl
import threading

import pytest

from isplit_edge import ArgumentError, Client, Manifest, ServerError, ServerUnreachableError
from isplit_edge import transport as module
from isplit_edge.transport import HttpConnection
from support.loopback import Loopback

STATUS = "/v1/models/tail"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Retries need not wait for a busy server here."""
    monkeypatch.setattr(module, "BACKOFF_S", 0.001)


def cut_in_the_answer(handler):
    """Half of what was promised, then the end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{" * 500)
    handler.cut()


def cut_in_a_chunk(handler):
    """The same with an answer of unknown length."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\nabc")
    handler.cut()


def cut_before_the_answer(handler):
    """Nothing, then the end."""
    handler.cut()


CUTS = [cut_in_the_answer, cut_in_a_chunk, cut_before_the_answer]


@contextlib.contextmanager
def speaking(*answers: bytes):
    """A bare socket that reads a little and says these bytes, one connection each; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak():
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    with contextlib.suppress(OSError):
                        connection.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_one_connection_serves_many_requests(server):
    """Keep-alive: ten requests, one connection."""
    connection = HttpConnection(server.url)
    for _ in range(10):
        assert connection.request("GET", STATUS)[0] == 200
    connection.close()
    assert server.connections == 1


def test_a_connection_closed_while_idle_is_renewed(server):
    """What the server closed between two requests is opened anew, without a retry."""
    connection = HttpConnection(server.url, retries=0)
    for _ in range(3):
        server.faults.append(lambda handler: (handler.reply(200, {}), handler.cut()))
        assert connection.request("GET", STATUS) == (200, b"{}")
    connection.close()
    assert server.connections == 3


def test_a_connection_closed_as_the_request_comes_is_renewed_once(server):
    """A kept connection that ends before an answer is a reason to send again, at once and on a new one."""
    connection = HttpConnection(server.url, retries=0)
    assert connection.request("GET", STATUS)[0] == 200
    server.faults.append(cut_before_the_answer)
    assert connection.request("GET", STATUS)[0] == 200
    connection.close()
    assert (server.connections, len(server.seen)) == (2, 3)


def test_what_arrives_unasked_is_no_answer():
    """Bytes that a server sent on an idle connection, such as a farewell, are not taken for the next answer."""
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    farewell = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    with speaking(good + farewell, good) as url:
        connection = HttpConnection(url, retries=0)
        assert connection.request("GET", STATUS) == (200, b"{}")
        assert connection.request("GET", STATUS) == (200, b"{}")
        connection.close()


@pytest.mark.parametrize("cut", CUTS)
def test_a_connection_cut_in_the_middle_is_tried_again(server, cut):
    """Twice cut, the third try is answered."""
    server.faults.extend([cut, cut])
    connection = HttpConnection(server.url, retries=2)
    assert connection.request("GET", STATUS)[0] == 200
    connection.close()
    assert len(server.seen) == 3


@pytest.mark.parametrize("cut", CUTS)
def test_a_connection_cut_every_time_is_an_error(server, cut):
    """After the last try the error says that the connection broke off."""
    server.faults.extend([cut] * 3)
    connection = HttpConnection(server.url, retries=2)
    with pytest.raises(ServerUnreachableError, match="the connection broke off before the answer"):
        connection.request("GET", STATUS)
    assert len(server.seen) == 3


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, code):
    """Statuses that pass by themselves are retried; the last one is handed on."""
    server.faults.extend([lambda handler: handler.reply(code, {})] * 2)
    connection = HttpConnection(server.url, retries=2)
    assert connection.request("GET", STATUS)[0] == 200
    server.faults.extend([lambda handler: handler.reply(code, {})] * 3)
    assert connection.request("GET", STATUS) == (code, b"{}")
    connection.close()
    assert len(server.seen) == 6


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (400, "answered HTTP 400. It said: no such signature"),
        (401, "answered HTTP 401: it asks for a token. It said"),
        (403, "answered HTTP 403: it does not accept this token"),
        (413, "answered HTTP 413: the request is too large for it; use a smaller max_batch"),
        (500, "answered HTTP 500. It said"),
        (301, "answered HTTP 301"),
    ],
)
def test_refusals_are_not_repeated(server, bundles, images, code, message):
    """What another try cannot change is said at once, in the server's own words."""
    server.faults.append(lambda handler: handler.reply(code, {"error": "no such signature"}))
    with Client(bundles["float32"], server.url) as client, pytest.raises(ServerError, match=message):
        client.predict(images)
    assert len(server.seen) == 1


@pytest.mark.parametrize("greeting", [b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x7f", b"SSH-2.0-x\r\n", b"\r\n"])
def test_a_port_that_speaks_something_else_is_named(greeting):
    """Not HTTP: the message reminds of TensorFlow Serving's two ports."""
    with speaking(greeting + b"\n") as url, pytest.raises(ServerError, match="8501; 8500 speaks gRPC"):
        HttpConnection(url, retries=0).request("GET", STATUS)


def test_endless_answers_are_cut(server):
    """An answer longer than allowed is refused, and the connection with it."""
    server.faults.append(lambda handler: handler.reply_bytes(200, b" " * 10_000))
    connection = HttpConnection(server.url)
    with pytest.raises(ServerError, match="answered more than 9999 bytes"):
        connection.request("GET", STATUS, max_answer_bytes=9_999)
    assert connection.request("GET", STATUS)[0] == 200
    connection.close()


def test_an_unknown_host_is_named():
    """A name that no one knows is told from a server that is down."""
    with pytest.raises(ServerUnreachableError, match=r"the host's name is not known|No connection"):
        HttpConnection("http://no-such-host.invalid:8501", retries=0).request("GET", STATUS)


def test_a_host_that_does_not_answer_is_unreachable(monkeypatch):
    """A connection that is not made in time is no connection: retried like one, and said to be so."""

    def never(*arguments, **options):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", never)
    with pytest.raises(ServerUnreachableError, match=r"No connection to http://127.0.0.1:1 within 0\.5 s"):
        HttpConnection("http://127.0.0.1:1", connect_timeout_s=0.5, retries=0).request("GET", STATUS)


def test_plain_http_behind_https_is_named(server):
    """The two ends speak of different things: the message says which."""
    url = server.url.replace("http:", "https:")
    with pytest.raises(ServerError, match=r"does not speak TLS on this port\. Is it plain http"):
        HttpConnection(url, retries=0).request("GET", STATUS)


def test_an_interrupted_request_does_not_answer_the_next(server, monkeypatch):
    """A key pressed while waiting ends that request and its connection; the next one gets its own answer."""
    connection = HttpConnection(server.url, retries=0)
    with monkeypatch.context() as patch:

        def interrupted(*arguments, **options):
            raise KeyboardInterrupt

        patch.setattr(http.client.HTTPConnection, "getresponse", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connection.request("GET", STATUS)
    assert connection.request("GET", "/nothing")[0] == 404
    connection.close()
    assert server.connections == 2


def test_a_token_is_sent_and_never_shown(server, bundles, images):
    """The header holds it; no message does."""
    server.faults.append(lambda handler: handler.reply(403, {"error": "no"}))
    with Client(bundles["float32"], server.url, token="s3cret") as client:
        with pytest.raises(ServerError) as caught:
            client.predict(images)
        assert server.headers["Authorization"] == "Bearer s3cret"
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in repr(client)


def test_a_path_before_the_api_is_kept(bundles, images):
    """A server behind a proxy's path."""
    with Loopback(Manifest.load(bundles["float32"])) as server:
        server.base = "/tails"
        with Client(bundles["float32"], f"{server.url}/tails/") as client:
            assert client.predict(images).shape == (5, 3)
            assert client.check() == "AVAILABLE"


@pytest.mark.parametrize(
    "url",
    [
        "server:8501",
        "ftp://server",
        "http://",
        "http://:8501",
        "http://server:99999",
        "http://server:0",
        "http://server/a b",
        "http://server\r\nX: y",
        "http://user:secret@server",
        "http://server/?q=1",
        "http://[::1",
        None,
    ],
)
def test_urls_that_cannot_be_are_refused(url):
    """The message shows what a URL looks like, and never a password."""
    with pytest.raises(ArgumentError, match=r"url must be like 'http://server:8501'") as caught:
        HttpConnection(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_s": 0}, "timeout_s must be a number above 0. Received: 0"),
        ({"timeout_s": "5"}, "timeout_s must be a number above 0. Received: '5'"),
        ({"timeout_s": float("nan")}, "timeout_s must be"),
        ({"connect_timeout_s": float("inf")}, "connect_timeout_s must be"),
        ({"retries": -1}, "retries must be a whole number from 0 on. Received: -1"),
        ({"token": ""}, "token must be printable ASCII"),
        ({"token": "a\r\nb"}, "token must be printable ASCII"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    """Each names itself and what it may be."""
    with pytest.raises(ArgumentError, match=message):
        HttpConnection("http://server:8501", **options)


def test_https_needs_a_certificate_that_is_trusted(server, certificate, bundles, images):
    """Over https the answers are the same; a certificate that nobody vouches for is refused, once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = server.url.replace("http:", "https:")
    with Client(bundles["float32"], url) as client, pytest.raises(ServerError, match="certificate is not trusted"):
        client.predict(images)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with Client(bundles["float32"], url, ssl_context=trusting, retries=0) as client:
        for _ in range(3):
            assert client.predict(images).shape == (5, 3)
