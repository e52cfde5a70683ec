"""The curve of predicted accuracies: how many images a split at each cut would still classify correctly."""

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge import schema
from isplit_edge.files import make_folder
from isplit_edge.wire import payload_bytes

from ..display.tables import html_table, text_table
from ..errors import BundleError, checked_share
from ..evaluation.metrics import wilson_interval
from ..graph.cuts import Cut
from ..storage.records import check_arrays, read_arrays, write_arrays

FORMAT_VERSION = 2  # 2: the bytes of coded payloads
UNSEEN = -1
"""The class predicted for an image that a cut did not see, since it had dropped out of a race."""
_KIND = "accuracy"
_PLAIN = ("class_names", "model_name", "settings")
_ARRAYS = (
    "labels",
    "predictions",
    "original_predictions",
    "latent_sizes",
    "encoder_params",
    "encoder_macs",
    "relative_errors",
)


@dataclass(frozen=True, eq=False, repr=False)
class AccuracyCurve:
    """The answers of the frozen tail behind a fitted projection, at every cut, on the same images.

    Attributes:
        cuts: The cuts, in topological order.
        labels: int64 `(N,)`.
        predictions: int64 `(N, n_cuts)`, the class predicted behind the projection at each cut; -1 where a cut that
            had dropped out of a race did not see the image: its accuracy is then NaN.
        original_predictions: int64 `(N,)`, the class predicted by the whole model.
        latent_sizes: int64 `(n_cuts,)`, elements of the latent at each cut.
        encoder_params: int64 `(n_cuts,)`, weights of the encoder, which the device runs after the head.
        encoder_macs: int64 `(n_cuts,)`, multiply-accumulates of the encoder per image.
        relative_errors: float64 `(n_cuts,)`, error of the features on the images of the fit: the sum of
            ||F - restored||^2 over the sum of ||F||^2. If the latents are coded, on the first images classified.
        class_names: Names of the classes, or None.
        model_name: Name of the model.
        settings: The arguments `compression`, `payload_bytes`, `latent_size`, `weighting`, `patch`, `seed` and
            `fit_images` (the number of images that were read).
        mean_bytes: float64 `(n_cuts,)`, the mean bytes per frame of coded latents on these images; None if each element
            takes as many bits as another.
    """

    cuts: list[Cut]
    labels: np.ndarray
    predictions: np.ndarray
    original_predictions: np.ndarray
    latent_sizes: np.ndarray
    encoder_params: np.ndarray
    encoder_macs: np.ndarray
    relative_errors: np.ndarray
    class_names: list[str] | None
    model_name: str
    settings: Mapping[str, Any]
    mean_bytes: np.ndarray | None = None

    @property
    def n_images(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def accuracy(self) -> np.ndarray:
        """Return the share of images classified correctly behind each projection, float64 `(n_cuts,)`."""
        return self._shares(self.predictions == self.labels[:, None])

    @property
    def original(self) -> float:
        """Return the share of images that the whole model classifies correctly."""
        return float(np.mean(self.original_predictions == self.labels))

    @property
    def agreement(self) -> np.ndarray:
        """Return the share of images with the whole model's answer, right or wrong, float64 `(n_cuts,)`."""
        return self._shares(self.predictions == self.original_predictions[:, None])

    def _shares(self, hits: np.ndarray) -> np.ndarray:
        """Return the share of hits at each cut; NaN for a cut that did not see all images."""
        return np.where(np.all(self.predictions != UNSEEN, axis=0), np.mean(hits, axis=0), np.nan)

    @property
    def payload_bytes(self) -> np.ndarray:
        """Return the bytes per frame on the wire, int64 `(n_cuts,)`: with an int8 latent, or, coded, in the mean.

        A cut that dropped out of a race has the bytes that were asked for.
        """
        if self.mean_bytes is not None:
            asked = self.settings.get("payload_bytes") or 0
            return np.rint(np.where(np.isnan(self.mean_bytes), asked, self.mean_bytes)).astype(np.int64)
        return np.array([payload_bytes("int8", (size,)) for size in self.latent_sizes], np.int64)

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return Wilson's interval for the accuracy at each cut, on images of this kind.

        Args:
            confidence: Between 0 and 1.

        Returns:
            low and high, float64 `(n_cuts,)`, NaN for a cut that dropped out of a race. Since all cuts saw the same
            images, an overlap of two intervals says little about the difference between two cuts.

        Raises:
            ArgumentError: If the confidence is not between 0 and 1.
        """
        checked_share("confidence", confidence)
        n_correct = np.count_nonzero(self.predictions == self.labels[:, None], axis=0)
        bounds = np.array([wilson_interval(int(n), self.n_images, confidence) for n in n_correct])
        bounds[np.isnan(self.accuracy)] = np.nan
        return bounds[:, 0], bounds[:, 1]

    @property
    def best(self) -> Cut:
        """Return the cut of highest accuracy; of equal ones, the smallest payload, then the first."""
        accuracy = np.nan_to_num(self.accuracy, nan=-1.0)
        order = np.lexsort((np.arange(len(self.cuts)), self.payload_bytes, -accuracy))
        return self.cuts[int(order[0])]

    def position(self, cut: Cut) -> int | None:
        """Return the position of a cut on this curve, or None if the curve has no such cut.

        Cuts are compared by index and shape, since names differ between two builds of a model.
        """
        matches = [k for k, own in enumerate(self.cuts) if (own.index, own.shapes) == (cut.index, cut.shapes)]
        return matches[0] if matches else None

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per cut: index, name, shape, payload_bytes, accuracy, low, high, drop, best."""
        low, high = self.interval()
        best, accuracy, original = self.best.index, self.accuracy, self.original
        return [
            {
                "index": cut.index,
                "name": cut.name,
                "shape": cut.shape,
                "payload_bytes": int(self.payload_bytes[k]),
                "accuracy": float(accuracy[k]),
                "low": float(low[k]),
                "high": float(high[k]),
                "drop": float(original - accuracy[k]),
                "best": cut.index == best,
            }
            for k, cut in enumerate(self.cuts)
        ]

    def table(self) -> str:
        """Return the curve as text, one line per cut."""
        return f"{self._title()}\n{text_table(*self._cells())}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._title())}</p>{html_table(*self._cells())}"

    def _title(self) -> str:
        settings = self.settings
        amount = next(
            (f"{settings[name]:,} {unit}" for name, unit in (("payload_bytes", "bytes"), ("latent_size", "elements"))
             if settings.get(name) is not None),
            f"compression {settings.get('compression')}",
        )  # fmt: skip
        return (
            f"Accuracy of '{self.model_name}' behind a projection at {len(self.cuts)} cuts: {amount}, weighting "
            f"'{settings.get('weighting')}', {self.n_images:,} images; the whole model: {self.original:.4f}"
        )

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        header = ["cut", "index", "shape", "payload B", "accuracy", "95 % interval", "points lost", ""]
        rows: list[list[Any]] = [
            [
                row["name"],
                row["index"],
                "x".join(map(str, row["shape"])),
                row["payload_bytes"],
                row["accuracy"],
                "dropped out" if np.isnan(row["accuracy"]) else f"{row['low']:.4f} to {row['high']:.4f}",
                "-" if np.isnan(row["accuracy"]) else f"{100 * row['drop']:.2f}",
                "best" if row["best"] else "",
            ]
            for row in self.rows()
        ]
        return header, rows

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the accuracy at each cut with its interval, and the whole model's accuracy as a line.

        Args:
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes.
        """
        from ..plots.records import draw_accuracy_curve

        names, title = [cut.name for cut in self.cuts], self._title().split(": ", 1)[-1]
        return draw_accuracy_curve(names, self.accuracy, self.interval(), self.original, title=title, ax=ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve as an `.npz` without pickle; a failed write leaves no partial file."""
        target = Path(path)
        make_folder(target.parent)
        record = {
            "kind": _KIND,
            "cuts": [cut.to_json() for cut in self.cuts],
            **{name: getattr(self, name) for name in _PLAIN},
            "settings": dict(self.settings),
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.mean_bytes is not None:
            arrays["mean_bytes"] = self.mean_bytes
        write_arrays(target, FORMAT_VERSION, record, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "AccuracyCurve":
        """Read a file of `save`.

        Raises:
            BundleError: If the file does not exist, is no accuracy curve, is damaged, or has a newer format.
        """
        fault = "is not a curve that AccuracyCurve.save wrote"
        record, arrays = read_arrays(path, FORMAT_VERSION, fault=fault, kind=_KIND)
        try:
            cuts = [Cut.from_json(cut) for cut in record["cuts"]]
            _check_loaded(record, arrays, len(cuts))
            present: dict[str, Any] = {name: arrays[name] for name in (*_ARRAYS, "mean_bytes") if name in arrays}
            return cls(cuts=cuts, **present, **{name: record[name] for name in _PLAIN})
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error


def _check_loaded(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_cuts: int) -> None:
    """Check values and shapes of a file, which may have been changed; ValueError if any cannot be."""
    schema.nullable(schema.sequence(schema.text))("class_names", record["class_names"])
    schema.text("model_name", record["model_name"])
    schema.mapping(lambda key, value: value)("settings", record["settings"])
    n = len(np.atleast_1d(arrays["labels"]))
    numbers = {"labels": (n,), "predictions": (n, n_cuts), "original_predictions": (n,), "latent_sizes": (n_cuts,)}
    check_arrays(arrays, numbers | dict.fromkeys(("encoder_params", "encoder_macs"), (n_cuts,)), "iu")
    if "relative_errors" in arrays and arrays["relative_errors"].shape != (n_cuts,):
        raise ValueError(f"relative_errors has the shape {arrays['relative_errors'].shape}. Expected {(n_cuts,)}")
