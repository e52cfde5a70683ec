"""The result of a command, messages to the person at the terminal, and checks of the files that a command writes."""

import argparse
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ExistsError
from ..storage.directories import check_replaceable
from .streams import give_up_output
from .wording import Options, in_shell_words

_FOLDERS = {"split": "split.json", "bundle": "manifest.json", "kit": "kit.json"}


@dataclass(frozen=True)
class Result:
    """The result of a command: as text for people, and as JSON values for programs."""

    text: str
    json: Any
    has_advice: bool = False  # the text names arguments of the library, which a shell has as options


def say(text: str) -> None:
    """Write a message for the person at the terminal to standard error."""
    sys.stderr.write(text + "\n")


def write_result(result: Result, *, as_json: bool, options: Options) -> str | None:
    """Write the result of a command to standard output, and return why that failed, or None.

    A reader that has closed its end, such as `head`, has what it wanted: that is no failure.
    """
    if sys.stdout is None:
        return "the result cannot be written: standard output is closed"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the terminal may lack a table's line characters
    text = json.dumps(result.json, indent=1, allow_nan=False) if as_json else result.text
    if result.has_advice and not as_json:
        text = in_shell_words(text, options)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()
    except OSError as error:
        give_up_output()
        return f"the result cannot be written to standard output: {error.strerror}"
    return None


def free_output(args: argparse.Namespace, kind: str | None = None) -> Path:
    """Return the path of the output; raise an error before any work if it cannot be written.

    Args:
        args: The command line, with `output`, `overwrite` and, for some commands, `plot`.
        kind: What the output folder will hold, "split", "bundle" or "kit"; None if the output is a file.

    Raises:
        ExistsError: If the output exists and must not be replaced.
        ArgumentError: If it cannot be written.
    """
    output = Path(args.output)
    _check_free(output, "-o")
    if output.exists() and not args.overwrite:
        raise ExistsError(f"'{output}' exists. Give --overwrite, or another place with -o.")
    if kind is None and output.is_dir():
        raise ArgumentError(f"'{output}' is a folder. Name a file with -o.")
    if kind is not None and output.exists():
        check_replaceable(output, kind, _FOLDERS[kind])
    if getattr(args, "plot", None):
        from ..plots.files import picture_format

        picture_format(Path(args.plot))
        _check_free(Path(args.plot), "--plot")
        if Path(args.plot).is_dir():
            raise ArgumentError(f"'{args.plot}' is a folder. Name a file with --plot.")
    return output


def _check_free(path: Path, option: str) -> None:
    if not path.parent.is_dir():
        raise ArgumentError(f"'{path.parent}' is no folder: '{path}' cannot be written there ({option}).")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.is_file() and not os.access(path, os.W_OK)):
        raise ArgumentError(f"'{path}' cannot be written: permission denied. Give another place with {option}.")
