"""The form of a bundle's payloads: what makes them of latents, and reads them, in any version of the wire."""

from dataclasses import dataclass

import numpy as np

from . import schema, wire
from .code import Code
from .errors import ArgumentError

_BYTES = schema.integer(0)

RATES = schema.sequence(
    schema.record(
        {
            "payload_bytes": _BYTES,
            "mean_bytes": schema.number(0),
            "p95_bytes": schema.number(0),
            "most_bytes": _BYTES,
            "accuracy": schema.number(0, 1),
        }
    )
)
"""The check of what was measured at several bounds of the payload."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PayloadForm:
    """The form of a bundle's payloads.

    Attributes:
        tag: The 8 bytes that mark them.
        payload_bytes: The size of each, or their mean if they are coded.
        dtype: Of the head's output.
        shape: Of the latent, without the batch.
        bits: How many bits of each element are sent, in version 2 of the wire.
        code: The code of the latent, in version 3 of the wire.
        max_payload_bytes: The longest coded payload.
    """

    tag: bytes
    payload_bytes: int
    dtype: str
    shape: tuple[int, ...]
    bits: int | None = None
    code: Code | None = None
    max_payload_bytes: int | None = None

    @property
    def longest_bytes(self) -> int:
        """Return the size of the longest payload."""
        return self.payload_bytes if self.max_payload_bytes is None else self.max_payload_bytes

    def check(self, wire_version: int) -> None:
        """Check that all parts fit each other and the version of the wire.

        Raises:
            ArgumentError: If two of them contradict each other.
        """
        if self.code is None:
            version = wire.WIRE_VERSION if self.bits is None else wire.PACKED_WIRE_VERSION
            reason = f"latent_bits is {'not given' if self.bits is None else self.bits}"
            schema.equal("wire_version", wire_version, version, reason)
            size = wire.payload_bytes(self.dtype, self.shape, self.bits)
            schema.equal("payload_bytes", self.payload_bytes, size, "header and latent")
            schema.equal("max_payload_bytes", self.max_payload_bytes, None, "the latent is not coded")
            return
        schema.equal("wire_version", wire_version, wire.CODED_WIRE_VERSION, "the latent is coded")
        schema.equal("latent_bits", self.bits, None, "the latent is coded")
        schema.equal("dtype", self.dtype, "int8", "the latent is coded")
        schema.integer(self.payload_bytes)("max_payload_bytes", self.max_payload_bytes)

    def bound(self, payload_bytes: int | None) -> int | None:
        """Return the bound of a coded payload, given the one that is asked for; None if payloads are not coded.

        Raises:
            ArgumentError: If it is no number of bytes, or below the size that all payloads of this bundle have.
        """
        if payload_bytes is not None:
            schema.integer(1)("payload_bytes", payload_bytes)
        if self.max_payload_bytes is not None:
            return self.max_payload_bytes if payload_bytes is None else min(payload_bytes, self.max_payload_bytes)
        if payload_bytes is not None and payload_bytes < self.payload_bytes:
            raise ArgumentError(
                f"payload_bytes={payload_bytes} is less than the {self.payload_bytes} bytes of each payload of this "
                "bundle, whose latent is not coded. Possible: the export of a bottleneck that codes its latent"
            )
        return None

    def pack(self, latent: np.ndarray, payload_bytes: int | None = None) -> bytes:
        """Make the payload of one latent, as the head's output has it.

        Args:
            latent: In `dtype` and `shape`; a leading axis of 1 changes nothing.
            payload_bytes: A bound for this payload if it is coded, beside `max_payload_bytes`.

        Raises:
            ArgumentError: If the bound cannot be kept.
        """
        bound = self.bound(payload_bytes)
        if self.code is None:
            return wire.pack(self.tag, latent, self.bits)
        return wire.pack_coded(self.tag, latent, self.code, bound)

    def unpack(self, payload: bytes) -> tuple[int, np.ndarray | None]:
        """Read one payload as the tail does: its status, and the latent if that is 0; with `bits`, its levels."""
        if self.code is None:
            return wire.unpack(payload, self.tag, self.dtype, self.shape, self.bits)
        return wire.unpack_coded(payload, self.tag, self.code, self.longest_bytes)
