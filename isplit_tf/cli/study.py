"""The commands that run a whole study: `demo`, and `reproduce` for the experiments of the paper."""

import argparse
from pathlib import Path
from typing import Any

from .options import add_cluster, add_command, add_output
from .output import Result


def define_demo(commands: Any) -> None:
    """Add `isplit demo` to the commands."""
    parser = add_command(
        commands, "demo", run_demo, "run every step once on the embedded glyphs, in a minute", "isplit demo"
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="train the classifier and the split here, with a control; takes a quarter of an hour",
    )
    add_output(parser, "demo", "folder for all that the steps leave")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")


def run_demo(args: argparse.Namespace) -> Result:
    """Run `isplit demo`: all steps on the embedded glyphs, with a report."""
    from ..demo.run import run_demo

    report = run_demo(Path(args.output), train=args.train, seed=args.seed, overwrite=args.overwrite)
    return Result(report.table(), report.to_json())


def define_reproduce(commands: Any) -> None:
    """Add `isplit reproduce` to the commands."""
    parser = add_command(
        commands,
        "reproduce",
        run_reproduce,
        "run the paper's experiments; a run that ended early goes on",
        "isplit reproduce fig3 --scale smoke",
    )
    parser.add_argument("experiment", help="fig3 to fig8, correlation, cost, projection, rate_accuracy, or all")
    parser.add_argument("--scale", default="smoke", help="smoke, cpu or paper (default: smoke)")
    parser.add_argument("--study", metavar="NAME", help="only this one of the studies that the experiment reads")
    parser.add_argument("--results", default="results", metavar="DIR", help="rows, JSON, pictures (default: results)")
    parser.add_argument("--work", metavar="DIR", help="trained originals (default: RESULTS/work)")
    parser.add_argument(
        "--archives", metavar="DIR", help="a folder with the data sets' archives, instead of loading them"
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        help="ImageNet weights of VGG16 without its top, instead of loading; or a folder that holds "
        "vgg16_imagenet_notop.weights.h5 and efficientnet_lite1_imagenet.keras",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where TensorFlow Datasets keeps its data")
    add_cluster(parser)
    parser.add_argument("--max-minutes", type=float, metavar="N", help="start no job after so many minutes")
    parser.add_argument("--report-only", action="store_true", help="run nothing; write what the rows say")
    parser.add_argument("--page", metavar="FILE", help="also write it all as a Markdown page")


def run_reproduce(args: argparse.Namespace) -> Result:
    """Run `isplit reproduce`: run the paper's experiments."""
    from ..experiments.runner import reproduce

    return Result(*reproduce(args))
