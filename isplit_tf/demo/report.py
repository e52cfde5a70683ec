"""The report of the demo: its figures, their table, and the answer that follows from them."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from ..display.tables import text_table
from ..selection.codec_curve import CodecCurve

NEAR = 0.005  # half a point: of images within it, the smallest is taken, and an accuracy within it counts as kept
_CODECS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}


@dataclass(frozen=True)
class SmallImage:
    """The smallest image of a format that keeps the accuracy within half a point, or else its best image.

    Attributes:
        quality: The setting of the format, from 1 to 100; None for a lossless one.
        mean_bytes: Mean bytes per frame.
        accuracy: Accuracy of the whole model on these images, with its 95 % interval.
    """

    quality: int | None
    mean_bytes: float
    accuracy: tuple[float, float, float]


def smallest_images(codecs: CodecCurve) -> dict[str, SmallImage]:
    """Return the smallest image of each format with the accuracy of the original, by the format's name."""
    found = {}
    for name, codec in _CODECS.items():
        points = codecs.of(codec).rows()
        kept = [row for row in points if row["drop"] <= NEAR]
        row = min(kept, key=lambda row: row["mean_bytes"]) if kept else max(points, key=lambda row: row["accuracy"])
        found[name] = SmallImage(row["quality"], row["mean_bytes"], (row["accuracy"], row["low"], row["high"]))
    return found


@dataclass(frozen=True)
class DemoReport:
    """The figures of the demo.

    Attributes:
        cut: Name of the chosen cut.
        n_test: Number of test images.
        accuracy: Accuracy on the test images, with its 95 % interval: of the original, of the split, of the exported
            pair, of the original on PNGs, JPEGs and WebPs; and of the control (the original, trained further as the
            split was) if the demo trained.
        frame_bytes: Mean bytes per frame: payload, float latent, float features at the cut, raw image, PNG, JPEG, WebP.
        qualities: The quality of the images of each format; None for a lossless one.
        head_bytes: Size of head.tflite.
        head_macs: Multiply-accumulates per frame of the head and its encoder.
        model_macs: Those of the whole model.
        latency_ms: Median milliseconds per frame: head, wire, tail.
        seconds: Seconds of each step by the clock.
        processor_seconds: Seconds of processor time of each step, and of what went before the first.
    """

    cut: str
    n_test: int
    accuracy: dict[str, tuple[float, float, float]]
    frame_bytes: dict[str, float]
    qualities: dict[str, int | None]
    head_bytes: int
    head_macs: int
    model_macs: int
    latency_ms: dict[str, float]
    seconds: dict[str, float]
    processor_seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {"format_version": 2, "kind": "demo"} | asdict(self)

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows of the table: one row for each way to classify an image, then size and times."""
        sizes, ms = self.frame_bytes, self.latency_ms
        names: dict[str, tuple[str, str, float]] = {"original": ("original, whole", "raw image", sizes["raw"])}
        if "control" in self.accuracy:
            names["control"] = ("control: original, fine-tuned for as many epochs", "raw image", sizes["raw"])
        names |= {name: ("original, compressed images", self._format(name), sizes[name]) for name in _CODECS}
        names |= {
            "features": ("split without bottleneck", "float features", sizes["features"]),
            "split": ("split, float", "float latent", sizes["float_latent"]),
            "exported": ("split, exported pair over the wire", "coded int8 payload", sizes["payload"]),
        }
        rows: list[list[Any]] = []
        for key, (label, sent, size) in names.items():
            value, low, high = self.accuracy["original" if key == "features" else key]  # features lose nothing
            rows.append([label, f"{value:.2%}", f"{low:.2%} to {high:.2%}", sent, f"{size:,.0f} B"])
        rows.append(["size of the head (head.tflite)", "", "", "", f"{self.head_bytes:,} B"])
        for part, text in (("head", "head and encoder"), ("wire", "wire, loopback"), ("tail", "decoder and tail")):
            rows.append([text, "", "", "", f"{ms[part]:.2f} ms"])
        return ["", "accuracy", "95 % interval", "sent", "per frame"], rows

    def table(self) -> str:
        """Return the answer and the table as text."""
        header, rows = self.rows()
        return "\n\n".join(
            [
                f"Split at '{self.cut}', {self.n_test:,} test images of font families that nothing was trained on",
                text_table(header, rows),
                "Should I split?",
                *self.answer(),
            ]
        )

    def answer(self) -> list[str]:
        """Return what the figures say to the question whether to split, a paragraph each."""
        sizes = self.frame_bytes
        kept = [name for name in _CODECS if self._loss(name) <= NEAR]
        small = min(kept, key=lambda name: sizes[name]) if kept else None
        image_bytes = sizes[small] if small else sizes["raw"]
        image = self._format(small) if small else "the raw image"
        payload, loss = sizes["payload"], self._loss("exported")
        exported = self.accuracy["exported"][0]
        figures = (
            f"The split sends {payload:,.0f} bytes per frame and has {exported:.1%} of the test images right; the "
            f"whole model has {self.accuracy['original'][0]:.1%}. The smallest image that keeps this accuracy within "
            f"half a point ({image}) takes {image_bytes:,.0f} bytes. With {self.n_test:,} test images, a difference of "
            f"less than {100 * self._uncertainty():.1f} points may be chance."
        )
        if loss > NEAR:
            verdict = (
                f"Not like this: {100 * loss:.1f} points of accuracy are lost. More bytes per frame, a later cut or "
                "training may keep them."
            )
        elif payload < image_bytes:
            verdict = (
                "Where bytes are scarce or the image may not leave the device, yes: the split keeps the accuracy, and "
                f"the smallest image that keeps it takes {image_bytes / payload:.1f} times as many bytes."
            )
        else:
            verdict = (
                "Not to save bytes: the compressed image is smaller. Split only for privacy, or to take work off the "
                "server."
            )
        ms = self.latency_ms
        cost = (
            f"The price is work on the device: {self.head_macs / self.model_macs:.0%} of the model's "
            f"multiply-accumulates ({self.head_macs / 1e6:.1f} of {self.model_macs / 1e6:.1f} million per frame), a "
            f"head of {math.ceil(self.head_bytes / 1000):,} kB, and {ms['head']:.1f} ms per frame on this machine. "
            "An image needs no head: the server then does all of the work."
        )
        local = (
            "No split is needed where the device can run the whole model in time, and none where the link is fast and "
            "free: a device that sends images is simpler."
        )
        return [verdict, figures, cost, local]

    def _uncertainty(self) -> float:
        """Return half of the 95 % interval of the original's accuracy."""
        _, low, high = self.accuracy["original"]
        return (high - low) / 2

    def _loss(self, name: str) -> float:
        return self.accuracy["original"][0] - self.accuracy[name][0]

    def _format(self, name: str) -> str:
        quality = self.qualities.get(name)
        label = {"webp": "WebP"}.get(name, name.upper())
        return label if quality is None else f"{label} {quality}"
