"""The bytes that a protocol adds to a payload and to its answer, and what they come to on the wire."""

from dataclasses import dataclass

from isplit_edge.rest import request_bytes
from isplit_edge.rpc import message_bytes

from ..errors import ArgumentError

TRANSPORTS = ("rest", "grpc")
# {"signature_name":"serving_default","instances":[]} around the payloads; in gRPC name, version and signature.
_REQUEST = {"rest": 51, "grpc": 60}
# HTTP/1.1: method, path, host, length and type; gRPC: compressed headers and frames.
_REQUEST_HEADER = {"rest": 220, "grpc": 60}
_ANSWER_HEADER = {"rest": 120, "grpc": 60}
_ANSWER = {"rest": 60, "grpc": 90}
# A probability as text of nine digits with its comma; as a float.
_PROBABILITY = {"rest": 15, "grpc": 4}
# Ethernet, IP and TCP around each segment of so many bytes.
_SEGMENT_BYTES, _AROUND_SEGMENT = 1448, 66


@dataclass(frozen=True)
class Exchange:
    """The bytes of a request and its answer.

    Attributes:
        request_bytes: Of the request's body.
        answer_bytes: Of the answer's body.
        request_header_bytes: Of the header before it.
        answer_header_bytes: Of the header before it.
    """

    request_bytes: float
    answer_bytes: float
    request_header_bytes: float = 0
    answer_header_bytes: float = 0

    def sent(self, bodies: bool) -> float:
        """Return the bytes that the device sends: of the body alone, or with headers and packets."""
        return self.request_bytes if bodies else on_the_wire(self.request_bytes + self.request_header_bytes)

    def received(self, bodies: bool) -> float:
        """Return the bytes that the device receives: of the body alone, or with headers and packets."""
        return self.answer_bytes if bodies else on_the_wire(self.answer_bytes + self.answer_header_bytes)


def exchange_of(payload_bytes: float, n_classes: int, transport: str) -> Exchange:
    """Return the bytes of the exchange for one payload.

    Args:
        payload_bytes: Of the payload or the compressed image, in the mean.
        n_classes: Probabilities in the answer.
        transport: "rest" or "grpc".

    Raises:
        ArgumentError: If the transport is neither.
    """
    if transport not in TRANSPORTS:
        raise ArgumentError(f"transport: expected one of {', '.join(map(repr, TRANSPORTS))}. Received: {transport!r}")
    whole = round(payload_bytes)
    return Exchange(
        request_bytes=_REQUEST[transport] + (request_bytes(whole) if transport == "rest" else message_bytes(whole)),
        answer_bytes=_ANSWER[transport] + n_classes * _PROBABILITY[transport],
        request_header_bytes=_REQUEST_HEADER[transport],
        answer_header_bytes=_ANSWER_HEADER[transport],
    )


def on_the_wire(n_bytes: float) -> float:
    """Return the bytes that so many take on an Ethernet, in TCP segments.

    Example:
        >>> on_the_wire(1000)
        1066.0
    """
    return float(n_bytes + _AROUND_SEGMENT * max(1, -(-n_bytes // _SEGMENT_BYTES)))
