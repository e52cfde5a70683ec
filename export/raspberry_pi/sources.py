"""Where the images of `classify.py` come from: a folder that is watched, or the camera."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from isplit_edge import DataError, Manifest, MissingDependencyError
from isplit_edge.images import read_array
from isplit_edge.preprocessing import resize

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
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
    """

    def __init__(self, path: Path, *, grey: bool, settle: bool = True):
        self._path = path
        self._grey = grey
        self._settle = settle
        self._missing = False
        self._seen: dict[Path, tuple[int, int]] = {}
        self._finished: dict[Path, tuple[int, int]] = {}

    def frames(self) -> Iterator[Frame]:
        """Return the new files that can be read; each unreadable file is named on standard error once."""
        before, self._seen = self._seen, self._listing()
        self._finished = {path: state for path, state in self._finished.items() if self._seen.get(path) == state}
        for path, state in sorted(self._seen.items()):
            if path in self._finished or (self._settle and before.get(path) != state):
                continue
            try:
                yield Frame(path.name, _read(path, grey=self._grey))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, DataError) as error:
                complain(f"{path.name} cannot be read: {error}")
                self._finished[path] = state

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


def _read(path: Path, *, grey: bool) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return read_array(path)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(f"pictures need Pillow: pip install pillow; .npy files need nothing ({error})") from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise DataError(str(error)) from error


def complain(text: str) -> None:
    """Print a message on standard error."""
    sys.stderr.write(f"classify: {text}\n")
    sys.stderr.flush()
