"""Pictures of several records together, and pictures as files; readable in grey print and by colour-blind people."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .candidates import Candidate
    from .importance.curve import Curve

FORMATS = ("png", "svg", "pdf")


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
