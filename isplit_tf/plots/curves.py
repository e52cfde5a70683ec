"""Plots of importance along the axis of cuts, with the sizes of the layers and the accuracy after the split."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .accuracy import draw_accuracies
from .style import BLUE, GREY, RED, STYLES, name_ticks


def curve_and_sizes(
    draw_curve: Callable[[Any], Any],
    sizes: Sequence[int],
    *,
    choice: int | None = None,
    others: Sequence[int] = (),
    accuracy: tuple[Sequence[int], Any, float] | None = None,
) -> Any:
    """Draw the curve above the layer sizes, the criterion of Cut-Distil-Encode, as in the paper's Fig. 3.

    Args:
        draw_curve: Draws importance on the given axes and names the cuts, as `Curve.plot` does.
        sizes: Number of elements at each cut, `(n_cuts,)`.
        choice: Position of the chosen cut, marked by a solid line.
        others: Positions of other candidates, marked by dotted lines.
        accuracy: Positions, accuracies at these positions from 0 to 1, and the accuracy of the original model; drawn
            below if given.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt

    width = max(6.5, 0.42 * len(sizes))
    ratios = [3, 2] if accuracy is None else [3, 2, 3]
    figure, axes = plt.subplots(
        len(ratios), 1, figsize=(width, 1.15 * sum(ratios)), sharex=True, layout="constrained", height_ratios=ratios
    )
    upper, lower = axes[:2]
    draw_curve(upper)
    lower.step(range(len(sizes)), sizes, where="mid", color=GREY, linestyle="--", label="elements of the layer")
    drops = [k for k in range(1, len(sizes)) if sizes[k] < sizes[k - 1]]
    lower.plot(drops, [sizes[k] for k in drops], "s", color=GREY, label="size drops (CDE)")
    lower.set_yscale("log")
    lower.set_ylabel("elements")
    lower.grid(alpha=0.3)
    if accuracy is not None:
        at, values, original = accuracy
        draw_accuracies(axes[2], at, values, {"original": original})
        axes[2].legend(fontsize=8)
        axes[2].set_ylabel("predicted accuracy (%)")
        axes[2].grid(alpha=0.3)
    for ax in axes[:-1]:
        ax.tick_params(axis="x", labelbottom=False)
    axes[-1].set_xlabel("cut, from the input to the output")
    axes[-1].tick_params(axis="x", labelbottom=True, labelrotation=60, labelsize=8)
    plt.setp(axes[-1].get_xticklabels(), ha="right", rotation_mode="anchor")
    lines = [] if choice is None else [(choice, "-")]
    for position, style in [*lines, *((candidate, ":") for candidate in others)]:
        for ax in axes:
            ax.axvline(position, color=RED, linewidth=1, linestyle=style, zorder=0)
    lower.legend(fontsize=8)
    return figure


def importance_sizes_accuracy(
    names: Sequence[str],
    importance: Any,
    sizes: Any,
    accuracies: Any,
    *,
    positions: Sequence[int] | None = None,
    peaks: Sequence[int] = (),
    references: Mapping[str, float] | None = None,
    title: str = "",
) -> Any:
    """Draw importance, layer sizes and accuracy after retraining along one axis of cuts: the paper's Fig. 3.

    Args:
        names: Names of the cuts along the axis.
        importance: Importance of the cuts, `(n_cuts,)`.
        sizes: Number of elements at each cut, `(n_cuts,)`.
        accuracies: From 0 to 1; `(n_points, n_sets)` is drawn as boxes, `(n_points,)` as a line.
        positions: Positions on the axis at which accuracies were measured; all cuts by default.
        peaks: Positions of the curve's peaks.
        references: Accuracies to draw as level lines, by name: the original and other controls.
        title: Title above the plot.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    at = list(range(len(names))) if positions is None else list(positions)
    figure, axes = plt.subplots(
        3, 1, figsize=(max(6.5, 0.42 * len(names)), 7.2), sharex=True, layout="constrained", height_ratios=[3, 2, 3]
    )
    axes[0].plot(np.log10(importance), "-o", color=BLUE, markersize=4)
    axes[0].plot(list(peaks), np.log10(importance)[list(peaks)], "^", color=RED, markersize=9, label="peak")
    axes[0].set_ylabel("log10 importance")
    axes[0].legend(fontsize=8)
    axes[1].step(range(len(sizes)), sizes, where="mid", color=GREY, linestyle="--")
    drops = [k for k in range(1, len(sizes)) if sizes[k] < sizes[k - 1]]
    axes[1].plot(drops, [sizes[k] for k in drops], "s", color=GREY, label="size drop (CDE)")
    axes[1].set_yscale("log")
    axes[1].set_ylabel("elements")
    axes[1].legend(fontsize=8)
    draw_accuracies(axes[2], at, accuracies, references or {})
    if references:
        axes[2].legend(fontsize=8)
    for ax in axes:
        ax.grid(alpha=0.3)
        for peak in peaks:
            ax.axvline(peak, color=RED, linewidth=0.8, linestyle=":", zorder=0)
    name_ticks(axes[2], names)
    axes[0].set_title(title)
    return figure


def curves(names: Sequence[str], lines: Mapping[str, Any], *, log: bool = False, label: str = "importance") -> Any:
    """Draw several curves along one axis of cuts, each scaled to a maximum of 1 so that shapes can be compared.

    Args:
        names: Names of the cuts.
        lines: Curves by name, each `(n_cuts,)`.
        log: Whether to draw log10 of the values.
        label: Label of the vertical axis.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, ax = plt.subplots(figsize=(max(6.5, 0.42 * len(names)), 4), layout="constrained")
    for (name, values), (color, marker, style) in zip(lines.items(), STYLES * len(lines), strict=False):
        scaled = np.asarray(values, float) / np.nanmax(values)
        ax.plot(
            np.log10(scaled) if log else scaled, color=color, marker=marker, linestyle=style, markersize=4, label=name
        )
    ax.set_ylabel(f"{'log10 ' if log else ''}{label}, highest = {0 if log else 1}")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    name_ticks(ax, names)
    return figure
