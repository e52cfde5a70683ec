"""The commands that choose a cut: `cuts`, `importance`, `accuracy` and `propose`."""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .amounts import rates, whole
from .inputs import open_images, open_model, read_cut
from .options import (
    MODEL,
    add_command,
    add_custom_objects,
    add_data,
    add_input,
    add_output,
    add_output_kind,
    add_plot,
)
from .output import Result, free_output, say


def define_cuts(commands: Any) -> None:
    """Add `isplit cuts` to the commands."""
    parser = add_command(
        commands, "cuts", run_cuts, "list every place where a model can be split", "isplit cuts classifier.keras"
    )
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--main", action="store_true", help="only those on the importance curve")
    parser.add_argument("--max-tensors", type=whole, default=1, metavar="N", help="tensors that may cross (default: 1)")
    add_custom_objects(parser)
    add_output(parser, None, "the list")


def run_cuts(args: argparse.Namespace) -> Result:
    """Run `isplit cuts`: list the cuts of a model."""
    from ..graph.axis import main_cuts
    from ..graph.cut_list import CutList
    from ..graph.cuts import list_cuts
    from ..graph.program import read_program
    from ..storage.records import write_record

    output = free_output(args) if args.output else None
    program = read_program(open_model(args.model))
    cuts = main_cuts(program, list_cuts(program)) if args.main else list_cuts(program, max_tensors=args.max_tensors)
    records = [cut.to_json() for cut in cuts]
    if output is not None:
        write_record(output, "cuts", 1, {"model": program.name, "cuts": records})
        say(f"wrote {output}")
    return Result(CutList(cuts).table(), records)


def define_importance(commands: Any) -> None:
    """Add `isplit importance` to the commands."""
    parser = add_command(
        commands,
        "importance",
        run_importance,
        "measure the importance (CUI) of every cut",
        "isplit importance classifier.keras --data validation/ --plot curve.png",
    )
    parser.add_argument("model", help=MODEL)
    add_data(parser, what="labelled validation images")
    parser.add_argument("--method", default="grad_cam", help="gradients, hires_cam and others (default: grad_cam)")
    parser.add_argument("--reduction", default="mean", help="mean or sum (default: mean)")
    parser.add_argument("--target", default="label", help="label or predicted (default: label)")
    parser.add_argument("--cuts", default="main", help="main, all, or names with commas between (default: main)")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument("--max-images", type=whole, metavar="N", help="stop after N images")
    parser.add_argument(
        "--confidence", type=float, metavar="X", help="stop when, as sure as X, more images change no peak"
    )
    add_output_kind(parser)
    add_plot(parser)
    parser.add_argument("--log", action="store_true", help="draw the logarithm of importance")
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "curve.npz", "the curve")


def run_importance(args: argparse.Namespace) -> Result:
    """Run `isplit importance`: measure the importance of every cut."""
    from ..importance.measure import measure_importance
    from ..plots import save_figure

    output = free_output(args)
    model = open_model(args.model)
    data, names = open_images(args.data, args, model.inputs[0].shape[1:], split="validation", shuffle="once")
    curve = measure_importance(
        model,
        data,
        method=args.method,
        reduction=args.reduction,
        target=args.target,
        cuts=_chosen_cuts(args.cuts),
        class_names=names,
        max_images=args.max_images,
        precision=args.precision,
        confidence=args.confidence,
        from_logits=args.from_logits,
        output_kind=args.output_kind,
    )
    curve.save(output)
    say(f"wrote {output}")
    if args.plot:
        save_figure(curve.plot(log=args.log).figure, Path(args.plot))
        say(f"wrote {args.plot}")
    facts = {name: getattr(curve, name) for name in ("n_images", "method", "precision", "confidence", "settled")}
    return Result(curve.table(), {"model": curve.model_name} | facts | {"cuts": curve.rows()})


