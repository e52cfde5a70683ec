"""The commands that measure before a split is chosen: `kit`."""

import argparse
from typing import Any

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
        "--payload-bytes", type=int, metavar="N", help="bytes per frame of the bottleneck at each cut (default: 1000)"
    )
    parser.add_argument("--no-bottleneck", action="store_true", help="heads that give the cut's own tensor")
    parser.add_argument("--precision", default="int8", help="int8, int16x8, float16, dynamic, float32 (default: int8)")
    parser.add_argument("--model-output", metavar="NAME", help="the output with the class scores, if there are several")
    add_output_kind(parser)
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "kit", "the kit's folder")


def run_kit(args: argparse.Namespace) -> Result:
    """Run `isplit kit`: write a kit to measure a device and a server with."""
    from ..bottlenecks.projection import Projection
    from ..errors import ArgumentError
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
