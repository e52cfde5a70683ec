"""Archives that are damaged or lie: each member, or the archive, is one error of ours, in little memory."""

import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest

from isplit_tf.datasets.archives import Archive, UnreadableError, is_archive
from isplit_tf.errors import DataError
from support.archive_kit import make_tar, make_zip

FILES = {f"cat/{k}.jpg": random.Random(k).randbytes(900) for k in range(8)}


@pytest.fixture
def watched():
    """Checks that no more than 200 MB were taken by the test."""
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 << 20, f"{most / 2**20:.0f} MB"


def read_all(path) -> int:
    """How many members of an archive can be read."""
    count = 0
    for member in Archive(path).members():
        try:
            member.read()
            count += 1
        except UnreadableError:
            pass
    return count


@pytest.mark.parametrize("kind", ["zip", "zip-bzip2", "zip-lzma", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_damage_is_told(kind, tmp_path):
    """Bytes changed, cut off and put in, in every kind: members, or a DataError."""
    packing = {"zip-bzip2": zipfile.ZIP_BZIP2, "zip-lzma": zipfile.ZIP_LZMA}
    if kind in packing:
        with zipfile.ZipFile(tmp_path / "a", "w", packing[kind]) as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
    else:
        make_zip(tmp_path / "a", FILES) if kind == "zip" else make_tar(tmp_path / "a", FILES, f"w:{kind[4:]}")
    whole, rng, told = (tmp_path / "a").read_bytes(), random.Random(0), 0
    assert read_all(tmp_path / "a") == len(FILES)
    for _ in range(120):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(content))
            content[at : at + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
        (tmp_path / "b").write_bytes(content[: rng.choice([None, rng.randrange(len(content))])])
        is_archive(tmp_path / "b")
        try:
            told += read_all(tmp_path / "b") < len(FILES)
        except DataError:
            told += 1
    assert told > 20


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_that_is_larger_than_it_says(packing, tmp_path, watched):
    """A claim of ten bytes is not unpacked to hundreds of megabytes."""
    with zipfile.ZipFile(tmp_path / "a", "w", packing) as archive:
        archive.writestr("cat/1.jpg", bytes(400 << 20))
    content = bytearray((tmp_path / "a").read_bytes())
    size = struct.pack("<I", 400 << 20)
    while (at := content.find(size)) >= 0:
        content[at : at + 4] = struct.pack("<I", 10)
    (tmp_path / "a").write_bytes(content)
    tracemalloc.reset_peak()
    (member,) = Archive(tmp_path / "a").members()
    with pytest.raises(UnreadableError, match="damaged in the archive"):
        member.read()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_header_that_is_larger_than_any_member(kind, tmp_path, watched):
    """A long name of hundreds of megabytes, or numbers of an extended header, are not read."""
    for typeflag in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        with tarfile.open(tmp_path / "a", f"w:{kind}") as archive:
            info = tarfile.TarInfo("x")
            info.type, info.size = typeflag, 300 << 20
            archive.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(300):
                archive.fileobj.write(bytes(1 << 20))
        with pytest.raises(DataError):
            read_all(tmp_path / "a")


def test_a_stream_that_ends_in_the_middle(tmp_path):
    """gzip's own checksum and length are read too."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    packed = zlib.compressobj(wbits=31)
    content = packed.compress(buffer.getvalue()) + packed.flush()
    (tmp_path / "a").write_bytes(content[:-2000])
    with pytest.raises(DataError, match="damaged"):
        read_all(tmp_path / "a")
