"""The command `isplit`: a shell over the public verbs.

Each command reads and writes files, so that every step can be resumed, compared and scripted. Results go to standard
output, as a table or with `--json` as JSON; progress and messages go to standard error. Exit status: 0 done, 2 bad
request or bad input, 1 failure, 130 interrupted.
"""

import argparse
import gc
import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from isplit_edge import __version__
from isplit_edge.text import printable

from ..errors import ISplitError, ModelError, ServerError, StorageError
from . import choice, deployment, machine, planning, split_training, study
from .custom_objects import custom_objects

_OF_A_PATH = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
_COMMANDS = (  # in the order of --help
    study.define_demo,
    choice.define_cuts,
    choice.define_importance,
    choice.define_accuracy,
    planning.define_kit,
    planning.define_profile,
    choice.define_propose,
    split_training.define_split,
    split_training.define_train,
    split_training.define_evaluate,
    deployment.define_export,
    deployment.define_publish,
    deployment.define_serve,
    deployment.define_predict,
    study.define_reproduce,
    machine.define_doctor,
)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="isplit",
        description="Find where to split a Keras model between a device and a server, and carry the split through.",
        epilog="isplit COMMAND --help shows an example of each. Start with: isplit demo",
    )
    parser.add_argument("--version", action="version", version=f"isplit-tf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for define in _COMMANDS:
        define(commands)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Run a command, and return the exit status."""
    try:
        _load_tensorflow(args.command)
        with custom_objects(getattr(args, "custom_objects", None)):
            result = args.run(args)
    except ISplitError as error:
        shown = "\n".join(map(printable, str(error).split("\n")))
        print(f"isplit {args.command}: {shown}", file=sys.stderr)
        of_a_path = isinstance(error.__cause__, _OF_A_PATH)
        return 1 if isinstance(error, ServerError | StorageError) and not of_a_path else 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"isplit {args.command}: '{error.filename}': {error.strerror}", file=sys.stderr)
        return 2 if isinstance(error, _OF_A_PATH) else 1
    except KeyboardInterrupt:
        print(f"isplit {args.command}: interrupted", file=sys.stderr)
        return 130
    if result is not None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # the terminal may lack a table's line characters
        try:
            print(json.dumps(result.json, indent=1, allow_nan=False) if args.json else result.text, flush=True)
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe. The rest of the buffer goes to /dev/null, since the
            # interpreter would otherwise report an error when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run `isplit` from the command line, and exit with its status."""
    sys.exit(run(parse(argv)))


def _load_tensorflow(command: str) -> None:
    """Import TensorFlow without the lines that its C++ code prints before its log level takes effect.

    oneDNN is switched on first if that makes TensorFlow faster, except for `doctor`, which reports the default.
    """
    from ..display.quiet import quiet

    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ModelError(f"isplit needs the TensorFlow backend of Keras. Found: KERAS_BACKEND={backend}. Unset it.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if command != "doctor" and "tensorflow" not in sys.modules:
        message = machine.switch_onednn_on(machine.cpu_flags(), os.environ)
        if message:
            print(f"isplit: {message}", file=sys.stderr)
    with quiet() as printed:
        try:
            import_module("tensorflow").config.list_physical_devices()
        except ImportError:
            sys.stderr.write(printed.text)
            raise
    # Conversions and sweeps collect all garbage each time: they need not look through a million objects of modules.
    gc.freeze()
