"""The command that says whether a split is worth it, and which one: `plan`."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, BundleError, ExistsError
from .amounts import whole
from .inputs import open_model
from .options import MODEL, add_command, add_custom_objects, add_output
from .output import Result, free_output, say

_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_BOUNDS = ("min_accuracy", "max_latency_s", "max_energy_j", "max_head_bytes", "max_payload_bytes", "min_frames_s")


def define_plan(commands: Any) -> None:
    """Add `isplit plan` to the commands."""
    parser = add_command(
        commands,
        "plan",
        run_plan,
        "say whether to run a model on the device, on a server, or split, from measured times",
        "isplit plan classifier.keras --accuracy accuracy.npz --device device.json --server server.json \\\n"
        "      --rate 4M --rtt 0.04 --min-accuracy 0.9 --page plan.html",
    )
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--device", required=True, metavar="FILE", help="what python -m isplit_edge profile wrote")
    parser.add_argument("--server", required=True, metavar="FILE", help="what isplit profile wrote")
    parser.add_argument("--accuracy", required=True, metavar="FILE", help="what isplit accuracy wrote")
    parser.add_argument("--codecs", metavar="FILE", help="what CodecCurve.save wrote, for JPEG and WebP")
    _add_link(parser)
    parser.add_argument(
        "--transport", choices=["rest", "grpc"], help="the protocol (default: that of the link, else of the server)"
    )
    parser.add_argument("--watts", metavar="C,S,W", help="the device's draw: computing, sending, waiting")
    parser.add_argument(
        "--min-accuracy", type=float, metavar="X", help="the least accuracy (default: the highest less 0.01)"
    )
    parser.add_argument("--max-latency", dest="max_latency_s", type=float, metavar="S", help="the most seconds, median")
    parser.add_argument(
        "--max-energy", dest="max_energy_j", type=float, metavar="J", help="the most joules; needs --watts"
    )
    parser.add_argument("--max-head-bytes", type=whole, metavar="N", help="the largest file on the device")
    parser.add_argument("--max-payload-bytes", type=whole, metavar="N", help="the most bytes per frame")
    parser.add_argument(
        "--min-frames", dest="min_frames_s", type=float, metavar="X", help="the fewest frames per second"
    )
    parser.add_argument("--kind", choices=["local", "remote", "split"], help="look at these alone")
    parser.add_argument("--model-output", metavar="NAME", help="the output with the class scores, if there are several")
    parser.add_argument("--page", metavar="FILE", help="write the plan as an HTML page with its pictures")
    parser.add_argument("--plot", metavar="FILE", help="draw latency against link rate as .png, .svg or .pdf")
    add_custom_objects(parser)
    add_output(parser, "plan.json", "the plan")


def _add_link(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=read_rate, metavar="R", help="the link's bits per second, such as 4e6 or 4M")
    parser.add_argument("--rtt", type=float, metavar="S", help="the link's delay there and back, in seconds")
    parser.add_argument("--up", type=read_rate, metavar="R", help="the rate from the device, if it differs")
    parser.add_argument("--down", type=read_rate, metavar="R", help="the rate to the device, if it differs")
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="rates over time in place of --rate: a .csv of second, bits per second, delay (default: device's link)",
    )


def run_plan(args: argparse.Namespace) -> Result:
    """Run `isplit plan`: plan where a model runs, and choose."""
    from ..planning.deployment import plan_deployment
    from ..plots import save_figure
    from ..selection.codec_curve import CodecCurve

    output = free_output(args)
    if args.page and os.path.exists(args.page) and not args.overwrite:
        raise ExistsError(f"'{args.page}' exists. Give --overwrite, or another place with --page.")
    plan = plan_deployment(
        open_model(args.model),
        _read_accuracy(args.accuracy),
        device=args.device,
        server=args.server,
        link=_read_link(args),
        codecs=CodecCurve.load(args.codecs) if args.codecs else None,
        watts=_read_watts(args.watts),
        transport=args.transport,
        output=args.model_output,
    )
    best = plan.best(**{name: getattr(args, name) for name in _BOUNDS}, kind=args.kind)
    plan.save(output)
    say(f"wrote {output}")
    if args.page:
        plan.to_html(args.page)
        say(f"wrote {args.page}")
    if args.plot:
        save_figure(plan.plot().figure, Path(args.plot))
        say(f"wrote {args.plot}")
    changes = [
        {"rate_bit_s": one.rate_bit_s, "below": one.below.name, "above": one.above.name} for one in plan.crossovers()
    ]
    record = {"best": plan.rows([best])[0], "why": plan.why(best), "crossovers": changes, "options": plan.rows()}
    return Result(f"{plan.table()}\n\nBest: {best.name}\n{plan.why(best)}", record | {"notes": list(plan.notes)})


def read_rate(text: str) -> float:
    """Return bits per second as they were typed: a number, with k, M or G for thousands, millions or billions."""
    return float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)


def _read_link(args: argparse.Namespace) -> Any:
    """Return the link of the options; None for the one that the device measured."""
    from ..planning.link import Link

    given = [f"--{name}" for name in ("rate", "rtt", "up", "down") if getattr(args, name) is not None]
    if args.trace:
        if given:
            raise ArgumentError(f"--trace tells the link over time: leave out {', '.join(given)}.")
        return read_trace(args.trace)
    if not given:
        return None
    if args.rate is None or args.rtt is None:
        raise ArgumentError(f"A link has --rate and --rtt. Received: {', '.join(given)} alone.")
    return Link(args.rate, args.rtt, args.up, args.down)


def read_trace(path: str) -> list[tuple[float, float, float]]:
    """Read a trace: lines of second, bits per second and seconds there and back; the first may name the columns.

    Raises:
        ArgumentError: If a line is none.
    """
    rows = []
    for k, line in enumerate(Path(path).read_text().splitlines()):
        try:
            second, rate, delay = (float(cell) for cell in line.split(","))
        except ValueError as error:
            if not line.strip() or k == 0:
                continue
            raise ArgumentError(
                f"'{path}', line {k + 1}: expected second, bits per second, delay in seconds. Received: {line!r:.80}"
            ) from error
        rows.append((second, rate, delay))
    return rows


def _read_watts(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        compute, send, wait = (float(value) for value in text.split(","))
    except ValueError as error:
        raise ArgumentError(
            f"--watts: expected three numbers with commas between, computing, sending, waiting. Received: {text!r}"
        ) from error
    return {"compute": compute, "send": send, "wait": wait}


def _read_accuracy(path: str) -> Any:
    """Return the map or the curve that `isplit accuracy` wrote."""
    from ..selection.accuracy_curve import AccuracyCurve
    from ..selection.accuracy_map import AccuracyMap

    try:
        return AccuracyMap.load(path)
    except BundleError:
        return AccuracyCurve.load(path)
