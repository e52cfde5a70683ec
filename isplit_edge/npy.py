"""numpy's files, .npy and .npz, read from their bytes alone: a header is data, and sizes are checked before memory.

numpy reads the same files, but a changed byte of a header ends in one of a dozen kinds of errors, and a claimed shape
takes its memory before a number of it is read.
"""

import ast
import contextlib
import io
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import DataError
from .files import BAD_FILE, open_plain

MOST_UNPACKED_BYTES = 1 << 28
"""The largest array of an .npz file that is read on a device, whatever little room it takes in the file."""

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
_MAX_AXES = 32
_DTYPE = re.compile(r"[<>|=]?[biufcSU][1-9][0-9]{0,8}")
_MEMBER = ".npy"


def read_npy(file: BinaryIO, size_bytes: int) -> np.ndarray:
    """Read an array.

    Args:
        file: Where its magic bytes come next.
        size_bytes: The bytes that are left in the file; a larger array is refused before memory is taken for it.

    Returns:
        The array; numbers, truth values, bytes or texts.

    Raises:
        DataError: If these bytes are no such array.
    """
    magic = file.read(len(_MAGIC) + 2)
    version = magic[len(_MAGIC) :]
    if not magic.startswith(_MAGIC) or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise DataError("it is no .npy file, as numpy.save writes it")
    width = 2 if version == b"\1\0" else 4
    length = int.from_bytes(file.read(width), "little")
    header = file.read(min(length, _MAX_HEADER_BYTES))
    if length > _MAX_HEADER_BYTES or len(header) < length:
        raise DataError(f"its header has {len(header)} of {length} bytes, where {_MAX_HEADER_BYTES} are possible")
    dtype, order, shape = _parsed(header.decode("utf-8" if version == b"\3\0" else "latin-1", "replace"))
    wanted, left = math.prod(shape) * dtype.itemsize, size_bytes - len(magic) - width - length
    if wanted > left:
        raise DataError(f"it is cut off: an array of {dtype} {shape} has {wanted} bytes, and {left} follow")
    content = bytearray(wanted)
    if _fill(file, memoryview(content)) < wanted:
        raise DataError("it is cut off")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def _parsed(text: str) -> tuple[np.dtype, str, tuple[int, ...]]:
    try:
        header = ast.literal_eval(re.sub(r"(?<=[0-9])L(?=[,)])", "", text.strip()))  # an L is Python 2's
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
        if len(header) != 3 or not isinstance(fortran, bool) or not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
            raise ValueError("it has other keys or values than numpy's")
        if not all(type(axis) is int and axis >= 0 for axis in shape):
            raise ValueError(f"its shape is {shape}")
        if not isinstance(descr, str) or not _DTYPE.fullmatch(descr):
            raise ValueError(f"its type is {descr!r:.80}: expected numbers, truth values or texts, without pickle")
        return np.dtype(descr), "F" if fortran else "C", shape
    except BAD_FILE as error:
        raise DataError(f"its header cannot be read: {str(error)[:200]}") from error


def _fill(file: BinaryIO, view: memoryview, piece_bytes: int = 1 << 20) -> int:
    done = 0
    while done < len(view) and (piece := file.read(min(piece_bytes, len(view) - done))):
        view[done : done + len(piece)] = piece
        done += len(piece)
    return done


class ArrayArchive:
    """An open .npz file.

    Attributes:
        names: Of its arrays.
    """

    def __init__(self, archive: zipfile.ZipFile, most_bytes: int | None):
        self._archive = archive
        self._most_bytes = most_bytes
        members = [info for info in archive.infolist() if info.filename.endswith(_MEMBER)]
        self._members = {info.filename.removesuffix(_MEMBER): info for info in members}
        self.names = tuple(self._members)

    def read(self, name: str) -> np.ndarray:
        """Read one array.

        Raises:
            DataError: If it is damaged, packed in an unknown way, or larger than allowed.
        """
        info = self._members[name]
        if self._most_bytes is not None and info.file_size > self._most_bytes:
            raise DataError(f"its array {name!r} would take {info.file_size} bytes; {self._most_bytes} are possible")
        try:
            with self._archive.open(info) as file:
                array = read_npy(file, info.file_size)  # type: ignore[arg-type]
                if file.read(1):
                    raise DataError("more follows than its header tells")
        except DataError as error:
            raise DataError(f"its array {name!r}: {error}") from error
        except BAD_FILE as error:
            raise DataError(f"its array {name!r} is damaged: {error}") from error
        return array


@contextlib.contextmanager
def open_npz(path: str | os.PathLike[str], most_bytes: int | None = None) -> Iterator[ArrayArchive]:
    """Open an .npz file.

    Args:
        path: The file.
        most_bytes: Bytes of the largest array that is read; any size if None.

    Raises:
        DataError: If it is no such file.
        OSError: If it cannot be opened.
    """
    with open_plain(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except BAD_FILE as error:
            raise DataError(f"it is no .npz file, or a damaged one: {error}") from error
        with archive:
            yield ArrayArchive(archive, most_bytes)


def read_array(path: Path) -> np.ndarray:
    """Read the array of a .npy file, or the array `x`, else the first one, of an .npz file.

    Nothing in the file is executed. The name does not matter, the content does.

    Raises:
        DataError: If the file is empty, torn, or holds no plain array; the caller adds the file's name to the message.
        OSError: If the file cannot be opened.
    """
    with open_plain(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or file.read(2) != b"PK":
            file.seek(0, io.SEEK_SET)
            try:
                return read_npy(file, size_bytes)
            except BAD_FILE as error:
                raise DataError(str(error)) from error
    with open_npz(path, MOST_UNPACKED_BYTES) as arrays:
        if not arrays.names:
            raise DataError("it holds no array")
        return arrays.read("x" if "x" in arrays.names else arrays.names[0])
