"""The measurement of a server with a kit."""

import functools
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from isplit_edge import Head, __version__, schema
from isplit_edge.device_profile import utc_now
from isplit_edge.kit import IMAGES_FILE, Kit, KitCut
from isplit_edge.preprocessing import preprocess

from ..errors import ArgumentError, BundleError, ServerError, checked_integer
from .codec_files import codec_points, decoder, write_files
from .kit_calls import KitCalls, Values, open_calls
from .server_profile import BatchTimes, DecodingTimes, ServerProfile, TailTimes
from .timing import Point, measure_points

BATCHES = (1, 2, 4, 8, 16, 32)
_WHOLE, _ENCODED, _OVERHEAD = "whole", "encoded", "overhead"
_JPEG_QUALITY = 75


def measure_server(
    kit: str | os.PathLike[str] | Kit,
    *,
    url: str | None = None,
    batches: Sequence[int] = BATCHES,
    seconds: float = 0.3,
    token: str | None = None,
    timeout_s: float = 60.0,
    output: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> ServerProfile:
    """Measure how long a server takes for the tails of a kit, the whole model, and the decoding of images.

    Without `url` this machine is the server: the kit's served model runs in this process. With `url` any TensorFlow
    Serving is measured that serves the kit's folder `serving/`: `isplit serve kit/serving` or the official image.
    Payloads are those of the kit's own heads. Warm-up is left out, and all is measured in three rounds.

    Args:
        kit: A folder that `build_kit` wrote, or a `Kit`.
        url: `http://host:8501` (REST) or `grpc://host:8500`; also https and grpcs. None for this process.
        batches: Numbers of images in a call.
        seconds: For each part and number of images; slow ones take longer.
        token: A bearer token for the server.
        timeout_s: Seconds for one call.
        output: Where the profile is saved. If the server goes away or the measurement is interrupted, what was measured
            until then is saved there, with `complete` false, before the error is raised.
        progress: Whether to show a bar on standard error.

    Returns:
        The profile. What the server refuses, such as more images in a call than it takes, is in `missing`.

    Raises:
        ArgumentError: If the address or a number is not possible.
        BundleError: If the kit is incomplete, was changed, or is of a newer release, or the server serves another kit.
        ServerError: If the server cannot be reached, goes away, or refuses all that it is asked.
        MissingDependencyError: If a grpc:// address is given and grpcio is not installed.

    Example:
        >>> profile = measure_server("kit/", progress=False)
        >>> profile.whole[1].median_s
    """
    sizes = sorted({checked_integer("batches", one, 1) for one in batches})
    if not sizes:
        raise ArgumentError("batches: the list is empty. Expected numbers of images in a call, such as (1, 8, 32).")
    schema.number(above=0)("seconds", seconds)
    if not isinstance(kit, Kit):
        kit = Kit.load(kit, check=("heads", IMAGES_FILE, *(["serving"] if url is None else [])))
    if not kit.cuts:
        raise ArgumentError(f"The kit '{kit.directory}' has no head, so no tail can be measured.")
    heads = [Head(kit.directory / cut.directory) for cut in kit.cuts]
    calls = open_calls(kit, url, token=token, timeout_s=timeout_s, max_batch=sizes[-1])
    try:
        calls.check()
        measurement = _Measurement(kit, calls, sizes, heads)
        try:
            measure_points(measurement.points, seconds, progress=progress)
        except (ServerError, KeyboardInterrupt) as error:
            measurement.stopped = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            profile = measurement.profile()
            if output is None or not profile.tails:
                raise
            profile.save(output)
            raise type(error)(f"{measurement.stopped}. What was measured until then is in '{output}'.") from error
        profile = measurement.profile()
    finally:
        calls.close()
    if not profile.tails:
        raise ServerError(f"Nothing could be measured: {profile.missing[0]}")
    if output is not None:
        profile.save(output)
    return profile


@dataclass(eq=False)
class _Measurement:
    """All that is measured of a server, and the profile of what has been."""

    kit: Kit
    calls: KitCalls
    batches: Sequence[int]
    heads: Sequence[Head]
    stopped: str | None = None
    points: list[Point] = field(default_factory=list)
    payload_bytes: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images = self.kit.read_images()
        for cut, head in zip(self.kit.cuts, self.heads, strict=True):
            payloads = head.payloads(images, preprocessed=images.dtype != np.uint8)
            self.payload_bytes[cut.index] = float(np.mean([len(one) for one in payloads]))
            self._add(cut.index, f"tail of {cut.index} '{cut.name}'", cut.signature, "payload", payloads)
        record = self.kit.preprocessing if images.dtype == np.uint8 else None
        self._add(_WHOLE, "whole model", _WHOLE, "image", np.stack([preprocess(one, record) for one in images]))
        if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3):
            files = write_files(images, "JPEG", _JPEG_QUALITY)
            self._add(_ENCODED, "JPEG and whole model", _ENCODED, "image", files)
            if self.calls.transport == "in_process":
                for codec, quality in codec_points():
                    self._add_decoding(codec, quality, images)
        if self.calls.transport != "in_process":
            self.points.append(Point(_OVERHEAD, "a call without a model", 1, lambda: self.calls.check))

    def _add(self, part: Any, name: str, signature: str, entry: str, values: Values) -> None:
        """Add the points of a part: a call for each number of images, which are taken in turn."""
        floats = int(np.prod(values.shape[1:])) if isinstance(values, np.ndarray) else 0
        most = self.calls.most_floats
        for batch in self.batches:
            # A larger request of floats in text measures the reading of text, and few servers take it.
            if batch == self.batches[0] or most is None or batch * floats <= most:
                prepare = functools.partial(self._prepared, signature, entry, values, batch)
                check = functools.partial(self._check, batch) if isinstance(part, int) else lambda answer: None
                self.points.append(Point(part, name, batch, prepare, check))

    def _prepared(self, signature: str, entry: str, values: Values, batch: int) -> Callable[[], Any]:
        order = [index % len(values) for index in range(batch)]
        rows = values[order] if isinstance(values, np.ndarray) else [values[index] for index in order]
        return functools.partial(self.calls.send, self.calls.request(signature, entry, rows))

    def _check(self, batch: int, answer: Any) -> None:
        """Raise BundleError unless a tail takes the payloads of this kit's heads."""
        found = self.calls.statuses(answer)
        if found != [0] * batch:
            where = self.calls.address or self.kit.directory
            raise BundleError(
                f"{where} does not take the payloads of this kit, status {sorted(set(found))}: it serves another kit. "
                f"Expected the folder serving/ of '{self.kit.directory}', kit {self.kit.kit_id[:16]}"
            )

    def _add_decoding(self, codec: str, quality: int | None, images: np.ndarray) -> None:
        files = functools.cache(functools.partial(write_files, images, codec, quality))
        decode = decoder(codec, images.shape[-1])

        def prepared(batch: int) -> Callable[[], Any]:
            chosen = [files()[index % len(images)] for index in range(batch)]
            return functools.partial(decode, chosen)

        name = f"decoding of {codec}{'' if quality is None else f' {quality}'}"
        for batch in self.batches:
            self.points.append(Point((codec, quality), name, batch, functools.partial(prepared, batch)))

    def profile(self) -> ServerProfile:
        """Return the profile of what was measured until now."""
        parts: dict[Any, dict[int, Any]] = {}
        for point in self.points:
            if point.times is not None:
                parts.setdefault(point.part, {})[point.batch] = point.times
        overhead = parts.get(_OVERHEAD, {})
        missing = self._missing()
        return ServerProfile(
            kit_id=self.kit.kit_id,
            model_name=self.kit.model_name,
            model_sha256=self.kit.model_sha256,
            created=utc_now(),
            machine=_machine(),
            transport=self.calls.transport,
            url=self.calls.address,
            batches=tuple(self.batches),
            tails=tuple(self._tail(cut, parts[cut.index]) for cut in self.kit.cuts if cut.index in parts),
            whole=parts.get(_WHOLE, {}),
            encoded=parts.get(_ENCODED, {}),
            decoding=tuple(self._decoding(part, times) for part, times in parts.items() if isinstance(part, tuple)),
            overhead_s=overhead[1].median_s if overhead else 0.0,
            complete=not missing,
            missing=tuple(missing),
        )

    def _tail(self, cut: KitCut, times: BatchTimes) -> TailTimes:
        return TailTimes(index=cut.index, name=cut.name, payload_bytes=self.payload_bytes[cut.index], times=times)

    def _decoding(self, part: tuple[str, int | None], times: BatchTimes) -> DecodingTimes:
        height, width = self.kit.input_shape[:2]
        return DecodingTimes(codec=part[0], quality=part[1], size=(height, width), times=times)

    def _missing(self) -> list[str]:
        """Return what was not measured and why, a line for each part and reason."""
        found: dict[tuple[str, str], list[int]] = {}
        for point in self.points:
            if point.times is None or point.failure is not None:
                reason = point.failure or self.stopped or "no clock can have measured what was read from it"
                found.setdefault((point.name, reason), []).append(point.batch)
        lines = [f"{name}, {', '.join(map(str, sizes))} images: {reason}" for (name, reason), sizes in found.items()]
        if self.stopped is not None:
            lines.append(f"further rounds: {self.stopped}")
        return lines


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "isplit_tf": __version__,
    }
