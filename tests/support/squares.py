"""Tasks that square a number, some of which kill the process that does them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Square:
    """A task that takes a moment."""

    number: int
    folder: str
    deaths: int = 0

    @property
    def key(self) -> str:
        return f"n{self.number}"


def worker():
    def square(task):
        """Leaves a mark of each attempt; kills its own process as often as the task says."""
        marks = Path(task.folder)
        attempts = len(list(marks.glob(f"{task.key}-*")))
        (marks / f"{task.key}-{attempts}-{os.getpid()}").touch()
        if attempts < task.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return {"key": task.key, "square": task.number**2}

    return square
