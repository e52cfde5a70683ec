"""What the demo says while it runs: each step with its time, and each file as it is written."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..display.colour import styled


class Stopwatch:
    """The clock of the steps, which reports on standard error.

    Attributes:
        seconds: Seconds of each step by the clock, by its name.
        processor_seconds: Seconds of processor time of each step, of all threads and of child processes that ended;
            "start" is what the process took before the first step, mostly to import TensorFlow.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor_seconds: dict[str, float] = {"start": _processor_s()}

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Report a step and its time."""
        say(styled(f"{text} ...", "bold", sys.stderr))
        start, used = time.perf_counter(), _processor_s()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.processor_seconds[name] = _processor_s() - used
        say(f"  {self.seconds[name]:.1f} s, {self.processor_seconds[name]:.1f} s of processor time")


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(text + "\n")


def announce(path: Path) -> None:
    """Name a file that was written."""
    say(f"  -> {styled(str(path), 'cyan', sys.stderr)}")


def _processor_s() -> float:
    return sum(os.times()[:4])
