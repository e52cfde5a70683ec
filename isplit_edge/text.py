"""Texts of others, such as a server's message, a file's name or a class, made fit for a line on a terminal."""

import unicodedata

_SHOWN = 200


def printable(text: str) -> str:
    r"""Return a text with its control characters, line ends and lone surrogates written as escapes.

    Written as they are, they move the cursor, change what stands on the screen, and begin lines and columns that
    nobody wrote.

    Example:
        >>> printable("cat\tdog\x1b[2J")
        'cat\\tdog\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or unicodedata.category(one) == "Zs" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, limit: int = _SHOWN) -> str:
    """Return a text as part of a message: on one line, printable, and cut at `limit` characters."""
    shown = printable(" ".join(text[: limit + 1].split()))
    return f"{shown[:limit]}..." if len(text) > limit else shown or "nothing"
