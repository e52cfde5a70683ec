"""Options that several commands share, the parser of a command, and the bottleneck that its options ask for."""

import argparse
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .amounts import whole
from .output import Result

_AMOUNTS = ("compression", "latent_size", "payload_bytes", "latent_bits", "coding")
OF_BOTTLENECK = (*_AMOUNTS, "encoder_share", "filters", "init")
MODEL = "a .keras or .h5 file"
_DATA = "a folder of class folders, an .npz with x and y, an archive, tfds:NAME[:SPLIT], or glyphs[:SPLIT]"


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], Result | None],
    text: str,
    example: str,
    check: Callable[[argparse.Namespace], None] | None = None,
) -> argparse.ArgumentParser:
    """Add a command, and return the parser of its options.

    Args:
        commands: The commands of the parser of `isplit`.
        name: Name of the command.
        run: The function that runs the command.
        text: What the command does, for the help.
        example: A command line that shows its use.
        check: A function that raises an error for options that contradict each other; TensorFlow is not imported yet.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="result as JSON on standard output")
    parser.set_defaults(run=run, check=check)
    return parser


def add_output(parser: argparse.ArgumentParser, default: str | None, what: str, holds: str | None = None) -> None:
    """Add -o and --overwrite, which `free_output` checks; without a default, nothing is written unless -o says so.

    Args:
        parser: The parser of the command.
        default: Where the output goes.
        what: What it is, for the help.
        holds: What the output folder will hold, "split" or "bundle"; None if the output is a file.
    """
    parser.set_defaults(output_holds=holds)
    where = "not written" if default is None else default
    parser.add_argument("-o", "--output", default=default, metavar="PATH", help=f"{what} (default: {where})")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add --plot, which `free_output` checks."""
    parser.add_argument("--plot", metavar="FILE", help="draw the result as .png, .svg or .pdf")


def add_data(parser: argparse.ArgumentParser, *, name: str = "--data", required: bool = True, what: str) -> None:
    """Add an option that names a data set; the help says `what` it is for."""
    parser.add_argument(name, required=required, metavar="DATA", help=f"{what}: {_DATA}")


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add --batch-size and --preprocessing, with which `open_images` reads images."""
    parser.add_argument("--batch-size", type=whole, default=32, metavar="N", help="images in a batch (default: 32)")
    parser.add_argument(
        "--preprocessing",
        metavar="FORM",
        help="what turns 8-bit images into the model's input: caffe, tf, torch as in Keras, or a .json record",
    )


def add_output_kind(parser: argparse.ArgumentParser, *, logits: bool = True) -> None:
    """Add --output-kind, and --from-logits where `logits` says so, for what the model's output is."""
    parser.add_argument(
        "--output-kind",
        choices=["probabilities", "logits", "multi_label"],
        help="what the model's output is, if it cannot be told from the model",
    )
    if logits:
        parser.add_argument("--from-logits", action="store_true", default=None, help="linear outputs are logits")


def add_custom_objects(parser: argparse.ArgumentParser) -> None:
    """Add --custom-objects, for commands that read a Keras model or a split; `main.run` acts on it."""
    parser.add_argument(
        "--custom-objects",
        metavar="MODULE.py",
        help="Python file with the layers, losses and functions of your own that the model needs. It is imported, so "
        "its code runs: name only a file that you trust",
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add --cluster, the address at which jobs run."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run jobs side by side on Ray: local, or its address",
    )


def add_bottleneck(parser: Any) -> None:
    """Add the options of a new bottleneck; `make_bottleneck` reads them."""
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--compression", type=float, help="share of the elements left out (default: 0.9)")
    amount.add_argument("--latent-size", type=whole, metavar="N", help="or the number of elements that are sent")
    amount.add_argument("--payload-bytes", type=whole, metavar="N", help="or bytes per frame, header included")
    parser.add_argument(
        "--bottleneck",
        choices=["autoencoder", "projection"],
        help="to be trained as in the paper, or fitted in closed form (default: a projection where there are images to "
        "fit it from, unless options of an autoencoder are given)",
    )
    parser.add_argument("--filters", type=whole, help="hidden width of the autoencoder (default: bounded by its size)")
    parser.add_argument("--init", choices=["random", "projection"], help="how the autoencoder starts (default: random)")
    parser.add_argument(
        "--latent-bits", type=int, choices=[8, 4, 2], help="bits of each element that are sent, learned in training"
    )
    parser.add_argument(
        "--coding",
        choices=["entropy", "none"],
        help="code the latent without loss, or send as many bits of each element (default: entropy for a projection "
        "with --payload-bytes, else none)",
    )
    parser.add_argument(
        "--encoder-share", type=float, metavar="X", help="most MACs of a projection's encoder, as a share of the head's"
    )


def given_options(args: argparse.Namespace) -> str:
    """Return the bottleneck options that were given, as they are typed."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in OF_BOTTLENECK if getattr(args, name) is not None)


def kind_of_bottleneck(args: argparse.Namespace) -> str:
    """Return "autoencoder" or "projection": what was asked for, or what the other options speak for.

    Raises:
        ArgumentError: If an option of the other kind is given.
    """
    of_autoencoder = [args.filters, args.init, getattr(args, "bottleneck_epochs", None)]
    has_images = getattr(args, "fit_data", None) is not None or getattr(args, "all_candidates", False)
    fits = has_images and not any(value is not None for value in of_autoencoder)
    kind: str = args.bottleneck or ("projection" if fits else "autoencoder")
    if kind == "autoencoder" and args.encoder_share is not None:
        raise ArgumentError("--encoder-share is of a projection. The size of an autoencoder is set by --filters.")
    if kind == "projection" and (args.filters is not None or args.init is not None):
        raise ArgumentError("--filters and --init are of an autoencoder. A projection has no hidden layer.")
    return kind


def make_bottleneck(args: argparse.Namespace) -> Any:
    """Return the bottleneck that the options ask for."""
    from ..bottlenecks.autoencoder import Autoencoder
    from ..bottlenecks.projection import Projection

    common = {name: getattr(args, name) for name in _AMOUNTS}
    if kind_of_bottleneck(args) == "autoencoder":
        return Autoencoder(filters=args.filters, init=args.init or "random", seed=args.seed, **common)
    return Projection(seed=args.seed or 0, encoder_share=args.encoder_share, **common)
