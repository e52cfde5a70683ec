"""A directory is replaced as a whole, whenever its writer dies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from isplit_tf.storage import directories
from isplit_tf.storage.directories import replacing


def fill(directory: Path, content: str) -> None:
    """Two files in a folder that say the same."""
    (directory / "inner").mkdir()
    (directory / "inner" / "one.txt").write_text(content)
    (directory / "two.txt").write_text(content)


def fill_twice(directory: Path) -> None:
    """Writes a directory and fails."""
    fill(directory, "new")
    fill(directory, "newer")


def held(directory: Path) -> set[str]:
    """What the files of a directory say."""
    return {path.read_text() for path in directory.rglob("*.txt")}


def test_makes_and_replaces(tmp_path):
    """The new directory stands alone in its place, and nothing is left beside it."""
    target = tmp_path / "deep" / "bundle"
    for content in ("first", "second"):
        with replacing(target) as scratch:
            assert scratch.parent == target.parent
            fill(scratch, content)
        assert held(target) == {content}
        assert os.listdir(target.parent) == ["bundle"]


def test_an_error_leaves_the_old_one(tmp_path):
    """A writer that fails changes nothing and leaves nothing behind."""
    target = tmp_path / "bundle"
    with replacing(target) as scratch:
        fill(scratch, "old")
    with pytest.raises(FileExistsError), replacing(target) as scratch:
        fill_twice(scratch)
    assert held(target) == {"old"}
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_link_stays_a_link(tmp_path):
    """Where the target is a link to a directory, that directory is replaced, and the link still leads to it."""
    real, link = tmp_path / "real", tmp_path / "link"
    with replacing(real) as scratch:
        fill(scratch, "old")
    link.symlink_to(real)
    with replacing(link) as scratch:
        fill(scratch, "new")
    assert link.is_symlink()
    assert held(real) == {"new"}


def test_clears_what_a_killed_writer_left_but_not_what_a_living_one_writes(tmp_path):
    """Leftovers go at the next call; the scratch of a process that still writes stays."""
    target = tmp_path / "bundle[1]"
    script = (
        "import sys, time\n"
        "from isplit_tf.storage.directories import replacing\n"
        "with replacing(sys.argv[1]) as scratch:\n"
        "    (scratch / 'two.txt').write_text('half')\n"
        "    print(scratch, flush=True)\n"
        "    time.sleep(60)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        scratches = [Path(writer.stdout.readline().strip()) for writer in writers]
        writers[0].kill()
        writers[0].wait()
        with replacing(target) as scratch:
            fill(scratch, "new")
        assert [path.exists() for path in scratches] == [False, True]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    with replacing(target) as scratch:
        fill(scratch, "newer")
    assert os.listdir(tmp_path) == ["bundle[1]"]
    assert held(target) == {"newer"}


@pytest.mark.parametrize("refusal", ["missing", "not supported here"])
def test_without_an_exchange_the_old_one_is_moved_away_first(tmp_path, monkeypatch, refusal):
    """Systems that cannot exchange directories replace them in two steps, with the same result."""

    def unsupported(one, other):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(directories, "_exchange", lambda: None if refusal == "missing" else unsupported)
    target = tmp_path / "bundle"
    for content in ("first", "second"):
        with replacing(target) as scratch:
            fill(scratch, content)
        assert held(target) == {content}
        assert os.listdir(tmp_path) == ["bundle"]


def test_a_directory_that_was_only_moved_away_comes_back(tmp_path):
    """After a kill between the two steps the old directory is put back by the next call, even one that fails."""
    target = tmp_path / "bundle"
    with replacing(target) as scratch:
        fill(scratch, "old")
    target.rename(tmp_path / ".bundle.old-0123")
    with pytest.raises(KeyError), replacing(target):
        raise KeyError
    assert held(target) == {"old"}
    assert os.listdir(tmp_path) == ["bundle"]


@pytest.mark.skipif(os.name != "posix", reason="folders are write-protected by their mode")
def test_an_old_folder_that_is_write_protected_goes_too(tmp_path):
    """Nothing is left beside the new one; the superuser may delete it anyway."""
    target = tmp_path / "bundle"
    with replacing(target) as scratch:
        fill(scratch, "old")
    (target / "inner").chmod(0o500)
    with replacing(target) as scratch:
        fill(scratch, "new")
    assert os.listdir(tmp_path) == ["bundle"]
    assert held(target) == {"new"}
