#!/usr/bin/env python3
"""Classifies what a camera sees, or the images that arrive in a folder: the head runs here, the tail on a server.

    classify.py bundle/ --url http://server:8501 --folder incoming/
    classify.py bundle/ --url http://server:8501 --camera

One line for each image: its class, how probable, and the milliseconds of each phase. Where the server is away, lines
say so and the program goes on; files of a folder are tried again until they are answered. Exit status: 0 stopped or
done, 1 with --once where an image was not answered, 2 a bad request or a bundle that cannot be used.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from isplit_edge import Answer, Client, DataError, ISplitError, Manifest, MissingDependencyError
from isplit_edge.answer import STATUS_NO_ANSWER
from isplit_edge.preprocessing import resize

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# ITU-R 601 luma with 16 bits after the point, as Pillow's convert("L") has it.
_LUMA = np.array([19595, 38470, 7471], np.uint32)
_CAMERA_SIZE = (480, 640)
_LONGEST_PAUSE_S = 60.0


class Frame(NamedTuple):
    """An image and where it came from."""

    name: str
    image: np.ndarray


class Source(Protocol):
    """Where images come from."""

    def frames(self) -> Iterator[Frame]:
        """What is there to be classified now; may be nothing."""

    def done(self, frame: Frame, answered: bool) -> None:
        """Is told how it went with a frame of `frames`."""

    def close(self) -> None:
        """Gives back what it holds."""


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
        """The new files that can be read; those that cannot are named on standard error, once."""
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
                _complain(f"{path.name} cannot be read: {error}")
                self._finished[path] = state

    def done(self, frame: Frame, answered: bool) -> None:
        """Keeps an answered file from being read again."""
        path = self._path / frame.name
        if answered and path in self._seen:
            self._finished[path] = self._seen[path]

    def close(self) -> None:
        """Nothing to give back."""

    def _listing(self) -> dict[Path, tuple[int, int]]:
        """Size and time of change of each file that may be an image."""
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
                _complain(f"{self._path} cannot be listed, waiting for it: {error.strerror}")
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
        """The next frame, (H, W, 3) uint8."""
        self._count += 1
        yield Frame(f"frame {self._count}", self._camera.capture_array("main"))

    def done(self, frame: Frame, answered: bool) -> None:
        """A frame that was not answered is over."""

    def close(self) -> None:
        """Stops the camera."""
        self._camera.stop()
        self._camera.close()


def fitted(image: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Brings a camera's frame into the model's channels and, where the bundle does not resize, into its size.

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


def line(frame: Frame, answer: Answer, *, as_json: bool) -> str:
    """What is printed for an image."""
    best = int(answer.classes[0])
    names = answer.class_names
    label = None if best < 0 else str(best) if names is None else names[best]
    ms = {phase: round(1000 * seconds, 2) for phase, seconds in answer.timings_s.items()}
    probability = None if best < 0 else round(float(answer.probabilities[0, best]), 6)
    if as_json:
        record: dict[str, Any] = {"time": round(time.time(), 3), "image": frame.name, "class": label}
        record |= {"class_index": None if best < 0 else best, "probability": probability}
        record |= {"status": int(answer.status[0]), "reason": answer.reasons.get(0), "ms": ms}
        return json.dumps(record)
    times = "  ".join(f"{phase} {value:.1f} ms" for phase, value in ms.items())
    if label is None:
        return f"{frame.name}: no answer, {answer.reasons[0]}  ({times})"
    return f"{frame.name}: {label} {probability:.3f}  {times}"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the bundle's directory: manifest.json and edge/")
    parser.add_argument("--url", required=True, help="the server's REST address")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, help=f"watch this folder: .npy and, with Pillow, {', '.join(PICTURES)}")
    source.add_argument("--camera", action="store_true", help="the Raspberry Pi's camera, by picamera2")
    parser.add_argument("--once", action="store_true", help="one round, then end: the folder as it is, or one frame")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between rounds (default: 1)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for one request (default: 10)")
    parser.add_argument("--threads", type=int, help="of the head; LiteRT's own choice by default")
    parser.add_argument("--token-file", type=Path, help="a file that holds a bearer token")
    args = parser.parse_args(argv)
    if not 0 <= args.interval < float("inf"):
        parser.error(f"--interval must be a number of seconds from 0 on. Received: {args.interval}")
    return args


def run(args: argparse.Namespace, stop: threading.Event) -> int:
    """Runs a parsed command line until it is done or `stop` is set."""
    token = None if args.token_file is None else _token(args.token_file)
    with Client(args.bundle, args.url, timeout_s=args.timeout, token=token, num_threads=args.threads) as client:
        source = _source(args, client.manifest)
        try:
            return _loop(client, source, args, stop)
        finally:
            source.close()


def _loop(client: Client, source: Source, args: argparse.Namespace, stop: threading.Event) -> int:
    pause_s = args.interval
    while True:
        reached = True
        everything = True
        for frame in source.frames():
            answered = _classify(client, frame, args)
            everything &= answered is True
            # What the server refuses once it refuses always; what did not reach it is tried again.
            source.done(frame, answered is not None)
            reached = answered is not None
            if stop.is_set() or not reached:
                break
        if args.once:
            return 0 if everything else 1
        # A server that is away is asked less and less often.
        pause_s = args.interval if reached else min(max(2 * pause_s, 1.0), _LONGEST_PAUSE_S)
        if stop.wait(pause_s):
            return 0


def _classify(client: Client, frame: Frame, args: argparse.Namespace) -> bool | None:
    """True: answered. False: refused, here or there. None: no answer came."""
    try:
        image = fitted(frame.image, client.manifest) if args.camera else frame.image
        answer = client.run(image)
    except DataError as error:
        _complain(f"{frame.name}: {error}")
        return False
    if len(answer.status) != 1:
        _complain(f"{frame.name}: one image a file, please. Found: {len(answer.status)}")
        return False
    sys.stdout.write(line(frame, answer, as_json=args.json) + "\n")
    sys.stdout.flush()
    return None if answer.status[0] == STATUS_NO_ANSWER else bool(answer.answered[0])


def _source(args: argparse.Namespace, manifest: Manifest) -> Source:
    shape = manifest.shapes["input"]
    if args.folder is not None:
        return Folder(args.folder, grey=shape[-1] == 1, settle=not args.once)
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise DataError(f"--camera needs a model of images of 1 or 3 channels. This one's input is {tuple(shape)}")
    return Camera(_CAMERA_SIZE)


def _read(path: Path, *, grey: bool) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return np.load(path, allow_pickle=False)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(f"pictures need Pillow: pip install pillow; .npy files need nothing ({error})") from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L" if grey else "RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise DataError(str(error)) from error


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} holds no token: {error}") from error


def _complain(text: str) -> None:
    sys.stderr.write(f"classify: {text}\n")
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    args = parse(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return run(args, stop)
    except ISplitError as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:
        # Whoever read the lines has gone; Python must not try to write to it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
