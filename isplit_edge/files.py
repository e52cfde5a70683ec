"""Files of a bundle: paths that stay inside it, hashes, and writing in one step."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from .errors import ArgumentError, BundleError


def relative_path(name: str) -> PurePosixPath:
    """Checks a path of a manifest: relative, in plain form, with no way out of the bundle.

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
    """Returns where `name` lies below `root`, links followed, and refuses what lies elsewhere.

    Raises:
        ArgumentError: If the path, or a link on its way, leads out of `root`.
    """
    path = root.joinpath(relative_path(name))
    if not path.resolve().is_relative_to(root.resolve()):
        raise ArgumentError(f"{name!r} leads out of the bundle, to {path.resolve()}")
    return path


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file as 64 lowercase hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns what a manifest says about a file: its `sha256` and `size_bytes`."""
    return {"sha256": file_sha256(path), "size_bytes": os.stat(path).st_size}


def check_file(root: Path, name: str, *, sha256: str, size_bytes: int) -> None:
    """Compares a file of a bundle with what the manifest says about it.

    Raises:
        BundleError: If it is missing, differs in size or hash, cannot be read, or lies outside of the bundle.
    """
    try:
        path = inside(root, name)
        found_bytes = path.stat().st_size
        # The size first: it tells a copy that broke off from a file that was changed, and costs nothing.
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
    """A file to write, which takes the place of `path` when the block ends well.

    A reader, or a run after a crash, finds the old content or the new one, whole.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file as `open_atomic` does."""
    with open_atomic(path) as file:
        file.write(data)
