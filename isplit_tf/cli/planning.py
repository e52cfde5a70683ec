"""The commands that measure before a split is chosen: `kit` and `profile`."""

import argparse
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ServerError
from .amounts import whole
from .inputs import open_images, open_model, read_cut, read_preprocessing
from .options import MODEL, add_command, add_custom_objects, add_data, add_input, add_output, add_output_kind
from .output import Result, free_output, say


def define_kit(commands: Any) -> None:
    """Add `isplit kit` to the commands."""
    parser = add_command(
        commands,
        "kit",
        run_kit,
        "write heads at many cuts and the whole model, to measure a device and a server with",
        "isplit kit classifier.keras --representative-data train/ --preprocessing tf -o kit/",
    )
    parser.add_argument("model", help=MODEL)
    add_data(parser, name="--representative-data", what="images that set the int8 ranges; 32 at most are used")
    parser.add_argument("--cuts", default="main", help="main, all, or names with commas between (default: main)")
    parser.add_argument(
        "--payload-bytes", type=whole, metavar="N", help="bytes per frame of the bottleneck at each cut (default: 1000)"
    )
    parser.add_argument("--no-bottleneck", action="store_true", help="heads that give the cut's own tensor")
    parser.add_argument("--precision", default="int8", help="int8, int16x8, float16, dynamic, float32 (default: int8)")
    parser.add_argument("--model-output", metavar="NAME", help="the output with the class scores, if there are several")
    add_output_kind(parser)
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "kit", "the kit's folder", holds="kit")


def run_kit(args: argparse.Namespace) -> Result:
    """Run `isplit kit`: write a kit to measure a device and a server with."""
    from ..bottlenecks.projection import Projection
    from ..export.kit import build_kit

    if args.no_bottleneck and args.payload_bytes is not None:
        raise ArgumentError("--payload-bytes is of a bottleneck. Leave it out with --no-bottleneck.")
    output = free_output(args, "kit")
    model = open_model(args.model)
    images, _ = open_images(args.representative_data, args, model.inputs[0].shape[1:], split="train", shuffle="once")
    bottleneck: dict[str, Any] = {}
    if args.no_bottleneck:
        bottleneck["bottleneck"] = None
    elif args.payload_bytes is not None:
        coding = None if args.precision == "int8" else "none"
        bottleneck["bottleneck"] = Projection(payload_bytes=args.payload_bytes, coding=coding)
    kit = build_kit(
        model,
        output,
        cuts=args.cuts if args.cuts in ("main", "all") else [read_cut(one) for one in args.cuts.split(",")],
        representative_data=images,
        precision=args.precision,
        preprocessing=read_preprocessing(args.preprocessing),
        output=args.model_output,
        from_logits=args.from_logits,
        output_kind=args.output_kind,
        overwrite=args.overwrite,
        **bottleneck,
    )
    say(f"wrote {output}")
    return Result(str(kit), kit.to_json())


def define_profile(commands: Any) -> None:
    """Add `isplit profile` to the commands."""
    parser = add_command(
        commands,
        "profile",
        run_profile,
        "measure a server with a kit, or estimate a microcontroller",
        "isplit profile kit/ --url http://server:8501 -o server.json",
    )
    parser.add_argument("kit", help="what isplit kit wrote")
    parser.add_argument(
        "--url", help="a TensorFlow Serving that serves kit/serving, http:// or grpc://; else this machine"
    )
    parser.add_argument("--token", help="a bearer token for the server")
    parser.add_argument("--batches", default="1,2,4,8,16,32", metavar="N,N", help="images in a call (default: 1 to 32)")
    parser.add_argument(
        "--seconds", type=float, default=0.3, metavar="S", help="time for each number of images (default: 0.3)"
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds for one call (default: 60)")
    parser.add_argument("--ethos-u", metavar="NPU", help="estimate a device with an Ethos-U, such as ethos-u55-128")
    parser.add_argument("--clock-hz", type=float, metavar="HZ", help="estimate a device with this clock, from cycles")
    parser.add_argument("--cycles-per-mac", type=float, metavar="X", help="cycles for one multiply-accumulate")
    parser.add_argument(
        "--cycles", action="append", metavar="CUT=N", help="cycles of the head at a cut, or whole=N; may be repeated"
    )
    add_output(parser, "server.json", "the profile's file")


def run_profile(args: argparse.Namespace) -> Result:
    """Run `isplit profile`: measure a server, or estimate a microcontroller."""
    from ..export.micro.device_estimate import estimate_device
    from ..planning.server_measurement import measure_server

    output = free_output(args)
    by_cycles: dict[str, Any] = {
        "clock_hz": args.clock_hz,
        "cycles_per_mac": args.cycles_per_mac,
        "cycles": _read_cycles(args.cycles),
    }
    if args.ethos_u is not None or any(value is not None for value in by_cycles.values()):
        estimate = estimate_device(args.kit, ethos_u=args.ethos_u, **by_cycles)
        estimate.save(output)
        say(f"wrote {output}, an estimate: {estimate.note}")
        return Result(str(estimate), estimate.to_json())
    batches = [_read_count(one, "--batches") for one in args.batches.split(",")]
    options: dict[str, Any] = {
        "seconds": args.seconds,
        "token": args.token,
        "timeout_s": args.timeout,
        "output": output,
    }
    try:
        profile = measure_server(args.kit, url=args.url, batches=batches, **options)
    except KeyboardInterrupt as error:
        if error.args:
            say(str(error))
        raise
    if not profile.complete:
        raise ServerError(
            "\n".join([f"Not everything could be measured; what was is in '{output}'. Missing:", *profile.missing])
        )
    say(f"wrote {output}")
    return Result(repr(profile), profile.to_json())


def _read_count(text: str, option: str) -> int:
    """Read a whole number of a list on the command line.

    Raises:
        ArgumentError: If it is none.
    """
    if not text.strip().isdecimal():
        raise ArgumentError(f"{option}: expected whole numbers with commas between. Received: {text!r}")
    return int(text)


def _read_cycles(given: Sequence[str] | None) -> dict[int | str, float] | None:
    """Read CUT=N of the command line, by index or name."""
    cycles: dict[int | str, float] = {}
    for text in given or ():
        cut, _, number = text.rpartition("=")
        try:
            if not cut:
                raise ValueError("no cut")
            cycles[int(cut) if cut.isdecimal() else cut] = float(number)
        except ValueError as error:
            raise ArgumentError(f"--cycles: expected CUT=N, such as 3=1200000. Received: {text!r}") from error
    return cycles or None
