"""Pictures of several records together, and pictures as files; readable in grey print and by colour-blind people."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .candidates import Candidate
    from .evaluation import Evaluation
    from .importance.curve import Curve

FORMATS = ("png", "svg", "pdf")

# Okabe and Ito's colours, apart in grey too; shapes and line styles say the same once more.
_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "0.35"
_STYLES = ((_BLUE, "o", "-"), (_RED, "^", "--"), ("0.25", "s", ":"), ("#CC79A7", "D", "-."), ("#009E73", "v", "-"))


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as .png, .svg or .pdf, by the file's ending, and close it.

    Raises:
        ArgumentError: Another ending.
    """
    import matplotlib.pyplot as plt

    from .errors import ArgumentError

    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ArgumentError(f"A picture is written as .png, .svg or .pdf. Received: '{path}'.")
    figure.savefig(path, dpi=144, format=kind)
    plt.close(figure)


def svg(figure: Any) -> str:
    """A matplotlib figure as SVG for a page, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def curve_and_sizes(curve: "Curve", candidates: Sequence["Candidate"] = (), *, log: bool = True) -> Any:
    """The curve above the sizes that Cut-Distil-Encode goes by, candidates marked, as in the paper's Fig. 3.

    Args:
        curve: The curve.
        candidates: What `propose` found; the first is marked as the choice.
        log: log10 of the importance, as the authors draw it.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt

    width = max(6.5, 0.42 * len(curve.cuts))
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(width, 5.6), sharex=True, layout="constrained", height_ratios=[3, 2]
    )
    curve.plot(log=log, ax=upper)
    sizes = [cut.size for cut in curve.cuts]
    lower.step(range(len(sizes)), sizes, where="mid", color="0.35", linestyle="--", label="elements of the layer")
    drops = [k for k in range(1, len(sizes)) if sizes[k] < sizes[k - 1]]
    lower.plot(drops, [sizes[k] for k in drops], "s", color="0.35", label="size drops (CDE)")
    lower.set_yscale("log")
    lower.set_ylabel("elements")
    lower.set_xlabel("cut, from the input to the output")
    upper.tick_params(axis="x", labelbottom=False)
    lower.tick_params(axis="x", labelbottom=True, labelrotation=60, labelsize=8)
    plt.setp(lower.get_xticklabels(), ha="right", rotation_mode="anchor")
    lower.grid(alpha=0.3)
    positions = {cut.index: k for k, cut in enumerate(curve.cuts)}
    for rank, candidate in enumerate(candidates):
        if candidate.is_peak or rank == 0:
            for ax in (upper, lower):
                style = "-" if rank == 0 else ":"
                ax.axvline(positions[candidate.cut.index], color="#D55E00", linewidth=1, linestyle=style, zorder=0)
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
    """Importance, layer sizes and accuracy after retraining over one axis of cuts: the paper's Fig. 3.

    Args:
        names: Of the cuts along the axis.
        importance: `(n_cuts,)`.
        sizes: `(n_cuts,)`: elements of each.
        accuracies: From 0 to 1: `(n_points, n_sets)`, drawn as boxes, or `(n_points,)`, drawn as a line.
        positions: Where on the axis the accuracies were measured; all of it by default.
        peaks: Positions of the curve's peaks.
        references: Accuracies to draw as level lines, by name: the original and other controls.
        title: Above the picture.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    at = list(range(len(names))) if positions is None else list(positions)
    figure, axes = plt.subplots(
        3, 1, figsize=(max(6.5, 0.42 * len(names)), 7.2), sharex=True, layout="constrained", height_ratios=[3, 2, 3]
    )
    axes[0].plot(np.log10(importance), "-o", color=_BLUE, markersize=4)
    axes[0].plot(list(peaks), np.log10(importance)[list(peaks)], "^", color=_RED, markersize=9, label="peak")
    axes[0].set_ylabel("log10 importance")
    axes[0].legend(fontsize=8)
    axes[1].step(range(len(sizes)), sizes, where="mid", color=_GREY, linestyle="--")
    drops = [k for k in range(1, len(sizes)) if sizes[k] < sizes[k - 1]]
    axes[1].plot(drops, [sizes[k] for k in drops], "s", color=_GREY, label="size drop (CDE)")
    axes[1].set_yscale("log")
    axes[1].set_ylabel("elements")
    axes[1].legend(fontsize=8)
    draw_accuracies(axes[2], at, accuracies, references or {})
    for ax in axes:
        ax.grid(alpha=0.3)
        for peak in peaks:
            ax.axvline(peak, color=_RED, linewidth=0.8, linestyle=":", zorder=0)
    _name_ticks(axes[2], names)
    axes[0].set_title(title)
    return figure


def draw_accuracies(ax: Any, at: Sequence[int], accuracies: Any, references: Mapping[str, float]) -> None:
    """Accuracies along an axis of cuts, in percent: boxes for `(n_points, n_sets)`, a line for `(n_points,)`."""
    import numpy as np

    values = 100 * np.asarray(accuracies, float)
    if values.ndim == 2:
        ax.boxplot(
            values.T,
            positions=at,
            widths=0.5,
            manage_ticks=False,
            medianprops={"color": _BLUE, "linewidth": 2},
            flierprops={"marker": ".", "markersize": 4},
        )
    else:
        ax.plot(at, values, "-o", color=_BLUE, markersize=4)
    for (name, value), style in zip(references.items(), ("-", "--", ":", "-.") * 2, strict=False):
        if np.isfinite(value):
            ax.axhline(100 * value, color=_GREY, linestyle=style, linewidth=1.2, label=name)
    ax.set_ylabel("accuracy (%)")
    if references:
        ax.legend(fontsize=8)


def curves(names: Sequence[str], lines: Mapping[str, Any], *, log: bool = False, label: str = "importance") -> Any:
    """Several curves over one axis of cuts, each scaled to a maximum of 1 so that their shapes compare.

    Args:
        names: Of the cuts.
        lines: `(n_cuts,)` by name.
        log: log10 of them.
        label: Of the vertical axis.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, ax = plt.subplots(figsize=(max(6.5, 0.42 * len(names)), 4), layout="constrained")
    for (name, values), (color, marker, style) in zip(lines.items(), _STYLES * len(lines), strict=False):
        scaled = np.asarray(values, float) / np.nanmax(values)
        ax.plot(
            np.log10(scaled) if log else scaled, color=color, marker=marker, linestyle=style, markersize=4, label=name
        )
    ax.set_ylabel(f"{'log10 ' if log else ''}{label}, highest = {0 if log else 1}")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    _name_ticks(ax, names)
    return figure


