"""Plots of the arrays of a single record: a curve, a sanity check, an accuracy curve, or a phase of training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .style import BLUE, RED


def draw_curve(
    names: Sequence[str],
    values: Any,
    interval: tuple[Any, Any],
    *,
    peaks: Sequence[int] = (),
    classes: Iterable[Any] = (),
    log: bool = False,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw importance along the axis of cuts.

    Args:
        names: Names of the cuts.
        values: Importance of the cuts, `(n_cuts,)`.
        interval: Lower and upper bounds, each `(n_cuts,)`; not drawn unless all lower bounds are finite.
        peaks: Positions of the peaks.
        classes: Values of each class, `(n_cuts,)`, drawn as thin lines.
        log: Whether to draw log10 of all values.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    import numpy as np

    ax = ax or _axes(len(names))

    def scaled(values: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log10(values), np.nan) if log else values

    positions = np.arange(len(names))
    for row in classes:
        ax.plot(positions, scaled(row), color="0.75", linewidth=0.8, zorder=1)
    low, high = interval
    if np.isfinite(low).all():
        ax.fill_between(positions, scaled(low), scaled(high), color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    values = scaled(values)
    ax.plot(positions, values, color=BLUE, marker="o", markersize=4, label="CUI", zorder=3)
    if peaks:
        marker_style = {"color": RED, "markersize": 9, "markeredgecolor": "black"}
        ax.plot(positions[list(peaks)], values[list(peaks)], "v", label="peak", zorder=4, **marker_style)
    _name_positions(ax, names)
    ax.set_ylabel("log10 of importance" if log else "importance (CUI)")
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def draw_sanity_check(layers: Sequence[str], maps: Any, curve: Any, *, title: str = "", ax: Any = None) -> Any:
    """Draw the rank correlation of maps and curve with those of the trained model after layers are randomized.

    Args:
        layers: Names of the layers, in the order in which they were randomized.
        maps: Correlation of the maps, `(n_layers,)`.
        curve: Correlation of the curve, `(n_layers,)`.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = ax or _axes(len(layers))
    positions = range(len(layers))
    ax.plot(positions, maps, color=BLUE, marker="o", label="maps at the cuts before")
    ax.plot(positions, curve, color=RED, marker="s", linestyle="--", label="curve")
    ax.axhline(0, color="0.5", linewidth=0.8)
    _name_positions(ax, layers)
    ax.set_xlabel("random from the output to")
    ax.set_ylabel("rank correlation with the trained model")
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def draw_accuracy_curve(
    names: Sequence[str], accuracy: Any, interval: tuple[Any, Any], original: float, *, title: str = "", ax: Any = None
) -> Any:
    """Draw the accuracy with a projection at each cut, and the accuracy of the whole model as a level line.

    Args:
        names: Names of the cuts.
        accuracy: Accuracy with a projection at each cut, `(n_cuts,)`, from 0 to 1.
        interval: Lower and upper bounds, each `(n_cuts,)`.
        original: Accuracy of the whole model, from 0 to 1.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = ax or _axes(len(names))
    positions = range(len(names))
    ax.fill_between(positions, *interval, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    ax.plot(positions, accuracy, color=BLUE, marker="o", markersize=4, label="behind the projection")
    ax.axhline(original, color="0.35", linestyle="--", label="the whole model")
    _name_positions(ax, names)
    ax.set_ylabel("accuracy")
    ax.set_title(title, fontsize=9)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax


def draw_phase(ax: Any, epochs: Sequence[int], metrics: Mapping[str, tuple[Any, Any]], *, title: str = "") -> None:
    """Draw up to two metrics of a training phase over its epochs, with dashed lines for the validation data.

    Args:
        ax: Matplotlib axes to draw on.
        epochs: Numbers of the epochs.
        metrics: For each metric by name, the values on training and on validation data, each `(n_epochs,)`; no line is
            drawn if all values are NaN.
        title: Title above the plot.
    """
    import numpy as np

    for (name, series), color, marker in zip(metrics.items(), (BLUE, RED), "os", strict=False):
        for prefix, style, values in zip(("", "val_"), ("-", "--"), series, strict=True):
            if np.isfinite(values).any():
                ax.plot(epochs, values, style, color=color, marker=marker, label=prefix + name)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("epoch")
    ax.set_xticks(epochs)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)


def _axes(count: int) -> Any:
    """Return new axes, wide enough for `count` names."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(max(6.0, 0.45 * count), 4.2), layout="constrained")[1]


def _name_positions(ax: Any, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), [name.rsplit("/", 1)[-1] for name in names], rotation=60, ha="right", fontsize=8)
