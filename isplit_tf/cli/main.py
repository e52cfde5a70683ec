"""The command `isplit`: a shell over the public verbs.

Each command reads and writes files, so that every step can be resumed, compared and scripted. Results go to standard
output, as a table or with `--json` as JSON; progress and messages go to standard error.
"""

import argparse
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from isplit_edge import __version__
from isplit_edge.text import printable

from ..errors import ISplitError, ModelError, ServerError, StorageError
from . import choice, deployment, machine, split_training, study
from .checks import check_request
from .custom_objects import custom_objects
from .output import say, write_result
from .parser import Parser
from .steps import next_step
from .streams import failed_output, finish_output
from .wording import Options, in_shell_words, options_of

_OF_A_PATH = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
_COMMANDS = (  # in the order of --help
    study.define_demo,
    choice.define_cuts,
    choice.define_importance,
    choice.define_accuracy,
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


EXIT_STATUS = {
    0: "done",
    1: "a failure: the server, the disk or the network did not do its part, or the program failed",
    2: "a bad request: an option, a path or a file is not what the command needs; nothing was written",
    130: "interrupted by Ctrl-C",
}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return _parser()[0].parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Run a command, and return the exit status."""
    try:
        _set_environment(args.command)
        check_request(args)
        _load_tensorflow()
        with custom_objects(getattr(args, "custom_objects", None)):
            result = args.run(args)
    except ISplitError as error:
        say(f"isplit {args.command}: {_in_lines(str(error), _options(args.command))}")
        of_a_path = isinstance(error.__cause__, _OF_A_PATH)
        return 1 if isinstance(error, ServerError | StorageError) and not of_a_path else 2
    except OSError as error:
        if error.filename is None:
            raise
        say(f"isplit {args.command}: '{error.filename}': {error.strerror}")
        return 2 if isinstance(error, _OF_A_PATH) else 1
    except KeyboardInterrupt:
        say(f"isplit {args.command}: interrupted")
        return 130
    if result is not None:
        if fault := write_result(result, as_json=args.json, options=_options(args.command)):
            say(f"isplit {args.command}: {fault}")
            return 1
        step = next_step(args)
        if step and not args.json:
            say(f"next: {step}")
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Run `isplit` from the command line, and exit with its status."""
    try:
        args = parse(argv)
    except SystemExit as stop:  # --help, --version or a mistake
        sys.exit(finish_output(stop.code if isinstance(stop.code, int) else 0))
    except OSError as error:  # the help could not be written
        sys.exit(failed_output(error, 0))
    options = _options(args.command)

    def show_warning(message: Warning | str, *place: object, **where: object) -> None:
        say(f"isplit {args.command}: warning: {_in_lines(str(message), options)}")

    warnings.showwarning = show_warning
    sys.exit(finish_output(run(args)))


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser, and that of each command by its name."""
    status = "\n".join(f"     {code:>3}  {text}" for code, text in EXIT_STATUS.items())
    parser = Parser(
        prog="isplit",
        description="Find where to split a Keras model between a device and a server, and carry the split through.",
        epilog=f"exit status:\n{status}\n\nisplit COMMAND --help shows an example of each. Start with: isplit demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"isplit-tf {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for define in _COMMANDS:
        define(commands)
    return parser, commands.choices


def _options(command: str) -> Options:
    return options_of(_parser()[1][command])


def _in_lines(text: str, options: Options) -> str:
    return "\n".join(map(printable, in_shell_words(text, options).split("\n")))


def _set_environment(command: str) -> None:
    """Set the variables that TensorFlow reads when it is imported, and refuse another backend of Keras.

    oneDNN is switched on if that makes TensorFlow faster, except for `doctor`, which reports the default.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ModelError(f"isplit needs the TensorFlow backend of Keras. Found: KERAS_BACKEND={backend}. Unset it.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if command != "doctor" and "tensorflow" not in sys.modules:
        message = machine.switch_onednn_on(machine.cpu_flags(), os.environ)
        if message:
            say(f"isplit: {message}")


def _load_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ code prints before its log level takes effect."""
    from ..display.quiet import quiet

    with quiet() as printed:
        try:
            import_module("tensorflow").config.list_physical_devices()
        except ImportError:
            sys.stderr.write(printed.text)
            raise
    # Conversions and sweeps collect all garbage each time: they need not look through a million objects of modules.
    gc.freeze()
