"""The metrics of a training, epoch by epoch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from ..display.tables import html_table, text_table
from ..errors import ArgumentError, BundleError
from ..storage.records import number_or_nan, number_or_none, read_record, write_record

FORMAT_VERSION = 2
FIT, BOTTLENECK, FINE_TUNE = PHASES = ("fit", "bottleneck", "fine_tune")
_KIND = "history"
_TITLES = {"fit": "in closed form", "bottleneck": "bottleneck alone", "fine_tune": "end to end"}


def _kept(epoch: int) -> str:
    return f"epoch {epoch}" if epoch else "the weights before the first epoch"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data.

    Attributes:
        phase: "fit", "bottleneck" or "fine_tune".
        number: Number within the phase, from 1.
        metrics: Means over the epoch by name; names for the validation data begin with `val_`.
        duration_s: Seconds, validation included.
    """

    phase: str
    number: int
    metrics: Mapping[str, float]
    duration_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def to_json(self) -> dict[str, Any]:
        """Return the epoch as plain JSON values, with None for NaN."""
        metrics = {name: number_or_none(value) for name, value in self.metrics.items()}
        return {"phase": self.phase, "number": self.number, "metrics": metrics, "duration_s": self.duration_s}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Epoch":
        """Return the epoch from the values that `to_json` gave.

        Raises:
            ValueError: If the phase is unknown.
        """
        if record["phase"] not in PHASES:
            raise ValueError(f"no phase {record['phase']!r}")
        metrics = {str(name): number_or_nan(value) for name, value in record["metrics"].items()}
        return cls(record["phase"], int(record["number"]), metrics, float(record["duration_s"]))


