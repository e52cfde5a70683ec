"""Sockets and threads of the local server; what is said over them is `rest`'s business."""

import contextlib
import http.server
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from ..errors import ArgumentError, ServerError
from .body import BadBody, BodyReader
from .model import Catalogue
from .rest import Response, error_response, handle

NOTICE = (
    "This is a local server for trying the bundle out. In production the folder serving/ goes to TensorFlow Serving: "
    "docker compose up, with the bundle's compose.yaml."
)
MAX_BODY_BYTES = 64 << 20
_LOG = logging.getLogger(__name__)


class Server:
    """Serves the tail of a bundle over TensorFlow Serving's REST API.

    It listens from the moment it is made, and answers once it is started: by `with`, by `start`, or by `serve_forever`.

    Args:
        bundle: The bundle's directory, or a `Bundle`.
        host: Address to listen on; only this machine can reach the default.
        port: Port to listen on; 0 for any free one.
        labels: Versions by label, such as `{"stable": 1}`.
        max_body_bytes: Longer requests are refused.
        request_timeout_s: Seconds in which a request's body has to arrive, and after which an idle connection is
            closed.
        grace_s: Seconds that `close` gives to requests that are under way.

    Raises:
        BundleError: If the bundle is incomplete, was changed, or has a newer format.
        ServerError: If it cannot listen there.

    Example:
        >>> with Server("bundle/", port=0) as server:
        ...     Client("bundle/", url=server.url).predict(images)
    """

    def __init__(
        self,
        bundle: Any,
        host: str = "127.0.0.1",
        port: int = 8501,
        *,
        labels: Mapping[str, int] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        request_timeout_s: float = 60.0,
        grace_s: float = 10.0,
    ):
        if max_body_bytes < 1 or request_timeout_s <= 0 or grace_s < 0 or not 0 <= port <= 65535:
            raise ArgumentError(
                "Expected port from 0 to 65535, max_body_bytes of at least 1, request_timeout_s above 0 and grace_s of "
                f"at least 0. Received: {port}, {max_body_bytes}, {request_timeout_s}, {grace_s}."
            )
        directory = os.fspath(getattr(bundle, "directory", bundle))
        catalogue = Catalogue.of_bundle(directory, labels)
        self._grace_s = grace_s
        self._thread: threading.Thread | None = None
        try:
            self._sockets = _Sockets(host, port, catalogue, max_body_bytes, request_timeout_s)
        except OSError as error:
            raise ServerError(f"Cannot listen on {host}:{port}: {error}") from error

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._sockets.server_address[1]

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        host = str(self._sockets.server_address[0])
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> "Server":
        """Begins to answer, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._sockets.serve_forever, args=(0.05,), name="isplit-server", daemon=True
            )
            self._thread.start()
        return self

    def close(self) -> None:
        """Takes no more requests, lets those under way end within `grace_s`, and closes all connections."""
        if self._thread is not None:
            self._sockets.shutdown()
            self._thread.join()
            self._thread = None
        self._sockets.finish(self._grace_s)

    def serve_forever(self) -> None:
        """Answers until Ctrl-C or SIGTERM, then closes; says on standard error where it listens and what it is not."""
        stop = threading.Event()
        with _on_sigterm(stop):
            self.start()
            sys.stderr.write(f"Serving on {self.url}. {NOTICE}\n")
            try:
                while not stop.wait(0.5):
                    pass
            except KeyboardInterrupt:
                pass
            finally:
                self.close()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _on_sigterm(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Sockets(http.server.ThreadingHTTPServer):
    """The listening socket, and the connections that came of it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, catalogue: Catalogue, max_body_bytes: int, request_timeout_s: float):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.catalogue = catalogue
        self.max_body_bytes = max_body_bytes
        self.request_timeout_s = request_timeout_s
        self.closing = False
        self._state = threading.Condition()
        self._open: set[socket.socket] = set()
        self._busy = 0
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # http.server would look the host's name up, which can take seconds.
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._state:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._state:
            self._open.discard(request)
            self._state.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        gone = isinstance(sys.exc_info()[1], ConnectionError)  # the client did not wait for its answer
        _LOG.log(logging.DEBUG if gone else logging.ERROR, "Connection of %s", client_address, exc_info=True)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Marks a request as being under way, from its first line to the last byte of its answer."""
        with self._state:
            self._busy += 1
        try:
            yield
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def finish(self, grace_s: float) -> None:
        self.closing = True
        self.server_close()
        with self._state:
            self._state.wait_for(lambda: self._busy == 0, grace_s)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._state.wait_for(lambda: not self._open, 1.0)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: requests one after the other until either side closes it."""

    server: _Sockets
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # what has none gets a whole answer all the same
    server_version = "isplit"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.request_timeout_s)

    def _answer(self) -> None:
        with self.server.busy():
            try:
                body = self._reader().read(self.headers)
            except (BadBody, TimeoutError) as problem:
                self.close_connection = True
                self._send(error_response(*_refused(problem)))
                return
            keep_open = not self.close_connection
            self.close_connection = True
            response = error_response(500, "Internal error")
            try:
                response = handle(self.server.catalogue, self.command, self.path, body)
                self.close_connection = not keep_open
            finally:  # a bug of ours still gives an answer; then it ends the connection and is logged
                self._send(response)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _answer  # noqa: N815

    def handle_expect_100(self) -> bool:
        try:
            self._reader().declared(self.headers)
        except BadBody as problem:
            self.close_connection = True
            self._send(error_response(*_refused(problem)))
            return False
        return super().handle_expect_100()

    def _reader(self) -> BodyReader:
        return BodyReader(self.rfile, self.server.max_body_bytes, self.server.request_timeout_s)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection or self.server.closing:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, such as a malformed first line, in the API's own form."""
        self.close_connection = True
        self._send(error_response(code, message or explain or "Malformed request"))

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)


def _refused(problem: BadBody | TimeoutError) -> tuple[int, str]:
    if isinstance(problem, BadBody):
        return problem.status, problem.message
    return 408, "The body of the request came too slowly"
