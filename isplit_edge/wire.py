"""The bytes that travel from a head to a tail. Pure: arrays in, bytes out, and back.

A payload, all of it little-endian:

```text
bytes 0-7     the first 16 hex digits of bundle_id, as 8 raw bytes: which export made it
bytes 8-11    Adler-32 of the latent's bytes, unsigned
bytes 12-     the latent, row-major, in the dtype of the head's own output (nothing is dequantized)
```

`unpack` is the reference that the tail's graph has to agree with, payload by payload.
"""

import math
import re
import zlib
from collections.abc import Sequence

import numpy as np

from .errors import ArgumentError

WIRE_VERSION = 1
TAG_BYTES = 8
HEADER_BYTES = 12
DTYPES = ("float32", "int8", "int16")

STATUS_OK = 0
STATUS_OTHER_BUNDLE = 1
STATUS_MALFORMED = 2
STATUS_MEANINGS = {
    STATUS_OK: "answered",
    STATUS_OTHER_BUNDLE: "well-formed, but made by the head of another bundle",
    STATUS_MALFORMED: "malformed (length, checksum, or a float latent that is not finite)",
}

_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")


def tag_of(bundle_id: str) -> bytes:
    """Returns the 8 bytes that mark the payloads of a bundle.

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


def payload_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Returns the length in bytes of every payload that carries a latent of `shape` in `dtype`."""
    return HEADER_BYTES + math.prod(shape) * _little_endian(dtype).itemsize


def pack(tag: bytes, latent: np.ndarray) -> bytes:
    """Makes the payload of one latent.

    Args:
        tag: The 8 bytes of `tag_of(bundle_id)`.
        latent: One latent as the head gave it, of any shape; float32, int8 or int16. A leading axis of 1 (the
            head's batch) does not change the bytes.

    Returns:
        The payload, `HEADER_BYTES` + the latent's bytes.

    Raises:
        ArgumentError: If the tag is not 8 bytes, or the dtype is none of `DTYPES`.

    Example:
        >>> pack(bytes(8), np.array([1, -1], "int8")).hex()
        '00000000000000000101030101ff'
    """
    if len(tag) != TAG_BYTES:
        raise ArgumentError(f"A payload's tag has {TAG_BYTES} bytes. Received: {len(tag)} bytes")
    order = _little_endian(latent.dtype.name)
    body = np.ascontiguousarray(latent, dtype=order).reshape(-1).view(np.uint8).data
    return b"".join((tag, zlib.adler32(body).to_bytes(4, "little"), body))


def unpack(payload: bytes, tag: bytes, dtype: str, shape: Sequence[int]) -> tuple[int, np.ndarray | None]:
    """Reads one payload as the tail of a bundle does: the reference for the graph that a server runs.

    What is malformed is so whatever its tag; only a well-formed payload can be of another bundle.

    Args:
        payload: What arrived, of any length.
        tag: The 8 bytes that this bundle's payloads begin with.
        dtype: The dtype of this bundle's latents, one of `DTYPES`.
        shape: Their shape without the batch.

    Returns:
        `(STATUS_OK, latent)` with the latent in `dtype` and `shape` (read-only, on the payload's own memory),
        or `(STATUS_OTHER_BUNDLE, None)`, or `(STATUS_MALFORMED, None)`.

    Raises:
        ArgumentError: If the dtype is none of `DTYPES`. No payload raises.
    """
    order = _little_endian(dtype)
    if len(payload) != payload_bytes(dtype, shape):
        return STATUS_MALFORMED, None
    view = memoryview(payload)
    if zlib.adler32(view[HEADER_BYTES:]) != int.from_bytes(view[TAG_BYTES:HEADER_BYTES], "little"):
        return STATUS_MALFORMED, None
    latent = np.frombuffer(payload, order, offset=HEADER_BYTES).reshape(tuple(shape))
    if order.kind == "f" and not np.isfinite(latent).all():
        return STATUS_MALFORMED, None
    if view[:TAG_BYTES] != tag:
        return STATUS_OTHER_BUNDLE, None
    return STATUS_OK, latent


def _little_endian(dtype: str) -> np.dtype:
    if dtype not in DTYPES:
        raise ArgumentError(f"A latent's dtype is one of {', '.join(DTYPES)}. Received: {dtype!r}")
    return np.dtype(dtype).newbyteorder("<")