def define_accuracy(commands: Any) -> None:
    """Add `isplit accuracy` to the commands."""
    parser = add_command(
        commands,
        "accuracy",
        run_accuracy,
        "predict the accuracy that a split keeps at every cut, without training",
        "isplit accuracy classifier.keras --data validation/ --fit-data train/ --payload-bytes 200 --plot accuracy.png",
    )
    parser.add_argument("model", help=MODEL)
    add_data(parser, what="labelled images to classify")
    add_data(parser, name="--fit-data", required=False, what="images to fit the projections from (default: --data)")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--compression", type=float, help="share of the elements left out (default: 0.9)")
    amount.add_argument(
        "--payload-bytes", type=rates, metavar="N[,N...]", help="mean bytes per frame at each cut; several for a map"
    )
    parser.add_argument("--coding", choices=["entropy", "none"], help="of the latents (default: entropy for bytes)")
    parser.add_argument(
        "--encoder-share", type=float, metavar="X", help="most work of an encoder, as a share of the head's"
    )
    parser.add_argument("--no-race", dest="race", action="store_false", help="measure every cut at every rate")
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.1,
        metavar="X",
        help="a cut that loses more accuracy than this drops out of the race (default: 0.1)",
    )
    parser.add_argument("--cuts", default="main", help="main, all, or names or indices separated by commas")
    parser.add_argument(
        "--weighting",
        default="task",
        choices=["task", "features"],
        help="errors of the features count by what they do to the output, or all alike (default: task)",
    )
    parser.add_argument("--fit-images", type=whole, default=2000, metavar="N", help="images of the fit (default: 2000)")
    parser.add_argument("--max-images", type=whole, metavar="N", help="stop after N images")
    add_output_kind(parser)
    add_plot(parser)
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "accuracy.npz", "the predicted accuracy")


def run_accuracy(args: argparse.Namespace) -> Result:
    """Run `isplit accuracy`: predict the accuracy of a split at every cut, at one rate or several."""
    from ..plots import save_figure
    from ..selection.prediction import predict_accuracy

    output = free_output(args)
    model = open_model(args.model)
    shape = model.inputs[0].shape[1:]
    data, names = open_images(args.data, args, shape, split="validation", shuffle="once")
    fit_data = open_images(args.fit_data, args, shape, split="train", shuffle="once")[0] if args.fit_data else None
    curve = predict_accuracy(
        model,
        data,
        compression=args.compression,
        payload_bytes=args.payload_bytes,
        coding=args.coding,
        encoder_share=args.encoder_share,
        race=args.race,
        max_loss=args.max_loss,
        cuts=_chosen_cuts(args.cuts),
        fit_data=fit_data,
        weighting=args.weighting,
        fit_images=args.fit_images,
        max_images=args.max_images,
        class_names=names,
        from_logits=args.from_logits,
        output_kind=args.output_kind,
    )
    curve.save(output)
    say(f"wrote {output}")
    if args.plot:
        save_figure(curve.plot().figure, Path(args.plot))
        say(f"wrote {args.plot}")
    facts = {"model": curve.model_name, "n_images": len(curve.labels), "original": curve.original}
    return Result(curve.table(), facts | {"cuts": curve.rows()})


