"""The results of a study: an append-only file of JSON lines, one line per finished job."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from isplit_edge.files import make_folder, writing

from ..errors import BundleError

Row = dict[str, Any]
VOLATILE = ("seconds", "cpu_seconds", "date")
"""Fields that differ between two runs of the same job."""


class Task(Protocol):
    """One unit of work; it can be pickled."""

    @property
    def key(self) -> str:
        """Return the key of the task, unique within the sweep."""


Worker = Callable[[Any], Row]
"""A function that does a task and returns its row, which holds the task's key."""


class Store:
    """The rows of one study.

    A row is on the disk before the next job begins. An unfinished last line, left by a killed run, is ignored when the
    file is read and cut off when the next row is written.

    Attributes:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path):
        """Read the rows of the file, if it exists.

        Raises:
            BundleError: If a line of the file is not a row; the message names the line.
        """
        self.path = path
        self._rows: dict[str, Row] = {}
        if path.exists():
            for number, line in enumerate(_whole_lines(path), 1):
                try:
                    row = json.loads(line)
                    self._rows[row["key"]] = row
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise BundleError(f"Line {number} of '{path}' is no row of results: {error!r}") from error

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def rows(self, **wanted: Any) -> Iterator[Row]:
        """Yield the rows whose fields have these values, in the order of the file."""
        for row in self._rows.values():
            if all(row.get(name) == value for name, value in wanted.items()):
                yield row

    def append(self, row: Row) -> None:
        """Append the row of a finished job; it is on the disk when this returns."""
        line = json.dumps(row, allow_nan=False, sort_keys=True).encode() + b"\n"
        make_folder(self.path.parent)
        with writing(self.path), open(self.path, "r+b" if self.path.exists() else "xb") as file:
            file.truncate(_whole_size(self.path))
            file.seek(0, os.SEEK_END)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._rows[row["key"]] = row


def is_past(deadline: float | None) -> bool:
    """Check whether the deadline has passed, so that no further task may begin."""
    return deadline is not None and time.perf_counter() > deadline


def finish(
    row: Row,
    store: Store,
    tasks: Callable[[], Sequence[Task]],
    describe: Callable[[Row], str],
    say: Callable[[str], None],
) -> None:
    """Store a row, and report it with the number of remaining tasks."""
    store.append(row)
    say(f"  {row['key']}: {describe(row)}; {len(tasks())} left")


def _whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes()[: _whole_size(path)].splitlines()


def _whole_size(path: Path) -> int:
    """Return the number of bytes up to and including the last newline."""
    return path.read_bytes().rfind(b"\n") + 1
