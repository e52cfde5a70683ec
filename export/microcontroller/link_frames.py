"""The frames between a device and the gateway, as src/isplit_wire.h describes them."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from isplit_edge import wire

FRAME = struct.Struct("<2sBBII")
CHECK = struct.Struct("<I")
HEADER_BYTES = FRAME.size + CHECK.size
VERSION = 1
REQUEST, ANSWER = 1, 2
MOST_CLASSES = 8
"""ISPLIT_MOST_CLASSES of src/isplit_wire.h: a device has no room for an answer of more."""


def pack_frame(kind: int, sequence: int, body: bytes) -> bytes:
    """Return a frame around a body."""
    head = FRAME.pack(b"IS", VERSION, kind, sequence, len(body))
    return head + CHECK.pack(zlib.adler32(body, zlib.adler32(head))) + body


def unpack_frame(frame: bytes, kind: int) -> tuple[int, bytes] | None:
    """Return sequence number and body of one complete, undamaged frame; else None."""
    if len(frame) < HEADER_BYTES:
        return None
    magic, version, found, sequence, length = FRAME.unpack_from(frame)
    if (magic, version, found) != (b"IS", VERSION, kind) or length != len(frame) - HEADER_BYTES:
        return None
    body = frame[HEADER_BYTES:]
    if CHECK.unpack_from(frame, FRAME.size)[0] != zlib.adler32(body, zlib.adler32(frame[: FRAME.size])):
        return None
    return sequence, body


def pack_answer(status: int, probabilities: np.ndarray | None, top: int) -> bytes:
    """Return the body of an answer: status, and the most probable classes, of which surplus ones are left out."""
    if status != wire.STATUS_OK or probabilities is None:
        return struct.pack("<iI", status, 0)
    best = np.argsort(-probabilities, kind="stable")[: min(top, MOST_CLASSES)]
    pairs = b"".join(struct.pack("<If", int(k), float(probabilities[k])) for k in best)
    return struct.pack("<iI", status, len(best)) + pairs


class FrameReader:
    """Finds requests in a stream of bytes, after noise too."""

    def __init__(self, most_body_bytes: int):
        self._most = most_body_bytes
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Return sequence number and body of each request that is now complete."""
        self._waiting += data
        while len(self._waiting) >= FRAME.size:
            magic, version, kind, _, length = FRAME.unpack_from(self._waiting)
            if (magic, version, kind) == (b"IS", VERSION, REQUEST) and length <= self._most:
                whole = HEADER_BYTES + length
                if len(self._waiting) < whole:
                    return
                found = unpack_frame(self._waiting[:whole], REQUEST)
                if found is not None:
                    self._waiting = self._waiting[whole:]
                    yield found
                    continue
            start = self._waiting.find(b"I", 1)
            self._waiting = self._waiting[start:] if start > 0 else b""
