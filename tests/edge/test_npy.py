"""numpy's files: read as numpy reads them, and whatever is none is one error of ours, before it takes memory."""

import io
import os
import random
import tracemalloc
import zipfile

import numpy as np
import pytest

from isplit_edge import DataError
from isplit_edge.npy import ArrayArchive, open_npz, read_array

ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
    np.array(5, np.int16),
    np.zeros((0, 3), np.float32),
    np.array(["ant", "b\u00e9e"]),
    np.array([b"x", b"yz"]),
    np.array([True, False]),
    np.array([1 + 2j]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype} {array.shape}")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read(array, version, tmp_path):
    """In every version of the format, and out of archives of every kind; it can be written to, as numpy's own."""
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    found = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.flags.writeable) == (array.dtype, True)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", other=[1], x=array)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npz"), array)


def test_headers_of_other_programs_are_read(tmp_path):
    """Other orders, quotes and blanks, and Python 2's long numbers."""
    for text in (
        b"{'shape': (2L, 3L), 'descr': '|u1', 'fortran_order': False}",
        b'{"descr":"|u1","fortran_order":False,"shape":(2,3,)}          \n',
    ):
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(range(6)))
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), np.arange(6).reshape(2, 3))


def with_header(text: str, content: bytes = b"") -> bytes:
    """A file with this header."""
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + content


BAD = {
    "empty": b"",
    "other": b"GIF89a" * 10,
    "version": b"\x93NUMPY\x09\0" + bytes(100),
    "torn header": b"\x93NUMPY\1\0\xff\xff{",
    "object": with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "fields": with_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "code": with_header("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
    "huge": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,)}", b"x" * 8),
    "beyond": with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {10**30})}}"),
    "negative": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}", b"x" * 64),
    "flag": with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", b"x" * 64),
    "axes": with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {(1,) * 70}}}", b"x" * 64),
    "width": with_header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", b"x" * 64),
    "nested": with_header("(" * 5000),
    "unended": with_header("{'descr': '<f8"),
    "text": with_header("'descr'"),
    "nul": with_header("{'descr': '<f8',\0"),
    "archive": b"PK\3\4" + bytes(50),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_array(name, suffix, tmp_path):
    """Each is a DataError, and takes no memory worth mentioning."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(BAD[name])
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_array(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_mutated_files_raise_nothing_else(save, tmp_path):
    """Bytes changed, cut off and put in: an array or a DataError."""
    rng, raised, buffer = random.Random(0), 0, io.BytesIO()
    save(buffer, np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    whole = buffer.getvalue()
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(min(len(content), 200))
            content[at : at + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
        (tmp_path / "a.npy").write_bytes(content[: rng.choice([None, rng.randrange(len(content))])])
        try:
            read_array(tmp_path / "a.npy")
        except DataError:
            raised += 1
    assert raised > 100


def test_archives_that_unpack_to_too_much(tmp_path):
    """An array of zeros takes no room in a file and all of it in memory: told by its size."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(300 << 20, np.uint8))
    with pytest.raises(DataError, match="would take .* bytes; 268435456 are possible"):
        read_array(tmp_path / "a.npz")


def test_members_that_are_longer_than_they_say(tmp_path):
    """Content behind the array, as a claim of few bytes would have it."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(5))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", buffer.getvalue() + bytes(1000))
    with pytest.raises(DataError, match="'x': more follows"):
        read_array(tmp_path / "a.npz")


def test_files_that_are_none(tmp_path):
    """Folders, pipes that nobody writes to, links that lead to themselves: an OSError, at once."""
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "loop.npy").symlink_to(tmp_path / "loop.npy")
    (tmp_path / "folder.npy").mkdir()
    for name in ("pipe", "loop", "folder", "missing"):
        with pytest.raises(OSError, match=name):
            read_array(tmp_path / f"{name}.npy")
    with pytest.raises(OSError, match="pipe"), open_npz(tmp_path / "pipe.npy") as archive:
        assert isinstance(archive, ArrayArchive)
