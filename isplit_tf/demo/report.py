"""The report of the demo: its figures and their table."""

from dataclasses import asdict, dataclass
from typing import Any

from ..display.tables import text_table

JPEG_QUALITY = 75


@dataclass(frozen=True)
class DemoReport:
    """The figures of the demo.

    Attributes:
        cut: Name of the chosen cut.
        n_test: Number of test images.
        accuracy: Accuracy on the test set, with its 95 % interval: of the original, of the control (the original,
            trained further as the split was), of the split, of the exported pair, and of the original on JPEGs.
        frame_bytes: Mean bytes per frame: payload, float latent, float features at the cut, raw image, PNG, JPEG.
        head_bytes: Size of head.tflite.
        latency_ms: Median milliseconds per frame: head, wire, tail.
        seconds: Seconds of each step.
    """

    cut: str
    n_test: int
    accuracy: dict[str, tuple[float, float, float]]
    frame_bytes: dict[str, float]
    head_bytes: int
    latency_ms: dict[str, float]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {"format_version": 1, "kind": "demo"} | asdict(self)

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return header and rows of the table: one row for each way to classify an image, then size and times."""
        accuracy, sizes, ms = self.accuracy, self.frame_bytes, self.latency_ms
        names = {
            "original": ("original, whole", "raw image", sizes["raw"]),
            "control": ("control: original, trained on", "raw image", sizes["raw"]),
            "png": ("original behind PNG", "PNG", sizes["png"]),
            "jpeg": (f"original behind JPEG {JPEG_QUALITY}", "JPEG", sizes["jpeg"]),
            "features": ("split without bottleneck", "float features", sizes["features"]),
            "split": ("split, float", "float latent", sizes["float_latent"]),
            "exported": ("split, exported pair over the wire", "int8 payload", sizes["payload"]),
        }
        # PNG and float features are lossless, so that the original's answers stay the same.
        accuracy_key = {"png": "original", "features": "original"}
        rows: list[list[Any]] = []
        for key, (label, sent, size) in names.items():
            value, low, high = accuracy[accuracy_key.get(key, key)]
            rows.append([label, f"{value:.2%}", f"{low:.2%} to {high:.2%}", sent, f"{size:,.0f} B"])
        rows.append(["size of the head (head.tflite)", "", "", "", f"{self.head_bytes:,} B"])
        for part, text in (("head", "head and encoder"), ("wire", "wire, loopback"), ("tail", "decoder and tail")):
            rows.append([text, "", "", "", f"{ms[part]:.2f} ms"])
        return ["", "accuracy", "95 % interval", "sent", "a frame"], rows

    def table(self) -> str:
        """Return the table as text."""
        header, rows = self.rows()
        return (
            f"Split at '{self.cut}', {self.n_test:,} test images of font families that nothing was trained on\n\n"
            + text_table(header, rows)
        )
