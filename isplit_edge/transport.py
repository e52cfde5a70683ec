"""Requests over one kept-alive HTTP connection, and the one place where its failures become our errors."""

import contextlib
import functools
import http.client
import math
import random
import selectors
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from . import __version__, framing, schema
from .addresses import without_password
from .errors import ArgumentError, ServerError, ServerTimeoutError, ServerUnreachableError
from .http_answer import HttpAnswer
from .process import renew_in_children

T = TypeVar("T")

BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
# Too many requests, bad gateway, unavailable, gateway time-out: failures that may pass without a change.
RETRIED_STATUSES = frozenset({429, 502, 503, 504})
# The errors of a request that is sent at the moment when the server closes the idle connection.
_CLOSED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


class Transport(Protocol):
    """The calls that a client makes to a tail, over REST or gRPC."""

    def predict(self, payloads: list[bytes], *, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (N, n_classes) float and status (N,) integer, not yet checked.

        `until` is the moment of `time.monotonic()` at which all tries have to end.
        """

    def check(self) -> str:
        """Return the state of the model's version on the server; raise ServerError if the server lacks it."""

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""


class HttpConnection:
    """One HTTP or HTTPS connection to a server, opened when first needed and kept for further requests.

    Threads that share it wait for each other. A process that is forked from this one opens a connection of its own.
    A connection on which anything came that was not expected is closed, and not used for another request.

    Every request must be harmless to repeat. A request whose connection broke off before the answer was complete is
    sent again, up to `retries` times, after a pause that doubles and is drawn at random, so that devices do not come
    back all at once. A request that met the end of an idle connection is sent again immediately.

    Args:
        url: `http://host:port` or `https://host:port`, with a path before the API's own if the server has one.
        timeout_s: Seconds for one try at a request, from sending to the last byte of the answer.
        connect_timeout_s: Seconds for opening a connection.
        retries: How often a request is tried again.
        token: A bearer token for the Authorization header.
        ssl_context: For https; the system's certificates by default.

    Raises:
        ArgumentError: If the URL or an option is impossible.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        retries: int = 2,
        token: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ):
        for name, value in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            schema.number(above=0)(name, value)
        schema.integer(0)("retries", retries)
        parts = _parse(url)
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._base = parts.path.rstrip("/")
        self._timeout_s, self._retries = timeout_s, retries
        self._headers = _headers(token)
        self._connect_timeout_s = connect_timeout_s
        self._http = _unopened(parts, connect_timeout_s, ssl_context)
        self._token = token
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Let go of the connection of the process from which this one was forked."""
        self._turn, self._busy = threading.RLock(), False
        self._http.close()  # its other end is told nothing while the parent's socket is open

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        max_answer_bytes: int = 1 << 20,
        until: float = math.inf,
    ) -> tuple[int, bytes]:
        """Send a request and read the answer, with any HTTP status.

        Args:
            method: `"GET"` or `"POST"`.
            path: Path of the API, beginning with a slash.
            body: JSON, or None.
            max_answer_bytes: A longer answer is refused.
            until: The moment of `time.monotonic()` at which all tries have to end.

        Returns:
            The HTTP status and the answer's body.

        Raises:
            ServerUnreachableError: If there is no connection, or it broke off in every try.
            ServerTimeoutError: If the answer did not come in time.
            ServerError: If the answer is not HTTP or too long, or the certificate is not trusted.
        """
        with self._alone(until):
            return with_retries(
                lambda: self._try(method, path, body, max_answer_bytes, until),
                self._retries,
                passes=lambda answer: answer[0] in RETRIED_STATUSES,
                until=until,
            )

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        with self._turn:
            self._http.close()

    def without_token(self, text: str) -> str:
        """Return a text of the server without the token that it was sent, so that no message shows it."""
        return text if self._token is None else text.replace(self._token, "(the token)")

    @contextlib.contextmanager
    def _alone(self, until: float) -> Iterator[None]:
        turn = self._turn
        if not turn.acquire(timeout=-1 if math.isinf(until) else max(0.0, until - time.monotonic())):
            raise ServerTimeoutError(f"{self.url}: no time was left behind the requests of other threads")
        try:
            if self._busy:
                raise ServerError(f"{self.url} was asked from inside a request to it, as a signal's handler does")
            self._busy = True
            try:
                yield
            finally:
                self._busy = False
        finally:
            turn.release()

    def _try(
        self, method: str, path: str, body: bytes | None, max_answer_bytes: int, until: float
    ) -> tuple[int, bytes]:
        limit_s = min(self._timeout_s, until - time.monotonic())
        request = f"{method} {self.url}{self._base}{path}"
        if limit_s <= 0:
            raise ServerTimeoutError(f"{request}: no time was left for it")
        try:
            answer = self._send(method, path, body, max_answer_bytes, limit_s)
            return answer.status, bytes(answer.body)
        except BaseException as error:
            # After any failure, also an interrupt from the keyboard, a late answer must not reach the next request.
            self._http.close()
            if isinstance(error, OSError | http.client.HTTPException | framing.Malformed):
                raise self._server_error(error, request, limit_s) from error
            raise

    def _send(self, method: str, path: str, body: bytes | None, max_answer_bytes: int, limit_s: float) -> HttpAnswer:
        moment = time.monotonic() + limit_s
        answer = functools.partial(HttpAnswer, moment=moment, max_bytes=max_answer_bytes)
        self._http.response_class = answer  # type: ignore[assignment]
        if self._http.sock is not None and _readable(self._http.sock):
            # No request is open, so these bytes are the end of the connection, or an answer to no request.
            self._http.close()
        if self._http.sock is not None:
            try:
                return self._exchange(method, path, body, limit_s)
            except _CLOSED:
                self._http.close()
        self._connect(limit_s)
        return self._exchange(method, path, body, max(moment - time.monotonic(), 1e-3))

    def _connect(self, limit_s: float) -> None:
        self._http.timeout = min(self._connect_timeout_s, limit_s)
        try:
            self._http.connect()
        except TimeoutError as error:
            raise ServerUnreachableError(
                f"No connection to {self.url} within {self._http.timeout:g} s. Is it the right host?"
            ) from error

    def _exchange(self, method: str, path: str, body: bytes | None, limit_s: float) -> HttpAnswer:
        self._http.sock.settimeout(limit_s)
        # A server that refuses a request before it is sent completely has often already answered why.
        with contextlib.suppress(BrokenPipeError):
            self._http.request(method, self._base + path, body=body, headers=self._headers)
        return self._http.getresponse()  # type: ignore[return-value]

    def _server_error(self, error: Exception, request: str, limit_s: float) -> ServerError:
        """Return the error of our tree for a failure of the connection; no other function maps them."""
        if isinstance(error, ServerError):
            return error
        if isinstance(error, TimeoutError):
            return ServerTimeoutError(f"{request}: no whole answer within {limit_s:g} s")
        if isinstance(error, framing.Malformed) and error.status == 413:
            return ServerError(f"{request.partition(' ')[2]} answered {error.message}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return ServerError(f"{request}: the server's certificate is not trusted: {error.verify_message}")
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return ServerError(f"{request}: the server does not speak TLS on this port. Is it plain http?")
        if isinstance(error, ConnectionRefusedError):
            return ServerUnreachableError(
                f"{request}: connection refused. Is the server up, and is this its REST port?"
            )
        if isinstance(error, socket.gaierror):
            return ServerUnreachableError(f"{request}: the host's name is not known: {error.strerror}")
        text = str(error) or type(error).__name__
        if isinstance(error, OSError):
            return ServerUnreachableError(f"{request}: the connection broke off before the answer: {text}")
        return ServerError(
            f"{request}: the answer is not HTTP ({self.without_token(text)}). TensorFlow Serving's REST port is "
            "usually 8501; 8500 speaks gRPC"
        )


def with_retries(
    request: Callable[[], T],
    retries: int,
    *,
    passes: Callable[[T], bool] = lambda answer: False,
    until: float = math.inf,
) -> T:
    """Make a request, and repeat it while no server is reached, after a pause that doubles.

    Args:
        request: Makes the request once.
        retries: How often the request is tried again; the last try's answer or error is the result.
        passes: Tells whether an answer is a refusal that may pass without a change.
        until: The moment of `time.monotonic()` after which no further try begins.

    Raises:
        ServerError: The error of the last try, or of a try that reached the server.
    """
    for attempt in range(retries):
        pause_s = min(BACKOFF_S * 2**attempt, MAX_BACKOFF_S) * random.uniform(0.5, 1.0)
        try:
            answer = request()
            if not passes(answer) or time.monotonic() + pause_s >= until:
                return answer
        except ServerUnreachableError:
            if time.monotonic() + pause_s >= until:
                raise
        time.sleep(pause_s)
    return request()


def _readable(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _parse(url: str) -> urllib.parse.SplitResult:
    expected = "url must be like 'http://server:8501' or 'https://server/path'"
    if not isinstance(url, str) or not url.isascii() or any(letter <= " " for letter in url):
        raise ArgumentError(f"{expected}. Received: {without_password(url)!r}")
    try:
        parts = urllib.parse.urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its own text shows the address with its password
        plain = False
    if not plain:
        raise ArgumentError(f"{expected}. Received: {without_password(url)!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ArgumentError(f"{expected}, without a user, query or fragment; a token goes into token=...")
    return parts


def _unopened(
    parts: urllib.parse.SplitResult, timeout_s: float, ssl_context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)


def check_token(token: str) -> str:
    """Return a bearer token after a check that it fits into a header.

    Raises:
        ArgumentError: If the token is not printable ASCII without blanks.
    """
    if not isinstance(token, str) or not token or not token.isascii() or any(letter <= " " for letter in token):
        raise ArgumentError("token must be printable ASCII without blanks")
    return token


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"isplit-edge/{__version__}"}
    if token is not None:
        headers["Authorization"] = f"Bearer {check_token(token)}"
    return headers
