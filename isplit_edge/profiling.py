"""The measuring of a device with a kit, on the way that a client's images take: `python -m isplit_edge profile`."""

import dataclasses
import importlib.metadata
import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import __version__, rest, schema
from .device_profile import CodecTimes, DeviceProfile, HeadTimes, WholeTimes, utc_now
from .encoding import Format, encoders
from .errors import MissingDependencyError
from .files import BAD_FILE
from .interpreter import Head
from .kit import WHOLE_FILE, Kit, KitCut
from .memory import ram_bytes
from .times import Times, believable, drift
from .whole import WholeModel

PASSES = 4
SECONDS = 1.5
_OF_A_FORMAT = 1 / 3  # of the seconds of a model
_FEWEST_RUNS, _WARM_UP_RUNS, _WARM_UP_SHARE = 2, 2, 0.1

Say = Callable[[str], object]
Clock = Callable[[], float]
Run = Callable[[np.ndarray], tuple[list[float], int]]
"""Takes an image; gives the moments before, between and after its parts, and the bytes that came out."""


def measure_device(
    kit: Kit,
    *,
    threads: int | None = None,
    seconds: float = SECONDS,
    memory: bool = True,
    say: Say = lambda line: None,
    clock: Clock = time.perf_counter,
) -> DeviceProfile:
    """Measure the heads, the whole model and the image formats of a kit on this machine, one image at a time.

    All are measured in four passes, one model in memory at a time, so that a device that gets warm slows down all of
    them and not the last ones alone. Each pass begins with a warm-up that is left out.

    Args:
        kit: The kit.
        threads: Threads of the interpreter; LiteRT's own choice by default.
        seconds: For each model, in all passes together; an image format gets a third.
        memory: Whether to measure the memory of each model, in a process of its own.
        say: Gets lines about the progress.
        clock: Gives moments in seconds.

    Returns:
        The profile, without a link. A model that cannot run here is left out, and `missing` says why; so is what an
        interrupt from the keyboard left.

    Raises:
        ArgumentError: If `threads` or `seconds` is outside of what is possible.
        BundleError: If the kit's images cannot be read.
        MissingDependencyError: If ai-edge-litert is not installed.
    """
    schema.nullable(schema.integer(1))("threads", threads)
    schema.number(above=0)("seconds", seconds)
    images = kit.read_images()
    options = (threads, images.dtype.kind == "f", clock)
    models = [_Subject(f"head {cut.index} {cut.name}", _head(kit, cut, *options)) for cut in kit.cuts]
    if kit.whole is not None:
        models.append(_Subject("the whole model", _whole(kit, *options)))
    formats = encoders(images)
    codecs = [_Subject(f"{one.codec} {one.quality or ''}".strip(), _codec(one, clock)) for one in formats]
    missing: list[str] = []
    try:
        for k in range(PASSES):
            say(
                f"pass {k + 1} of {PASSES}: {len(models)} models and {len(codecs)} formats, {seconds / PASSES:g} s each"
            )
            for subject in models:
                subject.visit(images, seconds / PASSES)
            for subject in codecs:
                subject.visit(images, seconds / PASSES * _OF_A_FORMAT)
        if memory:
            _measure_memory(kit, models, threads, say)
    except KeyboardInterrupt:
        missing.append("interrupted from the keyboard")
    for subject in models + codecs:
        subject.clean()
        if not subject.runs:
            missing.append(f"{subject.name}: {subject.failure or 'not measured'}")
    heads, whole = models[: len(kit.cuts)], models[len(kit.cuts) :]
    size = images.shape[1:3]
    return _profile(
        kit,
        threads=threads,
        whole=next((_whole_times(kit, one) for one in whole if one.runs), None),
        cuts=tuple(_head_times(cut, one) for cut, one in zip(kit.cuts, heads, strict=True) if one.runs),
        codecs=tuple(_codec_times(form, one, size) for form, one in zip(formats, codecs, strict=True) if one.runs),
        drift=_drift(models + codecs),
        complete=not missing,
        missing=tuple(missing),
        dropped=sum(subject.dropped for subject in models + codecs),
    )


def _profile(kit: Kit, **measured: Any) -> DeviceProfile:
    return DeviceProfile(
        kit_id=kit.kit_id,
        model_name=kit.model_name,
        model_sha256=kit.model_sha256,
        precision=kit.precision,
        created=utc_now(),
        source="measured",
        note=None,
        machine=describe_machine(),
        link=None,
        **measured,
    )


