"""The REST port: sockets and threads. Requests are interpreted in `rest`."""

import contextlib
import http.server
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .body import BadBody, BodyReader
from .model import Catalogue
from .rest import Response, error_response, handle

MAX_CONNECTIONS = 512
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_LOG = logging.getLogger(__name__)


class HttpPort(http.server.ThreadingHTTPServer):
    """The listening socket and its open connections, each with a thread.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        catalogue: The models.
        max_body_bytes: Longer requests are refused.
        request_timeout_s: Seconds within which a request's body has to arrive, and after which an idle connection is
            closed.

    Raises:
        OSError: If the address and port cannot be listened on.
    """

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
        self._thread: threading.Thread | None = None
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # http.server would look up the name of the host, which can take seconds.
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._state:
            full = len(self._open) >= MAX_CONNECTIONS
            self._open.add(request)
        if full:
            with contextlib.suppress(OSError):
                request.settimeout(1.0)
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def start(self) -> None:
        """Start answering requests in a separate thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="isplit-server", daemon=True)
            self._thread.start()

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
        """Count a request as in progress, from its first line to the last byte of its answer."""
        with self._state:
            self._busy += 1
        try:
            yield
        finally:
            with self._state:
                self._busy -= 1
                self._state.notify_all()

    def finish(self, grace_s: float) -> None:
        """Accept no more requests, give those in progress `grace_s` seconds to end, and close all connections."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.closing = True
        self.server_close()
        with self._state:
            self._state.wait_for(lambda: self._busy == 0, grace_s)
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._state.wait_for(lambda: not self._open, 1.0)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: answers requests one after the other until either side closes it."""

    server: HttpPort
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # a request without a version gets a whole answer too
    server_version = "isplit"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body are sent together

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
            finally:  # an internal error gives an answer too, then ends the connection and is logged
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
        """Send errors of http.server itself, such as for a malformed first line, as JSON like all other errors."""
        self.close_connection = True
        self._send(error_response(code, message or explain or "Malformed request"))

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)


def _refused(problem: BadBody | TimeoutError) -> tuple[int, str]:
    if isinstance(problem, BadBody):
        return problem.status, problem.message
    return 408, "The body of the request came too slowly"
