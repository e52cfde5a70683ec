"""Result records as JSON files: each says what it is and in which format version, and is written whole or
not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any

from isplit_edge.files import write_atomic

from ..errors import BundleError


def write_record(path: str | os.PathLike[str], kind: str, version: int, fields: dict[str, Any]) -> None:
    """Writes a record; a file that is there is replaced at once.

    Args:
        path: The file; its folder must exist.
        kind: What the record is, for instance `"evaluation"`.
        version: Format version.
        fields: Plain JSON values without NaN or infinity.
    """
    record = {"format_version": version, "kind": kind} | fields
    write_atomic(path, (json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_record(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Reads what `write_record` wrote.

    Raises:
        BundleError: The file is not there, is no JSON, holds another kind of record, or has a newer format.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise BundleError(f"'{path}' cannot be read as a saved {kind}: {error}") from error
    if not isinstance(record, dict) or record.get("kind") != kind:
        found = record.get("kind") if isinstance(record, dict) else type(record).__name__
        raise BundleError(f"'{path}' holds {found!r}. Expected a saved {kind}.")
    if not isinstance(record.get("format_version"), int) or record["format_version"] > version:
        raise BundleError(
            f"'{path}' has format version {record.get('format_version')!r}; this release reads up to {version}. "
            "Install a newer isplit-tf to read it."
        )
    return record


def number_or_none(value: float | None) -> float | None:
    """A float for JSON: None stands for NaN and infinity, which JSON does not know."""
    return None if value is None or not math.isfinite(value) else float(value)


def number_or_nan(value: float | None) -> float:
    """The way back from `number_or_none`, for fields that are always numbers."""
    return math.nan if value is None else float(value)
