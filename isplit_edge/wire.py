"""The bytes that travel from a head to a tail. Pure: arrays in, bytes out, and back.

A payload, all of it little-endian:

```text
bytes 0-7     the first 16 hex digits of bundle_id, as 8 raw bytes: which export made it
bytes 8-11    Adler-32 of the latent's bytes, unsigned
bytes 12-     the latent, row-major, in the dtype of the head's own output (nothing is dequantized)
```

That is version 1. In version 2, only the highest 8, 4 or 2 bits of each element are sent, its level: an integer q of
w bits has the level `(q + 2^(w-1)) >> (w - bits)`, a whole number from 0 on. Levels lie side by side in bytes, the
first one in the lowest bits; unused bits of the last byte are zero. An integer head needs no change for this, and
dropping bits is exact on every processor.

In version 3 the latent is coded without loss, as `isplit_edge.code` describes, or its first channels alone; the
checksum is of all bytes that follow it. A payload is at most as long as its bundle says.

`unpack` is the reference: the tail's graph must agree with it for every payload.
"""

import math
import re
import zlib
from collections.abc import Sequence

import numpy as np

from .code import Code
from .errors import ArgumentError

WIRE_VERSION = 1
PACKED_WIRE_VERSION = 2
CODED_WIRE_VERSION = 3
TAG_BYTES = 8
HEADER_BYTES = 12
DTYPES = ("float32", "int8", "int16")
LATENT_BITS = (2, 4, 8)
"""The possible bits of an element in version 2; always fewer than the head's output has."""

STATUS_OK = 0
STATUS_OTHER_BUNDLE = 1
STATUS_MALFORMED = 2
STATUS_MEANINGS = {
    STATUS_OK: "answered",
    STATUS_OTHER_BUNDLE: "well-formed, but made by the head of another bundle",
    STATUS_MALFORMED: "malformed (length, checksum, bits left over, or a float latent that is not finite)",
}

_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")


def tag_of(bundle_id: str) -> bytes:
    """Return the 8 bytes that mark the payloads of a bundle.

    Args:
        bundle_id: The bundle's identity, 64 lowercase hexadecimal digits.

    Returns:
        Its first 16 digits as 8 raw bytes.

    Raises:
        ArgumentError: If `bundle_id` is not 64 lowercase hexadecimal digits.

    Example:
        >>> tag_of("0123456789abcdef" * 4).hex()
        '0123456789abcdef'
    """
    if not isinstance(bundle_id, str) or _BUNDLE_ID.fullmatch(bundle_id) is None:
        raise ArgumentError(f"bundle_id must be 64 lowercase hexadecimal digits. Received: {bundle_id!r}")
    return bytes.fromhex(bundle_id[: 2 * TAG_BYTES])


