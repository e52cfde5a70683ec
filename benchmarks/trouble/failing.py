"""Tests with failing storage: at each change of a file in turn the disk is full or broken, or the call interrupted."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .place import ROOT, Row

SHIM = Path(__file__).with_name("failing_io.c")
WORKS = ("curve", "accuracy", "save", "publish", "train", "export")
_MOST = 5000


def failing_storage(directory: Path, works: tuple[str, ...] = WORKS, *, step: int = 1) -> Row:
    """Fail each change of a file in turn, or each `step`-th, of what saves, publishes, trains and exports.

    Each failure must be an `ISplitError`, and what was there before must still be whole; without failure the work must
    be done.

    Args:
        directory: Folder to work in.
        works: What is tried, of `WORKS`.
        step: Distance of the changes that fail.

    Returns:
        The row.
    """
    row, begin = Row("writes that failed, one after the other", 0), time.monotonic()
    shim = directory / "failing_io.so"
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-O1", str(SHIM), "-o", str(shim), "-ldl"], check=True)
    command = [sys.executable, "-m", "trouble.failing", str(directory), str(step), *works]
    path = os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT)))
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tempfile.gettempdir())
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            row.outcome.update(found["outcome"])
            for text in found["wrong"]:
                row.fail(text)
    row.count = sum(count for name, count in row.outcome.items() if name not in ("WRONG", "without failure"))
    if done.returncode:
        row.fail(done.stderr[-500:])
    row.seconds = time.monotonic() - begin
    return row


class _Trial:
    """One kind of work, repeated with a failure at another change each time."""

    def __init__(self, name: str, root: Path, work: Callable[[Path], object], whole: Callable[[Path], object]):
        import ctypes

        self._name, self._root, self._work, self._whole = name, root, work, whole
        self._library = ctypes.CDLL(None)
        self.outcome: dict[str, int] = {}
        self.wrong: list[str] = []

    def run(self, step: int) -> None:
        """Fail every change in turn, until the work is done without failure."""
        import errno

        from isplit_edge.errors import ISplitError

        self._root.mkdir()
        self._work(self._root)
        before = self._whole(self._root)
        for k in range(1, _MOST, step):
            code = (errno.ENOSPC, errno.EIO, errno.EINTR)[k // step % 3]
            self._library.failing_io_arm(k, code, os.fsencode(self._root))
            how = "done in spite of it"
            try:
                self._work(self._root)
            except ISplitError:
                how = "told, nothing lost"
            except BaseException as error:  # whatever else it is, it is wrong
                self.wrong.append(
                    f"{self._name}, change {k}, {errno.errorcode[code]}: {type(error).__name__}: {error}"[:400]
                )
            given = self._library.failing_io_done()
            self._library.failing_io_arm(0, 0, b"/")
            try:
                if self._whole(self._root) != before:
                    self.wrong.append(f"{self._name}, change {k}: another content")
            except Exception as error:
                self.wrong.append(f"{self._name}, change {k}, {errno.errorcode[code]}: lost: {error!r}"[:400])
            self._count(how if given else "without failure")
            if not given:
                return
        self.wrong.append(f"{self._name}: no end after {_MOST} changes")

    def _count(self, how: str) -> None:
        self.outcome[how] = self.outcome.get(how, 0) + 1


def _trials(directory: Path) -> dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]]:
    """Return how each kind of work is done, and what is read of its result afterwards."""
    import numpy as np

    import isplit_tf as isplit
    from isplit_edge.manifest import Manifest

    from .place import SHAPE, make_split

    split = make_split(3)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (32, *SHAPE)).astype(np.float32), rng.integers(0, 5, 32)
    curve = isplit.measure_importance(split.model, (x, y), cuts=["pool"], progress=False)
    accuracy = isplit.predict_accuracy(split.model, (x, y), fit_data=x, latent_size=4, cuts=["pool"], progress=False)
    bundle = directory / "bundle"
    export = {"precision": "float32", "overwrite": True, "progress": False}

    def train(root: Path) -> None:
        shutil.rmtree(root / "checkpoints", ignore_errors=True)
        trained = isplit.SplitModel.load(root / "split")
        options = {
            "bottleneck_epochs": 1,
            "fine_tune_epochs": 1,
            "checkpoint_dir": root / "checkpoints",
            "progress": False,
        }
        isplit.train(trained, (x, y), seed=1, **options)

    def read_split(root: Path) -> object:
        return [weight.tolist() for weight in isplit.SplitModel.load(root / "split").model.get_weights()][:1]

    isplit.export_bundle(split, bundle, **export)
    split.save(directory / "split")
    return {
        "curve": (
            lambda root: curve.save(root / "c.npz"),
            lambda root: isplit.Curve.load(root / "c.npz").table(),
        ),
        "accuracy": (
            lambda root: accuracy.save(root / "a.npz"),
            lambda root: isplit.AccuracyCurve.load(root / "a.npz").table(),
        ),
        "save": (lambda root: split.save(root / "split", overwrite=True), read_split),
        "publish": (lambda root: _publish_again(bundle, root), lambda root: _read_models(bundle, root)),
        "train": (lambda root: (_kept(directory / "split", root / "split"), train(root)), read_split),
        "export": (
            lambda root: isplit.export_bundle(split, root / "bundle", **export),
            lambda root: Manifest.load(root / "bundle", check=("edge", "serving")).bundle_id,
        ),
    }


def _publish_again(bundle: Path, root: Path) -> None:
    from isplit_tf.export.publication import publish

    for path in root.glob("models/tail/1"):
        shutil.rmtree(path)
    for path in root.glob("models/models.config"):
        path.unlink()
    publish(bundle, root / "models", labels=["stable"])


def _read_models(bundle: Path, root: Path) -> object:
    """Tell whether the list names no version, or the version is there and whole."""
    return not (root / "models/models.config").exists() or _same(bundle, root) or "torn"


def _same(bundle: Path, root: Path) -> bool:
    """Tell whether all files of the published version are those of the bundle."""
    source, place = bundle / "serving/tail/1", root / "models/tail/1"
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    return all((place / name).read_bytes() == (source / name).read_bytes() for name in files)


def _kept(source: Path, place: Path) -> None:
    if not place.exists():
        shutil.copytree(source, place)


def main() -> None:
    """Try each kind of work, and print a line of JSON for each."""
    directory, step = Path(sys.argv[1]), int(sys.argv[2])
    trials = _trials(directory)
    for name in sys.argv[3:]:
        trial = _Trial(name, directory / f"work-{name}", *trials[name])
        trial.run(step)
        print(json.dumps({"outcome": trial.outcome, "wrong": trial.wrong}), flush=True)


if __name__ == "__main__":
    main()
