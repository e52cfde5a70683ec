"""Help on a terminal and in a file."""

import io

import pytest

from isplit_tf.cli.help import ColouredParser


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_help_has_colours_on_a_terminal_alone(monkeypatch):
    """The same text, with headings and options in colours where it is read."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    parser = ColouredParser(prog="isplit")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to")
    pytest.importorskip("rich")
    coloured, plain = Terminal(), io.StringIO()
    parser.print_help(coloured)
    parser.print_help(plain)
    assert "\x1b" not in plain.getvalue()
    text = coloured.getvalue()
    assert "\x1b[1moptions:\x1b[0m" in text
    assert "\x1b[36m-o DIR, --output\x1b[0m" in text
    for escape in ("\x1b[1m", "\x1b[36m", "\x1b[0m"):
        text = text.replace(escape, "")
    assert text == plain.getvalue()