@dataclass(frozen=True)
class History:
    """The epochs of a training, those before an interruption included.

    Metrics of the phase "bottleneck": `loss`, the mean over images of ||F - decoder(encoder(F))||^2 (Eq. 3), and
    `relative_error`, the sum of these squares divided by the sum of ||F||^2, which can be compared between cuts.
    Metrics of the phase "fine_tune": `loss`, and `accuracy` if the output is class scores.

    A bottleneck in closed form has one epoch of the phase "fit", with the metric `fit_images`, the number of images
    used. A `Projection` also has `relative_error` there, and no phase "bottleneck".

    Attributes:
        epochs: Epochs in the order in which they ran.
        seed: The given or drawn seed; the same seed repeats the run.
        kept_epoch: With `keep_best`, the epoch of phase 2 whose weights the split has; 0 for the weights before the
            first epoch.
        start: With `keep_best`, the metrics on the validation data before phase 2.
    """

    epochs: tuple[Epoch, ...] = field(default=())
    seed: int = 0
    kept_epoch: int | None = None
    start: Mapping[str, float] | None = None

    def of_phase(self, phase: str) -> tuple[Epoch, ...]:
        """Return the epochs of a phase: "fit", "bottleneck" or "fine_tune".

        Raises:
            ArgumentError: If the phase is unknown.
        """
        if phase not in PHASES:
            raise ArgumentError(f"No phase {phase!r}. Phases are {PHASES}.")
        return tuple(epoch for epoch in self.epochs if epoch.phase == phase)

    def values(self, phase: str, metric: str) -> np.ndarray:
        """Return one metric over the epochs of a phase.

        Args:
            phase: "fit", "bottleneck" or "fine_tune".
            metric: Name of the metric, for instance `"loss"` or `"val_accuracy"`.

        Returns:
            float64 `(n_epochs,)`; NaN for epochs without the metric.
        """
        return np.array([epoch.metrics.get(metric, np.nan) for epoch in self.of_phase(phase)], float)

    @property
    def duration_s(self) -> float:
        """Return the seconds of all epochs, without tracing between phases and without computing cached features."""
        return sum(epoch.duration_s for epoch in self.epochs)

    def table(self) -> str:
        """Return the epochs as a text table, one line per epoch."""
        return text_table(*self._rows())

    def __repr__(self) -> str:
        parts = [self._phase_text(phase) for phase in PHASES if self.of_phase(phase)]
        return f"History({'; '.join([*parts, f'{self.duration_s:.1f} s'])})"

    def _repr_html_(self) -> str:
        return html_table(*self._rows())

    def _phase_text(self, phase: str) -> str:
        epochs = self.of_phase(phase)
        count = "" if phase == "fit" else f"{len(epochs)} epochs, "
        metrics = epochs[-1].metrics
        if phase == "fine_tune" and self.kept_epoch is not None:
            count += f"kept {_kept(self.kept_epoch)}: "
            metrics = epochs[self.kept_epoch - 1].metrics if self.kept_epoch else self.start or {}
        return f"{_TITLES[phase]}: {count}{', '.join(f'{name} {value:.4g}' for name, value in metrics.items())}"

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        names = list(dict.fromkeys(name for epoch in self.epochs for name in epoch.metrics))
        header = ["phase", "epoch", *names, "seconds"]
        rows: list[list[Any]] = [
            [_TITLES[epoch.phase], epoch.number, *(epoch.metrics.get(name) for name in names), epoch.duration_s]
            for epoch in self.epochs
        ]
        if self.start is None:
            return header, rows
        first = len(self.epochs) - len(self.of_phase("fine_tune"))
        rows.insert(first, [_TITLES["fine_tune"], 0, *(self.start.get(name) for name in names), None])
        for k, row in enumerate(rows):
            row.append("kept" if k - first == self.kept_epoch else "")
        return [*header, ""], rows

    def plot(self, *, axes: Any = None) -> Any:
        """Draw the metrics of each phase over its epochs, with dashed lines for the validation data.

        Args:
            axes: Matplotlib axes, one per trained phase; new axes by default.

        Returns:
            List of the axes.

        Raises:
            ArgumentError: If nothing was trained, or the numbers of axes and phases differ.
        """
        phases = [phase for phase in PHASES[1:] if self.of_phase(phase)]  # a fit has one epoch only
        if not phases:
            raise ArgumentError("There is nothing to plot: no epoch was trained.")
        if axes is None:
            import matplotlib.pyplot as plt

            _, grid = plt.subplots(
                1, len(phases), figsize=(5.5 * len(phases), 3.8), layout="constrained", squeeze=False
            )
            axes = grid[0]
        axes = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(axes) != len(phases):
            raise ArgumentError(f"Expected {len(phases)} axes, one for each of {phases}. Received: {len(axes)}.")
        for ax, phase in zip(axes, phases, strict=True):
            self._draw(ax, phase)
        return axes

    def _draw(self, ax: Any, phase: str) -> None:
        from ..plots.records import draw_phase

        # The loss of phase 1 is a sum of squares whose scale depends on the cut; the relative error does not.
        names = ["relative_error"] if phase == "bottleneck" else ["loss", "accuracy"]
        metrics = {name: (self.values(phase, name), self.values(phase, f"val_{name}")) for name in names}
        draw_phase(ax, [epoch.number for epoch in self.of_phase(phase)], metrics, title=_TITLES[phase])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history to a JSON file, which is replaced if it exists; its folder must exist."""
        fields: dict[str, Any] = {"seed": self.seed, "epochs": [epoch.to_json() for epoch in self.epochs]}
        if self.kept_epoch is not None:
            fields["kept_epoch"] = self.kept_epoch
            fields["start"] = {name: number_or_none(value) for name, value in (self.start or {}).items()}
        write_record(path, _KIND, FORMAT_VERSION, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "History":
        """Read a file that `save` wrote.

        Raises:
            BundleError: If the file does not exist, is not a history, is damaged, or has a newer format.
        """
        record = read_record(path, _KIND, FORMAT_VERSION)
        try:
            epochs = tuple(Epoch.from_json(epoch) for epoch in record["epochs"])
            kept_epoch = record.get("kept_epoch")
            start = {str(name): number_or_nan(value) for name, value in record.get("start", {}).items()}
            return cls(epochs, int(record["seed"]), None if kept_epoch is None else int(kept_epoch), start or None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error