def accuracies(names: Sequence[str], lines: Mapping[str, Any], *, references: Mapping[str, float]) -> Any:
    """Accuracies of several kinds over one axis of cuts, with level lines for what they compare with.

    Args:
        names: Of the cuts.
        lines: `(n_cuts,)` by name, from 0 to 1.
        references: Accuracies to draw as level lines, by name.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, ax = plt.subplots(figsize=(max(6.5, 0.42 * len(names)), 4), layout="constrained")
    draw_accuracies(ax, [], np.empty(0), references)
    for (name, values), (color, marker, style) in zip(lines.items(), _STYLES * len(lines), strict=False):
        percent = 100 * np.asarray(values, float)
        ax.plot(percent, color=color, marker=marker, linestyle=style, markersize=4, label=name)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    _name_ticks(ax, names)
    return figure


def rate_and_accuracy(
    splits: Mapping[str, Sequence[tuple[float, float]]],
    codecs: Mapping[str, Sequence[tuple[float, float]]],
    *,
    references: Mapping[str, float],
    title: str = "",
) -> Any:
    """Accuracy over bytes a frame, of splits and of compressed images.

    Args:
        splits: Pairs of bytes and accuracy by name, drawn with marks.
        codecs: Likewise, drawn as grey lines.
        references: Accuracies to draw as level lines, by name.
        title: Above the picture.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, ax = plt.subplots(figsize=(7.5, 5), layout="constrained")
    draw_accuracies(ax, [], np.empty(0), references)
    for (name, points), style in zip(codecs.items(), ("-", "--", ":") * len(codecs), strict=False):
        x, y = np.array(points, float).T
        ax.plot(x, 100 * y, color="0.5", linestyle=style, marker="." if len(x) < 3 else None, label=name)
    styles = (*_STYLES, ("#E69F00", "P", "--")) * len(splits)
    for (name, points), (color, marker, style) in zip(splits.items(), styles, strict=False):
        x, y = np.array(points, float).T
        ax.plot(x, 100 * y, color=color, marker=marker, linestyle=style, markersize=6, label=name)
    ax.set_xscale("log")
    ax.set_xlabel("bytes a frame")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def f1_before_and_after(before: "Evaluation", after: "Evaluation", *, title: str = "") -> Any:
    """F1 of each class before and after a split, classes in descending F1 of the original: the paper's Fig. 5.

    Args:
        before: Of the original.
        after: Of the split, on the same images.
        title: Above the picture.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    order = np.argsort(-np.nan_to_num(before.f1, nan=-1), kind="stable")
    figure, ax = plt.subplots(figsize=(max(6.5, 0.22 * len(order)), 4), layout="constrained")
    where = np.arange(len(order))
    ax.bar(where - 0.2, 100 * before.f1[order], 0.4, color="0.8", edgecolor="0.2", label="original")
    ax.bar(where + 0.2, 100 * after.f1[order], 0.4, color=_BLUE, edgecolor="0.2", hatch="///", label="after the split")
    names = before.class_names or tuple(map(str, range(before.n_classes)))
    ax.set_xticks(where, [str(names[k])[:18] for k in order], rotation=60, ha="right", fontsize=7)
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
    """A score of each cut against the accuracy after the split, with the controls as level lines.

    Args:
        score: `(n_points,)`.
        accuracies: `(n_points,)`, from 0 to 1.
        names: Of the cuts.
        label: Name of the score.
        intervals: low and high `(2, n_points)` of the accuracies.
        references: Accuracies to draw as level lines, by name.
        title: Above the picture.

    Returns:
        A matplotlib figure.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    score, accuracies = np.asarray(score, float), np.asarray(accuracies, float)
    figure, ax = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    errors = None if intervals is None else 100 * np.abs(np.asarray(intervals, float) - accuracies)
    ax.errorbar(score, 100 * accuracies, errors, fmt="o", color=_BLUE, ecolor="0.6", capsize=2, markersize=5)
    for name, x, y in zip(names, score, accuracies, strict=True):
        ax.annotate(name, (x, 100 * y), xytext=(3, 3), textcoords="offset points", fontsize=6, color="0.25")
    for (name, value), style in zip((references or {}).items(), ("-", "--", ":", "-.") * 2, strict=False):
        if np.isfinite(value):
            ax.axhline(100 * value, color=_GREY, linestyle=style, linewidth=1.2, label=name)
    if np.all(score > 0) and score.max() > 20 * score.min():
        ax.set_xscale("log")
    ax.set_xlabel(label)
    ax.set_ylabel("accuracy after the split (%)")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    if references:
        ax.legend(fontsize=8)
    return figure


def _name_ticks(ax: Any, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), [name.split("/")[-1] for name in names], rotation=60, ha="right", fontsize=8)
    ax.set_xlabel("cut, from the input to the output")
