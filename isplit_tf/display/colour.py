"""Colours, where the terminal has them."""

import os
from typing import IO


def styled(text: str, style: str, stream: IO[str]) -> str:
    """Return a text in a style, or as it is where the stream is no terminal, or one without colours.

    `NO_COLOR=1` and `TERM=dumb` switch them off.

    Args:
        text: One line or several.
        style: As Rich names it, such as "bold red".
        stream: Where the text will be written.

    Example:
        >>> import sys
        >>> sys.stderr.write(styled("isplit cuts:", "bold red", sys.stderr))
    """
    if not has_colours(stream):
        return text
    from rich.console import Console  # what is written to files and pipes does without this import
    from rich.text import Text

    console = Console(file=stream)
    with console.capture() as captured:
        console.print(Text(text, style), end="", soft_wrap=True)
    return captured.get()


def has_colours(stream: IO[str]) -> bool:
    """Check whether a stream is a terminal, and its user wants colours there."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False
