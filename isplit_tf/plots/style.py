"""What all pictures have in common: colours, marks, and the axis of cuts."""

from collections.abc import Sequence
from typing import Any

# Okabe and Ito's colours, apart in grey too; shapes and line styles say the same once more.
BLUE, RED, GREY = "#0072B2", "#D55E00", "0.35"
STYLES = ((BLUE, "o", "-"), (RED, "^", "--"), ("0.25", "s", ":"), ("#CC79A7", "D", "-."), ("#009E73", "v", "-"))


def name_ticks(ax: Any, names: Sequence[str]) -> None:
    """Names the cuts along the horizontal axis, without the folders that they lie in."""
    ax.set_xticks(range(len(names)), [name.split("/")[-1] for name in names], rotation=60, ha="right", fontsize=8)
    ax.set_xlabel("cut, from the input to the output")
