"""Conversions in a process of their own: the same bytes, and nothing of it reaches the process that asks."""

import os
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from isplit_tf.errors import ExportError
from isplit_tf.export.litert import process
from isplit_tf.export.litert.converter import convert
from support import tiny


def dense(units: int = 3) -> keras.Model:
    """The smallest head, with fixed weights."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


@pytest.fixture
def worker():
    """A worker that runs."""
    for _ in range(2):  # the first conversion of a process is its own
        convert(dense(), precision="float32", progress=False)
    return process._conversions._worker


def gone(pid: int) -> bool:
    """Whether a process ended, which a machine may take a moment for."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


SCRIPT = """
    import hashlib, json, os, sys
    import keras, numpy as np
    from isplit_tf.export.litert import process
    from isplit_tf.export.litert.converter import convert
    keras.utils.set_random_seed(0)
    head = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Conv2D(2, 3)])
    images = np.random.default_rng(0).random((64, 6, 6, 3), np.float32)
    found = []
    for _ in range(2):
        for precision in ("int8", "float32"):
            content = convert(head, precision=precision, representative=images, progress=False).content
            found.append(hashlib.sha256(content).hexdigest())
    worker = process._conversions._worker._process.pid
    child = os.fork()
    if not child:
        os._exit(int(process._conversions._worker is not None))
    inherited = os.waitpid(child, 0)[1]
    again = convert(head, precision="int8", representative=images, progress=False).content
    found.append(hashlib.sha256(again).hexdigest())
    print(json.dumps({"found": found, "worker": worker, "inherited": inherited}))
"""  # noqa: E501


def test_the_bytes_are_the_same_here_and_there():
    """A script without a main guard converts here and in the worker to the same bytes, also after a fork; then both
    processes end."""
    answer = tiny.run_python(SCRIPT)
    first, second, third, fourth, fifth = answer["found"]
    assert first == third == fifth
    assert second == fourth
    assert answer["inherited"] == 0
    assert gone(answer["worker"])


def test_a_worker_ends_with_the_process_that_it_works_for(worker, tmp_path):
    """Killed at any moment, a process leaves no worker behind."""
    code = """
        import os, signal
        import keras
        from isplit_tf.export.litert import process
        from isplit_tf.export.litert.converter import convert
        head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        for _ in range(2):
            convert(head, precision="float32", progress=False)
        import sys
        open(sys.argv[1], "w").write(str(process._conversions._worker._process.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with pytest.raises(AssertionError):  # it ended with a signal
        tiny.run_python(code, tmp_path / "pid")
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_worker_that_is_killed_is_told_and_replaced(worker):
    """What the machine ends for lack of memory becomes an error that says so; the next conversion works."""
    os.kill(worker._process.pid, signal.SIGKILL)
    with pytest.raises(ExportError, match=r"ended with SIGKILL\. The machine probably lacked memory: .* MiB"):
        convert(dense(), precision="float32", progress=False)
    assert convert(dense(), precision="float32", progress=False).relative_error < 1e-6


def test_a_worker_that_leaves_is_replaced(monkeypatch):
    """After its last conversion, or when nobody asks, a worker leaves; nobody notices."""
    process._conversions.close()
    monkeypatch.setattr(
        process,
        "_START",
        "import sys; sys.path[:] = sys.argv[1:]; from isplit_tf.export.litert import worker; "
        "worker.MOST_CONVERSIONS = 1; worker.serve()",
    )
    contents = {convert(dense(), precision="float32", progress=False).content for _ in range(3)}
    assert len(contents) == 1
    process._conversions.close()


def test_without_a_process_the_work_is_done_here(monkeypatch, worker):
    """Where no process can be started, the conversion runs in this one."""
    expected = convert(dense(), precision="float32", progress=False).content
    process._conversions.close()
    monkeypatch.setattr(process, "_START", "import sys; sys.exit(3)")
    assert convert(dense(), precision="float32", progress=False).content == expected
    assert process._conversions._worker is None
    monkeypatch.setattr(process._conversions, "_can_start", True)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
def test_conversions_do_not_grow_the_process(worker):
    """Two dozen conversions leave less than what a few took when the converter ran here."""
    images = np.random.default_rng(0).random((16, 4), np.float32)

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    convert(dense(), precision="int8", representative=images, progress=False)
    before = resident()
    for _ in range(24):
        convert(dense(), precision="int8", representative=images, progress=False)
    assert resident() - before < 12
