"""Tests with killed exports: the process is killed at a random moment while it replaces a bundle."""

import contextlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from isplit_edge.manifest import Manifest

from .place import ROOT, Row

# This process only imports; for each line, it starts a child that exports and is killed from outside.
_SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np, tensorflow as tf
import isplit_tf as isplit
from isplit_tf.export.bundle import export_bundle
from trouble.place import make_split, SHAPE
for line in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
        print("ended", os.waitpid(child, 0)[1], flush=True)
        continue
    images = np.random.default_rng(0).integers(0, 256, (100, *SHAPE)).astype(np.float32)
    export_bundle(make_split(7), line.strip(), representative_data=images, version=2, overwrite=True, progress=False)
    os._exit(0)
"""
_MOST_S = 120.0


def killed_exports(old: Path, directory: Path, count: int, *, seed: int = 0, workers: int = 2) -> Row:
    """Kill `export_bundle` at random moments while it replaces a bundle.

    The directory must hold the whole old bundle or the whole new one.

    Args:
        old: A bundle of version 1; copies of it are replaced.
        directory: Folder to work in.
        count: Number of exports to kill.
        seed: Seed of the random moments.
        workers: Number of exports at the same time.

    Returns:
        The row. The moments reach a little beyond the usual end of writing, so that some exports finish.
    """
    row = Row("exports killed while they wrote", count)
    rng, begin = random.Random(seed), time.monotonic()
    tasks: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
    for k in range(count):
        tasks.put((k, rng.uniform(0, 1.1)))
    lock = threading.Lock()

    def work() -> None:
        with _Exporter() as exporter:
            while not tasks.empty():
                try:
                    k, share = tasks.get_nowait()
                except queue.Empty:
                    return
                found = exporter.killed(old, directory / f"place{k}", share)
                with lock:
                    if found.startswith("WRONG"):
                        row.fail(found)
                    else:
                        row.outcome[found] += 1

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if row.outcome.total() != count:
        row.fail(f"{row.outcome.total()} of {count} exports were looked at")
    row.seconds = time.monotonic() - begin
    return row


class _Exporter:
    """A process whose children export bundles, and the time that writing takes."""

    def __init__(self) -> None:
        self._write_s = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(ROOT / "benchmarks")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        )

    def killed(self, old: Path, place: Path, share: float) -> str:
        """Kill an export after this share of its usual writing time; return the state of the directory."""
        if not self._write_s:
            self._write_s = self._run(old, place.with_name(f"{place.name}-whole"), None)
        self._run(old, place, share * self._write_s)
        found = _what_is_there(place, place / "bundle")
        shutil.rmtree(place, ignore_errors=True)
        return found

    def _run(self, old: Path, place: Path, moment_s: float | None) -> float:
        """Export over a copy; kill the export after `moment_s` of writing if given. Return the seconds of writing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        shutil.copytree(old, place / "bundle")
        self._process.stdin.write(f"{place / 'bundle'}\n")
        self._process.stdin.flush()
        child, begin = os.pidfd_open(int(self._process.stdout.readline())), time.monotonic()
        while not any(place.glob(".bundle.new-*")) and time.monotonic() - begin < _MOST_S:
            time.sleep(0.001)
        begin = time.monotonic()
        if moment_s is None:
            while any(place.glob(".bundle.new-*")) and time.monotonic() - begin < _MOST_S:
                time.sleep(0.001)
        else:
            time.sleep(moment_s)
            with contextlib.suppress(ProcessLookupError):  # the export has already ended
                signal.pidfd_send_signal(child, signal.SIGKILL)
        seconds = time.monotonic() - begin
        os.close(child)
        self._process.stdout.readline()
        return seconds

    def __enter__(self) -> "_Exporter":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()


def _what_is_there(place: Path, bundle: Path) -> str:
    left = [one.name for one in place.iterdir() if one.name != "bundle"]
    try:
        manifest = Manifest.load(bundle, check=())
        manifest.check_files(bundle, {name.split("/")[0] for name in manifest.files})
    except ValueError as error:
        return f"WRONG: {error}; beside it {left}"
    found = {one.relative_to(bundle).as_posix() for one in bundle.rglob("*") if one.is_file()}
    if found != {"manifest.json", *manifest.files}:
        return f"WRONG: files that are not the bundle's: {sorted(found - set(manifest.files))}"
    config = (bundle / "serving/models.config").read_text()
    if f"versions: {manifest.version}" not in config or not json.loads((bundle / "edge/head.json").read_bytes()):
        return "WRONG: a bundle of two exports"
    return f"the {'old' if manifest.version == 1 else 'new'} bundle, whole"
