"""The identity of a bundle: canonical JSON and SHA-256 over tagged, length-prefixed parts.

Two exports have the same `bundle_id` exactly when the same head talks to the same tail under the same
contract.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .errors import ArgumentError
from .schema import plain

CONTRACT_KEYS = (
    "wire_version",
    "cut",
    "shapes",
    "dtype",
    "scale",
    "zero_point",
    "byte_order",
    "n_classes",
    "class_names",
    "preprocessing",
)
SENT_OTHERWISE = ("latent_bits", "code", "max_payload_bytes")
"""What the contract says of a latent that is not sent unchanged."""


def canonical_json(value: Any) -> bytes:
    """Write a JSON value in the one form that is hashed: sorted keys, no blanks, ASCII, no NaN.

    Raises:
        ArgumentError: If the value holds NaN, an infinity, or a type that JSON lacks (a numpy scalar).

    Example:
        >>> canonical_json({"b": (1, 2), "a": None})
        b'{"a":null,"b":[1,2]}'
    """
    try:
        text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"Not a value that JSON can hold exactly: {error}. Received: {value!r}") from error
    return text.encode("ascii")


def tagged_sha256(parts: Iterable[tuple[str, bytes | memoryview]]) -> str:
    """Hash parts so that no two different lists of parts give the same bytes to the hash.

    Each part is hashed as: length of its tag, tag, length of its data, data; lengths as 8 bytes little-endian.

    Args:
        parts: Pairs of a tag (ASCII) and its data, in order.

    Returns:
        The SHA-256 as 64 lowercase hexadecimal digits.
    """
    digest = hashlib.sha256()
    for tag, data in parts:
        name = tag.encode("ascii")
        size_bytes = data.nbytes if isinstance(data, memoryview) else len(data)
        digest.update(len(name).to_bytes(8, "little") + name + size_bytes.to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def array_sha256(array: np.ndarray) -> str:
    """Hash a weight: its dtype's name, its shape, and its bytes, row-major and little-endian.

    Args:
        array: A weight of any shape and any number type (also bfloat16 of ml_dtypes).

    Returns:
        64 lowercase hexadecimal digits.
    """
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise ArgumentError(f"A weight has a number type. Received: dtype {array.dtype}")
    if array.dtype.byteorder not in "|<=" or (array.dtype.byteorder == "=" and not np.little_endian):
        array = array.astype(array.dtype.newbyteorder("<"))
    return tagged_sha256(
        [
            ("dtype", array.dtype.name.encode("ascii")),
            ("shape", canonical_json(array.shape)),
            ("bytes", array.tobytes()),
        ]
    )


def contract(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a manifest's record on which head and tail must agree, `CONTRACT_KEYS`.

    If the latent is sent unchanged, neither the record nor the contract has the keys of `SENT_OTHERWISE`. So the
    identity stays that of releases without them.
    """
    sent = {key: record[key] for key in SENT_OTHERWISE if record.get(key) is not None}
    return {key: record[key] for key in CONTRACT_KEYS} | sent


def bundle_id(head: bytes, *, weights: Iterable[str], architecture: Any, contract: Mapping[str, Any]) -> str:
    """Compute the identity of a bundle.

    Args:
        head: The bytes of head.tflite.
        weights: `array_sha256` of each weight of decoder and tail, in any order.
        architecture: The architecture of decoder and tail as a JSON value.
        contract: The result of `contract` for the manifest's record.

    Returns:
        64 lowercase hexadecimal digits.

    Raises:
        ArgumentError: If `architecture` or `contract` holds NaN or a type that JSON lacks.
    """
    parts: list[tuple[str, bytes | memoryview]] = [("isplit-bundle", b"1"), ("head", head)]
    parts += [("weight", bytes.fromhex(digest)) for digest in sorted(weights)]
    parts += [("architecture", canonical_json(architecture)), ("contract", canonical_json(contract))]
    return tagged_sha256(parts)
