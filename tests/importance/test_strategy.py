"""Measuring on several devices and in several processes gives what one device gives."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import Curve, measure_importance
from isplit_tf.errors import ArgumentError
from support import replica_worker
from support.replica_worker import images, net

WORKER = replica_worker.__file__


def start(kind: str, output: Path, environment: dict[str, str] | None = None) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, WORKER, kind, output],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(outputs: list[Path]) -> list[subprocess.Popen]:
    """Two workers of one cluster on the loopback."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other)]
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": k}} for k in (0, 1)]
    return [start("worker", output, {"TF_CONFIG": json.dumps(t)}) for output, t in zip(outputs, tasks, strict=True)]


def finish(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit status and output of each; none is left running."""
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


OPTIONS = {"batch_size": 8, "progress": False, "cuts": "all"}


@pytest.fixture(scope="module")
def on_one_device() -> tuple[Curve, Curve]:
    """The curve of all images, and the one until settled in lower precision."""
    whole = measure_importance(net(), images(), **OPTIONS)
    return whole, measure_importance(net(), images(), confidence=0.6, precision="bfloat16", **OPTIONS)


def assert_equals_one_device(output: Path, on_one_device: tuple[Curve, Curve]) -> None:
    """To 1e-6: variables on one device and on each; and until settled in lower precision, the same images."""
    whole, some = on_one_device
    for kind in ("all", "scope"):
        found = Curve.load(f"{output}_{kind}.npz")
        np.testing.assert_array_equal(found.counts, whole.counts)
        np.testing.assert_allclose(found.per_class, whole.per_class, rtol=1e-6)
        np.testing.assert_allclose(found.interval(), whole.interval(), rtol=1e-5)
    found = Curve.load(f"{output}_some.npz")
    assert (found.n_images, found.settled) == (some.n_images, some.settled)
    np.testing.assert_allclose(found.values, some.values, rtol=0.01)


@pytest.mark.slow
def test_two_devices_give_what_one_gives(on_one_device, tmp_path):
    """MirroredStrategy on two logical devices, given as an argument or by its scope."""
    ((status, text),) = finish([start("mirrored", tmp_path / "curve")])
    assert status == 0, text
    assert_equals_one_device(tmp_path / "curve", on_one_device)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(on_one_device, tmp_path):
    """MultiWorkerMirroredStrategy over the loopback: each worker has the whole curve.

    Workers that read different images are told: an image would count for the label of another.
    """
    for status, text in finish(start_two([tmp_path / "one", tmp_path / "two"])):
        assert status == 0, text
        assert "The workers read different images. Give every worker the same data" in text
    assert_equals_one_device(tmp_path / "one", on_one_device)
    for kind in ("all", "scope", "some"):
        one, two = (Curve.load(tmp_path / f"{name}_{kind}.npz") for name in ("one", "two"))
        np.testing.assert_array_equal(one.per_class, two.per_class)


def test_other_strategies_are_refused():
    """Those that are possible are named."""
    with pytest.raises(ArgumentError, match="MirroredStrategy or MultiWorkerMirroredStrategy.*: OneDeviceStrategy"):
        measure_importance(None, None, strategy=tf.distribute.OneDeviceStrategy("CPU:0"))
    with tf.distribute.OneDeviceStrategy("CPU:0").scope(), pytest.raises(ArgumentError, match="OneDeviceStrategy"):
        measure_importance(None, None)
