"""The calls of TensorFlow Serving's REST API that a client makes, for one version of one model."""

import base64
import json
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .errors import ServerError, ServerUnreachableError
from .text import shortened
from .transport import HttpConnection

SIGNATURE = "serving_default"
_AROUND_BYTES = len('{"payload":{"b64":""}},')
_SPARE_BYTES = 1 << 16
# A float of TensorFlow Serving has at most 17 digits, a sign, a point and an exponent; blanks and a comma.
_NUMBER_BYTES = 32
# Names, brackets and indentation of a row.
_ROW_BYTES = 256
# Values that a row and a whole answer may have besides the probabilities.
_ROW_VALUES, _SPARE_VALUES = 16, 1024
# No probability or status is as large; a number of JSON may have any size.
_BEYOND = 2**63
_SHOWN_VERSIONS = 10


def request_bytes(payload_bytes: int) -> int:
    """Return the bytes that one payload takes in the body of a request."""
    return 4 * -(-payload_bytes // 3) + _AROUND_BYTES


class Served(Protocol):
    """What a transport has to know of a served model; a bundle's manifest says it."""

    @property
    def model_name(self) -> str:
        """Return its name on the server."""

    @property
    def version(self) -> int:
        """Return its version there."""

    @property
    def n_classes(self) -> int:
        """Return how many probabilities an answer has."""


class RestTransport:
    """REST calls to the version of the tail that a manifest names.

    Args:
        connection: The connection to the server.
        manifest: The bundle's manifest.
    """

    def __init__(self, connection: HttpConnection, manifest: Served):
        self._connection = connection
        self._n_classes = manifest.n_classes
        self._model = f"/v1/models/{manifest.model_name}"
        self._version = f"{self._model}/versions/{manifest.version}"
        self._wanted = f"version {manifest.version} of model {manifest.model_name!r}"

    def predict(self, payloads: list[bytes], *, until: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
        """Send payloads in one request.

        Args:
            payloads: N payloads.
            until: The moment of `time.monotonic()` at which all tries have to end.

        Returns:
            probabilities (N, n_classes) float64 and status (N,) int64 as the server sent them.

        Raises:
            ServerError: If the server cannot be reached, refuses, or its answer breaks the API.
        """
        limit = _SPARE_BYTES + len(payloads) * (_NUMBER_BYTES * (self._n_classes + 1) + _ROW_BYTES)
        code, answer = self._connection.request(
            "POST", f"{self._version}:predict", predict_body(payloads), max_answer_bytes=limit, until=until
        )
        if code != 200:
            raise self._refused(code, answer)
        # Each value of JSON but the first one stands behind a comma or a bracket, and takes far more memory than text.
        values = sum(map(answer.count, (b",", b"[", b"{")))
        if values > _SPARE_VALUES + len(payloads) * (self._n_classes + _ROW_VALUES):
            raise ServerError(
                f"The server's answer holds about {values} values, far more than the {len(payloads)} images of "
                f"{self._n_classes} classes have"
            )
        return read_rows(self._parsed(answer))

    def check(self) -> str:
        """Ask whether the server has the version.

        Returns:
            `"AVAILABLE"`.

        Raises:
            ServerError: If the server lacks the version, or has it in another state.
        """
        code, answer = self._connection.request("GET", self._version)
        if code != 200:
            raise self._refused(code, answer)
        states = _states(self._parsed(answer))
        if "AVAILABLE" not in states.values():
            raise ServerError(f"{self._wanted} is not available on {self._connection.url}: {listed(states)}")
        return "AVAILABLE"

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._connection.close()

    def _refused(self, code: int, answer: bytes) -> ServerError:
        where, said = self._connection.url, self._said(answer)
        if code == 404:
            return ServerError(f"{where} does not have {self._wanted}. It has: {self._others()}. It said: {said}")
        hints = {
            401: ": it asks for a token",
            403: ": it does not accept this token",
            413: ": the request is too large for it; use a smaller max_batch",
        }
        # With these codes a proxy says that it cannot reach the server behind it.
        kind = ServerUnreachableError if code in (502, 503, 504) else ServerError
        return kind(f"{where} answered HTTP {code}{hints.get(code, '')}. It said: {said}")

    def _others(self) -> str:
        """Return the versions that the server has of this model instead, for another error's message."""
        try:
            code, answer = self._connection.request("GET", self._model)
            return listed(_states(self._parsed(answer))) if code == 200 else "nothing of this name"
        except ServerError:
            return "unknown"

    def _parsed(self, answer: bytes) -> dict[str, Any]:
        return parsed(answer, self._shown)

    def _said(self, answer: bytes) -> str:
        """Return the message of a server's error."""
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return self._shown(answer)
        error = value.get("error") if isinstance(value, dict) else None
        return self._shown(error.encode("utf-8", "replace") if isinstance(error, str) else answer)

    def _shown(self, answer: bytes) -> str:
        return shortened(self._connection.without_token(answer.decode("utf-8", "replace")))


def parsed(answer: bytes, shown: Callable[[bytes], str] = lambda answer: "") -> dict[str, Any]:
    """Return the object of JSON in an answer.

    Args:
        answer: The body.
        shown: Returns what a message may show of it.

    Raises:
        ServerError: If it is none.
    """
    try:
        value = json.loads(answer)  # NaN is a bare token there, which Python's reader accepts
    except (ValueError, RecursionError) as error:
        raise ServerError(f"The server's answer is not JSON: {shown(answer)}") from error
    if not isinstance(value, dict):
        raise ServerError(f"The server's answer is not a JSON object: {shown(answer)}")
    return value


def predict_body(payloads: list[bytes], signature: str = SIGNATURE) -> bytes:
    """Return the body of a request that asks a signature about payloads."""
    rows = b"},{".join(b'"payload":{"b64":"%b"}' % base64.b64encode(payload) for payload in payloads)
    return b'{"signature_name":"%b","instances":[{%b}]}' % (signature.encode(), rows)


def read_rows(answer: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (N, n_classes) float64 and status (N,) int64 of an answer.

    Raises:
        ServerError: If it holds none.
    """
    rows = answer.get("predictions")
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(row, dict) and {"probabilities", "status"} <= row.keys() for row in rows)
    ):
        raise ServerError(
            "The server's predictions are not rows of probabilities and status: is this model the tail of a "
            f"bundle? It answered {shortened(repr(answer))}"
        )
    # numpy itself would make room for texts, and for lists of lists, of any size that the server likes.
    probabilities = [row["probabilities"] for row in rows]
    if not all(isinstance(row, list) for row in probabilities):
        raise _no_numbers("probabilities", probabilities)
    if len(set(map(len, probabilities))) > 1:
        raise ServerError("The server's probabilities are not rows of one length")
    return (
        np.array([_numbers("probabilities", row, float, int) for row in probabilities], np.float64),
        np.array(_numbers("status", [row["status"] for row in rows], int), np.int64),
    )


def _numbers(name: str, values: list[Any], *kinds: type) -> list[Any]:
    if any(type(value) not in kinds or abs(value) >= _BEYOND for value in values):
        raise _no_numbers(name, values)
    return values


def _no_numbers(name: str, values: list[Any]) -> ServerError:
    return ServerError(f"The server's {name} are not numbers, statuses whole ones: {shortened(repr(values))}")


def _states(answer: dict[str, Any]) -> dict[str, str]:
    """Return the state of each version in an answer of the model status API."""
    entries = answer.get("model_version_status")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ServerError(f"The server's model status is none: {shortened(repr(answer))}")
    return {str(entry.get("version")): str(entry.get("state")) for entry in entries}


def listed(states: dict[str, str]) -> str:
    """Return the versions of a model with their states, as part of a message."""
    shown = ", ".join(f"version {version} ({state})" for version, state in list(states.items())[:_SHOWN_VERSIONS])
    more = len(states) - _SHOWN_VERSIONS
    return shortened(f"{shown}, and {more} more" if more > 0 else shown or "no version", 1000)
