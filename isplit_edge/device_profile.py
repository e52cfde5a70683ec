"""device.json: what was measured, or estimated, of a device that runs the heads of a kit."""

import dataclasses
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from . import schema
from .errors import ArgumentError, BundleError
from .files import read_limited, write_atomic
from .link_fit import LinkFit
from .manifest import PRECISIONS
from .record import Record
from .times import Times

FORMAT_VERSION = 1
KIND = "device_profile"
CODECS = ("JPEG", "PNG", "WEBP", "RAW")
_MOST_BYTES = 16 << 20
_COUNT = schema.integer(0)


def utc_now() -> str:
    """Return the date and time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WholeTimes(Record):
    """The whole model on the device, batch 1.

    Attributes:
        preprocess: From the camera's image to the model's input.
        run: The model.
        size_bytes: Of its file.
        ram_bytes: By which the process grew at most, or None where that is not known.
    """

    preprocess: Times
    run: Times
    size_bytes: int
    ram_bytes: int | None

    RULES: ClassVar = {
        "preprocess": Times.check,
        "run": Times.check,
        "size_bytes": _COUNT,
        "ram_bytes": schema.nullable(_COUNT),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadTimes(Record):
    """A head with its encoder on the device, batch 1.

    Attributes:
        index, name: Of the cut in `find_cuts(model)`.
        head_macs, encoder_macs: Multiply-accumulates of the head and of the encoder behind it.
        preprocess: From the camera's image to the head's input.
        head: Head and encoder.
        coding: From the head's output to the payload.
        request: The making of a request of it over REST, which the link's own time holds too; None if not measured.
        payload_bytes: Mean over the images.
        size_bytes: Of head.tflite.
        ram_bytes: By which the process grew at most, or None where that is not known.
    """

    index: int
    name: str
    head_macs: int
    encoder_macs: int
    preprocess: Times
    head: Times
    coding: Times
    request: Times | None
    payload_bytes: float
    size_bytes: int
    ram_bytes: int | None

    RULES: ClassVar = {
        "index": _COUNT,
        "name": schema.text,
        "head_macs": _COUNT,
        "encoder_macs": _COUNT,
        "preprocess": Times.check,
        "head": Times.check,
        "coding": Times.check,
        "request": schema.nullable(Times.check),
        "payload_bytes": schema.number(0),
        "size_bytes": _COUNT,
        "ram_bytes": schema.nullable(_COUNT),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodecTimes(Record):
    """An image format on the device.

    Attributes:
        codec: "JPEG", "PNG", "WEBP" or "RAW".
        quality: From 0 to 100; None where the format has none.
        size: (height, width) of the images.
        encode: From the camera's image to the bytes.
        mean_bytes: Mean over the images.
        p95_bytes: The bytes that 95 of 100 images do not exceed; None where that was not measured.
    """

    codec: str
    quality: int | None
    size: tuple[int, int]
    encode: Times
    mean_bytes: float
    p95_bytes: float | None = None

    RULES: ClassVar = {
        "codec": schema.choice(*CODECS),
        "quality": schema.nullable(schema.integer(0, 100)),
        "size": schema.sequence(schema.integer(1), 2),
        "encode": Times.check,
        "mean_bytes": schema.number(0),
        "p95_bytes": schema.nullable(schema.number(0)),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceProfile(Record):
    """What was measured of a device with a kit, or estimated for it. It prints as a table.

    `python -m isplit_edge profile kit/` writes it on the device.

    Attributes:
        kit_id: Of the kit; 64 hexadecimal digits.
        model_name, model_sha256: Of the model of which the kit was built.
        precision: Of the heads.
        created: Date and time in UTC, ISO 8601.
        source: "measured" or "estimate".
        note: What an estimate rests on, or None.
        machine: system, processor, cores, python, litert, isplit_edge, and more.
        threads: Threads of the interpreter as asked; None for LiteRT's own choice.
        whole: The whole model, or None.
        cuts: The heads, in the order of the cuts.
        codecs: Image formats.
        link: The link, or None if it was not measured.
        drift: Median of the last tenth of the intervals over that of the first tenth, each over the median of its
            head: well over 1 where the device got slower as it got warm.
        complete: Whether all was measured that was asked for.
        missing: What was not, in words.
        dropped: Intervals that were left out, since no clock can have measured them.

    Example:
        >>> profile = DeviceProfile.load("device.json")
        >>> profile.cuts[0].head.median_s
    """

    kit_id: str
    model_name: str
    model_sha256: str
    precision: str
    created: str
    source: str
    note: str | None
    machine: Mapping[str, Any]
    threads: int | None
    whole: WholeTimes | None
    cuts: tuple[HeadTimes, ...]
    codecs: tuple[CodecTimes, ...]
    link: LinkFit | None
    drift: float
    complete: bool
    missing: tuple[str, ...]
    dropped: int = 0

    RULES: ClassVar = {
        "kit_id": schema.hexadecimal(64),
        "model_name": schema.text,
        "model_sha256": schema.hexadecimal(64),
        "precision": schema.choice(*PRECISIONS),
        "created": schema.utc,
        "source": schema.choice("measured", "estimate"),
        "note": schema.nullable(schema.text),
        "machine": schema.mapping(schema.scalar),
        "threads": schema.nullable(schema.integer(1)),
        "whole": schema.nullable(WholeTimes.check),
        "cuts": schema.sequence(HeadTimes.check),
        "codecs": schema.sequence(CodecTimes.check),
        "link": schema.nullable(LinkFit.check),
        "drift": schema.number(above=0),
        "complete": schema.flag,
        "missing": schema.sequence(schema.text),
        "dropped": _COUNT,
    }

    def require(
        self, *, model_sha256: str | None = None, precision: str | None = None, kit_id: str | None = None
    ) -> None:
        """Check that the profile holds a head, and is of the model, precision and kit that are given.

        Raises:
            ArgumentError: If not; the message says what differs.
        """
        if not self.cuts:
            raise ArgumentError(
                f"The device's profile of model '{self.model_name}' holds no head: nothing was measured "
                f"({'; '.join(self.missing) or 'no reason is told'}). Measure again: python -m isplit_edge profile kit/"
            )
        expected = {"model_sha256": model_sha256, "precision": precision, "kit_id": kit_id}
        words = {"model_sha256": "of another model", "precision": "of another precision", "kit_id": "of another kit"}
        for name, value in expected.items():
            found = getattr(self, name)
            if value is not None and found != value:
                raise ArgumentError(
                    f"The device's profile is {words[name]}: {name} is {found[:16]}, expected {value[:16]} (model "
                    f"'{self.model_name}', measured {self.created}). Measure again with the kit of this model."
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; a file that is there is replaced in one step.

        Raises:
            StorageError: If it cannot be written.
        """
        write_profile(path, KIND, FORMAT_VERSION, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DeviceProfile":
        """Read a profile.

        Raises:
            BundleError: If the file is not there, is no device's profile, has a newer format, or a key holds a value
                that it may not; the message names it.
        """
        return read_profile(path, KIND, FORMAT_VERSION, cls)

    def __str__(self) -> str:
        lines = [f"{'cut':<40} {'prepare':>9} {'head':>9} {'coding':>9} {'payload':>9} {'file':>12} {'memory':>12}"]
        for cut in self.cuts:
            parts = (cut.preprocess, cut.head, cut.coding)
            lines.append(_row(f"{cut.index} {cut.name}", parts, cut.payload_bytes, cut.size_bytes, cut.ram_bytes))
        if self.whole is not None:
            whole = self.whole
            lines.append(
                _row("the whole model", (whole.preprocess, whole.run), None, whole.size_bytes, whole.ram_bytes)
            )
        return "\n".join(lines)


def _row(name: str, times: tuple[Times, ...], payload: float | None, size: int, ram: int | None) -> str:
    cells = [f"{1000 * one.median_s:.2f} ms" for one in times] + [""] * (3 - len(times))
    cells += ["" if payload is None else f"{payload:,.0f} B"]
    wide = [f"{size:,} B", "" if ram is None else f"{ram:,} B"]
    return f"{name[:40]:<40} " + " ".join(f"{cell:>9}" for cell in cells) + " " + " ".join(f"{c:>12}" for c in wide)


def write_profile(path: str | os.PathLike[str], kind: str, version: int, profile: Record) -> None:
    """Write a profile with its format version and kind, in one step.

    Raises:
        StorageError: If it cannot be written.
    """
    record = {"format_version": version, "kind": kind, **profile.to_json()}
    write_atomic(path, (json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_profile(path: str | os.PathLike[str], kind: str, version: int, profile: Any) -> Any:
    """Read a profile that `write_profile` wrote, as the record `profile`.

    Raises:
        BundleError: If the file is not there, holds no such profile, or has a newer format.
    """
    where, words = Path(path), kind.replace("_", " ")
    try:
        record = schema.parse_json(read_limited(where, _MOST_BYTES))
        if not isinstance(record, dict) or record.get("kind") != kind:
            found = record.get("kind") if isinstance(record, dict) else type(record).__name__
            raise ArgumentError(f"it holds {found!r}, expected a {words}")
        found = schema.integer(1)("format_version", record.get("format_version"))
        if found > version:
            raise ArgumentError(
                f"its format version is {found}, newer than this release knows ({version}). Update it, or measure again"
            )
        return profile.check(words, {key: record[key] for key in record if key not in ("kind", "format_version")})
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"'{where}' cannot be read as a {words}: {error}") from error
