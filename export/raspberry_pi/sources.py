"""Where the images of `classify.py` come from: a folder that is watched, or the camera."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from isplit_edge import DataError, ISplitError, Manifest, MissingDependencyError
from isplit_edge.files import write_atomic
from isplit_edge.pictures import PICTURES, read_images_file
from isplit_edge.preprocessing import resize
from isplit_edge.text import printable

__all__ = ["PICTURES", "Camera", "Folder", "Frame", "Source", "complain", "fitted"]
_MOST_TRIES = 2
# ITU-R 601 luma with 16 bits after the point, as Pillow's convert("L") has it.
_LUMA = np.array([19595, 38470, 7471], np.uint32)


class Frame(NamedTuple):
    """An image and where it came from."""

    name: str
    image: np.ndarray


class Source(Protocol):
    """Where images come from."""

    def frames(self) -> Iterator[Frame]:
        """Return the frames that can be classified now; there may be none."""

    def done(self, frame: Frame, answered: bool) -> None:
        """Record whether a frame of `frames` was answered."""

    def close(self) -> None:
        """Release the resources."""


class Folder:
    """Images of a folder, each once; a changed file counts as a new one.

    A file is read when it has been the same in two rounds, so that one that is still being written is left alone. A
    program that writes files should give them their final name at the end.

    Args:
        path: The folder; it may be made later, and go away for a while.
        grey: Whether pictures are read as grey ones.
        settle: Whether to wait for a second round.
        notes: A folder for notes that outlive this program's end: a file on which it ended twice is set aside.
    """

    def __init__(self, path: Path, *, grey: bool, settle: bool = True, notes: Path | None = None):
        self._path = path
        self._grey = grey
        self._settle = settle
        self._missing = False
        self._tries = Tries(None if notes is None else notes / "tries.json")
        self._seen: dict[Path, tuple[int, int]] = {}
        self._finished: dict[Path, tuple[int, int]] = {}

    def frames(self) -> Iterator[Frame]:
        """Return the new files that can be read; each unreadable file is named on standard error once."""
        before, self._seen = self._seen, self._listing()
        self._finished = {path: state for path, state in self._finished.items() if self._seen.get(path) == state}
        for path, state in sorted(self._seen.items()):
            if path in self._finished or (self._settle and before.get(path) != state):
                continue
            if not self._tries.begin(path.name, state):
                complain(f"{path.name} is set aside: this program ended {_MOST_TRIES} times while it worked on it")
                self._finished[path] = state
                continue
            try:
                image = read_images_file(path, grey=self._grey)
            except ISplitError as error:
                if path.exists():
                    complain(str(error))
                    self._finished[path] = state
            else:
                yield Frame(path.name, image)
            self._tries.end(path.name)

    def done(self, frame: Frame, answered: bool) -> None:
        """Keep an answered file from being read again."""
        path = self._path / frame.name
        if answered and path in self._seen:
            self._finished[path] = self._seen[path]

    def close(self) -> None:
        """Do nothing: there are no resources."""

    def _listing(self) -> dict[Path, tuple[int, int]]:
        """Return size and time of change of each file that may be an image."""
        found = {}
        try:
            for entry in os.scandir(self._path):
                wanted = entry.name.lower().endswith((".npy", *PICTURES)) and not entry.name.startswith(".")
                with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                    if wanted and entry.is_file():
                        status = entry.stat()
                        found[Path(entry.path)] = (status.st_mtime_ns, status.st_size)
        except OSError as error:
            if not self._missing:
                complain(f"{self._path} cannot be listed, waiting for it: {error.strerror}")
            self._missing = True
        else:
            self._missing = False
        return found


class Tries:
    """Which files were being worked on when this program ended without a chance to say why.

    A crash in a library, or a kill for want of memory, would otherwise come again at the same file after each start.

    Args:
        path: Where the notes are kept; on a file system in memory, as they change with every file. None for none.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._times: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(path.read_bytes()) if path is not None else {}
            self._times = found if isinstance(found, dict) else {}

    def begin(self, name: str, state: tuple[int, int]) -> bool:
        """Note that work on a file begins; return False if the program already ended twice at it, as it is now."""
        if self._path is None:
            return True
        found = self._times.get(name)
        times = found[1] if isinstance(found, list) and len(found) == 2 and found[0] == list(state) else 0
        if not isinstance(times, int) or times >= _MOST_TRIES:
            return False
        self._times[name] = [list(state), times + 1]
        self._write()
        return True

    def end(self, name: str) -> None:
        """Note that work on a file ended, in whatever way."""
        if self._times.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # without notes the work goes on
            if self._path is not None:
                write_atomic(self._path, json.dumps(self._times).encode())


class Camera:
    """Frames of the Raspberry Pi's camera, by picamera2.

    Args:
        size: (height, width) of the frames.

    Raises:
        MissingDependencyError: If picamera2 is not installed for this Python.
        DataError: If there is no camera.
    """

    def __init__(self, size: tuple[int, int]):
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise MissingDependencyError(
                "--camera needs picamera2, which comes with Raspberry Pi OS: sudo apt install python3-picamera2, then "
                f"install.sh --camera, which lets this Python see it ({error}). --folder needs neither."
            ) from error
        try:
            self._camera = Picamera2()
        except (IndexError, RuntimeError) as error:
            raise DataError(
                f"No camera was found: rpicam-hello --list-cameras shows those there are ({error})"
            ) from error
        # What libcamera calls BGR888 lies in memory as R, G, B.
        configuration = self._camera.create_video_configuration(main={"size": size[::-1], "format": "BGR888"})
        self._camera.configure(configuration)
        self._camera.start()
        self._count = 0

    def frames(self) -> Iterator[Frame]:
        """Return the next frame, (H, W, 3) uint8."""
        self._count += 1
        yield Frame(f"frame {self._count}", self._camera.capture_array("main"))

    def done(self, frame: Frame, answered: bool) -> None:
        """Do nothing: a frame that was not answered is lost."""

    def close(self) -> None:
        """Stop the camera."""
        self._camera.stop()
        self._camera.close()


def fitted(image: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Convert a camera's frame to the model's channels and, unless the bundle resizes, to its size.

    Args:
        image: (H, W, 3) uint8, channels R, G, B.
        manifest: Of the bundle.

    Returns:
        uint8; (H, W, 1) for a model of one channel.
    """
    height, width, channels = manifest.shapes["input"]
    if channels == 1:
        image = ((image.astype(np.uint32) @ _LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]
    preprocessing = manifest.preprocessing
    if preprocessing is not None and preprocessing["size"] is not None:
        return image
    return np.rint(resize(image, (height, width))).astype(np.uint8)


def complain(text: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"classify: {printable(text)}\n")
    sys.stderr.flush()
