"""Calls to the served model of a kit, in this process, over REST and over gRPC.

A call is prepared first, so that what is timed is the server's work and the way there and back, and not the writing of
the request or the reading of the answer.
"""

import base64
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from isplit_edge import messages
from isplit_edge.kit import SERVED_NAME, SERVED_VERSION, Kit
from isplit_edge.rest import RestTransport
from isplit_edge.rpc import PREDICT, SCHEMES, GrpcTransport
from isplit_edge.transport import HttpConnection

from ..errors import ServerError
from ..server.model import ServedModel
from ..server.refusal import Refusal

Values = Sequence[bytes] | np.ndarray
"""Strings, or float32 `(N, ...)`."""
_MOST_ANSWER_BYTES = 64 << 20
_FLOAT_DIGITS = 6


class KitCalls(Protocol):
    """The calls that a measurement makes."""

    @property
    def transport(self) -> str:
        """Return "in_process", "rest" or "grpc"."""

    @property
    def address(self) -> str | None:
        """Return the server's address; None in process."""

    @property
    def most_floats(self) -> int | None:
        """Return the largest number of floats that one request can sensibly hold; None for no limit."""

    def request(self, signature: str, name: str, values: Values) -> Any:
        """Return a request with one input, to be sent any number of times."""

    def send(self, request: Any) -> Any:
        """Send a request and return the answer as it comes; raise ServerError if there is none."""

    def statuses(self, answer: Any) -> list[int]:
        """Return the status of each row of an answer; none where the signature has no status."""

    def check(self) -> Any:
        """Ask for the state of the served model, which runs no model; raise ServerError if it is not there."""

    def close(self) -> None:
        """Close the connection."""


@dataclasses.dataclass(frozen=True)
class _Served:
    """What the transports have to know of a kit's served model."""

    n_classes: int
    model_name: str = SERVED_NAME
    version: int = SERVED_VERSION


def open_calls(kit: Kit, url: str | None, *, token: str | None, timeout_s: float, max_batch: int) -> KitCalls:
    """Return the calls to a kit's served model.

    Args:
        kit: The kit.
        url: `http://`, `https://`, `grpc://` or `grpcs://host:port`; None for this process.
        token: A bearer token for the server.
        timeout_s: Seconds for one call.
        max_batch: The largest number of rows in a call.

    Raises:
        ArgumentError: If the address is none.
        BundleError: If the served model cannot be loaded.
        MissingDependencyError: If gRPC is asked for and not installed.
    """
    if url is None:
        return InProcess(kit)
    served = _Served(kit.n_classes)
    if isinstance(url, str) and url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return OverGrpc(url, served, timeout_s=timeout_s, retries=0, token=token, max_batch=max_batch)
    return OverRest(HttpConnection(url, timeout_s=timeout_s, retries=0, token=token), served)


class InProcess:
    """Calls to the served model, loaded into this process."""

    transport = "in_process"
    address = most_floats = None

    def __init__(self, kit: Kit):
        self._model = ServedModel(kit.directory / kit.serving, SERVED_NAME, SERVED_VERSION)

    def request(self, signature: str, name: str, values: Values) -> tuple[str, dict[str, np.ndarray]]:
        """Return the arguments of the call."""
        return signature, {name: values if isinstance(values, np.ndarray) else np.array(values, object)}

    def send(self, request: tuple[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Run the signature."""
        try:
            return self._model.predict(*request)
        except Refusal as refusal:
            raise ServerError(f"The kit's served model refuses: {refusal.message}") from refusal

    def statuses(self, answer: dict[str, np.ndarray]) -> list[int]:
        """Return the status of each row."""
        return [] if "status" not in answer else [int(one) for one in answer["status"]]

    def check(self) -> None:
        """Do nothing: in this process a call costs nothing beside the model."""

    def close(self) -> None:
        """Let go of the model."""
        self._model.close()


class OverRest(RestTransport):
    """Calls over REST. Floats are written as text, as TensorFlow Serving takes them."""

    transport = "rest"
    most_floats = 1 << 20

    @property
    def address(self) -> str:
        """Return the server's address."""
        return self._connection.url

    def request(self, signature: str, name: str, values: Values) -> bytes:
        """Return the body of the request."""
        if isinstance(values, np.ndarray):
            rows: list[Any] = np.round(values.astype(np.float64), _FLOAT_DIGITS).tolist()
        else:
            rows = [{"b64": base64.b64encode(one).decode()} for one in values]
        body = {"signature_name": signature, "instances": [{name: row} for row in rows]}
        return json.dumps(body, separators=(",", ":")).encode()

    def send(self, request: bytes) -> bytes:
        """Send the body."""
        path = f"{self._version}:predict"
        code, answer = self._connection.request("POST", path, request, max_answer_bytes=_MOST_ANSWER_BYTES)
        if code != 200:
            raise self._refused(code, answer)
        return answer

    def statuses(self, answer: bytes) -> list[int]:
        """Return the status of each row."""
        rows = self._parsed(answer).get("predictions")
        if not isinstance(rows, list):
            raise ServerError(f"{self.address} answers without predictions: is this the served model of a kit?")
        return [int(row["status"]) for row in rows if isinstance(row, dict) and isinstance(row.get("status"), int)]


class OverGrpc(GrpcTransport):
    """Calls over gRPC."""

    transport = "grpc"
    most_floats = 8 << 20

    @property
    def address(self) -> str:
        """Return the server's address."""
        return self.url

    def request(self, signature: str, name: str, values: Values) -> bytes:
        """Return the message."""
        spec = messages.model_spec(SERVED_NAME, SERVED_VERSION, signature)
        if not isinstance(values, np.ndarray):
            return messages.predict_request(spec, name, values)
        shape = b"".join(messages.field(2, messages.integer_field(1, axis)) for axis in values.shape)
        tensor = messages.integer_field(1, messages.DT_FLOAT) + messages.field(2, shape)
        tensor += messages.field(4, values.astype("<f4").tobytes())
        return messages.field(1, spec) + messages.field(2, messages.field(1, name.encode()) + messages.field(2, tensor))

    def send(self, request: bytes) -> bytes:
        """Send the message."""
        return self._call(PREDICT, request)

    def statuses(self, answer: bytes) -> list[int]:
        """Return the status of each row."""
        return [int(one) for one in messages.read_outputs(answer).get("status", ())]
