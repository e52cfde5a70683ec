"""The calls of TensorFlow Serving's REST API that a client makes, for one version of one model."""

import base64
import json
from typing import Any

import numpy as np

from .errors import ServerError, ServerUnreachableError
from .manifest import Manifest
from .transport import HttpConnection

SIGNATURE = "serving_default"
_AROUND_BYTES = len('{"payload":{"b64":""}},')
_SPARE_BYTES = 1 << 16
# A float of TensorFlow Serving has at most 17 digits, a sign, a point and an exponent; blanks and a comma.
_NUMBER_BYTES = 32
# Names, brackets and indentation of a row.
_ROW_BYTES = 256


def request_bytes(payload_bytes: int) -> int:
    """Return the bytes that one payload takes in the body of a request."""
    return 4 * -(-payload_bytes // 3) + _AROUND_BYTES


class RestTransport:
    """REST calls to the version of the tail that a manifest names.

    Args:
        connection: The connection to the server.
        manifest: The bundle's manifest.
    """

    def __init__(self, connection: HttpConnection, manifest: Manifest):
        self._connection = connection
        self._n_classes = manifest.n_classes
        self._model = f"/v1/models/{manifest.model_name}"
        self._version = f"{self._model}/versions/{manifest.version}"
        self._wanted = f"version {manifest.version} of model {manifest.model_name!r}"

    def predict(self, payloads: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Send payloads in one request.

        Returns:
            probabilities (N, n_classes) float64 and status (N,) int64 as the server sent them.

        Raises:
            ServerError: If the server cannot be reached, refuses, or its answer breaks the API.
        """
        limit = _SPARE_BYTES + len(payloads) * (_NUMBER_BYTES * (self._n_classes + 1) + _ROW_BYTES)
        code, answer = self._connection.request(
            "POST", f"{self._version}:predict", _body(payloads), max_answer_bytes=limit
        )
        if code != 200:
            raise self._refused(code, answer)
        return _rows(_parsed(answer))

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
        states = _states(_parsed(answer))
        if "AVAILABLE" not in states.values():
            raise ServerError(f"{self._wanted} is not available on {self._connection.url}: {listed(states)}")
        return "AVAILABLE"

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._connection.close()

    def _refused(self, code: int, answer: bytes) -> ServerError:
        where, said = self._connection.url, _error_text(answer)
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
            return listed(_states(_parsed(answer))) if code == 200 else "nothing of this name"
        except ServerError:
            return "unknown"


def _body(payloads: list[bytes]) -> bytes:
    rows = b"},{".join(b'"payload":{"b64":"%b"}' % base64.b64encode(payload) for payload in payloads)
    return b'{"signature_name":"%b","instances":[{%b}]}' % (SIGNATURE.encode(), rows)


def _parsed(answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)  # NaN is a bare token there, which Python's reader accepts
    except (ValueError, RecursionError) as error:
        raise ServerError(f"The server's answer is not JSON: {_shown(answer)}") from error
    if not isinstance(value, dict):
        raise ServerError(f"The server's answer is not a JSON object: {_shown(answer)}")
    return value


def _rows(answer: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rows = answer.get("predictions")
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(row, dict) and {"probabilities", "status"} <= row.keys() for row in rows)
    ):
        raise ServerError(
            "The server's predictions are not rows of probabilities and status: is this model the tail of a "
            f"bundle? It answered {_shown(json.dumps(answer).encode())}"
        )
    return (
        _numbers([row["probabilities"] for row in rows], "f", "probabilities"),
        _numbers([row["status"] for row in rows], "i", "status"),
    )


def _numbers(values: list[Any], kind: str, name: str) -> np.ndarray:
    try:
        array = np.array(values)
    except (ValueError, OverflowError) as error:
        raise ServerError(f"The server's {name} are not rows of one length") from error
    if array.dtype.kind not in {"f": "fi", "i": "i"}[kind]:
        raise ServerError(f"The server's {name} are not numbers: {_shown(repr(values).encode())}")
    return array


def _states(answer: dict[str, Any]) -> dict[str, str]:
    """Return the state of each version in an answer of the model status API."""
    entries = answer.get("model_version_status")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ServerError(f"The server's model status is none: {_shown(json.dumps(answer).encode())}")
    return {str(entry.get("version")): str(entry.get("state")) for entry in entries}


def listed(states: dict[str, str]) -> str:
    """Return the versions of a model with their states, as part of a message."""
    return ", ".join(f"version {version} ({state})" for version, state in states.items()) or "no version"


def _error_text(answer: bytes) -> str:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return _shown(answer)
    error = value.get("error") if isinstance(value, dict) else None
    return _shown(error.encode()) if isinstance(error, str) else _shown(answer)


def _shown(text: bytes, limit: int = 200) -> str:
    shown = " ".join(text[: limit + 1].decode("utf-8", "replace").split())
    return f"{shown[:limit]}..." if len(text) > limit else shown or "nothing"
