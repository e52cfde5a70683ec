"""Reading of image archives without unpacking: no member is ever written to disk."""

import bz2
import contextlib
import gzip
import hashlib
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from isplit_edge.files import BAD_FILE

from ..errors import DataError

KINDS = "a .zip or a .tar archive (plain, or as .gz, .bz2 or .xz)"
MAX_MEMBER_BYTES = 64 * 2**20
"""Larger members are not read: images of the known data sets are far smaller, a zip bomb is not."""

_BLOCK_BYTES = 2**20
_PIECE_BYTES = 2**16
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open, b"]\0\0": lzma.open}
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")
_DAMAGED: tuple[type[Exception], ...] = (*BAD_FILE, tarfile.TarError)


class UnreadableError(Exception):
    """A member of an archive cannot be read; the other members can."""


@dataclass(frozen=True)
class Digests:
    """Size, MD5 and SHA-256 of an archive, the digests in lowercase hex."""

    size_bytes: int
    md5: str
    sha256: str


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: Path in the archive, with `/`, never absolute and without `..`.
        size_bytes: Size that the archive declares.
    """

    name: str
    size_bytes: int
    _read: Callable[[], bytes] = field(repr=False)

    def read(self) -> bytes:
        """Return the content; possible only while this is the current member of the iteration.

        Raises:
            UnreadableError: If the member is damaged, encrypted or too large.
            DataError: If the archive is damaged from here on.
        """
        if self.size_bytes > MAX_MEMBER_BYTES:
            raise UnreadableError(f"{self.size_bytes} bytes are more than any image here has")
        return self._read()


def is_archive(path: Path) -> bool:
    """Check whether a file looks like a zip or tar archive."""
    if zipfile.is_zipfile(path):
        return True
    try:
        with _open_tar(path):
            return True
    except _DAMAGED:
        return False


class _Bounded:
    """A stream from which nobody reads more at once than the largest member has, whatever a header of it claims."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        if not 0 <= size <= MAX_MEMBER_BYTES + _BLOCK_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._stream.read(size)


def _tar(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r:")


@contextlib.contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in _PACKED.items() if start.startswith(magic)), open)
    with opener(path, "rb") as stream, _tar(_Bounded(stream)) as archive:
        yield archive


class Archive:
    """A zip or tar archive.

    Attributes:
        path: Path of the archive.
        refused: For each refused member, the reason by name: links, devices, names that lead out of the archive, a
            second file of the same name. Filled while `members` is iterated.
    """

    def __init__(self, path: str | Path):
        """Open an archive.

        Raises:
            DataError: If the file is missing or is no archive.
        """
        self.path = Path(path)
        self.refused: dict[str, str] = {}
        if not self.path.is_file():
            found = "a folder" if self.path.is_dir() else "nothing"
            raise DataError(f"There is {found} at '{self.path}'. Expected {KINDS}.")
        self._is_zip = zipfile.is_zipfile(self.path)
        if not is_archive(self.path):
            raise DataError(f"'{self.path}' is no archive, or a damaged one. Expected {KINDS}.")

    @cached_property
    def digests(self) -> Digests:
        """Return size and digests of the archive file; computed once."""
        md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                size += len(block)
                md5.update(block)
                sha256.update(block)
        return Digests(size, md5.hexdigest(), sha256.hexdigest())

    def members(self) -> Iterator[Member]:
        """Yield the files in the archive's order, without those of operating systems (`__MACOSX`, `.DS_Store`).

        Raises:
            DataError: If the archive is truncated or damaged as a whole.
        """
        self.refused.clear()
        names: set[str] = set()
        try:
            for member, reason in self._zip_members() if self._is_zip else self._tar_members():
                name = member.name.replace("\\", "/")
                parts = PurePosixPath(name).parts
                if any((part.startswith(".") and part != "..") or part in _JUNK for part in parts):
                    continue
                reason = reason or _reason(name, parts)
                name = "/".join(parts)
                if reason is None and name in names:
                    reason = "a second file of this name"
                if reason is not None:
                    self.refused[name] = reason
                    continue
                names.add(name)
                yield Member(name, member.size_bytes, member._read)
        except _DAMAGED as error:
            raise DataError(
                f"'{self.path}' is damaged after {len(names)} files: {error or type(error).__name__}"
            ) from error

    def _zip_members(self) -> Iterator[tuple[Member, str | None]]:
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    is_link = (info.external_attr >> 28) == 0xA  # the file type of a Unix mode
                    member = Member(info.filename, info.file_size, partial(_read_zipped, archive, info))
                    yield member, "a link" if is_link else None

    def _tar_members(self) -> Iterator[tuple[Member, str | None]]:
        with _open_tar(self.path) as archive:
            for info in archive:
                if not info.isdir():
                    member = Member(info.name, info.size, partial(_read_tarred, self.path, archive, info))
                    yield member, None if info.isfile() else "a link or device"
                archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps a record of every file


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    content = bytearray()
    try:
        with archive.open(info) as file:
            # In pieces, as the whole is unpacked before it is compared with the size that is declared.
            while piece := file.read(_PIECE_BYTES):
                content += piece
        return bytes(content)
    except BAD_FILE as error:  # damaged, encrypted, or packed in a way that Python cannot undo
        raise UnreadableError(f"damaged in the archive: {error or type(error).__name__}") from error


def _read_tarred(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    try:
        file = archive.extractfile(info)
        return file.read() if file else b""  # None for members that are neither files nor links
    except _DAMAGED as error:
        raise DataError(f"'{path}' is damaged in {info.name}: {error or type(error).__name__}") from error


def _reason(name: str, parts: tuple[str, ...]) -> str | None:
    if not parts or parts[0].startswith("/") or ":" in parts[0] or ".." in parts:
        return "its name leads out of the archive"
    return None
