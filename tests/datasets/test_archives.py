"""Archives read in place: what counts as a file, what is refused, what is damaged."""

import hashlib
import tarfile
import zipfile

import pytest

from isplit_tf.datasets import archives
from isplit_tf.datasets.archives import Archive, UnreadableError
from isplit_tf.errors import DataError
from support.archive_kit import make_tar, make_zip


def contents(archive):
    return {member.name: member.read() for member in archive.members()}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_kinds(tmp_path, kind):
    """Zip and tar, packed or not, are told by their content, and give their files in order, each time anew."""
    files = {"b/2.txt": b"two", "a/1.txt": b"one", "empty": b""}
    path = tmp_path / "archive"  # the name tells nothing
    make_zip(path, files) if kind == "zip" else make_tar(path, files, f"w:{kind[4:]}")
    archive = Archive(path)
    assert contents(archive) == files
    assert [member.name for member in archive.members()] == list(files)
    assert [member.size_bytes for member in archive.members()] == [3, 3, 0]


def test_digests(tmp_path):
    """Size, MD5 and SHA-256 are those of the file."""
    path = make_zip(tmp_path / "a.zip", {"x": b"1"})
    found = Archive(path).digests
    content = path.read_bytes()
    assert (found.size_bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert found.md5 == hashlib.md5(content).hexdigest()


def test_what_operating_systems_leave_behind_is_ignored(tmp_path):
    """Finder's and Explorer's files are no files of a data set, and nothing to report."""
    files = {"a/.DS_Store": b"", "__MACOSX/a/._1.png": b"", "a/Thumbs.db": b"", ".git/x": b"", "./a/1.png": b"1"}
    archive = Archive(make_tar(tmp_path / "a.tar.gz", files))
    assert contents(archive) == {"a/1.png": b"1"}
    assert archive.refused == {}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out_are_refused_and_nothing_is_written(tmp_path, make):
    """A hostile archive's names are never paths on disk: they are refused by name."""
    home = tmp_path / "home"
    home.mkdir()
    names = ["../evil.png", "a/../../evil.png", "/evil.png", "C:/evil.png", "..\\other.png"]
    archive = Archive(make(home / "a", {**dict.fromkeys(names, b"evil"), "a/1.png": b"1"}))
    assert contents(archive) == {"a/1.png": b"1"}
    assert len(archive.refused) == 5
    assert set(archive.refused.values()) == {"its name leads out of the archive"}
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "a"]


def test_links_and_devices_are_refused(tmp_path):
    """Links could point at files of the reader's machine: they are not followed."""
    link, fifo = tarfile.TarInfo("a/passwd"), tarfile.TarInfo("a/fifo")
    link.type, link.linkname, fifo.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.FIFOTYPE
    archive = Archive(make_tar(tmp_path / "a.tar", {link: b"", fifo: b"", "a/1.png": b"1"}, "w"))
    assert contents(archive) == {"a/1.png": b"1"}
    assert archive.refused == {"a/passwd": "a link or device", "a/fifo": "a link or device"}
    zipped = zipfile.ZipInfo("a/passwd")
    zipped.external_attr = 0o120777 << 16
    archive = Archive(make_zip(tmp_path / "a.zip", {zipped: b"/etc/passwd", "a/1.png": b"1"}))
    assert contents(archive) == {"a/1.png": b"1"}
    assert archive.refused == {"a/passwd": "a link"}


def test_second_file_of_a_name(tmp_path):
    """Where a name is there twice the first counts, and the second is reported."""
    archive = Archive(
        make_tar(tmp_path / "a.tar", {tarfile.TarInfo("1"): b"first", tarfile.TarInfo("./1"): b"second"}, "w")
    )
    assert contents(archive) == {"1": b"first"}
    assert archive.refused == {"1": "a second file of this name"}


def test_damaged_member_of_a_zip(tmp_path):
    """A file whose checksum is wrong cannot be read; its neighbours can."""
    path = make_zip(tmp_path / "a.zip", {"1": b"x" * 100, "2": b"good"})
    content = bytearray(path.read_bytes())
    content[31] ^= 0xFF  # in the packed data of the first file
    path.write_bytes(content)
    members = Archive(path).members()
    with pytest.raises(UnreadableError, match=r"damaged in the archive"):
        next(members).read()
    assert next(members).read() == b"good"


def test_too_large_a_member_is_not_read(tmp_path, monkeypatch):
    """A bomb is told by its size and never unpacked."""
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    member = next(Archive(make_zip(tmp_path / "a.zip", {"1": b"\0" * 11})).members())
    with pytest.raises(UnreadableError, match=r"11 bytes are more than any image here has"):
        member.read()


def test_archive_that_breaks_off(tmp_path):
    """Half a download is an error that says so, not a smaller data set."""
    rng_bytes = bytes(range(256)) * 40
    path = make_tar(tmp_path / "a.tar.gz", {str(i): hashlib.sha256(rng_bytes[i:]).digest() * 40 for i in range(50)})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"a\.tar\.gz' is damaged (after \d+ files|in \d+): "):
        contents(Archive(path))
    with pytest.raises(DataError, match=r"a\.tar\.gz' is damaged after \d+ files: "):
        list(Archive(path).members())
    path = make_zip(tmp_path / "a.zip", {"1": b"x"})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.zip' is no archive, or a damaged one\. Expected a \.zip or a \.tar"):
        Archive(path)


def test_no_archive(tmp_path):
    """A folder, nothing, and another file: each is named."""
    with pytest.raises(DataError, match=r"There is a folder at"):
        Archive(tmp_path)
    with pytest.raises(DataError, match=r"There is nothing at '.*nowhere\.zip'"):
        Archive(tmp_path / "nowhere.zip")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"x\.csv' is no archive"):
        Archive(str(tmp_path / "x.csv"))
