"""The importance curve: one number per cut, for all images or for some classes."""

import dataclasses
import html
import math
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge.files import make_folder

from ..display.tables import even_texts
from ..errors import ArgumentError, BundleError
from ..graph.cuts import Cut
from ..storage.records import read_arrays, write_arrays
from .curve_file import check_curve
from .kernels import title
from .statistics import ClassStatistics, best_position, peak_positions

FORMAT_VERSION = 2
_PLAIN = tuple("class_names method reduction target model_name weighting precision confidence settled n_inputs".split())


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """The cumulated importance (CUI) of each cut, averaged over images.

    Attributes:
        cuts: The cuts, in topological order.
        statistics: Mean and spread of each class at each cut. An image with several labels counts in each of their
            classes; `values` are then means over images of the mean over their labels.
        class_names: Names of the classes, or None.
        method: Method of `measure_importance`.
        reduction: "mean" (divided by the cut's size) or "sum".
        target: "label" or "predicted".
        model_name: Name of the model.
        input_shape, n_inputs: Shape of its first input without the batch, and how many inputs it has.
        weighting: "images" if `values` is the mean over images, "classes" for a balanced curve.
        precision: Precision of the pass: "float32" for the unchanged model, "bfloat16" or "float16".
        confidence: Confidence, from 0 to 1, that `best` and `peaks` would be the same for all images; None if it was
            not requested. Curves of some classes, merged and balanced curves have None: their mean was not tested.
        settled: Whether the requested confidence was reached; None if it was not requested.

    Reference:
        Cunico, Capogrosso et al., I-Split, ICPR 2022, Sec. III-A.
    """

    cuts: list[Cut]
    statistics: ClassStatistics
    class_names: list[str] | None
    method: str
    reduction: str
    target: str
    model_name: str
    input_shape: tuple[int | None, ...]
    weighting: str = "images"
    precision: str = "float32"
    confidence: float | None = None
    settled: bool | None = None
    n_inputs: int = 1

    @property
    def counts(self) -> np.ndarray:
        """Return the number of images of each class, by label: int64 `(n_classes,)`."""
        return self.statistics.counts

    @property
    def n_images(self) -> int:
        """Return the number of images."""
        return int(self.statistics.pooled().counts[0])

    @property
    def per_class(self) -> np.ndarray:
        """Return the mean over the images of each class: float64 `(n_classes, n_cuts)`, NaN for an empty class."""
        return np.where(self.counts[:, None] > 0, self.statistics.means, np.nan)

    @property
    def values(self) -> np.ndarray:
        """Return the mean over images, or over classes for a balanced curve: float64 `(n_cuts,)`."""
        if self.weighting == "classes":
            return self.statistics.means[self.counts > 0].mean(axis=0)
        return self.statistics.pooled().means[0]

    def of_classes(self, classes: Iterable[int | str]) -> "Curve":
        """Return the curve of some classes alone.

        Args:
            classes: Numbers or names of the classes.

        Raises:
            ArgumentError: If a class does not exist, or if none of the classes has images.
        """
        if isinstance(classes, int | str) or not isinstance(classes, Iterable):
            raise ArgumentError(f"Expected a list of classes. Received: {classes!r}. Give of_classes([{classes!r}]).")
        numbers = np.unique([self._class_number(label) for label in classes]).astype(int)
        if not self.counts[numbers].sum():
            raise ArgumentError(f"No image of the classes {numbers.tolist()} was seen.")
        return self._with(statistics=self.statistics.only(numbers))

    def _with(self, **changes: Any) -> "Curve":
        """Return the curve with some fields changed. The confidence is dropped, because it was of another mean."""
        return dataclasses.replace(self, **changes, confidence=None, settled=None)

    def _class_number(self, wanted: int | str) -> int:
        if isinstance(wanted, str):
            if self.class_names and wanted in self.class_names:
                return self.class_names.index(wanted)
            raise ArgumentError(f"No class named '{wanted}'. Classes: {self.class_names or 'have no names'}.")
        is_integer = isinstance(wanted, int | np.integer)
        if not is_integer or not 0 <= wanted < len(self.counts):
            raise ArgumentError(f"No class {wanted!r}: classes go from 0 to {len(self.counts) - 1}.")
        return int(wanted)

    def balanced(self) -> "Curve":
        """Return the curve of the same measurements with equal weight for each class that has images."""
        return self._with(weighting="classes")

    @staticmethod
    def merge(curves: Iterable["Curve"]) -> "Curve":
        """Merge curves that were measured in the same way on the same model into one curve of all their images.

        Raises:
            ArgumentError: If there is no curve, or if the curves differ in cuts, classes, method, reduction, target,
                precision or weighting.
        """
        shards = [curves] if isinstance(curves, Curve) else list(curves)
        if not shards:
            raise ArgumentError("Nothing to merge: no curve was given.")
        if invalid := [curve for curve in shards if not isinstance(curve, Curve)]:
            raise ArgumentError(f"Expected curves to merge. Received: {type(invalid[0]).__name__} among them.")
        first, statistics = shards[0], shards[0].statistics
        for shard in shards[1:]:
            for name in ("method", "reduction", "target", "precision", "class_names", "weighting"):
                if getattr(first, name) != getattr(shard, name):
                    raise ArgumentError(
                        f"Curves to merge must agree. {name}: {getattr(first, name)!r} and {getattr(shard, name)!r}."
                    )
            if [(c.index, c.shape) for c in first.cuts] != [(c.index, c.shape) for c in shard.cuts]:
                raise ArgumentError("Curves to merge must be of the same cuts of the same model.")
            if len(first.counts) != len(shard.counts):
                raise ArgumentError(f"Curves to merge have {len(first.counts)} and {len(shard.counts)} classes.")
            statistics = statistics.merge(shard.statistics)
        return first._with(statistics=statistics)

    def interval(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return a confidence interval for each value by Student's t, with Welch's degrees of freedom if balanced.

        Args:
            confidence: Between 0 and 1.

        Returns:
            The lower and upper ends, each float64 `(n_cuts,)`; NaN if a mean is over a single image.
        """
        if not isinstance(confidence, int | float | np.number) or not 0 < confidence < 1:
            raise ArgumentError(f"confidence must be between 0 and 1. Received: {confidence!r}.")
        from scipy import stats

        groups = self.statistics if self.weighting == "classes" else self.statistics.pooled()
        has_images = groups.counts > 0
        counts = groups.counts[has_images][:, None].astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = groups.squares[has_images] / (counts - 1) / counts
            variance = errors.sum(axis=0)
            freedom = np.where(variance > 0, variance**2 / (errors**2 / (counts - 1)).sum(axis=0), counts.sum() - 1)
            half = stats.t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(variance) / has_images.sum()
        return self.values - half, self.values + half

    @property
    def peaks(self) -> list[Cut]:
        """Return the local maxima in topological order. A plateau counts as its first cut; the ends are no peaks."""
        return [self.cuts[k] for k in peak_positions(self.values)]

    @property
    def best(self) -> Cut:
        """Return the cut of the highest peak.

        If there is no peak, return the highest cut except the last, with a warning. The curve often rises up to its
        last layer, and a head that is nearly the whole network leaves no useful tail.
        """
        values = self.values
        peaks = peak_positions(values)
        if not peaks:
            warnings.warn(
                f"The curve of '{self.model_name}' has no peak between its ends; "
                "the highest cut but the last is taken.",
                stacklevel=2,
            )
        return self.cuts[best_position(values, peaks)]

    def plot(self, *, log: bool = False, per_class: bool = False, ax: Any = None) -> Any:
        """Draw the curve with its interval and peaks, as in the paper's Fig. 3.

        Args:
            log: Whether to plot log10 of the values, as the authors do.
            per_class: Whether to add a thin line for each class.
            ax: Matplotlib axes to draw on; new axes by default.

        Returns:
            The axes.
        """
        from ..plots.records import draw_curve

        return draw_curve(
            [cut.name for cut in self.cuts],
            self.values,
            self.interval(),
            peaks=peak_positions(self.values),
            classes=self.per_class[self.counts > 0] if per_class else (),
            log=log,
            title=f"{self.model_name}: {self.method}, {self.reduction}, {self.n_images} images",
            ax=ax,
        )

    def to_model_explorer(self, path: str | os.PathLike[str], model_file: str | os.PathLike[str] | None = None) -> None:
        """Write the curve as node data for Google's Model Explorer, which colours the model's graph by importance.

        Open the model's `.tflite` file there and load the JSON as custom node data, or do both at once:
        `model-explorer classifier.tflite --node_data_paths=importance.json`. Peaks are orange.

        Args:
            path: The JSON file to write; an existing file is replaced.
            model_file: The `.tflite` file of the whole model, as `model.export("classifier.tflite", format="litert")`
                writes it. Values are attached to its tensors. Without a file they are attached to the names of the
                cuts, for a graph whose nodes have these names. Heads of a bundle do not keep the names of layers.

        Raises:
            ArgumentError: If `model_file` is not a `.tflite` file.
            DataError: If `model_file` contains no cut of the curve. If only some are missing, a warning names them.

        Example:
            >>> curve.to_model_explorer("importance.json")
        """
        from .model_explorer import write_node_data

        name = f"CUI, {self.method}, {self.reduction}"
        write_node_data(path, self.cuts, self.values.tolist(), name=name, peaks=self.peaks, model_file=model_file)

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per cut: index, name, shape, size, importance, low, high, peak, best."""
        low, high = self.interval()
        peaks = {cut.index for cut in self.peaks}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = self.best.index
        return [
            {
                "index": cut.index,
                "name": cut.name,
                "shape": cut.shape,
                "size": cut.size,
                "importance": float(value),
                "low": float(low[k]),
                "high": float(high[k]),
                "peak": cut.index in peaks,
                "best": cut.index == best,
            }
            for k, (cut, value) in enumerate(zip(self.cuts, self.values, strict=True))
        ]

    def table(self) -> str:
        """Return the curve as text: one line per cut, with a bar for its importance and a mark at peaks."""
        rows = self.rows()
        highest = max(row["importance"] for row in rows) or 1.0
        width = max(len("cut"), *(len(row["name"]) for row in rows))
        lines = [
            self._title(),
            f"{'index':>5}  {'cut':<{width}}  {'shape':<16}  {'importance':>10}  {'95 % interval':^21}",
        ]
        for row, (value, low, high) in zip(rows, self._numbers(rows), strict=True):
            shape = "x".join(map(str, row["shape"]))
            bar = "█" * round(20 * row["importance"] / highest)
            mark = " best" if row["best"] else " peak" if row["peak"] else ""
            lines.append(
                f"{row['index']:>5}  {row['name']:<{width}}  {shape:<16}  {value:>10}  {low:>10}{high:>11}  {bar}{mark}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        rows = self.rows()
        cells = "".join(
            f"<tr><td>{row['index']}</td><td>{html.escape(row['name'])}</td><td>{'×'.join(map(str, row['shape']))}</td>"
            f"<td>{value}</td><td>{low} to {high}</td>"
            f"<td>{'best' if row['best'] else 'peak' if row['peak'] else ''}</td></tr>"
            for row, (value, low, high) in zip(rows, self._numbers(rows), strict=True)
        )
        head = "".join(f"<th>{name}</th>" for name in ("index", "cut", "shape", "importance", "95 % interval", ""))
        return f"<table><caption>{html.escape(self._title())}</caption><tr>{head}</tr>{cells}</table>"

    @staticmethod
    def _numbers(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        """Return importance and interval of each row as text, all numbers in one form."""
        texts = iter(even_texts([row[name] for row in rows for name in ("importance", "low", "high")]))
        return list(zip(texts, texts, texts, strict=True))

    def _title(self) -> str:
        """Return a one-line description of the measurement."""
        score = f"{self.target} class" if self.target == "predicted" else self.target
        precision = "" if self.precision == "float32" else f", in {self.precision}"
        return (
            f"Importance of {len(self.cuts)} cuts of '{self.model_name}': {title(self.method)}, {self.reduction} over "
            f"the tensor, score of the {score}, {self.n_images} images of {int((self.counts > 0).sum())} classes, mean "
            f"over {self.weighting}{precision}{self._sureness()}"
        )

    def _sureness(self) -> str:
        if self.confidence is None:
            return ""
        percent = math.floor(1000 * self.confidence) / 10  # rounded down: 99.97 % is not 100 %
        return f"; best cut and peaks {'settled' if self.settled else 'not settled'}, {percent:g} % sure"

    def save(self, path: str | os.PathLike) -> None:
        """Write the curve as an `.npz` file without pickle. An interrupted write leaves no partial file."""
        target = Path(path)
        make_folder(target.parent)
        record = {
            "cuts": [cut.to_json() for cut in self.cuts],
            "input_shape": list(self.input_shape),
            **{name: getattr(self, name) for name in _PLAIN},
        }
        arrays = self.statistics.arrays()
        # Release 0.1.0 reads version 1.
        write_arrays(target, FORMAT_VERSION if "images_counts" in arrays else 1, record, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Curve":
        """Read a curve that `save` wrote.

        Raises:
            BundleError: If the file does not exist, is not a curve, is damaged, or has a newer format.
        """
        record, arrays = read_arrays(path, FORMAT_VERSION, fault="is not a curve that Curve.save wrote")
        try:
            cuts = [Cut.from_json(cut) for cut in record["cuts"]]
            check_curve(record, arrays, len(cuts))
            statistics = ClassStatistics.from_arrays(arrays)
            fields = {name: record[name] for name in _PLAIN if name in record}  # the first release lacks the last ones
            return cls(cuts, statistics, input_shape=tuple(record["input_shape"]), **fields)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise BundleError(f"'{path}' is a damaged curve: {error!r}") from error
