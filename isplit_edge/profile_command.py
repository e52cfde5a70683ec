"""The command that measures a device with a kit: `python -m isplit_edge profile kit/`."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .device_profile import DeviceProfile
from .errors import ArgumentError
from .kit import SERVED_NAME, SERVED_VERSION, Kit
from .link_probe import SECONDS as LINK_SECONDS
from .link_probe import SIZES, Asked, LinkProbe
from .profiling import SECONDS, measure_device
from .rest import SIGNATURE

WORD = "profile"
_MOST_PAYLOAD = 1 << 20


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line behind the word `profile`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m isplit_edge {WORD}",
        description="Measure this device with a kit: its heads, the whole model, image formats, and the link to a "
        "server.",
        epilog=f"Example: python -m isplit_edge {WORD} kit/ --url http://server:8501 -o device.json. The link is "
        "measured with malformed payloads, which the tail of any bundle answers.",
    )
    parser.add_argument("kit", help="the kit's directory, as isplit kit wrote it; serving/ is not needed")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("device.json"),
        metavar="FILE",
        help="the profile's file (default: device.json)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--url", help="measure the link to this server too, http:// (REST) or grpc://")
    parser.add_argument("--threads", type=int, metavar="N", help="of the interpreter (default: LiteRT's own choice)")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="for each model (default: 1.5)")
    parser.add_argument(
        "--link-seconds", type=float, default=LINK_SECONDS, metavar="S", help="for the link (default: 20)"
    )
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the memory, which takes a process per model"
    )
    parser.add_argument("--model", metavar="NAME", help="on the server: any tail instead of the kit's own model")
    parser.add_argument("--model-version", type=int, default=1, metavar="N", help="of --model (default: 1)")
    parser.add_argument(
        "--signature", metavar="NAME", help=f"of the model (default: a tail of the kit, or {SIGNATURE})"
    )
    parser.add_argument("--token", help="a bearer token for the server")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for one request")
    parser.add_argument("--json", action="store_true", help="the profile as JSON on standard output too")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Run a parsed command line: measure, write the file, and print a table.

    Returns:
        The exit status: 0 if all was measured, 1 if something is missing, which the file and the last lines say.
    """
    _check_free(args.output, args.overwrite)
    kit = Kit.load(args.kit)
    probe = None
    if args.url:
        probe = LinkProbe(args.url, _asked(kit, args), token=args.token, timeout_s=args.timeout)
        probe.check()
    begin = time.monotonic()
    profile = measure_device(kit, threads=args.threads, seconds=args.seconds, memory=not args.no_memory, say=_say)
    if probe is not None:
        profile = _with_link(profile, probe, kit, args.link_seconds)
    profile.save(args.output)
    _say(f"wrote {args.output} after {time.monotonic() - begin:.0f} s")
    sys.stdout.write(f"{args.output.read_text() if args.json else profile}\n")
    for line in profile.missing:
        _say(f"missing: {line}")
    return 0 if profile.complete else 1


def _say(line: str) -> None:
    sys.stderr.write(f"isplit_edge {WORD}: {line}\n")
    sys.stderr.flush()


def _check_free(output: Path, overwrite: bool) -> None:
    """Raise before minutes of work where the file could not be written."""
    if output.exists() and not overwrite:
        raise ArgumentError(f"'{output}' exists. Give --overwrite, or another file with -o.")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ArgumentError(f"'{output}' cannot be written as a file. Give another one with -o.")


def _asked(kit: Kit, args: argparse.Namespace) -> Asked:
    """Return what is asked on the server: by default the kit's cheapest tail, that of its last cut."""
    if args.model:
        return Asked(model_name=args.model, version=args.model_version, signature=args.signature or SIGNATURE)
    last = args.signature or (kit.cuts[-1].signature if kit.cuts else SIGNATURE)
    return Asked(model_name=SERVED_NAME, version=SERVED_VERSION, signature=last, n_classes=kit.n_classes)


def _with_link(profile: DeviceProfile, probe: LinkProbe, kit: Kit, seconds: float) -> DeviceProfile:
    raw_bytes = kit.read_images()[0].nbytes
    sizes = sorted({*SIZES, min(raw_bytes, _MOST_PAYLOAD)})
    link, missing, dropped = probe.measure(sizes=sizes, seconds=seconds, say=_say)
    every = (*profile.missing, *missing)
    return dataclasses.replace(profile, link=link, missing=every, complete=not every, dropped=profile.dropped + dropped)
