"""What a training did, epoch by epoch."""

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
        number: From 1, within the phase.
        metrics: Means over the epoch by name; those of the validation data begin with `val_`.
        duration_s: Seconds, validation included.
    """

    phase: str
    number: int
    metrics: Mapping[str, float]
    duration_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values; None stands for NaN."""
        metrics = {name: number_or_none(value) for name, value in self.metrics.items()}
        return {"phase": self.phase, "number": self.number, "metrics": metrics, "duration_s": self.duration_s}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Epoch":
        """The inverse of `to_json`.

        Raises:
            ValueError: There is no such phase.
        """
        if record["phase"] not in PHASES:
            raise ValueError(f"no phase {record['phase']!r}")
        metrics = {str(name): number_or_nan(value) for name, value in record["metrics"].items()}
        return cls(record["phase"], int(record["number"]), metrics, float(record["duration_s"]))


@dataclass(frozen=True)
class History:
    """The epochs of a training, those before an interruption included.

    A bottleneck in closed form has one epoch of the phase "fit", in place of those of "bottleneck", with
    `relative_error` as below and `fit_images`, the number of images that it was fitted from.

    Metrics of the phase "bottleneck": `loss`, the mean over images of ||F - decoder(encoder(F))||^2 (Eq.
    3), and `relative_error`, the sum of these squares over the sum of ||F||^2, which can be compared
    between cuts. Metrics of the phase "fine_tune": `loss`, and `accuracy` where the output is class scores.

    Attributes:
        epochs: In the order in which they ran.
        seed: The seed that was given, or that was drawn; the same one repeats the run.
        kept_epoch: With `keep_best`, the epoch of phase 2 whose weights the split has; 0 for those before the first.
        start: With `keep_best`, what the validation data said before phase 2.
    """

    epochs: tuple[Epoch, ...] = field(default=())
    seed: int = 0
    kept_epoch: int | None = None
    start: Mapping[str, float] | None = None

    def of_phase(self, phase: str) -> tuple[Epoch, ...]:
        """The epochs of "fit", "bottleneck" or "fine_tune".

        Raises:
            ArgumentError: There is no such phase.
        """
        if phase not in PHASES:
            raise ArgumentError(f"No phase {phase!r}. Phases are {PHASES}.")
        return tuple(epoch for epoch in self.epochs if epoch.phase == phase)

    def values(self, phase: str, metric: str) -> np.ndarray:
        """One metric over the epochs of a phase.

        Args:
            phase: "fit", "bottleneck" or "fine_tune".
            metric: For instance `"loss"` or `"val_accuracy"`.

        Returns:
            float64 `(n_epochs,)`; NaN where an epoch has no such metric.
        """
        return np.array([epoch.metrics.get(metric, np.nan) for epoch in self.of_phase(phase)], float)

    @property
    def duration_s(self) -> float:
        """Seconds of all epochs, without tracing between phases and without computing features once."""
        return sum(epoch.duration_s for epoch in self.epochs)

    def table(self) -> str:
        """The epochs as text, a line each."""
        return text_table(*self._rows())

    def __repr__(self) -> str:
        parts = [self._phase_text(phase) for phase in PHASES if self.of_phase(phase)]
        return f"History({'; '.join([*parts, f'{self.duration_s:.1f} s'])})"

    def _repr_html_(self) -> str:
        return html_table(*self._rows())

    def _phase_text(self, phase: str) -> str:
        epochs = self.of_phase(phase)
        count = "" if phase == "fit" else f"{len(epochs)} epochs, "
        shown = epochs[-1].metrics
        if phase == "fine_tune" and self.kept_epoch is not None:
            count += f"kept {_kept(self.kept_epoch)}: "
            shown = epochs[self.kept_epoch - 1].metrics if self.kept_epoch else self.start or {}
        return f"{_TITLES[phase]}: {count}{', '.join(f'{name} {value:.4g}' for name, value in shown.items())}"

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        names = list(dict.fromkeys(name for epoch in self.epochs for name in epoch.metrics))
        header = ["phase", "epoch", *names, "seconds"]
        rows: list[list[Any]] = [
            [_TITLES[e.phase], e.number, *(e.metrics.get(name) for name in names), e.duration_s] for e in self.epochs
        ]
        if self.start is None:
            return header, rows
        first = len(self.epochs) - len(self.of_phase("fine_tune"))
        rows.insert(first, [_TITLES["fine_tune"], 0, *(self.start.get(name) for name in names), None])
        for k, row in enumerate(rows):
            row.append("kept" if k - first == self.kept_epoch else "")
        return [*header, ""], rows

    def plot(self, *, axes: Any = None) -> Any:
        """Draws the metrics of each phase over its epochs, validation dashed.

        Args:
            axes: Matplotlib axes, one for each phase that ran; new ones by default.

        Returns:
            The axes, a list.

        Raises:
            ArgumentError: Nothing was trained, or the axes are not as many as the phases.
        """
        phases = [phase for phase in PHASES[1:] if self.of_phase(phase)]  # a fit has no course
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

        # The loss of phase 1 is a sum of squares without a unit: the relative error says more.
        shown = ["relative_error"] if phase == "bottleneck" else ["loss", "accuracy"]
        metrics = {name: (self.values(phase, name), self.values(phase, f"val_{name}")) for name in shown}
        draw_phase(ax, [epoch.number for epoch in self.of_phase(phase)], metrics, title=_TITLES[phase])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the history as JSON, replacing the file if it is there; its folder must exist."""
        fields: dict[str, Any] = {"seed": self.seed, "epochs": [epoch.to_json() for epoch in self.epochs]}
        if self.kept_epoch is not None:
            fields["kept_epoch"] = self.kept_epoch
            fields["start"] = {name: number_or_none(value) for name, value in (self.start or {}).items()}
        write_record(path, _KIND, FORMAT_VERSION, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "History":
        """Reads what `save` wrote.

        Raises:
            BundleError: The file is not there, is no history, is damaged, or has a newer format.
        """
        record = read_record(path, _KIND, FORMAT_VERSION)
        try:
            epochs = tuple(Epoch.from_json(epoch) for epoch in record["epochs"])
            kept = record.get("kept_epoch")
            start = {str(name): number_or_nan(value) for name, value in record.get("start", {}).items()}
            return cls(epochs, int(record["seed"]), None if kept is None else int(kept), start or None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error
