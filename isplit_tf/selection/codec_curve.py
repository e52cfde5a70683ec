"""The curve of codecs: bytes of compressed images, and the whole model's accuracy on them."""

import html
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..display.tables import html_table, text_table
from ..errors import ArgumentError, BundleError, checked_share
from ..evaluation.metrics import wilson_interval
from ..storage.records import read_arrays, write_arrays

FORMAT_VERSION = 1
_KIND = "codecs"
_PLAIN = ("codecs", "qualities", "class_names", "model_name")
_ARRAYS = ("sizes", "sent_bytes", "labels", "predictions", "original_predictions")


@dataclass(frozen=True, eq=False, repr=False)
class CodecCurve:
    """The whole model's answers on compressed images, at each codec, quality and size: one point each.

    Attributes:
        codecs: Name of the codec of each point, such as "JPEG"; `(n_points,)`.
        qualities: Its quality, 1 to 100; None for a lossless codec.
        sizes: int64 `(n_points, 2)`, height and width of the images that are sent.
        sent_bytes: int64 `(n_points, N)`, bytes of each file.
        labels: int64 `(N,)`.
        predictions: int64 `(n_points, N)`, the class predicted from each decoded image.
        original_predictions: int64 `(N,)`, the class predicted from each image that was not compressed.
        class_names: Names of the classes, or None.
        model_name: Name of the model.
    """

    codecs: list[str]
    qualities: list[int | None]
    sizes: np.ndarray
    sent_bytes: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    original_predictions: np.ndarray
    class_names: list[str] | None
    model_name: str

    @property
    def n_images(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def accuracy(self) -> np.ndarray:
        """Return the share of images classified correctly at each point, float64 `(n_points,)`."""
        return np.mean(self.predictions == self.labels, axis=1)

    @property
    def original(self) -> float:
        """Return the share of images that the model classifies correctly if they are not compressed."""
        return float(np.mean(self.original_predictions == self.labels))

    @property
    def mean_bytes(self) -> np.ndarray:
        """Return the mean size of a file at each point in bytes, float64 `(n_points,)`."""
        return self.sent_bytes.mean(axis=1)

    @property
    def p95_bytes(self) -> np.ndarray:
        """Return the size that 95 of 100 files do not exceed, at each point in bytes, float64 `(n_points,)`."""
        return np.quantile(self.sent_bytes, 0.95, axis=1)

    @property
    def most_bytes(self) -> np.ndarray:
        """Return the size of the largest file at each point in bytes, int64 `(n_points,)`."""
        return self.sent_bytes.max(axis=1)

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return Wilson's interval for the accuracy at each point, on images of this kind.

        Args:
            confidence: Between 0 and 1.

        Returns:
            low and high, float64 `(n_points,)`.

        Raises:
            ArgumentError: If the confidence is not between 0 and 1.
        """
        checked_share("confidence", confidence)
        n_correct = np.count_nonzero(self.predictions == self.labels, axis=1)
        bounds = np.array([wilson_interval(int(n), self.n_images, confidence) for n in n_correct])
        return bounds[:, 0], bounds[:, 1]

    def bytes_at(self, accuracy: float, *, codec: str | None = None) -> float:
        """Return the fewest mean bytes per frame at which a measured point keeps at least this accuracy.

        Args:
            accuracy: From 0 to 1.
            codec: Look at this codec alone; by default, at the best of all.

        Returns:
            Bytes; infinity if no point keeps so much.

        Raises:
            ArgumentError: If the codec was not measured.
        """
        points = self if codec is None else self.of(codec)
        kept = points.mean_bytes[points.accuracy >= accuracy]
        return float(kept.min()) if len(kept) else math.inf

    def of(self, codec: str) -> "CodecCurve":
        """Return the points of one codec.

        Raises:
            ArgumentError: If it was not measured.
        """
        points = [k for k, name in enumerate(self.codecs) if name == codec.upper()]
        if not points:
            raise ArgumentError(f"codec: expected one of {list(dict.fromkeys(self.codecs))}. Received: {codec!r}")
        return self._some(points)

    @property
    def envelope(self) -> "CodecCurve":
        """Return the points of the best codec at each rate, from few bytes to many.

        No other point has at least this accuracy in at most as many bytes.
        """
        accuracy = self.accuracy
        points: list[int] = []
        for k in np.lexsort((-accuracy, self.mean_bytes)).tolist():
            if not points or accuracy[k] > accuracy[points[-1]]:
                points.append(k)
        return self._some(points)

    def _some(self, points: list[int]) -> "CodecCurve":
        chosen: dict[str, Any] = {name: getattr(self, name)[points] for name in ("sizes", "sent_bytes", "predictions")}
        chosen |= {name: [getattr(self, name)[k] for k in points] for name in ("codecs", "qualities")}
        return replace(self, **chosen)

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per point.

        Its keys are codec, quality, size, mean_bytes, p95_bytes, most_bytes, accuracy, low, high and drop.
        """
        low, high = self.interval()
        columns = {
            "mean_bytes": self.mean_bytes,
            "p95_bytes": self.p95_bytes,
            "most_bytes": self.most_bytes,
            "accuracy": self.accuracy,
            "low": low,
            "high": high,
            "drop": self.original - self.accuracy,
        }
        return [
            {"codec": codec, "quality": quality, "size": tuple(self.sizes[k].tolist())}
            | {name: values[k].item() for name, values in columns.items()}
            for k, (codec, quality) in enumerate(zip(self.codecs, self.qualities, strict=True))
        ]

    def table(self) -> str:
        """Return the curve as text, one line per point."""
        return f"{self._title()}\n{text_table(*self._cells())}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._title())}</p>{html_table(*self._cells())}"

    def _title(self) -> str:
        return (
            f"Accuracy of '{self.model_name}' on compressed images: {self.n_images:,} images; "
            f"not compressed: {self.original:.4f}"
        )

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        header = ["codec", "quality", "size", "mean B", "95 % up to B", "most B", "accuracy", "95 % interval"]
        rows: list[list[Any]] = [
            [
                row["codec"],
                row["quality"],
                "x".join(map(str, row["size"])),
                round(row["mean_bytes"]),
                round(row["p95_bytes"]),
                row["most_bytes"],
                row["accuracy"],
                f"{row['low']:.4f} to {row['high']:.4f}",
                f"{100 * row['drop']:.2f}",
            ]
            for row in self.rows()
        ]
        return [*header, "points lost"], rows

    def lines(self) -> dict[str, list[tuple[float, float]]]:
        """Return pairs of mean bytes and accuracy for each codec by name, from few bytes to many.

        Of several sizes, the best at each rate is taken; see `envelope`.
        """
        best = {codec: self.of(codec).envelope for codec in dict.fromkeys(self.codecs)}
        return {
            codec: list(zip(curve.mean_bytes.tolist(), curve.accuracy.tolist(), strict=True))
            for codec, curve in best.items()
        }

    def plot(self, *, ax: Any = None) -> Any:
        """Draw accuracy over bytes per frame, a line for each codec.

        Args:
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes.
        """
        from ..plots.accuracy import draw_rates

        return draw_rates({}, self.lines(), references={"not compressed": self.original}, title=self.model_name, ax=ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as an `.npz` without pickle; a failed write leaves no partial file."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        record = {"kind": _KIND} | {name: getattr(self, name) for name in _PLAIN}
        write_arrays(target, FORMAT_VERSION, record, {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CodecCurve":
        """Read a file of `save`.

        Raises:
            BundleError: If the file does not exist, is no curve of codecs, is damaged, or has a newer format.
        """
        fault = "is not a curve that CodecCurve.save wrote"
        record, arrays = read_arrays(path, FORMAT_VERSION, fault=fault, kind=_KIND)
        return cls(**_fields(path, record, arrays))


def _fields(path: Any, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        return {name: record[name] for name in _PLAIN} | {name: arrays[name] for name in _ARRAYS}
    except KeyError as error:
        raise BundleError(f"'{path}' is damaged: {error!r}") from error
