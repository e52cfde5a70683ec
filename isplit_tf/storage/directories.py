"""Atomic replacement of directories: readers find the old or the new directory, even if the writer is killed."""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from isplit_edge.files import writing

from ..errors import ArgumentError, ExistsError

_NEW = ".new-"
_OLD = ".old-"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2


def check_replaceable(target: Path, kind: str, mark: str) -> None:
    """Raise unless `target` is a folder that may be replaced: an empty one, or one that holds the file `mark`.

    Args:
        target: The existing file or folder.
        kind: The kind of content that the folder may hold, in words.
        mark: Name of the file that identifies this kind of content.

    Raises:
        ExistsError: If `target` is a file, or a folder with other content.
        ArgumentError: If `target` is the current folder of this process, or contains it.
    """
    if not target.is_dir():
        raise ExistsError(f"'{target}' exists and is a file: not replaced.")
    if any(target.iterdir()) and not (target / mark).is_file():
        raise ExistsError(f"'{target}' exists and holds no {kind} ({mark} is missing): not replaced.")
    check_not_current(target)


def check_not_current(target: Path) -> None:
    """Raise unless a folder can be replaced without deleting the current folder of this process.

    Raises:
        ArgumentError: If `target` is the current folder, or contains it.
    """
    if target.is_dir() and Path.cwd().is_relative_to(target.resolve()):
        raise ArgumentError(
            f"'{target}' is the current folder, or around it: it is replaced as a whole, and this process would stand "
            "in the deleted one. Go to another folder and give its path."
        )


@contextlib.contextmanager
def replacing(target: str | os.PathLike[str], *errors: type[Exception]) -> Iterator[Path]:
    """Yield an empty directory to write into, and replace `target` with it if the block ends without an error.

    The new directory is beside `target`, on the same file system. All files are synced to disk before the two
    directories are exchanged in one step; then the old directory is deleted. Directories left by killed runs are
    removed first.

    If the system cannot exchange two directories in one step (Windows, some network file systems), the old directory is
    renamed first, then the new one. If the writer is killed between these two steps, `target` is missing, but the old
    directory is still beside it as `.NAME.old-...`, and the next call restores it. Nothing is lost.

    Args:
        target: The directory to make or replace; a link to a directory stays a link.
        errors: Further errors, besides OSError, with which a library tells that it could not write.

    Yields:
        An empty directory.

    Raises:
        StorageError: If it cannot be written; the old directory is still there.
    """
    with writing(target, *errors), _replacing(target) as scratch:
        yield scratch


@contextlib.contextmanager
def _replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    destination = Path(target).resolve()
    destination.parent.mkdir(parents=True, exist_ok=True)
    with locked(destination.parent):
        _clear(destination)
        scratch = destination.with_name(f".{destination.name}{_NEW}{secrets.token_hex(8)}")
        scratch.mkdir()
        mark = _mark(scratch)
    try:
        yield scratch
        _sync_tree(scratch)
        old = _swap(scratch, destination)
        _sync(destination.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        if mark is not None:
            os.close(mark)
    if old is not None:
        _remove(old)


def _swap(scratch: Path, place: Path) -> Path | None:
    """Put `scratch` into its place, and return the new path of the old directory, or None if there was none."""
    if not place.exists():
        os.rename(scratch, place)
        return None
    exchange = _exchange()
    if exchange is not None:
        try:
            exchange(scratch, place)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                raise
        else:
            return scratch
    old = place.with_name(f".{place.name}{_OLD}{secrets.token_hex(8)}")
    os.rename(place, old)
    try:
        os.rename(scratch, place)
    except BaseException:
        os.rename(old, place)
        raise
    return old


def _exchange() -> Callable[[Path, Path], None] | None:
    """Return a function that exchanges two directories in one system call, or None if there is no such call."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    name, arguments, flag = ("renameat2", (_AT_FDCWD,), _RENAME_EXCHANGE)
    if sys.platform == "darwin":
        name, arguments, flag = ("renamex_np", (), _RENAME_SWAP)
    call = getattr(library, name, None)
    if call is None:
        return None

    def exchange(one: Path, other: Path) -> None:
        if call(*arguments, os.fsencode(one), *arguments, os.fsencode(other), flag):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(one), None, os.fspath(other))

    return exchange


def _clear(place: Path) -> None:
    """Restore a directory that a killed run renamed but did not replace, and remove what else killed runs left."""
    old_paths = sorted(place.parent.glob(f".{_escaped(place.name)}{_OLD}*"))
    if old_paths and not place.exists():
        os.rename(old_paths.pop(), place)
    for path in [*old_paths, *place.parent.glob(f".{_escaped(place.name)}{_NEW}*")]:
        if not _in_use(path):
            _remove(path)


def _remove(directory: Path) -> None:
    """Delete a folder, including write-protected folders in it."""
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(directory):
            os.chmod(folder, 0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _mark(directory: Path) -> int | None:
    """Lock a directory until this process ends, and return the open handle; the system releases the lock."""
    if sys.platform == "win32":
        return None
    import fcntl

    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # on a file system without locks, it is unknown which writers are alive
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _in_use(directory: Path) -> bool:
    """Check whether a running process writes into a directory; True if that cannot be determined."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let only one process at a time remove leftovers and begin, so that none removes another's new directory."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync_tree(directory: Path) -> None:
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            _sync(Path(folder) / name)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # Windows cannot open directories
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
