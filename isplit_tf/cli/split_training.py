"""The commands that split a model, train the bottleneck and measure the result: `split`, `train` and `evaluate`."""

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, BundleError
from .amounts import whole
from .inputs import first_candidate, in_order_of, open_for_training, open_images, open_model, open_predictor, read_cut
from .options import (
    MODEL,
    add_bottleneck,
    add_cluster,
    add_command,
    add_custom_objects,
    add_data,
    add_input,
    add_output,
    add_output_kind,
    given_options,
    kind_of_bottleneck,
    make_bottleneck,
)
from .output import Result, free_output, say


def define_split(commands: Any) -> None:
    """Add `isplit split` to the commands."""
    parser = add_command(
        commands,
        "split",
        run_split,
        "split a model, with a bottleneck between the halves",
        "isplit split classifier.keras --candidates candidates.json --payload-bytes 64 --fit-data train/",
        check=check_split,
    )
    parser.add_argument("model", help=MODEL)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--cut", help="name or index of the cut")
    where.add_argument("--candidates", metavar="FILE", help="take the first candidate of isplit propose")
    add_bottleneck(parser)
    parser.add_argument("--no-bottleneck", action="store_true", help="send the tensor as it is")
    parser.add_argument("--seed", type=whole, help="of the bottleneck's first weights")
    add_data(parser, name="--fit-data", required=False, what="images that a projection is fitted from")
    add_input(parser)
    add_output_kind(parser, logits=False)
    add_custom_objects(parser)
    add_output(parser, "split", "the split model's folder", holds="split")


def check_split(args: argparse.Namespace) -> None:
    """Raise `ArgumentError` if options of the bottleneck contradict each other."""
    if args.no_bottleneck and (options := given_options(args)):
        raise ArgumentError(f"{options}: of a bottleneck, and --no-bottleneck asks for none. Leave one of them out.")
    kind_of_bottleneck(args)


def run_split(args: argparse.Namespace) -> Result:
    """Run `isplit split`: split a model, with or without a bottleneck."""
    from ..splitting import split

    output = free_output(args, "split")
    bottleneck = None if args.no_bottleneck else make_bottleneck(args)
    cut = read_cut(args.cut) if args.cut is not None else first_candidate(args.candidates)
    model = open_model(args.model)
    fit_data = None
    if args.fit_data is not None:
        shape = model.inputs[0].shape[1:]
        fit_data, _ = open_images(args.fit_data, args, shape, split="train", shuffle="once")
    halves = split(model, cut, bottleneck, fit_data=fit_data, output_kind=args.output_kind)
    halves.save(output, overwrite=args.overwrite)
    say(f"wrote {output}")
    return Result(repr(halves), {"cut": halves.cut.to_json(), "latent_shape": list(halves.latent_shape)})


def define_train(commands: Any) -> None:
    """Add `isplit train` to the commands."""
    parser = add_command(
        commands,
        "train",
        run_train,
        "fit or train the bottleneck, then all of it end to end",
        "isplit train split/ --data train/ --validation-data validation/ -o trained/ --checkpoint-dir checkpoints/",
        check=check_train,
    )
    parser.add_argument("split", help="what isplit split wrote; with --all-candidates, what isplit propose wrote")
    parser.add_argument(
        "--all-candidates", action="store_true", help="split --model at every candidate and train each, into one folder"
    )
    parser.add_argument("--model", metavar="FILE", help="the .keras or .h5 file, for --all-candidates")
    add_output_kind(parser, logits=False)
    add_bottleneck(parser.add_argument_group("bottleneck, for --all-candidates"))
    add_cluster(parser)
    add_data(parser, what="labelled training images")
    add_data(parser, name="--validation-data", required=False, what="labelled images to watch")
    parser.add_argument("--bottleneck-epochs", type=whole, metavar="N", help="passes over the data in phase 1")
    parser.add_argument("--fine-tune-epochs", type=whole, metavar="N", help="passes in phase 2")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="of Adam in phase 2")
    parser.add_argument("--loss", help="a Keras loss by name, squared_error (Eq. 4), or distill")
    parser.add_argument(
        "--rate-weight", type=float, metavar="X", help="weight of a coded latent's bits in the loss of phase 2"
    )
    parser.add_argument("--keep-best", action="store_true", help="end with the best weights by --validation-data")
    parser.add_argument("--checkpoint-dir", metavar="DIR", help="go on from here after an interruption")
    parser.add_argument("--tensorboard-dir", metavar="DIR", help="write the metrics of both phases for TensorBoard")
    parser.add_argument("--seed", type=whole, help="of the data's order, and of new bottlenecks")
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "trained", "the trained split model's folder", holds="split")