def define_propose(commands: Any) -> None:
    """Add `isplit propose` to the commands."""
    parser = add_command(
        commands,
        "propose",
        run_propose,
        "rank the cuts of a curve and say what each costs",
        "isplit propose curve.npz --accuracy accuracy.npz --max-head-share 0.5",
        check=check_propose,
    )
    parser.add_argument("curve", help="what isplit importance wrote")
    parser.add_argument("--accuracy", metavar="FILE", help="what isplit accuracy wrote")
    parser.add_argument(
        "--payload-bytes", type=whole, metavar="N", help="the rate to take, if that is a map of several"
    )
    parser.add_argument(
        "--rank",
        choices=["accuracy", "cheapest", "importance"],
        help="by predicted accuracy; by the work of the head among those within --within of the best; or by importance "
        "(default: accuracy with --accuracy, else importance)",
    )
    parser.add_argument(
        "--within", type=float, metavar="X", help="accuracy given up for a cheaper head (default: 0.01, a point)"
    )
    parser.add_argument("--min-accuracy", type=float, metavar="X", help="leave out cuts predicted to keep less")
    parser.add_argument("--max-payload-bytes", type=whole, metavar="N", help="leave out cuts that send more a frame")
    parser.add_argument("--max-head-macs", type=whole, metavar="N", help="leave out cuts whose head computes more")
    parser.add_argument(
        "--max-head-share", type=float, metavar="X", help="leave out cuts whose head is a larger share of the work"
    )
    parser.add_argument("--plan", metavar="FILE", help="what isplit plan wrote, for measured latencies")
    parser.add_argument(
        "--max-latency", dest="max_latency_s", type=float, metavar="S", help="leave out slower cuts; needs --plan"
    )
    parser.add_argument("--compression", type=float, help="of an autoencoder, for the costs (default: 0.9)")
    parser.add_argument("--image-bytes", type=whole, metavar="N", help="bytes of a compressed image, to compare with")
    add_output(parser, "candidates.json", "the candidates")


def run_propose(args: argparse.Namespace) -> Result:
    """Run `isplit propose`: rank the candidates for the split."""
    from ..bottlenecks.autoencoder import Autoencoder
    from ..importance.curve import Curve
    from ..planning.plan import Plan
    from ..selection.candidates import HeadWarning, propose

    output = free_output(args)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeadWarning)  # the table says so below
        candidates = propose(
            Curve.load(args.curve),
            accuracy=_read_accuracy(args),
            rank=_rank(args),
            within=args.within,
            min_accuracy=args.min_accuracy,
            max_payload_bytes=args.max_payload_bytes,
            max_head_macs=args.max_head_macs,
            max_head_share=args.max_head_share,
            bottleneck=None if args.compression is None else Autoencoder(compression=args.compression),
            image_bytes=args.image_bytes,
            plan=Plan.load(args.plan) if args.plan else None,
            max_latency_s=args.max_latency_s,
        )
    candidates.save(output)
    say(f"wrote {output}")
    return Result(candidates.table(), json.loads(output.read_text())["candidates"], has_advice=True)


def check_propose(args: argparse.Namespace) -> None:
    """Raise `ArgumentError` if an option needs another one."""
    rank = _rank(args)
    if args.accuracy is None and (rank != "importance" or args.min_accuracy is not None):
        raise ArgumentError("There is no accuracy to go by: give --accuracy FILE, what isplit accuracy wrote.")
    if args.accuracy is None and args.payload_bytes is not None:
        raise ArgumentError("--payload-bytes is a rate of the map in --accuracy FILE. Received: no --accuracy.")
    if args.within is not None and rank != "cheapest":
        raise ArgumentError(f"--within is for --rank cheapest. Received: --rank {rank}.")


def _rank(args: argparse.Namespace) -> Any:
    return args.rank or ("importance" if args.accuracy is None else "accuracy")


def _read_accuracy(args: argparse.Namespace) -> Any:
    """Return the curve that `isplit accuracy` wrote, of a map that at `--payload-bytes`; None without a file."""
    from ..selection.accuracy_curve import AccuracyCurve
    from ..selection.accuracy_map import AccuracyMap

    if not args.accuracy:
        return None
    if args.payload_bytes is None:
        return AccuracyCurve.load(args.accuracy)
    return AccuracyMap.load(args.accuracy).at(args.payload_bytes)


def _chosen_cuts(text: str) -> str | list[str | int]:
    """Return "main", "all", or a list of cuts that was typed with commas between."""
    return text if text in ("main", "all") else [read_cut(name) for name in text.split(",")]
