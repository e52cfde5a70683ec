"""The results of a study, read from its rows as arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..evaluation.evaluation import Evaluation
from ..importance.statistics import best_position, peak_positions
from ..sweep.store import Row, Store
from .jobs import Score, points, unpacked
from .recipes import Study

Found = dict[str, Any]
Picture = tuple[str, Any]
"""The name of a file, and a matplotlib figure."""


@dataclass(frozen=True)
class Measured:
    """A study with its results so far.

    Attributes:
        study: The study.
        store: Its rows.
    """

    study: Study
    store: Store

    @property
    def is_there(self) -> bool:
        """Check whether the original was trained; before that there are no results."""
        return any(self.store.rows(kind="original"))

    @cached_property
    def original(self) -> Row:
        """Return the row of the first original."""
        return next(self.store.rows(kind="original", seed=0))

    @cached_property
    def cuts(self) -> list[dict[str, Any]]:
        """Return name, index, shape, size and multiply-accumulates of the main cuts."""
        return self.original["cuts"]

    @cached_property
    def points(self) -> list[int]:
        """Return the positions that are measured."""
        return [k for k in points(self.study) if k < len(self.cuts)]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return the labels of the test images, int64 `(N,)`."""
        return unpacked(self.original["labels"])

    def series_title(self, name: str) -> str:
        """Return a short description of a series."""
        series = next(candidate for candidate in self.study.series if candidate.name == name)
        if series.compression is None:
            return f"{series.elements} elements at every cut"
        return f"{series.compression:.0%} compression"

    def seeds(self, series: str) -> list[int]:
        """Return the complete seeds of a series: those measured at every point."""
        complete = []
        for seed in range(self.study.seeds):
            done = {row["cut"] for row in self.store.rows(kind="split", series=series, seed=seed)}
            if set(self.points) <= done:
                complete.append(seed)
        return complete

    def right(self, series: str) -> np.ndarray:
        """Return whether each test image was classified right after the split, bool `(n_seeds, n_points, N)`."""
        rows = {(row["seed"], row["cut"]): row for row in self.store.rows(kind="split", series=series)}
        return np.array(
            [
                [unpacked(rows[seed, cut]["predictions"]) == self.labels for cut in self.points]
                for seed in self.seeds(series)
            ]
        )

    def row(self, series: str, cut: int, seed: int = 0) -> Row:
        """Return the row of one split."""
        return next(self.store.rows(kind="split", series=series, cut=cut, seed=seed))

    def column(self, series: str, field: str) -> np.ndarray:
        """Return a field of the rows of a series, the mean over its complete seeds, float64 `(n_points,)`."""
        seeds = self.seeds(series)
        return np.mean([[self.row(series, cut, seed)[field] for cut in self.points] for seed in seeds], axis=0)

    def reference(self, kind: str) -> float:
        """Return the mean accuracy over seeds of `original`, `control` or `identity`; NaN if it is not measured."""
        accuracies = [row["accuracy"] for row in self.store.rows(kind=kind)]
        return float(np.mean(accuracies)) if accuracies else float("nan")

    def evaluation(self, row: Row) -> Evaluation:
        """Return the evaluation of a row's predictions on the test images."""
        names = self.original["class_names"]
        return Evaluation(self.labels, unpacked(row["predictions"]), len(names), tuple(names))

    def has(self, score: Score) -> bool:
        """Check whether a score was measured."""
        return any(self.store.rows(kind="score", score=score.name))

    def curve(self, score: Score) -> np.ndarray:
        """Return a score along the axis, the mean over the originals, float64 `(n_cuts,)`."""
        return np.mean([row["values"] for row in self.store.rows(kind="score", score=score.name)], axis=0)

    def per_class(self, score: Score) -> np.ndarray:
        """Return the curve of each class for the first original, float64 `(n_classes, n_cuts)`; NaN without images."""
        row = next(self.store.rows(kind="score", score=score.name, seed=0))
        return np.array(row["per_class"], float)

    @cached_property
    def peaks(self) -> list[int]:
        """Return the positions of the peaks of the curve."""
        return peak_positions(self.curve(Score()))

    @property
    def best(self) -> int:
        """Return the highest peak; without peaks, the highest position before the last."""
        return best_position(self.curve(Score()), self.peaks)

    def nearest_point(self, position: int) -> int:
        """Return the measured position nearest to a position on the axis."""
        return min(self.points, key=lambda k: (abs(k - position), k))
