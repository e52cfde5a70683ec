"""Small tables as text and as HTML, for display of records in a terminal and in a notebook."""

import html
import math
from collections.abc import Sequence
from typing import Any

from isplit_edge.text import printable


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as text: the first column and columns of text to the left, columns of numbers to the right.

    Args:
        header: Names of the columns.
        rows: Cells; an integer is shown with separated thousands, None and NaN as `-`, and the floats of a column in
            one form, as `even_texts` says.

    Returns:
        Lines without trailing blanks, joined by newlines.

    Example:
        >>> print(text_table(["cut", "bytes"], [["conv", 1200], ["pool", None]]))
        cut   bytes
        conv  1,200
        pool      -
    """
    header = [printable(name) for name in header]
    cells = _cell_texts(rows)
    right_aligned = [index > 0 and all(not isinstance(row[index], str) for row in rows) for index in range(len(header))]
    widths = [max(len(row[index]) for row in [list(header), *cells]) for index in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right_aligned, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the same table as HTML, with all text escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in _cell_texts(rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def even_texts(values: Sequence[Any]) -> list[str]:
    """Return the cells of a column as text, all floats in one form.

    They have as many digits after the point as the smallest needs for two, from 4 to 6. Where the largest is 100 or
    more, they have 3 fewer, and none if all are whole. What takes more digits is written with an exponent. Where the
    largest is over a million times the smallest, each has the form of its own.

    Example:
        >>> even_texts([0.0123, 6.61e-05, 0.0])
        ['0.012300', '0.000066', '0.000000']
        >>> even_texts([461.4, 20.0])
        ['461.4', '20.0']
    """
    form = _form([abs(value) for value in values if isinstance(value, float) and math.isfinite(value)])
    return [format(value, form) if _is_shown_by(form, value) else cell_text(value) for value in values]


def cell_text(cell: Any) -> str:
    """Return one value as text, by itself: a float with 4 digits after the point, or with an exponent."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4f}" if cell == 0 or 1e-3 <= abs(cell) < 1e5 else f"{cell:.3e}"
    return printable(str(cell))


def _cell_texts(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    columns = [even_texts(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _is_shown_by(form: str, value: Any) -> bool:
    return bool(form) and isinstance(value, float) and math.isfinite(value) and (value != 0 or "f" in form)


def _form(sizes: Sequence[float]) -> str:
    """Return the format of a column of floats, of which the absolute values are given; "" for each its own."""
    counted = [size for size in sizes if size]
    if not counted or max(counted) > 1e6 * min(counted):
        return ""
    smallest, largest = min(counted), max(counted)
    if 100 <= largest < 1e15 and all(size == int(size) for size in counted):
        return ",.0f"
    digits = max(4, 1 - math.floor(math.log10(smallest)))
    if digits > 6 or largest >= 1e5:
        return ".3e"
    return f",.{digits if largest < 100 else digits - 3}f"
