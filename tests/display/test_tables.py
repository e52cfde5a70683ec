"""Small tables in text and HTML."""

import math

from isplit_tf.display.tables import html_table, text_table


def test_columns_are_lined_up():
    """Text goes to the left, numbers to the right with thousands set apart, and nothing trails."""
    table = text_table(
        ["cut", "bytes", "score", "peak", "why"],
        [["conv", 1200, 0.5, True, "a"], ["block_pool", None, math.nan, False, ""]],
    )
    assert table == (
        "cut         bytes   score  peak  why\nconv        1,200  0.5000   yes  a\nblock_pool      -       -    no"
    )


def test_small_and_large_floats_keep_their_digits():
    """A float too small or too large for four digits is shown with an exponent; zero is zero."""
    table = text_table(["v"], [[1.5e-7], [123456.0], [0.0], [-2.0]])
    assert table.splitlines()[1:] == ["1.500e-07", "1.235e+05", "0.0000", "-2.0000"]


def test_html_is_escaped():
    """No text of a cell or a header becomes markup."""
    assert html_table(["<a>"], [["x & <script>"]]) == (
        "<table><thead><tr><th>&lt;a&gt;</th></tr></thead><tbody><tr><td>x &amp; &lt;script&gt;</td></tr>"
        "</tbody></table>"
    )


def test_an_empty_table_is_its_header():
    """A table without rows still names its columns."""
    assert text_table(["cut", "bytes"], []) == "cut  bytes"
