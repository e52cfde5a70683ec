"""The map of predicted accuracies: what a split keeps at every cut and every rate, and in how many bytes."""

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..display.tables import html_table, text_table
from ..errors import ArgumentError, BundleError, checked_share
from ..evaluation.metrics import wilson_interval
from ..graph.cuts import Cut
from ..storage.records import read_arrays, write_arrays
from .accuracy_curve import UNSEEN, AccuracyCurve

FORMAT_VERSION = 1
_KIND = "accuracy_map"
_PLAIN = ("class_names", "model_name", "settings")
_ARRAYS = (
    "payload_bytes",
    "labels",
    "predictions",
    "sent_bytes",
    "original_predictions",
    "latent_sizes",
    "encoder_params",
    "encoder_macs",
    "relative_errors",
)


@dataclass(frozen=True, eq=False, repr=False)
class AccuracyMap:
    """The answers of the frozen tail behind fitted projections, at every cut and several rates, on the same images.

    A cut that fell out of the race at a rate saw only a part of the images: its accuracy and bytes there are NaN.

    Attributes:
        cuts: The cuts, in topological order.
        payload_bytes: int64 `(n_rates,)`, the rates asked for, ascending: mean bytes per frame, header included.
        labels: int64 `(N,)`.
        predictions: int64 `(n_cuts, n_rates, N)`, the class predicted behind each projection; -1 where a cut that had
            dropped out did not see the image.
        sent_bytes: float64 `(n_cuts, n_rates, N)`, bytes of each frame, header included; NaN for the same images.
        original_predictions: int64 `(N,)`, the class predicted by the whole model.
        latent_sizes: int64 `(n_cuts, n_rates)`, elements of the latent.
        encoder_params: int64 `(n_cuts, n_rates)`, weights of the encoder, which the device runs after the head.
        encoder_macs: int64 `(n_cuts, n_rates)`, multiply-accumulates of the encoder per image.
        relative_errors: float64 `(n_cuts, n_rates)`, error of the features on the first images classified: the sum of
            ||F - restored||^2 over the sum of ||F||^2.
        class_names: Names of the classes, or None.
        model_name: Name of the model.
        settings: The arguments `weighting`, `patch`, `seed`, `coding`, `encoder_share`, `race`, `max_loss` and
            `fit_images` (the number of images that were read).
    """

    cuts: list[Cut]
    payload_bytes: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    sent_bytes: np.ndarray
    original_predictions: np.ndarray
    latent_sizes: np.ndarray
    encoder_params: np.ndarray
    encoder_macs: np.ndarray
    relative_errors: np.ndarray
    class_names: list[str] | None
    model_name: str
    settings: Mapping[str, Any]

    @property
    def n_images(self) -> np.ndarray:
        """Return the number of images that each cut saw at each rate, int64 `(n_cuts, n_rates)`."""
        return np.count_nonzero(self.predictions != UNSEEN, axis=2)

    @property
    def is_measured(self) -> np.ndarray:
        """Return whether a cut saw all images at a rate, bool `(n_cuts, n_rates)`."""
        return np.all(self.predictions != UNSEEN, axis=2)

    @property
    def accuracy(self) -> np.ndarray:
        """Return the share of images classified correctly, float64 `(n_cuts, n_rates)`; NaN where one dropped out."""
        return np.where(self.is_measured, np.mean(self.predictions == self.labels, axis=2), np.nan)

    @property
    def mean_bytes(self) -> np.ndarray:
        """Return the mean bytes per frame on these images, float64 `(n_cuts, n_rates)`; NaN where one dropped out."""
        return self.sent_bytes.mean(axis=2)

    @property
    def p95_bytes(self) -> np.ndarray:
        """Return the bytes that 95 of 100 frames do not exceed, float64 `(n_cuts, n_rates)`, NaN as for the mean."""
        return np.quantile(self.sent_bytes, 0.95, axis=2)

    @property
    def most_bytes(self) -> np.ndarray:
        """Return the bytes of the longest frame, float64 `(n_cuts, n_rates)`; NaN where one dropped out."""
        return self.sent_bytes.max(axis=2)

    @property
    def original(self) -> float:
        """Return the share of images that the whole model classifies correctly."""
        return float(np.mean(self.original_predictions == self.labels))

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return Wilson's interval for each accuracy, on images of this kind.

        Args:
            confidence: Between 0 and 1.

        Returns:
            low and high, float64 `(n_cuts, n_rates)`, NaN where a cut dropped out. Since all saw the same images, an
            overlap of two intervals says little about the difference between two cuts.

        Raises:
            ArgumentError: If the confidence is not between 0 and 1.
        """
        checked_share("confidence", confidence)
        bounds = np.full((2, *self.is_measured.shape), np.nan)
        n_correct = np.count_nonzero(self.predictions == self.labels, axis=2)
        for place in zip(*np.nonzero(self.is_measured), strict=True):
            bounds[(slice(None), *place)] = wilson_interval(int(n_correct[place]), len(self.labels), confidence)
        return bounds[0], bounds[1]

    def at(self, payload_bytes: int) -> AccuracyCurve:
        """Return the curve over all cuts at one rate; a cut that dropped out there has the accuracy NaN.

        Args:
            payload_bytes: One of the rates asked for.

        Raises:
            ArgumentError: If it is none of them.
        """
        rates = self.payload_bytes.tolist()
        if payload_bytes not in rates:
            raise ArgumentError(f"payload_bytes: the map was made for {rates}. Received: {payload_bytes!r}")
        return self.curve(rates.index(payload_bytes))

    def curve(self, rate: int) -> AccuracyCurve:
        """Return the curve at a rate by its position in `payload_bytes`; see `at`."""
        columns = ("latent_sizes", "encoder_params", "encoder_macs", "relative_errors")
        amount = {"payload_bytes": int(self.payload_bytes[rate]) or None}
        return AccuracyCurve(
            cuts=self.cuts,
            labels=self.labels,
            predictions=self.predictions[:, rate].T,
            original_predictions=self.original_predictions,
            **{name: getattr(self, name)[:, rate] for name in columns},
            class_names=self.class_names,
            model_name=self.model_name,
            settings=dict(self.settings) | amount,
            mean_bytes=self.mean_bytes[:, rate],
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per cut and rate, cut by cut.

        Its keys are index, name, shape, payload_bytes, mean_bytes, p95_bytes, most_bytes, accuracy, low, high, drop and
        n_images; figures of a cut that dropped out are None.
        """
        low, high = self.interval()
        accuracy = self.accuracy
        columns = {"mean_bytes": self.mean_bytes, "p95_bytes": self.p95_bytes, "most_bytes": self.most_bytes}
        columns |= {"accuracy": accuracy, "low": low, "high": high, "drop": self.original - accuracy}
        is_measured, n_images = self.is_measured, self.n_images
        return [
            {"index": cut.index, "name": cut.name, "shape": cut.shape, "payload_bytes": rate}
            | {name: float(values[k, r]) if is_measured[k, r] else None for name, values in columns.items()}
            | {"n_images": int(n_images[k, r])}
            for k, cut in enumerate(self.cuts)
            for r, rate in enumerate(self.payload_bytes.tolist())
        ]

    def table(self) -> str:
        """Return the map as text, one line per cut: accuracy and, in brackets, the mean bytes, for each rate."""
        return f"{self._title()}\n{text_table(*self._cells())}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._title())}</p>{html_table(*self._cells())}"

    def _title(self) -> str:
        return (
            f"Accuracy of '{self.model_name}' behind a coded projection at {len(self.cuts)} cuts and "
            f"{len(self.payload_bytes)} rates: weighting '{self.settings.get('weighting')}', "
            f"{len(self.labels):,} images; the whole model: {self.original:.4f}; (n): dropped out after n images"
        )

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        shares = self._shares()
        accuracy, n_bytes, n_images = self.accuracy, self.mean_bytes, self.n_images
        is_measured = self.is_measured

        def text(k: int, r: int) -> str:
            if not is_measured[k, r]:
                return f"({n_images[k, r]:,})"
            return f"{accuracy[k, r]:.4f} in {n_bytes[k, r]:,.0f} B"

        header = ["cut", "index", "shape", "of the MACs", *(f"{rate:,} B" for rate in self.payload_bytes)]
        rows: list[list[Any]] = [
            [
                cut.name,
                cut.index,
                "x".join(map(str, cut.shape)),
                f"{100 * shares[k]:.0f} %",
                *(text(k, r) for r in range(len(self.payload_bytes))),
            ]
            for k, cut in enumerate(self.cuts)
        ]
        return header, rows

    def _shares(self) -> list[float]:
        """Return the share of each cut's head in the model's multiply-accumulates."""
        return [cut.head_macs / max(1, cut.head_macs + cut.tail_macs) for cut in self.cuts]

    def plot(self, codecs: Any = None, *, ax: Any = None) -> Any:
        """Draw accuracy over mean bytes per frame: a line for each cut, and for each codec beside them.

        Args:
            codecs: The result of `measure_codecs`, or None.
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes. Cuts that dropped out at every rate are left out.
        """
        from ..plots.accuracy import draw_rates

        accuracy, n_bytes = self.accuracy, self.mean_bytes
        lines = {
            f"{cut.name}, {100 * share:.0f} % of the MACs": list(
                zip(n_bytes[k][is_seen].tolist(), accuracy[k][is_seen].tolist(), strict=True)
            )
            for k, (cut, share, is_seen) in enumerate(zip(self.cuts, self._shares(), self.is_measured, strict=True))
            if is_seen.any()
        }
        codec_lines = {} if codecs is None else codecs.lines()
        references = {"the whole model": self.original}
        return draw_rates(lines, codec_lines, references=references, title=self.model_name, ax=ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map as an `.npz` without pickle; a failed write leaves no partial file."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "kind": _KIND,
            "cuts": [cut.to_json() for cut in self.cuts],
            **{name: getattr(self, name) for name in _PLAIN},
            "settings": dict(self.settings),
        }
        write_arrays(target, FORMAT_VERSION, record, {name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "AccuracyMap":
        """Read a file of `save`.

        Raises:
            BundleError: If the file does not exist, is no accuracy map, is damaged, or has a newer format.
        """
        fault = "is not a map that AccuracyMap.save wrote"
        record, arrays = read_arrays(path, FORMAT_VERSION, fault=fault, kind=_KIND)
        try:
            cuts = [Cut.from_json(cut) for cut in record["cuts"]]
            fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
            return cls(cuts=cuts, **fields, **{name: record[name] for name in _PLAIN})
        except (KeyError, TypeError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error
