"""The profile of a server: how long it takes for the tails of a kit, the whole model, and the decoding of images."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from isplit_edge import schema
from isplit_edge.device_profile import DeviceProfile, read_profile, write_profile
from isplit_edge.record import Record
from isplit_edge.times import Times

from ..display.tables import text_table
from ..errors import ArgumentError

FORMAT_VERSION = 1
KIND = "server_profile"
TRANSPORTS = ("in_process", "rest", "grpc")
DECODED = ("JPEG", "PNG", "WEBP")

BatchTimes = Mapping[int, Times]
"""By the number of images in a call: seconds for one call."""


def _times(key: str, value: Any) -> BatchTimes:
    """Check times by the number of images, which in JSON is a text."""
    named = {str(batch): one for batch, one in value.items()} if isinstance(value, Mapping) else value
    found = schema.mapping(Times.check)(key, named)
    if any(not batch.isascii() or not batch.isdecimal() or batch.startswith("0") for batch in found):
        raise schema.wrong(key, list(found), "an object whose keys are numbers of images, such as '1'")
    return MappingProxyType({int(batch): found[batch] for batch in sorted(found, key=int)})


def _part(key: str, value: Any) -> BatchTimes:
    """Check the times of a part that may not have been measured."""
    if value is None:
        return MappingProxyType({})
    is_written = isinstance(value, Mapping) and set(value) == {"times"}
    return _times(f"{key}.times", value["times"]) if is_written else _times(key, value)


@dataclass(frozen=True, kw_only=True)
class TailTimes(Record):
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

    RULES: ClassVar = {
        "index": schema.integer(0),
        "name": schema.text,
        "payload_bytes": schema.number(0),
        "times": _times,
    }


@dataclass(frozen=True, kw_only=True)
class DecodingTimes(Record):
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

    RULES: ClassVar = {
        "codec": schema.choice(*DECODED),
        "quality": schema.nullable(schema.integer(0, 100)),
        "size": schema.sequence(schema.integer(1), 2),
        "times": _times,
    }


@dataclass(frozen=True, kw_only=True)
class ServerProfile(Record):
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

    RULES: ClassVar = {
        "kit_id": schema.hexadecimal(64),
        "model_name": schema.text,
        "model_sha256": schema.hexadecimal(64),
        "created": DeviceProfile.RULES["created"],
        "machine": schema.mapping(schema.scalar),
        "transport": schema.choice(*TRANSPORTS),
        "url": schema.nullable(schema.text),
        "batches": schema.sequence(schema.integer(1)),
        "tails": schema.sequence(TailTimes.check),
        "whole": _part,
        "encoded": _part,
        "decoding": schema.sequence(DecodingTimes.check),
        "overhead_s": schema.number(0),
        "complete": schema.flag,
        "missing": schema.sequence(schema.text),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.transport == "in_process") != (self.url is None):
            raise ArgumentError(f"url is the server's address, and null in process. Received: {self.url!r}")
        if self.complete and self.missing:
            raise ArgumentError(f"complete says that nothing is missing. Received: {', '.join(self.missing)}")
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
        """Return the record as plain values of JSON, in the order of its fields."""
        record = super().to_json()
        return record | {name: {"times": record[name]} for name in ("whole", "encoded")}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; an existing file is replaced atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        write_profile(path, KIND, FORMAT_VERSION, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ServerProfile":
        """Read a profile that `save` wrote.

        Raises:
            BundleError: If the file is not there, is damaged, holds something else, or was written by a newer release.
        """
        return read_profile(path, KIND, FORMAT_VERSION, cls)

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
