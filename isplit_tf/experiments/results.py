"""What the rows of a study say, as arrays."""

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
"""A name for the file, and a matplotlib figure."""


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
        """Whether the original was trained; before that there is nothing to say."""
        return any(self.store.rows(kind="original"))

    @cached_property
    def original(self) -> Row:
        """The row of the first original."""
        return next(self.store.rows(kind="original", seed=0))

    @cached_property
    def cuts(self) -> list[dict[str, Any]]:
        """Name, index, shape, size and multiply-accumulates of the main cuts."""
        return self.original["cuts"]

    @cached_property
    def points(self) -> list[int]:
        """The positions that are measured."""
        return [k for k in points(self.study) if k < len(self.cuts)]

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 `(N,)`: of the test images."""
        return unpacked(self.original["labels"])

    def series_title(self, name: str) -> str:
        """What a series is, in words."""
        series = next(each for each in self.study.series if each.name == name)
        if series.compression is None:
            return f"{series.elements} elements at every cut"
        return f"{series.compression:.0%} compression"

    def seeds(self, series: str) -> list[int]:
        """The seeds of a series that are whole: measured at every point."""
        found = []
        for seed in range(self.study.seeds):
            done = {row["cut"] for row in self.store.rows(kind="split", series=series, seed=seed)}
            if set(self.points) <= done:
                found.append(seed)
        return found

    def right(self, series: str) -> np.ndarray:
        """bool `(n_seeds, n_points, N)`: whether a test image was classified right after the split."""
        rows = {(row["seed"], row["cut"]): row for row in self.store.rows(kind="split", series=series)}
        return np.array(
            [
                [unpacked(rows[seed, cut]["predictions"]) == self.labels for cut in self.points]
                for seed in self.seeds(series)
            ]
        )

    def row(self, series: str, cut: int, seed: int = 0) -> Row:
        """The row of one split."""
        return next(self.store.rows(kind="split", series=series, cut=cut, seed=seed))

    def column(self, series: str, field: str) -> np.ndarray:
        """float64 `(n_points,)`: a field of the rows of a series, mean over its whole seeds."""
        seeds = self.seeds(series)
        return np.mean([[self.row(series, cut, seed)[field] for cut in self.points] for seed in seeds], axis=0)

    def reference(self, kind: str) -> float:
        """Mean accuracy over seeds of `original`, `control` or `identity`; NaN where there is none yet."""
        found = [row["accuracy"] for row in self.store.rows(kind=kind)]
        return float(np.mean(found)) if found else float("nan")

    def evaluation(self, row: Row) -> Evaluation:
        """What a row's predictions say about the test images."""
        names = self.original["class_names"]
        return Evaluation(self.labels, unpacked(row["predictions"]), len(names), tuple(names))

    def has(self, score: Score) -> bool:
        """Whether a score was measured."""
        return any(self.store.rows(kind="score", score=score.name))

    def curve(self, score: Score) -> np.ndarray:
        """float64 `(n_cuts,)`: a score along the axis, mean over the originals."""
        return np.mean([row["values"] for row in self.store.rows(kind="score", score=score.name)], axis=0)

    def per_class(self, score: Score) -> np.ndarray:
        """float64 `(n_classes, n_cuts)`: of the first original; NaN for a class that was not seen."""
        row = next(self.store.rows(kind="score", score=score.name, seed=0))
        return np.array(row["per_class"], float)

    @cached_property
    def peaks(self) -> list[int]:
        """Positions of the peaks of the curve."""
        return peak_positions(self.curve(Score()))

    @property
    def best(self) -> int:
        """The highest peak; the highest position but the last where there is none."""
        return best_position(self.curve(Score()), self.peaks)

    def nearest_point(self, position: int) -> int:
        """The measured position closest to one on the axis."""
        return min(self.points, key=lambda k: (abs(k - position), k))
