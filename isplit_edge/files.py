"""Files of a bundle: paths that stay inside it, hashes, and writing in one step."""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from .errors import ArgumentError, BundleError, ISplitError, StorageError

BAD_FILE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError),
    *(TypeError, ValueError, Warning, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What the readers of Python, numpy and Pillow raise for the content of a damaged file."""
with contextlib.suppress(ImportError):  # a Python may be built without it
    from lzma import LZMAError

    BAD_FILE = (*BAD_FILE, LZMAError)


def relative_path(name: str) -> PurePosixPath:
    """Check a path of a manifest: it must be relative, in plain form, and inside the bundle.

    Args:
        name: For instance `"edge/head.tflite"`, with forward slashes on every system.

    Returns:
        The path.

    Raises:
        ArgumentError: If it is absolute, empty, holds `..`, `.`, a backslash, a drive or a NUL.

    Example:
        >>> str(relative_path("edge/head.tflite"))
        'edge/head.tflite'
    """
    path = PurePosixPath(name)
    plain = str(path) == name and "\\" not in name and "\0" not in name and not PureWindowsPath(name).drive
    if not plain or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArgumentError(
            f"{name!r} is not a path inside the bundle: expected a relative one such as 'edge/head.tflite'"
        )
    return path


def inside(root: Path, name: str) -> Path:
    """Return the path of `name` below `root`, and refuse a path that leads elsewhere through links.

    Raises:
        ArgumentError: If the path, or a link on its way, leads out of `root`.
    """
    path = root.joinpath(relative_path(name))
    target = os.path.realpath(path)  # unlike Path.resolve, it takes links that lead to themselves
    if not Path(target).is_relative_to(os.path.realpath(root)):
        raise ArgumentError(f"{name!r} leads out of the bundle, to {target}")
    return path


def open_plain(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file for reading: not a folder, a pipe or a device, which may have no end or keep its reader waiting.

    Raises:
        OSError: If it cannot be opened, or is something else than a file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(code, os.strerror(code) if stat.S_ISDIR(mode) else "It is no plain file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_limited(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Read a whole file of at most so many bytes.

    Raises:
        OSError: As `open_plain` does, and if the file is larger.
    """
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"It has more than {most_bytes} bytes", os.fspath(path))
    return content


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 lowercase hexadecimal digits."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a manifest's entry for a file: its `sha256` and `size_bytes`."""
    return {"sha256": file_sha256(path), "size_bytes": os.stat(path).st_size}


def check_file(root: Path, name: str, *, sha256: str, size_bytes: int) -> None:
    """Compare a file of a bundle with its entry in the manifest.

    Raises:
        BundleError: If it is missing, differs in size or hash, cannot be read, or lies outside of the bundle.
    """
    try:
        path = inside(root, name)
        found_bytes = path.stat().st_size
        # The size is compared first: it costs nothing, and tells a copy that broke off from a file that was changed.
        if found_bytes != size_bytes:
            raise BundleError(
                f"{path} was changed or cut off: {found_bytes} bytes, {size_bytes} in the manifest. "
                "Copy or export the bundle again."
            )
        if file_sha256(path) != sha256:
            raise BundleError(
                f"{path} was changed: its SHA-256 is not that in the manifest. Copy or export the bundle again."
            )
    except FileNotFoundError as error:
        raise BundleError(f"{root} is incomplete: {name} is missing. Copy or export the bundle again.") from error
    except ArgumentError as error:
        raise BundleError(f"{root}: {error}") from error
    except OSError as error:
        raise BundleError(f"{root}: {name} cannot be read: {error}") from error


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    A reader, or a run after a crash, finds either the whole old content or the whole new content.

    Raises:
        StorageError: If the file cannot be written; the old content is still there.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    with writing(target):
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


@contextlib.contextmanager
def writing(target: str | os.PathLike[str], *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the system while something is written into `StorageError`s that name it.

    Args:
        target: What is written.
        others: Further errors with which a library tells that it could not write.
    """
    try:
        yield
    except (ISplitError, FileExistsError):
        raise
    except (OSError, *others) as error:  # type: ignore[misc]
        code = getattr(error, "errno", None)
        why = os.strerror(code) if code is not None else str(error)[:300] or type(error).__name__
        failure = StorageError(f"'{target}' cannot be written, and what was there is still there: {why}")
        failure.errno = code
        raise failure from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, with those around it, unless it is there.

    Raises:
        StorageError: If it cannot be made.
    """
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file as `open_atomic` does."""
    with open_atomic(path) as file:
        file.write(data)
