"""The common style of all plots: colours, markers, line styles, and the axis of cuts."""

from collections.abc import Sequence
from typing import Any

# Okabe and Ito's colours, which differ in grey too; marker shapes and line styles repeat the distinction.
BLUE, RED, GREY = "#0072B2", "#D55E00", "0.35"
STYLES = ((BLUE, "o", "-"), (RED, "^", "--"), ("0.25", "s", ":"), ("#CC79A7", "D", "-."), ("#009E73", "v", "-"))


def name_ticks(ax: Any, names: Sequence[str]) -> None:
    """Label the horizontal axis with the names of the cuts, without the names of their enclosing models."""
    ax.set_xticks(range(len(names)), [name.split("/")[-1] for name in names], rotation=60, ha="right", fontsize=8)
    ax.set_xlabel("cut, from the input to the output")
