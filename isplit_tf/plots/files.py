"""Pictures as files and in pages."""

import io
from pathlib import Path
from typing import Any

FORMATS = ("png", "svg", "pdf")

# The same figure gives the same file: no date, and identifiers that come from what is drawn.
_WITHOUT_DATE: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_SALT: Any = {"svg.hashsalt": "isplit_tf"}


def picture_format(path: Path) -> str:
    """ "png", "svg" or "pdf", by the file's ending.

    Raises:
        ArgumentError: Another ending.
    """
    from ..errors import ArgumentError

    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ArgumentError(f"A picture is written as .png, .svg or .pdf. Received: '{path}'.")
    return kind


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as .png, .svg or .pdf, by the file's ending, and close it.

    Raises:
        ArgumentError: Another ending.
    """
    import matplotlib.pyplot as plt

    kind = picture_format(path)
    with plt.rc_context(_SALT):
        figure.savefig(path, dpi=144, format=kind, metadata=_WITHOUT_DATE.get(kind))
    plt.close(figure)


def svg(figure: Any) -> str:
    """A matplotlib figure as SVG for a page, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with plt.rc_context(_SALT):
        figure.savefig(buffer, format="svg", metadata=_WITHOUT_DATE["svg"])
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
