"""A directory replaced as a whole: whoever looks, and whenever the writer dies, finds the old one or the new one."""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ArgumentError, ExistsError

_NEW = ".new-"
_OLD = ".old-"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2


def check_replaceable(target: Path, kind: str, mark: str) -> None:
    """Raises unless what is there is a folder that may be replaced: an empty one, or one that holds the file `mark`.

    Args:
        target: What is there.
        kind: What the folder is to hold, in words.
        mark: The file by which it is told.

    Raises:
        ExistsError: It is a file, or holds something else.
        ArgumentError: It is the current folder of this process, or around it.
    """
    if not target.is_dir():
        raise ExistsError(f"'{target}' exists and is a file: not replaced.")
    if any(target.iterdir()) and not (target / mark).is_file():
        raise ExistsError(f"'{target}' exists and holds no {kind} ({mark} is missing): not replaced.")
    check_not_current(target)


def check_not_current(target: Path) -> None:
    """Raises ArgumentError where a folder that is to be replaced is the current one, which would be left nowhere."""
    if target.is_dir() and Path.cwd().is_relative_to(target.resolve()):
        raise ArgumentError(
            f"'{target}' is the current folder, or around it: it is replaced as a whole, and this process would stand "
            "in the deleted one. Go to another folder and give its path."
        )


@contextlib.contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a fresh directory to write into, and puts it in the place of `target` when the block ends well.

    The directory stands beside `target`, on the same file system. All that was written reaches the disk before
    the one step that swaps the two; the old directory is deleted after it. What killed runs left behind is cleared
    away first.

    Where the system cannot exchange two directories in one step (Windows, some network file systems), the old one is
    renamed away and the new one into its place: a writer killed between these two leaves no `target`, but the
    old one beside it as `.NAME.old-...`, which the next call puts back. Nothing is lost.

    Args:
        target: The directory to be made or replaced; a link to a directory stays a link.

    Yields:
        An empty directory.
    """
    place = Path(target).resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.parent):
        _clear(place)
        scratch = place.with_name(f".{place.name}{_NEW}{secrets.token_hex(8)}")
        scratch.mkdir()
        mark = _mark(scratch)
    try:
        yield scratch
        _sync_tree(scratch)
        left = _swap(scratch, place)
        _sync(place.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        if mark is not None:
            os.close(mark)
    if left is not None:
        _remove(left)


def _swap(scratch: Path, place: Path) -> Path | None:
    """Puts `scratch` into its place, and returns where the old directory is now."""
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
    """The system's call that exchanges two directories in one step, where there is one."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
    name, before, flag = ("renameat2", (_AT_FDCWD,), _RENAME_EXCHANGE)
    if sys.platform == "darwin":
        name, before, flag = ("renamex_np", (), _RENAME_SWAP)
    call = getattr(library, name, None)
    if call is None:
        return None

    def exchange(one: Path, other: Path) -> None:
        if call(*before, os.fsencode(one), *before, os.fsencode(other), flag):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(one), None, os.fspath(other))

    return exchange


def _clear(place: Path) -> None:
    """Removes what killed runs left, and brings back a directory that one of them had only moved away."""
    old = sorted(place.parent.glob(f".{_escaped(place.name)}{_OLD}*"))
    if old and not place.exists():
        os.rename(old.pop(), place)
    for path in [*old, *place.parent.glob(f".{_escaped(place.name)}{_NEW}*")]:
        if not _in_use(path):
            _remove(path)


def _remove(directory: Path) -> None:
    """Deletes a folder, write-protected ones in it too."""
    with contextlib.suppress(OSError):
        for folder, _, _ in os.walk(directory):
            os.chmod(folder, 0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _mark(directory: Path) -> int | None:
    """Locks a directory for as long as this process lives; the lock goes with the process, however it ends."""
    if sys.platform == "win32":
        return None
    import fcntl

    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # a file system without locks: then nothing tells who is alive
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _in_use(directory: Path) -> bool:
    """Whether a living process writes there; assumed where it cannot be told."""
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
    """Lets one process at a time clear away and begin, so that none clears what another has just begun."""
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
        return  # Windows opens no directory
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
