"""The calls of TensorFlow Serving's gRPC API that a client makes, for one version of one model.

It needs grpcio, but neither TensorFlow nor generated classes: `messages` writes and reads the messages.
"""

import math
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import __version__, messages, schema
from .addresses import is_loopback, without_password
from .errors import (
    ArgumentError,
    MissingDependencyError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from .process import renew_in_children
from .rest import SIGNATURE, Served, listed
from .text import shortened
from .transport import BACKOFF_S, MAX_BACKOFF_S, check_token, with_retries

SCHEMES = ("grpc", "grpcs")
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_SPARE_BYTES = 1 << 16
_ELEMENT_BYTES = 16
_abandoned: list[Any] = []


def message_bytes(payload_bytes: int) -> int:
    """Return the bytes that one payload takes in a request."""
    return payload_bytes + 6


class GrpcTransport:
    """gRPC calls to the version of the tail that a manifest names, over one HTTP/2 connection that is kept open.

    Every call may be repeated: it changes nothing on the server. A call that found no server, or a server too busy, is
    repeated up to `retries` times, after a pause that doubles and is drawn at random.

    Args:
        url: `grpc://host:port`, or `grpcs://host:port` with TLS.
        manifest: The bundle's manifest.
        timeout_s: Seconds for one try at a call, from sending to the answer.
        connect_timeout_s: Seconds for opening a connection.
        retries: How often a call is tried again.
        token: A bearer token; it needs grpcs, except to this machine.
        max_batch: The largest number of payloads in one call; it bounds the size of an answer.

    Raises:
        ArgumentError: If the URL or an option is impossible.
        MissingDependencyError: If grpcio is not installed.
    """

    def __init__(
        self,
        url: str,
        manifest: Served,
        *,
        timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
        retries: int = 2,
        token: str | None = None,
        max_batch: int = 32,
    ):
        for name, value in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
            schema.number(above=0)(name, value)
        schema.integer(0)("retries", retries)
        self._grpc = _grpc()
        self.url, self._target, self._secure = _parse(url)
        host = urllib.parse.urlsplit(self.url).hostname or ""
        if token is not None and not self._secure and not is_loopback(host):
            raise ArgumentError(
                f"A token over grpc:// could be read on its way to {host}; possible is grpcs://, which encrypts it"
            )
        self._timeout_s, self._retries = timeout_s, retries
        self._metadata = [] if token is None else [("authorization", f"Bearer {check_token(token)}")]
        answer_bytes = _SPARE_BYTES + max_batch * _ELEMENT_BYTES * (manifest.n_classes + 2)
        self._options = _options(connect_timeout_s, answer_bytes)
        self._n_classes = manifest.n_classes
        self._model = manifest.model_name
        self._wanted = f"version {manifest.version} of model {manifest.model_name!r}"
        self._spec = messages.model_spec(manifest.model_name, manifest.version, SIGNATURE)
        self._status_spec = messages.model_spec(manifest.model_name, manifest.version)
        self._token = token
        self._channel: Any = None
        self._opening = threading.Lock()
        renew_in_children(self)

    def renew(self) -> None:
        """Let go of the connection of the process from which this one was forked; its threads do not exist here."""
        _abandoned.append(self._channel)  # closing it would wait for these threads
        self._channel, self._opening = None, threading.Lock()

    def predict(self, payloads: Sequence[bytes], *, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """Send payloads in one call.

        Args:
            payloads: N payloads.
            until: The moment of `time.monotonic()` at which all tries have to end.

        Returns:
            probabilities (N, n_classes) float32 and status (N,) int32 as the server sent them.

        Raises:
            ServerError: If the server cannot be reached, refuses, or its answer breaks the API.
        """
        request = messages.predict_request(self._spec, "payload", payloads)
        answer = self._call(PREDICT, request, until)
        outputs = messages.read_outputs(answer, most_elements=max(1, len(payloads)) * self._n_classes)
        try:
            return outputs["probabilities"], outputs["status"]
        except KeyError as error:
            found = shortened(str(sorted(outputs)))
            raise ServerError(
                f"The server's outputs are not probabilities and status but {found}: is this model the tail of a "
                "bundle?"
            ) from error

    def check(self) -> str:
        """Ask whether the server has the version.

        Returns:
            `"AVAILABLE"`.

        Raises:
            ServerError: If the server lacks the version, or has it in another state.
        """
        states = messages.read_states(self._call(STATUS, messages.field(1, self._status_spec)))
        if "AVAILABLE" not in states.values():
            raise ServerError(f"{self._wanted} is not available on {self.url}: {listed(states)}")
        return "AVAILABLE"

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        with self._opening:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    def _call(self, method: str, message: bytes, until: float = math.inf) -> bytes:
        return with_retries(lambda: self._try(method, message, until), self._retries, until=until)

    def _try(self, method: str, message: bytes, until: float) -> bytes:
        limit_s = min(self._timeout_s, until - time.monotonic())
        if limit_s <= 0:
            raise ServerTimeoutError(f"{method.rsplit('/', 1)[-1]} {self.url}: no time was left for it")
        try:
            return self._stub(method)(message, timeout=limit_s, metadata=self._metadata)
        except self._grpc.RpcError as error:
            raise self._server_error(error, method, limit_s) from error
        except ValueError as error:  # grpcio's, where another thread closes the channel meanwhile
            raise ServerUnreachableError(f"{self.url}: the client was closed during the call: {error}") from error

    def _stub(self, method: str) -> Callable[..., bytes]:
        with self._opening:
            if self._channel is None:
                if self._secure:
                    credentials = self._grpc.ssl_channel_credentials()
                    self._channel = self._grpc.secure_channel(self._target, credentials, self._options)
                else:
                    self._channel = self._grpc.insecure_channel(self._target, self._options)
            return self._channel.unary_unary(method)

    def _shown(self, text: str | None) -> str:
        text = text or "nothing"
        return shortened(text if self._token is None else text.replace(self._token, "(the token)"))

    def _server_error(self, error: Any, method: str, limit_s: float) -> ServerError:
        """Return the error of our tree for a failed call; no other function maps them."""
        codes = self._grpc.StatusCode
        code, said = error.code(), self._shown(error.details())
        where = f"{method.rsplit('/', 1)[-1]} {self.url}"
        if code == codes.DEADLINE_EXCEEDED:
            return ServerTimeoutError(f"{where}: no whole answer within {limit_s:g} s")
        if code == codes.UNAVAILABLE:
            return ServerUnreachableError(
                f"{where}: no connection, or it broke off, or the server is too busy: {said}. Is the server up, and is "
                "this its gRPC port?"
            )
        if code == codes.NOT_FOUND:
            others = "" if method == STATUS else f" It has: {self._others()}."
            return ServerError(f"{self.url} does not have {self._wanted}.{others} It said: {said}")
        hints = {
            codes.UNAUTHENTICATED: ": it asks for a token",
            codes.PERMISSION_DENIED: ": it does not accept this token",
            codes.RESOURCE_EXHAUSTED: ": the request is too large for it; use a smaller max_batch",
            codes.UNIMPLEMENTED: ": is it TensorFlow Serving's gRPC port, usually 8500?",
        }
        return ServerError(f"{self.url} answered {code.name}{hints.get(code, '')}. It said: {said}")

    def _others(self) -> str:
        """Return the versions that the server has of this model instead, for another error's message."""
        try:
            spec = messages.field(1, messages.model_spec(self._model))
            answer = self._stub(STATUS)(spec, timeout=self._timeout_s, metadata=self._metadata)
            return listed(messages.read_states(answer))
        except self._grpc.RpcError as error:
            return "nothing of this name" if error.code() == self._grpc.StatusCode.NOT_FOUND else "unknown"
        except ServerError:
            return "unknown"


def _grpc() -> Any:
    try:
        import grpc
    except ImportError as error:
        raise MissingDependencyError(
            f"A grpc:// address needs grpcio, which is not installed: pip install grpcio ({error}). REST needs "
            "nothing more: http://server:8501"
        ) from error
    return grpc


def _parse(url: str) -> tuple[str, str, bool]:
    expected = "url must be like 'grpc://server:8500' or 'grpcs://server:443'"
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in SCHEMES and parts.hostname and parts.port and url.isascii() and " " not in url
    except ValueError as error:
        raise ArgumentError(f"{expected}. Received: {without_password(url)!r}") from error
    if not fine or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ArgumentError(f"{expected}, without a user, path, query or fragment. Received: {without_password(url)!r}")
    return f"{parts.scheme}://{parts.netloc}", parts.netloc, parts.scheme == "grpcs"


def _options(connect_timeout_s: float, answer_bytes: int) -> list[tuple[str, Any]]:
    connect_ms = max(1, int(1000 * connect_timeout_s))
    return [
        ("grpc.enable_retries", 0),  # retries are made here, with a pause
        ("grpc.max_receive_message_length", answer_bytes),
        ("grpc.min_reconnect_backoff_ms", connect_ms),
        ("grpc.initial_reconnect_backoff_ms", int(1000 * BACKOFF_S)),
        ("grpc.max_reconnect_backoff_ms", int(1000 * MAX_BACKOFF_S)),
        ("grpc.primary_user_agent", f"isplit-edge/{__version__}"),
        ("grpc.use_local_subchannel_pool", 1),  # each client of a process has its own connection
    ]
