"""Colours are for terminals, and for those who want them."""

import io

import pytest

from isplit_tf.display.colour import has_colours, styled


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def _coloured(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("_coloured")
def test_a_terminal_gets_colours():
    """The text stands whole between the escapes, however long it is."""
    text = styled("isplit cuts: " + 60 * "long ", "bold red", Terminal())
    assert text.startswith("\x1b[1;31m")
    assert 60 * "long " in text
    assert text.endswith("\x1b[0m")


@pytest.mark.usefixtures("_coloured")
@pytest.mark.parametrize("setting", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_user_may_refuse(monkeypatch, setting):
    """NO_COLOR and a dumb terminal leave the text as it is."""
    monkeypatch.setenv(*setting)
    assert not has_colours(Terminal())
    assert styled("text", "bold", Terminal()) == "text"


@pytest.mark.usefixtures("_coloured")
def test_files_and_pipes_get_the_text_alone(tmp_path):
    """A file, a buffer, a closed stream and none at all."""
    with (tmp_path / "out").open("w") as file:
        assert styled("text", "bold", file) == "text"
    for stream in (io.StringIO(), file, None):
        assert styled("text", "bold", stream) == "text"
