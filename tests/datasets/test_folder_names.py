"""Names of files and class folders that are no text: images are read all the same, classes are told."""

import os

import numpy as np
import pytest
from PIL import Image

from isplit_tf.datasets.source import open_data
from isplit_tf.display.tables import html_table, text_table
from isplit_tf.errors import DataError


def put(folder: bytes, name: bytes, value: int) -> None:
    """Writes a picture of one value."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, "PNG")


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"\xff\xfe.png", b"a\nb.png", "猫.png".encode()])
def test_files_of_any_name_are_read(name, tmp_path):
    """A name that is not UTF-8, or holds a line end, is a name like another."""
    root = os.fsencode(tmp_path)
    put(root + b"/ant", name, 10)
    put(root + b"/bee", b"b.png", 20)
    data, names = open_data(tmp_path, batch_size=2)
    ((images, labels),) = data.as_numpy_iterator()
    assert names == ("ant", "bee")
    assert dict(zip(labels.tolist(), images[:, 0, 0, 0].tolist(), strict=True)) == {0: 10.0, 1: 20.0}


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xc3", b"ant\x1b[2J", b"ant\nbee", b"ant\tbee"])
def test_a_class_folder_needs_a_name_that_can_be_shown(name, tmp_path):
    """It becomes the class's name in files, tables and lines: said before any work, without its commands."""
    root = os.fsencode(tmp_path)
    put(root + b"/" + name, b"a.png", 10)
    put(root + b"/bee", b"b.png", 20)
    with pytest.raises(DataError, match="has a name that no text can show") as caught:
        open_data(tmp_path)
    assert str(caught.value).isprintable()


def test_names_in_tables_command_no_terminal():
    """A table has as many lines as it has rows, whatever the names hold."""
    text = text_table(["cut\x1b", "a"], [["x\ny\x1b[2J", 1], ["\u202ez", None]])
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text + html_table(["x"], [["\x1b"]])
    assert "\u202e" not in text
