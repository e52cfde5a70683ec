"""Plots of accuracies: along the axis of cuts, by class, over bytes, and against a score."""

from collections.abc import Mapping, Sequence
from typing import Any

from .style import BLUE, GREY, STYLES, name_ticks


def draw_accuracies(ax: Any, at: Sequence[int], accuracies: Any, references: Mapping[str, float]) -> None:
    """Draw accuracies along the axis of cuts in percent, without a legend.

    Args:
        ax: Matplotlib axes to draw on.
        at: Positions on the axis, `(n_points,)`.
        accuracies: From 0 to 1; `(n_points, n_sets)` is drawn as boxes, `(n_points,)` as a line.
        references: Accuracies to draw as level lines, by name; those that are not finite are left out.
    """
    import numpy as np

    values = 100 * np.asarray(accuracies, float)
    if values.ndim == 2:
        ax.boxplot(
            values.T,
            positions=at,
            widths=0.5,
            manage_ticks=False,
            medianprops={"color": BLUE, "linewidth": 2},
            flierprops={"marker": ".", "markersize": 4},
        )
    else:
        ax.plot(at, values, "-o", color=BLUE, markersize=4)
    for (name, value), style in zip(references.items(), ("-", "--", ":", "-.") * 2, strict=False):
        if np.isfinite(value):
            ax.axhline(100 * value, color=GREY, linestyle=style, linewidth=1.2, label=name.replace(", ", ",\n"))
    ax.set_ylabel("accuracy (%)")


def accuracies(names: Sequence[str], lines: Mapping[str, Any], *, references: Mapping[str, float]) -> Any:
    """Draw several series of accuracies along the axis of cuts, with reference accuracies as level lines.

    Args:
        names: Names of the cuts.
        lines: Accuracies by name of the series, each `(n_cuts,)`, from 0 to 1.
        references: Accuracies to draw as level lines, by name.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, ax = plt.subplots(figsize=(max(6.5, 0.42 * len(names)), 4), layout="constrained")
    draw_accuracies(ax, [], np.empty(0), references)
    for (name, values), (color, marker, style) in zip(lines.items(), STYLES * len(lines), strict=False):
        percent = 100 * np.asarray(values, float)
        ax.plot(percent, color=color, marker=marker, linestyle=style, markersize=4, label=name)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    name_ticks(ax, names)
    return figure


def rate_and_accuracy(
    splits: Mapping[str, Sequence[tuple[float, float]]],
    codecs: Mapping[str, Sequence[tuple[float, float]]],
    *,
    references: Mapping[str, float],
    title: str = "",
) -> Any:
    """Draw accuracy over bytes per frame, for splits and for compressed images.

    Args:
        splits: For each split by name, pairs of bytes and accuracy, drawn with markers.
        codecs: For each codec by name, pairs of bytes and accuracy, drawn as grey lines.
        references: Accuracies to draw as level lines, by name.
        title: Title above the plot.

    Returns:
        A matplotlib figure.
    """
    return draw_rates(splits, codecs, references=references, title=title).figure


def draw_rates(
    splits: Mapping[str, Sequence[tuple[float, float]]],
    codecs: Mapping[str, Sequence[tuple[float, float]]],
    *,
    references: Mapping[str, float],
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw accuracy over bytes per frame, as `rate_and_accuracy` does, and return the axes.

    Args:
        splits: For each split by name, pairs of bytes and accuracy; more than six have colours in their order.
        codecs: For each codec by name, pairs of bytes and accuracy, drawn as grey lines.
        references: Accuracies to draw as level lines, by name.
        title: Title above the plot.
        ax: Matplotlib axes to draw on, with a legend inside; by default new ones, with a legend beside them.
    """
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    beside = ax is None
    if ax is None:
        ax = plt.subplots(figsize=(9, 4.6), layout="constrained")[1]
    draw_accuracies(ax, [], np.empty(0), references)
    for (name, points), style in zip(codecs.items(), ("-", "--", ":", "-.") * len(codecs), strict=False):
        x, y = np.array(points, float).T
        ax.plot(x, 100 * y, color="0.5", linestyle=style, marker="." if len(x) < 3 else None, label=name)
    styles = (*STYLES, ("#E69F00", "P", "--"))
    many = len(splits) > len(styles)
    for k, (name, points) in enumerate(splits.items()):
        own, marker, style = styles[k % len(styles)]
        x, y = np.array(points, float).T
        color: Any = plt.get_cmap("viridis")(k / (len(splits) - 1)) if many else own
        ax.plot(x, 100 * y, color=color, marker=marker, linestyle=style, markersize=6, label=name)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("bytes per frame")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    if beside:
        columns = 1 + (len(splits) + len(codecs)) // 24
        ax.figure.legend(loc="outside right upper", fontsize=8, ncols=columns)
    else:
        ax.legend(fontsize=8)
    return ax


