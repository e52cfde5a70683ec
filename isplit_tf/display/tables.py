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
        rows: Cells; a float is shown with 4 digits after the point, an integer with separated thousands, None and
            NaN as `-`.

    Returns:
        Lines without trailing blanks, joined by newlines.

    Example:
        >>> print(text_table(["cut", "bytes"], [["conv", 1200], ["pool", None]]))
        cut   bytes
        conv  1,200
        pool      -
    """
    header = [printable(name) for name in header]
    cells = [[cell_text(cell) for cell in row] for row in rows]
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
        "<tr>" + "".join(f"<td>{html.escape(cell_text(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cell_text(cell: Any) -> str:
    """Return one value as text for a table."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4f}" if cell == 0 or 1e-3 <= abs(cell) < 1e5 else f"{cell:.3e}"
    return printable(str(cell))
