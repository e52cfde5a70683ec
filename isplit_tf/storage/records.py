"""Records as JSON files, and with arrays as `.npz` files; each has a format version and is written atomically."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from isplit_edge.files import BAD_FILE, open_atomic, open_plain, write_atomic
from isplit_edge.npy import open_npz

from ..errors import BundleError

_RECORD = "record"


def write_record(path: str | os.PathLike[str], kind: str, version: int, fields: dict[str, Any]) -> None:
    """Write a record as JSON; an existing file is replaced atomically.

    Args:
        path: The file; its folder must exist.
        kind: Kind of the record, for instance `"evaluation"`.
        version: Format version.
        fields: Plain JSON values without NaN or infinity.
    """
    write_json(path, version, {"kind": kind} | fields)


def read_record(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Read a file that `write_record` wrote.

    Raises:
        BundleError: If the file is not there, is no JSON, holds another kind of record, or has a newer format.
    """
    return read_json(path, version, kind=kind, fault=f"'{path}' cannot be read as a saved {kind}")


def write_json(path: str | os.PathLike[str], version: int, fields: dict[str, Any]) -> None:
    """Write a JSON object with its format version; see `write_record`."""
    record = {"format_version": version} | fields
    write_atomic(path, (json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_json(path: str | os.PathLike[str], version: int, *, fault: str, kind: str | None = None) -> dict[str, Any]:
    """Read a file that `write_json` wrote.

    Args:
        path: The file.
        version: The newest format that is known.
        fault: What the error says if the file cannot be read.
        kind: The kind of record that is expected; any if None.

    Raises:
        BundleError: If the file is not there, is no JSON object, is of another kind, or has a newer format.
    """
    try:
        with open_plain(path) as file:
            record = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise BundleError(f"{fault}: {error}") from error
    if not isinstance(record, dict) or (kind is not None and record.get("kind") != kind):
        found = record.get("kind") if isinstance(record, dict) else type(record).__name__
        raise BundleError(f"'{path}' holds {found!r}. Expected a saved {kind or 'record'}.")
    _check_version(path, record, version)
    return record


def write_arrays(
    path: str | os.PathLike[str],
    version: int,
    fields: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    compressed: bool = True,
) -> None:
    """Write a record and arrays as an `.npz` file without pickle; an existing file is replaced atomically.

    Args:
        path: The file; its folder must exist.
        version: Format version.
        fields: Plain JSON values without NaN or infinity.
        arrays: Arrays by name; the name "record" is reserved.
        compressed: Whether to compress the file, which takes time.
    """
    text = json.dumps({"format_version": version, **fields}, allow_nan=False).encode()
    entries: dict[str, Any] = {_RECORD: np.frombuffer(text, np.uint8), **arrays}
    with open_atomic(path) as file:
        (np.savez_compressed if compressed else np.savez)(file, **entries)


def read_arrays(
    path: str | os.PathLike[str], version: int, *, fault: str, kind: str | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that `write_arrays` wrote.

    Args:
        path: The file.
        version: The newest known format version.
        fault: Words of the error message for any other file, for instance "is not a curve that Curve.save wrote".
        kind: The kind of record that is expected; any if None.

    Returns:
        The record, and the arrays by name.

    Raises:
        BundleError: If the file is missing, does not hold arrays with a record, is of another kind, or has a newer
            format.
    """
    try:
        with open_npz(path) as file:
            arrays = {name: file.read(name) for name in file.names}
        if _RECORD not in arrays:
            raise BundleError(f"'{path}' {fault}: it is not an .npz file with a record.")
        record = json.loads(arrays.pop(_RECORD).tobytes())
    except BundleError:
        raise
    except BAD_FILE as error:
        raise BundleError(f"'{path}' {fault}: {error}") from error
    if not isinstance(record, dict):
        raise BundleError(f"'{path}' {fault}: its record is of the type {type(record).__name__}.")
    if kind is not None and record.get("kind") != kind:
        raise BundleError(f"'{path}' {fault}: it holds something else.")
    _check_version(path, record, version)
    return record, arrays


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], kinds: str = "if") -> None:
    """Check that arrays which were read have the shapes that their record tells, and hold finite numbers.

    Args:
        arrays: By name.
        shapes: The shape of each.
        kinds: Kinds of their numbers, as numpy's `dtype.kind` names them.

    Raises:
        ValueError: If one is missing, or is another one.
    """
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.kind not in kinds:
            raise ValueError(f"{name} is {array.dtype} {array.shape}. Expected numbers of the shape {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")


def _check_version(path: str | os.PathLike[str], record: dict[str, Any], version: int) -> None:
    if not isinstance(record.get("format_version"), int) or not 1 <= record["format_version"] <= version:
        raise BundleError(
            f"'{path}' has format version {record.get('format_version')!r}; this release reads up to {version}. "
            "Install a newer isplit-tf to read it."
        )


def number_or_none(value: float | None) -> float | None:
    """Return a float for JSON, or None for NaN and infinity, which JSON cannot represent."""
    return None if value is None or not math.isfinite(value) else float(value)


def number_or_nan(value: float | None) -> float:
    """Return the number of a JSON field that `number_or_none` wrote; NaN for None."""
    return math.nan if value is None else float(value)
