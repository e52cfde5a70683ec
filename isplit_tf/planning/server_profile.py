"""The profile of a server: how long it takes for the tails of a kit, the whole model, and the decoding of images."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from isplit_edge import schema

from ..display.tables import text_table
from ..errors import ArgumentError, BundleError
from ..storage.records import read_record, write_record

FORMAT_VERSION = 1
KIND = "server_profile"
TRANSPORTS = ("in_process", "rest", "grpc")


@dataclass(frozen=True)
class Times:
    """Seconds of repeated calls.

    Attributes:
        n: How many calls.
        median_s: Their median.
        p95_s: Their 95th percentile.
        mean_s: Their mean.
    """

    n: int
    median_s: float
    p95_s: float
    mean_s: float


BatchTimes = Mapping[int, Times]
"""By the number of images in a call: seconds for one call."""


@dataclass(frozen=True)
class TailTimes:
    """The times of the tail behind one cut.

    Attributes:
        index: Of the cut, in `find_cuts(model)`.
        name: Of the cut.
        payload_bytes: Mean size of the payloads with which it was measured.
        times: By batch.
    """

    index: int
    name: str
    payload_bytes: float
    times: BatchTimes


@dataclass(frozen=True)
class DecodingTimes:
    """The times of decoding images of one codec, in the measuring process.

    Attributes:
        codec: "JPEG", "PNG" or "WEBP".
        quality: 1 to 100; None for a lossless codec.
        size: Height and width of the images in pixels.
        times: By batch.
    """

    codec: str
    quality: int | None
    size: tuple[int, int]
    times: BatchTimes


@dataclass(frozen=True)
class ServerProfile:
    """The times of a server for the parts of a kit. All times are seconds for one call with so many images.

    Over a network the times are those that the caller saw, so they hold the way there and back: `overhead_s` is what
    a call takes in which no model runs.

    Attributes:
        kit_id: Of the kit that was measured.
        model_name: Of the model that the kit was made of.
        model_sha256: The model's identity.
        created: When it was measured, ISO 8601 with a time zone.
        machine: Facts about the machine that measured, by name.
        transport: "in_process", "rest" or "grpc".
        url: The server's address; None in process.
        batches: The numbers of images in a call that were asked for, ascending.
        tails: One for each cut that was measured.
        whole: The whole model on its own float32 input, by batch; empty if it was not measured.
        encoded: The whole model on JPEG files, decoding included, by batch; empty if it was not measured.
        decoding: Decoding alone; empty over a network, where `encoded` holds it.
        overhead_s: Seconds of a call in which no model runs; 0 in process.
        complete: Whether everything was measured.
        missing: What was not, and why; empty where `complete`.

    Raises:
        ArgumentError: If a value is not possible.

    Example:
        >>> profile = ServerProfile.load("server.json")
        >>> profile.tail(3).times[1].median_s
    """

    kit_id: str
    model_name: str
    model_sha256: str
    created: str
    machine: Mapping[str, Any]
    transport: str
    url: str | None
    batches: tuple[int, ...]
    tails: tuple[TailTimes, ...]
    whole: BatchTimes
    encoded: BatchTimes
    decoding: tuple[DecodingTimes, ...]
    overhead_s: float
    complete: bool
    missing: tuple[str, ...]

    def __post_init__(self) -> None:
        if (self.transport == "in_process") != (self.url is None):
            raise ArgumentError(f"url is the server's address, and null in process. Received: {self.url!r}")
        if self.complete == bool(self.missing):
            raise ArgumentError(f"complete is whether nothing is missing. Received: {self.complete}, {self.missing}")
        if list(self.batches) != sorted(set(self.batches)):
            raise ArgumentError(f"batches must be different and ascend. Received: {list(self.batches)}")
        indices = [tail.index for tail in self.tails]
        if len(set(indices)) < len(indices):
            raise ArgumentError(f"tails holds a cut twice. Received the indices: {indices}")

    def tail(self, cut: Any) -> TailTimes:
        """Return the times of the tail behind a cut.

        Args:
            cut: A `Cut`, its index or its name.

        Raises:
            ArgumentError: If that tail was not measured.
        """
        key = cut if isinstance(cut, int | str) else getattr(cut, "index", cut)
        for tail in self.tails:
            if key in (tail.index, tail.name):
                return tail
        measured = ", ".join(f"{tail.index} ('{tail.name}')" for tail in self.tails)
        raise ArgumentError(f"No tail of the cut {key!r} in this profile. Measured: {measured or 'none'}")

    def to_json(self) -> dict[str, Any]:
        """Return the profile as the JSON values that `save` writes, without format version and kind."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record |= {"tails": [vars(tail) | {"times": _written(tail.times)} for tail in self.tails]}
        record |= {"decoding": [vars(one) | {"times": _written(one.times)} for one in self.decoding]}
        record |= {name: {"times": _written(record[name])} for name in ("whole", "encoded")}
        return schema.plain(record)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "ServerProfile":
        """Build a profile from the values of `to_json`; further keys are left out.

        Raises:
            ArgumentError: If a value is missing or not possible.
        """
        checked = dict(_RECORD("server_profile", {name: record[name] for name in _FIELDS if name in record}))
        checked["tails"] = tuple(TailTimes(**tail) for tail in checked["tails"])
        checked["decoding"] = tuple(DecodingTimes(**one) for one in checked["decoding"])
        checked |= {name: checked[name]["times"] if checked[name] else {} for name in ("whole", "encoded")}
        return cls(**checked)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; an existing file is replaced atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        write_record(path, KIND, FORMAT_VERSION, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ServerProfile":
        """Read a profile that `save` wrote.

        Raises:
            BundleError: If the file is not there, is damaged, holds something else, or was written by a newer release.
        """
        record = read_record(path, KIND, FORMAT_VERSION)
        try:
            return cls.from_json(record)
        except ArgumentError as error:
            raise BundleError(f"'{path}' is damaged: {error}. Measure the server again: isplit profile") from error

    def __repr__(self) -> str:
        where = "in process" if self.url is None else f"over {self.transport} at {self.url}"
        lines = [f"ServerProfile of '{self.model_name}', {where}; median milliseconds for a call of so many images"]
        names = [*(tail.name for tail in self.tails), "whole model", "JPEG and whole model"]
        times = [*(tail.times for tail in self.tails), self.whole, self.encoded]
        names += [f"decoding {one.codec}{'' if one.quality is None else f' {one.quality}'}" for one in self.decoding]
        times += [one.times for one in self.decoding]
        rows = [
            [name, *(1000 * row[batch].median_s if batch in row else None for batch in self.batches)]
            for name, row in zip(names, times, strict=True)
        ]
        lines.append(text_table(["part", *map(str, self.batches)], rows))
        lines += [f"missing: {text}" for text in self.missing]
        return "\n".join(lines)


def _written(times: BatchTimes) -> dict[str, Any]:
    return {str(batch): vars(one) for batch, one in times.items()}


def _moment(key: str, value: Any) -> str:
    expected = "a date and time with its zone, such as '2026-01-31T12:00:00+00:00'"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise schema.wrong(key, value, expected) from error
    if moment.tzinfo is None:
        raise schema.wrong(key, value, expected)
    return value


def _times(key: str, value: Any) -> BatchTimes:
    found = schema.mapping(_TIMES)(key, value)
    wrong = [batch for batch in found if not batch.isascii() or not batch.isdecimal() or str(int(batch)) != batch]
    if wrong or "0" in found:
        raise schema.wrong(key, list(found), "an object whose keys are numbers of images, such as '1'")
    return {int(batch): Times(**one) for batch, one in sorted(found.items(), key=lambda item: int(item[0]))}


_SECONDS = schema.number(0)
_TIMES = schema.record({"n": schema.integer(1), "median_s": _SECONDS, "p95_s": _SECONDS, "mean_s": _SECONDS})
_BY_BATCH = schema.nullable(schema.record({"times": _times}))
_FIELDS: dict[str, schema.Check] = {
    "kit_id": schema.hexadecimal(64),
    "model_name": schema.text,
    "model_sha256": schema.hexadecimal(64),
    "created": _moment,
    "machine": schema.mapping(schema.scalar),
    "transport": schema.choice(*TRANSPORTS),
    "url": schema.nullable(schema.text),
    "batches": schema.sequence(schema.integer(1)),
    "tails": schema.sequence(
        schema.record(
            {"index": schema.integer(0), "name": schema.text, "payload_bytes": schema.number(0), "times": _times}
        )
    ),
    "whole": _BY_BATCH,
    "encoded": _BY_BATCH,
    "decoding": schema.sequence(
        schema.record(
            {
                "codec": schema.choice("JPEG", "PNG", "WEBP"),
                "quality": schema.nullable(schema.integer(1, 100)),
                "size": schema.sequence(schema.integer(1), 2),
                "times": _times,
            }
        )
    ),
    "overhead_s": _SECONDS,
    "complete": schema.flag,
    "missing": schema.sequence(schema.text),
}
_RECORD = schema.record(_FIELDS)