@dataclasses.dataclass(eq=False)
class _Subject:
    """Something that is measured, with what was measured so far.

    Attributes:
        name: For people.
        load: Makes what is run for each image.
        runs: For each run the moment when it began and the seconds of its parts.
        sizes: The bytes that came out of each run.
        failure: Why it cannot run here, or "".
        dropped: Runs that no clock can have measured.
        ram_bytes: By which a process of its own grew, or None.
    """

    name: str
    load: Callable[[], Run]
    runs: list[tuple[float, list[float]]] = dataclasses.field(default_factory=list)
    sizes: list[int] = dataclasses.field(default_factory=list)
    failure: str = ""
    dropped: int = 0
    ram_bytes: int | None = None

    def visit(self, images: np.ndarray, seconds: float) -> None:
        """Run it for some seconds, after a warm-up."""
        if self.failure:
            return
        try:
            run = self.load()
            _repeat(lambda k: run(images[k % len(images)]), seconds * _WARM_UP_SHARE, _WARM_UP_RUNS)
            _repeat(lambda k: self._note(*run(images[k % len(images)])), seconds, _FEWEST_RUNS)
        except MissingDependencyError:
            raise
        except BAD_FILE as error:  # among them what LiteRT raises for a model that it cannot run
            self.failure = str(error) or type(error).__name__

    def _note(self, moments: list[float], size: int) -> None:
        self.runs.append((moments[0], [after - before for before, after in itertools.pairwise(moments)]))
        self.sizes.append(size)

    def clean(self) -> None:
        """Leave out the runs that no clock can have measured."""
        good = set(range(len(self.runs)))
        for part in zip(*(parts for _, parts in self.runs), strict=True):
            good &= set(believable(part))
        self.dropped = len(self.runs) - len(good)
        self.runs = [run for k, run in enumerate(self.runs) if k in good]

    def part(self, k: int) -> Times:
        """Return the times of a part."""
        return Times.of([parts[k] for _, parts in self.runs])

    @property
    def mean_bytes(self) -> float:
        """Return the mean of the bytes that came out."""
        return float(np.mean(self.sizes))


def _repeat(call: Callable[[int], object], seconds: float, fewest: int) -> None:
    """Call something with 0, 1, 2, ... until the seconds are over, and at least so many times."""
    end, k = time.monotonic() + seconds, 0
    while k < fewest or time.monotonic() < end:
        call(k)
        k += 1


def _head(kit: Kit, cut: KitCut, threads: int | None, preprocessed: bool, clock: Clock) -> Callable[[], Run]:
    def load() -> Run:
        head = Head(kit.directory / cut.directory, num_threads=threads)

        def run(image: np.ndarray) -> tuple[list[float], int]:
            begin = clock()
            x = head.prepare(image, preprocessed)
            prepared = clock()
            latent = head.latent(x)
            ran = clock()
            payload = head.pack(latent)
            packed = clock()
            rest.predict_body([payload])
            return [begin, prepared, ran, packed, clock()], len(payload)

        return run

    return load


def _whole(kit: Kit, threads: int | None, preprocessed: bool, clock: Clock) -> Callable[[], Run]:
    def load() -> Run:
        model = WholeModel(kit.directory / WHOLE_FILE, kit.preprocessing, kit.input_shape, threads)

        def run(image: np.ndarray) -> tuple[list[float], int]:
            begin = clock()
            x = model.prepare(image, preprocessed)
            prepared = clock()
            found = model.run(x)
            return [begin, prepared, clock()], found.nbytes

        return run

    return load


def _codec(form: Format, clock: Clock) -> Callable[[], Run]:
    def run(image: np.ndarray) -> tuple[list[float], int]:
        begin = clock()
        content = form.encode(image)
        return [begin, clock()], len(content)

    return lambda: run


def _measure_memory(kit: Kit, subjects: Sequence[_Subject], threads: int | None, say: Say) -> None:
    folders = [cut.directory for cut in kit.cuts] + [WHOLE_FILE]
    say(f"memory: {len(subjects)} models, a process each")
    for subject, folder in zip(subjects, folders, strict=False):
        if not subject.failure:
            subject.ram_bytes = ram_bytes(kit.directory, folder, threads)


def _head_times(cut: KitCut, one: _Subject) -> HeadTimes:
    return HeadTimes(
        index=cut.index,
        name=cut.name,
        head_macs=cut.head_macs,
        encoder_macs=cut.encoder_macs,
        preprocess=one.part(0),
        head=one.part(1),
        coding=one.part(2),
        request=one.part(3),
        payload_bytes=one.mean_bytes,
        size_bytes=cut.size_bytes,
        ram_bytes=one.ram_bytes,
    )


def _whole_times(kit: Kit, one: _Subject) -> WholeTimes:
    size = 0 if kit.whole is None else kit.whole.size_bytes
    return WholeTimes(preprocess=one.part(0), run=one.part(1), size_bytes=size, ram_bytes=one.ram_bytes)


def _codec_times(form: Format, one: _Subject, size: tuple[int, ...]) -> CodecTimes:
    height, width = size
    encode = one.part(0)
    return CodecTimes(
        codec=form.codec,
        quality=form.quality,
        size=(height, width),
        encode=encode,
        mean_bytes=one.mean_bytes,
        p95_bytes=float(np.quantile(one.sizes, 0.95)),
    )


def _drift(subjects: Sequence[_Subject]) -> float:
    relative = []
    for subject in subjects:
        totals = [sum(parts) for _, parts in subject.runs]
        median = float(np.median(totals)) if totals else 0.0
        if median > 0:
            relative += [(begin, total / median) for (begin, _), total in zip(subject.runs, totals, strict=True)]
    return drift([value for _, value in sorted(relative)])


def describe_machine() -> dict[str, Any]:
    """Return what a profile says of the machine that it was measured on."""
    try:
        litert = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        litert = "unknown"
    return {
        "system": f"{platform.system()} {platform.release()}".strip() or "unknown",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "litert": litert,
        "isplit_edge": __version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            found = dict(line.rstrip("\n").split(":", 1) for line in file if ":" in line)
        names = {key.strip(): value.strip() for key, value in found.items()}
        return names.get("Model") or names.get("model name") or platform.machine()
    except (OSError, ValueError):
        return platform.processor() or platform.machine() or "unknown"
