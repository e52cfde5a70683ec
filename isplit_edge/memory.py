"""The memory that a model takes on this machine: by how much a fresh process grows that loads and runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from .errors import ISplitError
from .interpreter import Head
from .kit import WHOLE_FILE, Kit
from .whole import WholeModel

_STATUS = Path("/proc/self/status")
_START = "import sys; sys.path[:] = sys.argv[4:]; from isplit_edge.memory import tell; tell(*sys.argv[1:4])"
_RUNS = 3
_PATIENCE_S = 600.0


def ram_bytes(kit: Path, folder: str, threads: int | None = None) -> int | None:
    """Return by how many bytes a process grows at most that runs a model of a kit; None where it cannot be known.

    The runtime itself is not counted, which the process has loaded before.

    Args:
        kit: The kit's directory.
        folder: A head's folder in it, or `whole/whole.tflite`.
        threads: Threads of the interpreter.
    """
    if not _STATUS.is_file() or not sys.executable:
        return None
    command = [sys.executable, "-c", _START, str(kit), folder, str(threads or 0), *sys.path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S)
        grown = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return grown if isinstance(grown, int) and grown >= 0 else None


def tell(kit: str, folder: str, threads: str) -> None:
    """Run a model in this process, and print by how many bytes it grew."""
    import ai_edge_litert.interpreter  # noqa: F401  # the runtime is there before

    try:
        opened = Kit.load(kit, check=())
        images = opened.read_images()[:1]
        before, peak_before = _status_bytes("VmRSS"), _status_bytes("VmHWM")
        _run(opened, folder, int(threads) or None, images)
        after, peak = _status_bytes("VmRSS"), _status_bytes("VmHWM")
    except (ISplitError, RuntimeError, ValueError):
        return
    # A peak of the imports would hide a small model: then what stays is counted.
    sys.stdout.write(json.dumps(max(0, (peak if peak > peak_before else after) - before)))


def _run(kit: Kit, folder: str, threads: int | None, images: np.ndarray) -> None:
    preprocessed = images.dtype.kind == "f"
    if folder == WHOLE_FILE:
        whole = WholeModel(kit.directory / WHOLE_FILE, kit.preprocessing, kit.input_shape, threads)
        for _ in range(_RUNS):
            whole.run(whole.prepare(images[0], preprocessed))
    else:
        head = Head(kit.directory / folder, num_threads=threads)
        for _ in range(_RUNS):
            head.payloads(images, preprocessed)


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"{_STATUS} has no {name}")
