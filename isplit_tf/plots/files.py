"""Pictures as files and in pages."""

import io
from pathlib import Path
from typing import Any

FORMATS = ("png", "svg", "pdf")


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as .png, .svg or .pdf, by the file's ending, and close it.

    Raises:
        ArgumentError: Another ending.
    """
    import matplotlib.pyplot as plt

    from ..errors import ArgumentError

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
