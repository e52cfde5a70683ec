"""Texts of others on a terminal: one line, no commands for it."""

import pytest

from isplit_edge.text import printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("Zürich – 猫\u3000犬", "Zürich – 猫\u3000犬"),
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u2028b\u202egnp.exe", r"a\u2028b\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("\x7f\0", r"\x7f\x00"),
    ],
)
def test_only_what_is_printable_is_printed(text, shown):
    """Letters of all scripts stay; control characters, line ends and turned directions become escapes."""
    assert printable(text) == shown
    shown.encode()


def test_long_texts_are_cut():
    """On one line; nothing is said as such."""
    assert shortened("a\n  b\x1b") == "a b\\x1b"
    assert shortened("x" * 1000) == "x" * 200 + "..."
    assert shortened("") == "nothing"
