#!/usr/bin/env python3
"""Classifies what a camera sees, or the images that arrive in a folder: the head runs here, the tail on a server.

    classify.py bundle/ --url http://server:8501 --folder incoming/
    classify.py bundle/ --url http://server:8501 --camera

One line for each image: its class, how probable, and the milliseconds of each phase. Where the server is away, lines
say so and the program goes on; files of a folder are tried again until they are answered. Exit status: 0 stopped or
done, 1 with --once where an image was not answered, 2 a bad request or a bundle that cannot be used.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sources import PICTURES, Camera, Folder, Frame, Source, complain, fitted

from isplit_edge import Answer, Client, DataError, ISplitError, Manifest
from isplit_edge.answer import STATUS_NO_ANSWER
from isplit_edge.text import printable

_CAMERA_SIZE = (480, 640)
_LONGEST_PAUSE_S = 60.0


def line(frame: Frame, answer: Answer, *, as_json: bool) -> str:
    """Return the line that is printed for an image."""
    best = int(answer.classes[0])
    names = answer.class_names
    label = None if best < 0 else str(best) if names is None else names[best]
    ms = {phase: round(1000 * seconds, 2) for phase, seconds in answer.timings_s.items()}
    probability = None if best < 0 else round(float(answer.probabilities[0, best]), 6)
    if as_json:
        record: dict[str, Any] = {"time": round(time.time(), 3), "image": frame.name, "class": label}
        record |= {"class_index": None if best < 0 else best, "probability": probability}
        record |= {"status": int(answer.status[0]), "reason": answer.reasons.get(0), "ms": ms}
        record |= {"payload_bytes": int(answer.payload_bytes[0]), "pace": answer.pace}
        return json.dumps(record)
    times = "  ".join(f"{phase} {value:.1f} ms" for phase, value in ms.items())
    if label is None:
        return printable(f"{frame.name}: no answer, {answer.reasons[0]}  ({times})")
    return printable(f"{frame.name}: {label} {probability:.3f}  {times}")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
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
    parser.add_argument(
        "--deadline", type=float, metavar="SECONDS", help="for an image and its answer; coded payloads follow the link"
    )
    parser.add_argument("--payload-bytes", type=int, metavar="N", help="the most bytes of each coded payload")
    parser.add_argument("--threads", type=int, help="of the head; LiteRT's own choice by default")
    parser.add_argument("--token-file", type=Path, help="a file that holds a bearer token")
    args = parser.parse_args(argv)
    if not 0 <= args.interval < float("inf"):
        parser.error(f"--interval must be a number of seconds from 0 on. Received: {args.interval}")
    return args


def run(args: argparse.Namespace, stop: threading.Event) -> int:
    """Run a parsed command line until it is done or `stop` is set."""
    token = None if args.token_file is None else _token(args.token_file)
    limits = {"timeout_s": args.timeout, "deadline_s": args.deadline, "payload_bytes": args.payload_bytes}
    with Client(args.bundle, args.url, token=token, num_threads=args.threads, **limits) as client:
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
    """Classify a frame; return True if it was answered, False if it was refused, None if no answer came."""
    try:
        image = fitted(frame.image, client.manifest) if args.camera else frame.image
        answer = client.run(image)
    except DataError as error:
        complain(f"{frame.name}: {error}")
        return False
    if len(answer.status) != 1:
        complain(f"{frame.name}: one image a file, please. Found: {len(answer.status)}")
        return False
    sys.stdout.write(line(frame, answer, as_json=args.json) + "\n")
    sys.stdout.flush()
    return None if answer.status[0] == STATUS_NO_ANSWER else bool(answer.answered[0])


def _source(args: argparse.Namespace, manifest: Manifest) -> Source:
    shape = manifest.shapes["input"]
    if args.folder is not None:
        notes = os.environ.get("RUNTIME_DIRECTORY")  # systemd's, of the unit
        return Folder(
            args.folder, grey=shape[-1] == 1, settle=not args.once, notes=None if notes is None else Path(notes)
        )
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise DataError(f"--camera needs a model of images of 1 or 3 channels. This one's input is {tuple(shape)}")
    return Camera(_CAMERA_SIZE)


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} holds no token: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = parse(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return run(args, stop)
    except ISplitError as error:
        complain(str(error))
        return 2
    except BrokenPipeError:
        # Whoever read the lines has gone; Python must not try to write to it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
