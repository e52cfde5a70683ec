"""All the ways to classify an image with a model, a device and a server: on one of them, or split between them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .accuracies import Accuracy, ImagePoint, SplitPoint
from .measured_times import LOSSLESS, DeviceTimes, ServerTimes, pair
from .option import Option
from .protocol import exchange_of

_IMAGE_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, eq=False)
class Alternatives:
    """What the options are made from.

    Attributes:
        device: Times of the device.
        server: Times of the server.
        input_shape: Of the model, without the batch.
        n_classes: Probabilities in an answer.
        transport: "rest" or "grpc".
        by_hand: Whether the link was given by hand and not measured.
        measured: Accuracies that the user measured, by option.
        notes: What could not be counted, and why; filled while the options are made.
    """

    device: DeviceTimes
    server: ServerTimes
    input_shape: tuple[int, ...]
    n_classes: int
    transport: str
    by_hand: bool
    measured: Mapping[Any, Accuracy]
    notes: list[str] = field(default_factory=list)

    def local(self, original: Accuracy) -> Iterator[Option]:
        """Yield the whole model on the device, unless it was not measured there."""
        whole, precision = self.device.profile.whole, self.device.profile.precision
        if whole is None:
            self.notes.append("The whole model was not measured on the device: it may not fit there.")
            return
        accuracy = self.measured.get("local", original)
        if precision != "float32" and "local" not in self.measured and accuracy.value is not None:
            self.notes.append(
                f"The accuracy of the whole model on the device is that of the original: its {precision} form was not "
                "measured. Give measured={'local': evaluate(...)} to count with its own."
            )
        yield Option(
            kind="local",
            accuracy=accuracy.value,
            accuracy_interval=accuracy.interval,
            times_s={"preprocessing": pair(whole.preprocess), "head": pair(whole.run)},
            device_bytes=whole.size_bytes,
            device_ram_bytes=whole.ram_bytes,
            precision=precision,
        )

    def remote(self, original: Accuracy, points: Iterable[ImagePoint]) -> Iterator[Option]:
        """Yield the image sent as it is, and compressed by each codec that device and server were measured with."""
        known = list(points)
        known += [one for one in self._lossless_and_unknown(original) if not any(_same(one, other) for other in known)]
        skipped: dict[str, None] = {}
        for point in sorted(known, key=lambda one: (_order(one.codec), one.codec, one.mean_bytes)):
            encode = self.device.codec(point.codec, point.quality, point.size)
            decode = self.server.image(point.codec, point.quality)
            if encode is None or decode is None:
                skipped[f"{point.codec} was not measured on the {'device' if encode is None else 'server'}."] = None
                continue
            accuracy = self.measured.get((point.codec, point.quality), point.accuracy)
            if point.codec in LOSSLESS:
                accuracy = self.measured.get("remote", accuracy)
            yield Option(
                kind="remote",
                codec=point.codec,
                quality=point.quality,
                size=point.size,
                payload_bytes=round(point.mean_bytes),
                mean_bytes=point.mean_bytes,
                mean_p95_ratio=_ratio(point.mean_bytes, point.p95_bytes),
                accuracy=accuracy.value,
                accuracy_interval=accuracy.interval,
                times_s={"coding": encode.seconds, "server": decode[0].seconds},
                exchange=exchange_of(point.mean_bytes, self.n_classes, self.transport),
                device_bytes=0,
                device_ram_bytes=0,
                server_s=decode[1],
                interpolated=encode.interpolated or decode[0].interpolated,
                precision="float32",
            )
        self.notes.extend(skipped)

    def _lossless_and_unknown(self, original: Accuracy) -> Iterator[ImagePoint]:
        """Yield the formats of the device's profile: the lossless ones keep the accuracy, of others it is unknown."""
        size, n_bytes = _raw(self.input_shape)
        found = [one for one in self.device.profile.codecs if one.codec == "RAW"]
        if not found:
            yield ImagePoint("RAW", None, size, n_bytes, n_bytes, original)
        for one in self.device.profile.codecs:
            accuracy = original if one.codec in LOSSLESS else Accuracy()
            size = (one.size[0], one.size[1])
            yield ImagePoint(one.codec, one.quality, size, one.mean_bytes, one.p95_bytes or one.mean_bytes, accuracy)

    def splits(self, points: Iterable[SplitPoint]) -> Iterator[Option]:
        """Yield the split at each cut and rate whose tail can be told."""
        for point in points:
            cut = point.cut
            head, tail = self.device.head(cut, point.encoder_macs), self.server.tail(cut)
            if tail is None:
                self.notes.append("No tail was measured on the server: splits are left out.")
                return
            coding = self.device.coding(cut, point.mean_bytes, self.by_hand)
            yield Option(
                kind="split",
                cut=cut,
                payload_bytes=point.payload_bytes,
                mean_bytes=point.mean_bytes,
                mean_p95_ratio=_ratio(point.mean_bytes, point.p95_bytes),
                accuracy=point.accuracy.value,
                accuracy_interval=point.accuracy.interval,
                times_s={
                    "preprocessing": self.device.preprocessing(cut),
                    "head": head.seconds,
                    "coding": coding,
                    "server": tail[0].seconds,
                },
                exchange=exchange_of(point.mean_bytes, self.n_classes, self.transport),
                device_bytes=self.device.size_bytes(cut),
                device_ram_bytes=self.device.ram_bytes(cut),
                server_s=tail[1],
                interpolated=head.interpolated or tail[0].interpolated,
                precision=self.device.profile.precision,
                settings=dict(point.settings),
            )


def _ratio(mean: float, p95: float) -> float:
    return max(1.0, p95 / mean) if mean else 1.0


def _order(codec: str) -> int:
    return ("RAW", "PNG").index(codec) if codec in LOSSLESS else len(LOSSLESS)


def _same(one: ImagePoint, other: ImagePoint) -> bool:
    """Return whether two points are one: of a lossy codec, those of the profile that a curve of codecs covers too."""
    if one.codec in LOSSLESS:
        return one.codec == other.codec and one.size == other.size
    return one.codec == other.codec


def _raw(shape: tuple[int, ...]) -> tuple[tuple[int, int], float]:
    """Return size and bytes of a model's input: uint8 for an image, else float32."""
    n = math.prod(shape)
    if len(shape) == 3 and shape[-1] in _IMAGE_CHANNELS:
        return (shape[0], shape[1]), float(n)
    return (shape[0], max(1, n // shape[0])), 4.0 * n