def f1_before_and_after(before: Any, after: Any, *, names: Sequence[str], title: str = "") -> Any:
    """Draw F1 of each class before and after a split, in descending order of the original's F1: the paper's Fig. 5.

    Args:
        before: F1 of the original model, `(n_classes,)`; NaN for a class without images.
        after: F1 of the split model on the same images, `(n_classes,)`.
        names: Names of the classes.
        title: Title above the plot.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    before, after = np.asarray(before, float), np.asarray(after, float)
    order = np.argsort(-np.nan_to_num(before, nan=-1), kind="stable")
    figure, ax = plt.subplots(figsize=(max(6.5, 0.22 * len(order)), 4), layout="constrained")
    positions = np.arange(len(order))
    ax.bar(positions - 0.2, 100 * before[order], 0.4, color="0.8", edgecolor="0.2", label="original")
    ax.bar(positions + 0.2, 100 * after[order], 0.4, color=BLUE, edgecolor="0.2", hatch="///", label="after the split")
    ax.set_xticks(positions, [names[k][:18] for k in order], rotation=60, ha="right", fontsize=7)
    ax.set_ylabel("F1 (%)")
    ax.set_title(title)
    ax.grid(alpha=0.3, axis="y")
    ax.legend(fontsize=8)
    return figure


def score_against_accuracy(
    score: Any,
    accuracies: Any,
    *,
    names: Sequence[str],
    label: str,
    intervals: Any = None,
    references: Mapping[str, float] | None = None,
    title: str = "",
) -> Any:
    """Draw the accuracy after the split over a score of each cut, with reference accuracies as level lines.

    Args:
        score: Scores, `(n_points,)`.
        accuracies: Accuracies after the split, `(n_points,)`, from 0 to 1.
        names: Names of the cuts.
        label: Name of the score.
        intervals: Lower and upper bounds of the accuracies, `(2, n_points)`.
        references: Accuracies to draw as level lines, by name.
        title: Title above the plot.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    score, accuracies = np.asarray(score, float), np.asarray(accuracies, float)
    figure, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    errors = None if intervals is None else 100 * np.abs(np.asarray(intervals, float) - accuracies)
    ax.errorbar(score, 100 * accuracies, errors, fmt="o", color=BLUE, ecolor="0.6", capsize=2, markersize=5)
    for name, x, y in zip(names, score, accuracies, strict=True):
        ax.annotate(name, (x, 100 * y), xytext=(3, 3), textcoords="offset points", fontsize=6, color="0.25")
    for (name, value), style in zip((references or {}).items(), ("-", "--", ":", "-.") * 2, strict=False):
        if np.isfinite(value):
            ax.axhline(100 * value, color=GREY, linestyle=style, linewidth=1.2, label=name)
    if np.all(score > 0) and score.max() > 20 * score.min():
        ax.set_xscale("log")
    ax.set_xlabel(label)
    ax.set_ylabel("accuracy after the split (%)")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    if references:
        ax.legend(fontsize=8)
    return figure
