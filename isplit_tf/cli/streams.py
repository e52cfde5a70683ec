"""Standard output that fails: a full disk behind it, or a reader that has gone."""

import os
import sys


def give_up_output() -> None:
    """Send what is left for standard output nowhere: the interpreter would report it as an error when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finish_output(status: int) -> int:
    """Write what is left for standard output, and return the exit status: 1 in place of 0 where that fails."""
    if sys.stdout is None:
        return status
    try:
        sys.stdout.flush()
    except OSError as error:
        return failed_output(error, status)
    return status


def failed_output(error: OSError, status: int) -> int:
    """Say that standard output cannot be written, and return the exit status; a reader that has gone is no failure."""
    give_up_output()
    if isinstance(error, BrokenPipeError):
        return status
    sys.stderr.write(f"isplit: standard output cannot be written: {error.strerror}\n")
    return status or 1
