"""Conversions in a process of their own, since TensorFlow's converter loses some megabytes with each.

Starting TensorFlow takes seconds. So the first conversion of a process runs in it, if its graph is small; all others
run in a worker process, which stays for the next ones, is renewed after some of them, and leaves when it is idle. The
bytes are the same in both.
"""

import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.framework import graph_pb2

from ...display.quiet import quiet
from ...errors import ExportError
from .conversion import ConversionFailed, Task, save_graph
from .engines import run_converter
from .turns import given_away, taken_back
from .worker import GRAPH_FILE, IMAGES_FILE, LOG_FILE, RESULT_FILE, SMALL_BYTES

_START = "import sys; sys.path[:] = sys.argv[1:]; from isplit_tf.export.litert.worker import serve; serve()"
_LEAVING_S = 10.0
# TensorFlow's graphs are cycles, which wait for Python's collector; with as many objects it comes every dozen exports.
_COLLECTED_AFTER = 4


class _Worker:
    """A worker process.

    Attributes:
        is_ready: Whether it came up.
    """

    def __init__(self) -> None:
        # The converter needs no GPU, of which TensorFlow would take all memory.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.is_ready = "ready" in self._receive()

    def ask(self, folder: str, task: Task, shown: Any) -> dict[str, Any]:
        """Return the last answer to a request; an empty one if the process ended before it."""
        request = json.dumps({"folder": folder, "task": asdict(task)})
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(f"{request}\n".encode())
                self._process.stdin.flush()
        while "images" in (answer := self._receive()):
            shown.update(answer["images"])
        return answer

    def end(self, patience_s: float = 0) -> int:
        """End the process, if it does not do so itself, and return its exit code."""
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return self._process.wait()

    def disown(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._process.returncode = 0

    def _receive(self) -> dict[str, Any]:
        line = b"" if self._process.stdout is None else self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else {}


class _Conversions:
    """The conversions of this process, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._count = 0
        self._can_start = bool(sys.executable)

    def run(self, graph: graph_pb2.GraphDef, task: Task, images: Sequence[np.ndarray], shown: Any) -> bytes:
        """Convert a graph here or in the worker."""
        with self._lock:
            is_small = graph.ByteSize() < SMALL_BYTES
            here = self._count == 0 and is_small
            self._count += 1
            if self._count % _COLLECTED_AFTER == 0 or not is_small:
                gc.collect()
            content = None if here else self._run_there(graph, task, images, shown)
            if content is None:
                with taken_back():
                    content = _run_here(graph, task, images, shown)
            return content

    def _run_there(
        self, graph: graph_pb2.GraphDef, task: Task, images: Sequence[np.ndarray], shown: Any
    ) -> bytes | None:
        """Return the file, or None where no process can be started."""
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            (folder / GRAPH_FILE).write_bytes(graph.SerializeToString(deterministic=True))
            if len(images):
                np.save(folder / IMAGES_FILE, np.asarray(images))
            answer = self._answer(folder, task, shown)
            if answer is None:
                return None
            if "message" in answer:
                raise _failed(answer["message"], folder)
            return (folder / RESULT_FILE).read_bytes()

    def _answer(self, folder: Path, task: Task, shown: Any) -> dict[str, Any] | None:
        while (worker := self._ready_worker()) is not None:
            answer = None
            try:
                answer = worker.ask(str(folder), task, shown)
            finally:
                if answer is None:  # whoever waited was interrupted
                    self.close()
            if answer:
                return answer
            code = self.close(_LEAVING_S)
            if code != 0:  # else it had left after its last conversion, or because it was idle
                raise _ended(code, task, folder)
        return None

    def _ready_worker(self) -> _Worker | None:
        if self._worker is None and self._can_start:
            try:
                self._worker = _Worker()
            except OSError:
                self._can_start = False
            else:
                if not self._worker.is_ready:
                    self._can_start = False
                    self.close()
        return self._worker

    def close(self, patience_s: float = 0) -> int:
        """End the worker, if there is one, and return its exit code."""
        worker, self._worker = self._worker, None
        return 0 if worker is None else worker.end(patience_s)

    def after_fork(self) -> None:
        """Leave lock and worker to the parent of this process."""
        self._lock = threading.Lock()
        if self._worker is not None:
            self._worker.disown()
            self._worker = None


def _run_here(graph: graph_pb2.GraphDef, task: Task, images: Sequence[np.ndarray], shown: Any) -> bytes:
    try:
        with tempfile.TemporaryDirectory() as directory, quiet() as printed:
            save_graph(graph, task, directory)
            return run_converter(directory, task, images, shown)
    except ConversionFailed as error:
        error.add_note(printed.text)
        raise


def _failed(message: str, folder: Path) -> ConversionFailed:
    error = ConversionFailed(message)
    error.add_note(_log(folder))
    return error


def _ended(code: int, task: Task, folder: Path) -> ExportError:
    name = f"exit code {code}" if code > 0 else signal.Signals(-code).name
    size = (folder / GRAPH_FILE).stat().st_size / 2**20
    reason = (
        f"The machine probably lacked memory: the graph alone has {size:,.0f} MiB, and the converter needs several "
        "times as much."
        if -code == getattr(signal, "SIGKILL", None)
        else "TensorFlow's converter crashed."
    )
    error = ExportError(
        f"The process that converts the head to {task.precision} ended with {name}. {reason} Possible: an earlier "
        "cut, another precision, or a machine with more memory."
    )
    error.add_note(_log(folder))
    return error


def _log(folder: Path) -> str:
    log = folder / LOG_FILE
    return log.read_text("utf-8", "replace")[-20_000:] if log.exists() else ""


_conversions = _Conversions()
atexit.register(_conversions.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_conversions.after_fork)


def convert_graph(graph: graph_pb2.GraphDef, task: Task, images: Sequence[np.ndarray], shown: Any) -> bytes:
    """Convert a frozen graph to the bytes of a `.tflite` file, without the memory that the converter loses.

    Args:
        graph: The graph.
        task: What to make of it.
        images: Representative images, float32 of `task.input_shape`; none where the precision needs none.
        shown: What has `update(1)` called after each image.

    Raises:
        ConversionFailed: If the converter fails; what it printed is a note.
        ExportError: If the process that converts ends before it answers.
    """
    with given_away():
        return _conversions.run(graph, task, images, shown)
