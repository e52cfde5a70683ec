"""The commands of a device: `python -m isplit_edge BUNDLE --url http://server:8501 photo.png` classifies image files.

`python -m isplit_edge profile kit/` measures the device.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import profile_command
from .answer import Answer
from .client import Client
from .errors import DataError, ISplitError, ServerError
from .images import ARRAYS
from .pictures import PICTURES, read_images_file
from .text import printable


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; its first word may be `profile`."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == [profile_command.WORD]:
        return profile_command.parse(words[1:])
    parser = argparse.ArgumentParser(
        prog="python -m isplit_edge",
        description="Classify images with a bundle's head here and its tail on a server.",
        epilog="Without FILES it asks whether the server has this bundle's version. With the word profile in place of "
        "BUNDLE it measures this device: python -m isplit_edge profile --help. "
        "Example: python -m isplit_edge bundle/ --url http://server:8501 photo.png frames.npy",
    )
    parser.add_argument("bundle", help="the bundle's directory: manifest.json and edge/")
    parser.add_argument("files", nargs="*", type=Path, help=".npy, .npz, images (with Pillow), folders of them")
    parser.add_argument("--url", required=True, help="the server's address, http:// (REST) or grpc://")
    parser.add_argument("--token", help="a bearer token")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for one request")
    parser.add_argument("--payload-bytes", type=int, metavar="N", help="the most bytes of each coded payload")
    parser.add_argument(
        "--deadline", type=float, metavar="SECONDS", help="for all requests of one file; coded payloads follow the link"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser.parse_intermixed_args(words)  # options may stand between the files


def run(args: argparse.Namespace) -> int:
    """Run a parsed command line.

    Returns:
        The exit status: 0 if every image was answered, 1 if not, 2 if a file holds no images for the bundle.
    """
    answered, bad = True, False
    limits = {"timeout_s": args.timeout, "deadline_s": args.deadline, "payload_bytes": args.payload_bytes}
    with Client(args.bundle, args.url, token=args.token, **limits) as client:
        if not args.files:
            sys.stdout.write(f"{client.check()}\n")
        for path in _found(args.files):
            try:
                answer = _asked(client, path)
            except DataError as error:  # the other files can still be classified
                sys.stderr.write(f"isplit_edge: {printable(str(error))}\n")
                bad = True
                continue
            answered &= bool(answer.answered.all())
            for row in range(len(answer.status)):
                sys.stdout.write(_line(path, row, answer, as_json=args.json) + "\n")
            sys.stdout.flush()
    return 2 if bad else 0 if answered else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status: 2 for a bad request, 1 for a failure."""
    try:
        args = parse(argv)
        return profile_command.run(args) if hasattr(args, "kit") else run(args)
    except ISplitError as error:
        sys.stderr.write(f"isplit_edge: {printable(str(error))}\n")
        return 1 if isinstance(error, ServerError) else 2


def _found(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in ARRAYS + PICTURES)
            if not inside:
                raise DataError(f"{path} holds no {', '.join(ARRAYS + PICTURES)} files")
            yield from inside
        else:
            yield path


def _asked(client: Client, path: Path) -> Answer:
    images = read_images_file(path, grey=client.manifest.shapes["input"][-1] == 1)
    try:
        return client.run(images)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _line(path: Path, row: int, answer: Answer, *, as_json: bool) -> str:
    best = int(answer.classes[row])
    names = answer.class_names
    label = None if best < 0 else best if names is None else names[best]
    probability = None if best < 0 else float(answer.probabilities[row, best])
    if as_json:
        return json.dumps(
            {
                "file": str(path),
                "image": row,
                "class": label,
                "probability": probability,
                "status": int(answer.status[row]),
                "source": None if best < 0 else "local" if answer.local[row] else "server",
                "reason": answer.reasons.get(row),
                "payload_bytes": int(answer.payload_bytes[row]),
            }
        )
    shown = printable(str(path))
    if probability is None:
        return f"{shown}\t{row}\tstatus {answer.status[row]}\t{printable(answer.reasons[row])}"
    where = "\tlocal" if answer.local[row] else ""
    return f"{shown}\t{row}\t{printable(str(label))}\t{probability:.4f}{where}"


if __name__ == "__main__":
    sys.exit(main())