def payload_bytes(dtype: str, shape: Sequence[int], bits: int | None = None) -> int:
    """Return the length in bytes of every payload that carries a latent of `shape` in `dtype`, or in levels."""
    size = math.prod(shape)
    if bits is None:
        return HEADER_BYTES + size * _little_endian(dtype).itemsize
    _dropped_bits(dtype, bits)
    return HEADER_BYTES + -(-size * bits // 8)


def sent_bits(dtype: str, bits: int | None) -> int | None:
    """Return how many bits of each element are sent; None if all are sent, which is version 1."""
    return None if bits is None or bits == 8 * _little_endian(dtype).itemsize else bits


def pack(tag: bytes, latent: np.ndarray, bits: int | None = None) -> bytes:
    """Make the payload of one latent.

    Args:
        tag: The 8 bytes of `tag_of(bundle_id)`.
        latent: One latent from the head, of any shape; float32, int8 or int16. A leading axis of 1 (the head's batch)
            does not change the bytes.
        bits: Bits of each element in version 2; None for version 1.

    Returns:
        The payload, `HEADER_BYTES` + the latent's bytes.

    Raises:
        ArgumentError: If the tag is not 8 bytes, or the dtype is none of `DTYPES` or does not have more bits.

    Example:
        >>> pack(bytes(8), np.array([1, -1], "int8")).hex()
        '00000000000000000101030101ff'
        >>> pack(bytes(8), np.array([1, -1], "int8"), bits=4).hex()
        '00000000000000007900790078'
    """
    if bits is None:
        order = _little_endian(latent.dtype.name)
        body = np.ascontiguousarray(latent, dtype=order).reshape(-1).view(np.uint8).data
    else:
        body = _side_by_side(levels(latent, bits), bits).data
    return _with_header(tag, body)


def pack_coded(tag: bytes, latent: np.ndarray, code: Code, max_bytes: int | None = None) -> bytes:
    """Make the payload of version 3 of one latent, or of as many of its first channels as fit.

    Args:
        tag: The 8 bytes of `tag_of(bundle_id)`.
        latent: int8 of the code's shape; a leading axis of 1 does not change the bytes.
        code: The bundle's code.
        max_bytes: The longest payload; None for no bound.

    Returns:
        The payload.

    Raises:
        ArgumentError: If the tag is not 8 bytes, the latent is another, or not even its first channel fits.
    """
    return _with_header(tag, code.encode(latent, None if max_bytes is None else max_bytes - HEADER_BYTES))


def unpack_coded(payload: bytes, tag: bytes, code: Code, max_bytes: int) -> tuple[int, np.ndarray | None]:
    """Read one payload of version 3 as the tail of a bundle does: the reference for the graph that a server runs.

    Args:
        payload: The bytes that arrived, of any length.
        tag: The first 8 bytes of this bundle's payloads.
        code: The bundle's code.
        max_bytes: The longest payload of this bundle; a longer one is malformed.

    Returns:
        `(STATUS_OK, latent)` with the latent int8 in the code's shape, `(STATUS_OTHER_BUNDLE, None)`, or
        `(STATUS_MALFORMED, None)`. No payload raises.
    """
    view = memoryview(payload)
    body = view[HEADER_BYTES:]
    if len(payload) > max_bytes or zlib.adler32(body) != int.from_bytes(view[TAG_BYTES:HEADER_BYTES], "little"):
        return STATUS_MALFORMED, None
    found = code.decode(bytes(body))
    if found is None:
        return STATUS_MALFORMED, None
    return (STATUS_OK, found[1]) if view[:TAG_BYTES] == tag else (STATUS_OTHER_BUNDLE, None)


def levels(latent: np.ndarray, bits: int) -> np.ndarray:
    """Return the highest bits of each element, as whole numbers from 0 on.

    Args:
        latent: int8 or int16, of any shape.
        bits: One of `LATENT_BITS`, fewer than the dtype has.

    Returns:
        uint8 of the same shape, from 0 to `2**bits - 1`.

    Raises:
        ArgumentError: If the dtype does not have more bits.

    Example:
        >>> levels(np.array([-128, -1, 0, 127], "int8"), 2).tolist()
        [0, 1, 2, 3]
    """
    dropped = _dropped_bits(latent.dtype.name, bits)
    native = latent.astype(latent.dtype.newbyteorder("="), copy=False).view(f"u{latent.dtype.itemsize}")
    # Flipping the sign's bit adds half of the range, so that the lowest integer becomes 0.
    return ((native ^ (1 << (8 * latent.dtype.itemsize - 1))) >> dropped).astype(np.uint8)


def middles(found: np.ndarray, dtype: str, bits: int) -> np.ndarray:
    """Return the middle of the integers that share a level: the tail's value for it, before scale and zero point.

    Args:
        found: Levels, as `levels` returns them.
        dtype: Dtype of the head's output.
        bits: Bits of each level.

    Returns:
        float32 of the same shape.

    Example:
        >>> middles(np.array([0, 3], "uint8"), "int8", 2).tolist()
        [-96.5, 95.5]
    """
    step = 1 << _dropped_bits(dtype, bits)
    return found.astype(np.float32) * step + np.float32((step - 1) / 2 + np.iinfo(dtype).min)


def unpack(
    payload: bytes, tag: bytes, dtype: str, shape: Sequence[int], bits: int | None = None
) -> tuple[int, np.ndarray | None]:
    """Read one payload as the tail of a bundle does: the reference for the graph that a server runs.

    A payload can be malformed with any tag; only a well-formed payload can be of another bundle.

    Args:
        payload: The bytes that arrived, of any length.
        tag: The first 8 bytes of this bundle's payloads.
        dtype: The dtype of this bundle's latents, one of `DTYPES`.
        shape: The shape of the latents without the batch.
        bits: Bits of each element in version 2; None for version 1.

    Returns:
        `(STATUS_OK, latent)` with the latent in `dtype` and `shape` (read-only, on the payload's own memory), in
        version 2 with the levels, uint8; or `(STATUS_OTHER_BUNDLE, None)`, or `(STATUS_MALFORMED, None)`.

    Raises:
        ArgumentError: If the dtype is none of `DTYPES`, or does not have more bits. No payload raises.
    """
    order = _little_endian(dtype)
    if len(payload) != payload_bytes(dtype, shape, bits):
        return STATUS_MALFORMED, None
    view = memoryview(payload)
    if zlib.adler32(view[HEADER_BYTES:]) != int.from_bytes(view[TAG_BYTES:HEADER_BYTES], "little"):
        return STATUS_MALFORMED, None
    if bits is None:
        latent = np.frombuffer(payload, order, offset=HEADER_BYTES)
    else:
        body = np.frombuffer(payload, np.uint8, offset=HEADER_BYTES)
        every = (body[:, np.newaxis] >> np.arange(0, 8, bits, dtype=np.uint8)).ravel() & np.uint8(2**bits - 1)
        latent, left_over = np.split(every, [math.prod(shape)])
        if left_over.any():
            return STATUS_MALFORMED, None
    latent = latent.reshape(tuple(shape))
    if order.kind == "f" and not np.isfinite(latent).all():
        return STATUS_MALFORMED, None
    if view[:TAG_BYTES] != tag:
        return STATUS_OTHER_BUNDLE, None
    return STATUS_OK, latent


def _with_header(tag: bytes, body: bytes | memoryview) -> bytes:
    if len(tag) != TAG_BYTES:
        raise ArgumentError(f"A payload's tag has {TAG_BYTES} bytes. Received: {len(tag)} bytes")
    return b"".join((tag, zlib.adler32(body).to_bytes(4, "little"), body))


def _side_by_side(found: np.ndarray, bits: int) -> np.ndarray:
    """Pack levels into bytes, the first level in the lowest bits."""
    each = 8 // bits
    rows = np.zeros((-(-found.size // each), each), np.uint8)
    rows.reshape(-1)[: found.size] = found.reshape(-1)
    return np.bitwise_or.reduce(rows << np.arange(0, 8, bits, dtype=np.uint8), axis=1)


def _dropped_bits(dtype: str, bits: int) -> int:
    """Return how many bits of an element are not sent."""
    kind = _little_endian(dtype)
    if bits not in LATENT_BITS or kind.kind != "i" or bits >= 8 * kind.itemsize:
        raise ArgumentError(
            f"Levels have {', '.join(map(str, LATENT_BITS))} bits, fewer than the integers that they are taken from. "
            f"Received: {bits!r} bits of {dtype}"
        )
    return 8 * kind.itemsize - bits


def _little_endian(dtype: str) -> np.dtype:
    if dtype not in DTYPES:
        raise ArgumentError(f"A latent's dtype is one of {', '.join(DTYPES)}. Received: {dtype!r}")
    return np.dtype(dtype).newbyteorder("<")
