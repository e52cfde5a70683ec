"""Plots of a plan: latency against link rate, accuracy against latency, and the parts of latencies. Arrays only."""

from collections.abc import Mapping, Sequence
from typing import Any

from .style import BLUE, GREY, RED, STYLES

_KIND_STYLES = {"local": (GREY, "s"), "remote": (RED, "^"), "split": (BLUE, "o")}
_PART_COLORS = ("0.75", BLUE, "#56B4E9", RED, "#009E73", "#E69F00")
_HATCHES = ("", "", "//", "", "\\\\", "..")


def draw_latency_by_rate(
    rates: Any,
    lines: Mapping[str, Any],
    *,
    takeovers: Sequence[tuple[float, float]] = (),
    now: float | None = None,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw latency against the link's rate, a line an option, and mark where another option becomes the fastest.

    Args:
        rates: Bits per second, `(n_rates,)`.
        lines: Seconds by name of the option, each `(n_rates,)`.
        takeovers: Pairs of bits per second and seconds where another option takes over.
        now: The rate of the plan's own link, marked by a level line from top to bottom.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    import numpy as np

    ax = ax or _axes(8.0, 4.6)
    megabits = np.asarray(rates, float) / 1e6
    for (name, seconds), (color, _, style) in zip(lines.items(), STYLES * len(lines), strict=False):
        ax.plot(megabits, 1000 * np.asarray(seconds, float), color=color, linestyle=style, label=name)
    for k, (rate, seconds) in enumerate(takeovers):
        label = "another option takes over" if k == 0 else None
        ax.plot(rate / 1e6, 1000 * seconds, "o", color="black", markersize=6, zorder=4, label=label)
        ax.annotate(
            f"{rate / 1e6:.3g}", (rate / 1e6, 1000 * seconds), xytext=(4, 5), textcoords="offset points", fontsize=8
        )
    if now is not None:
        ax.axvline(now / 1e6, color=GREY, linestyle=":", linewidth=1, label="this link")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("rate of the link (Mbit/s)")
    ax.set_ylabel("latency (ms)")
    _finish(ax, title)
    return ax


def draw_accuracy_by_latency(
    points: Mapping[str, tuple[Any, Any]],
    *,
    front: tuple[Any, Any, Sequence[str]] = ((), (), ()),
    original: float | None = None,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Draw accuracy against latency, a mark an option, with the Pareto front as a line of steps.

    Args:
        points: Seconds and accuracies from 0 to 1, each `(n,)`, by kind: "local", "remote", "split".
        front: Seconds, accuracies and names of the options on the front, from fast to slow.
        original: Accuracy of the whole model, drawn as a level line.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    import numpy as np

    ax = ax or _axes(8.0, 4.6)
    for kind, (seconds, accuracy) in points.items():
        color, marker = _KIND_STYLES.get(kind, (GREY, "."))
        percent = 100 * np.asarray(accuracy, float)
        ax.plot(1000 * np.asarray(seconds, float), percent, marker, color=color, markersize=5, alpha=0.7, label=kind)
    seconds, accuracy, names = front
    if len(names):
        milliseconds, percent = 1000 * np.asarray(seconds, float), 100 * np.asarray(accuracy, float)
        ax.step(milliseconds, percent, where="post", color="black", linewidth=1, label="nothing is better", zorder=1)
        for x, y, name in zip(milliseconds, percent, names, strict=True):
            ax.annotate(name, (x, y), xytext=(4, -9), textcoords="offset points", fontsize=6.5, color="0.25")
    if original is not None:
        ax.axhline(100 * original, color=GREY, linestyle="--", linewidth=1, label="the whole model")
    ax.set_xscale("log")
    ax.set_xlabel("latency (ms)")
    ax.set_ylabel("accuracy (%)")
    _finish(ax, title)
    return ax


def draw_parts(names: Sequence[str], parts: Mapping[str, Any], *, title: str = "", ax: Any = None) -> Any:
    """Draw where the time of each option goes, as bars from left to right.

    Args:
        names: Names of the options, the first at the top.
        parts: Seconds of each part by its name, each `(n_options,)`.
        title: Title above the plot.
        ax: Matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    import numpy as np

    ax = ax or _axes(8.0, max(2.5, 0.34 * len(names) + 1.2))
    positions = np.arange(len(names))
    start = np.zeros(len(names))
    styles = zip(parts.items(), _PART_COLORS * len(parts), _HATCHES * len(parts), strict=False)
    for (name, seconds), color, hatch in styles:
        width = 1000 * np.asarray(seconds, float)
        ax.barh(positions, width, 0.7, left=start, color=color, hatch=hatch, edgecolor="white", label=name)
        start = start + width
    ax.set_yticks(positions, [name if len(name) < 40 else f"{name[:38]}..." for name in names], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("median latency (ms)")
    _finish(ax, title)
    return ax


def _axes(width: float, height: float) -> Any:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _finish(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
