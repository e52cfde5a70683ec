"""Small tables in text and HTML."""

import math

import pytest

from isplit_tf.display.tables import even_texts, html_table, text_table


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


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([6.61e-05, 0.0003212, 0.01], ["0.000066", "0.000321", "0.010000"]),
        ([2000.0, 3.0, None], ["2,000", "3", "-"]),
        ([461.4, 20.0], ["461.4", "20.0"]),
        ([12.3456, 1.5, math.nan], ["12.3456", "1.5000", "-"]),
        ([1.0, 0.0, 0.5], ["1.0000", "0.0000", "0.5000"]),
        ([1.0, 0.0], ["1.0000", "0.0000"]),
        ([3e-7, 2.5e-5, 0.0], ["3.000e-07", "2.500e-05", "0.0000"]),
        ([250000.5, 1.25], ["2.500e+05", "1.250e+00"]),
        ([math.inf, 0.25], ["inf", "0.2500"]),
        ([3, 0.5, "text", True], ["3", "0.5000", "text", "yes"]),
        ([], []),
    ],
)
def test_the_floats_of_a_column_have_one_form(values, texts):
    """As many digits as the smallest needs, none for whole numbers, an exponent for all or for none."""
    assert even_texts(values) == texts
    table = text_table(["name", "v"], [["a", value] for value in values])
    assert [line.split()[1] for line in table.splitlines()[1:]] == texts
    assert all(f"<td>{text}</td>" in html_table(["v"], [[value] for value in values]) for text in texts)