def check_train(args: argparse.Namespace) -> None:
    """Raise `ArgumentError` if an option needs another one, or is not for the kind of training that is asked for."""
    if args.keep_best and not args.validation_data:
        raise ArgumentError("--keep-best takes the best epoch by --validation-data. Received: none.")
    if args.all_candidates:
        if not args.model:
            raise ArgumentError("--all-candidates trains splits of a model. Name it: --model classifier.keras.")
        kind_of_bottleneck(args)
        return
    if options := given_options(args):
        raise ArgumentError(f"{options}: '{args.split}' has its bottleneck already. These are for --all-candidates.")
    if args.output_kind:
        raise ArgumentError(f"--output-kind: '{args.split}' knows its output already. This is for --all-candidates.")


def run_train(args: argparse.Namespace) -> Result:
    """Run `isplit train`: train a split, or with `--all-candidates` a split at every candidate."""
    from ..splitting import SplitModel
    from ..training import train
    from .train_all import train_candidates, training_arguments

    if args.all_candidates:
        return Result(*train_candidates(args))
    output = free_output(args, "split")
    halves = SplitModel.load(args.split)
    shape = halves.model.inputs[0].shape[1:]
    data, validation_data = open_for_training(args, shape)
    history = train(
        halves,
        data,
        validation_data=validation_data,
        checkpoint_dir=args.checkpoint_dir,
        tensorboard_dir=args.tensorboard_dir,
        **training_arguments(args),
    )
    halves.save(output, overwrite=args.overwrite)
    history.save(output / "history.json")
    say(f"wrote {output}")
    return Result(history.table(), json.loads((output / "history.json").read_text()))


def define_evaluate(commands: Any) -> None:
    """Add `isplit evaluate` to the commands."""
    parser = add_command(
        commands,
        "evaluate",
        run_evaluate,
        "measure a model, a split, a bundle, or a bundle with its server",
        "isplit evaluate bundle/ --data test/ --url http://server:8501",
        check=check_evaluate,
    )
    parser.add_argument("predictor", help=f"{MODEL}, a split's folder, or a bundle")
    add_data(parser, what="labelled test images")
    parser.add_argument("--url", help="a server's address, http:// or grpc://: the bundle's head here, its tail there")
    add_output_kind(parser)
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "report.json", "the report")


def check_evaluate(args: argparse.Namespace) -> None:
    """Raise `BundleError` if a server is named for something that has no head to run here."""
    if args.url and not (Path(args.predictor) / "manifest.json").is_file():
        raise BundleError(
            f"'{args.predictor}' is no bundle, so that --url has no head to run here. Make one with isplit export."
        )


def run_evaluate(args: argparse.Namespace) -> Result:
    """Run `isplit evaluate`: measure a model, a split or a bundle on labelled images."""
    from ..evaluation.evaluation import evaluate

    output = free_output(args)
    with open_predictor(args) as (predictor, shape, manifest):
        data, names = open_images(args.data, args, shape, split="test", manifest=manifest)
        if manifest is not None and manifest.class_names is not None:
            data = in_order_of(manifest.class_names, data, names, of=f"'{args.predictor}'", spec=args.data)
            names = manifest.class_names
        said = {"from_logits": args.from_logits, "output_kind": args.output_kind}
        report = evaluate(predictor, data, class_names=names, **said)
    report.save(output)
    say(f"wrote {output}")
    return Result(report.table(), json.loads(output.read_text()))
