"""Saving of figures as files, and as SVG in HTML pages."""

import io
from pathlib import Path
from typing import Any

from isplit_edge.files import writing

FORMATS = ("png", "svg", "pdf")

# Without a date and with a fixed salt of identifiers, the same figure gives the same file.
_WITHOUT_DATE: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_SALT: Any = {"svg.hashsalt": "isplit_tf"}


def picture_format(path: Path) -> str:
    """Return the format for the ending of a file: "png", "svg" or "pdf".

    Raises:
        ArgumentError: If the file has another ending.
    """
    from ..errors import ArgumentError

    ending = path.suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise ArgumentError(f"A picture is written as .png, .svg or .pdf. Received: '{path}'.")
    return ending


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as .png, .svg or .pdf, as the file's ending says, and close it.

    Raises:
        ArgumentError: If the file has another ending.
    """
    import matplotlib.pyplot as plt

    file_format = picture_format(path)
    with plt.rc_context(_SALT), writing(path):
        figure.savefig(path, dpi=144, format=file_format, metadata=_WITHOUT_DATE.get(file_format))
    plt.close(figure)


def svg(figure: Any) -> str:
    """Return a matplotlib figure as SVG for a page, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with plt.rc_context(_SALT):
        figure.savefig(buffer, format="svg", metadata=_WITHOUT_DATE["svg"])
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
