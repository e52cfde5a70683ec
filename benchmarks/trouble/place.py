"""The objects under test: small real bundles with images and right answers, and a server in its own process."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
SHAPE, N_CLASSES = (12, 10, 3), 5


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: What was done.
        count: How often it was done.
        outcome: How often each outcome occurred.
        wrong: Outcomes that must not occur, the first few.
        seconds: Duration in seconds.
    """

    what: str
    count: int
    outcome: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, text: object) -> None:
        """Record an outcome that must not occur."""
        self.outcome["WRONG"] += 1
        if len(self.wrong) < 10:
            self.wrong.append(str(text)[:500])


@dataclass(frozen=True)
class Place:
    """A bundle, images, and the answers of its head and tail when run in one process.

    Attributes:
        bundle: The bundle's directory.
        images: (N, *SHAPE) uint8.
        payloads: N payloads of the head.
        expected: Right answers, (N, N_CLASSES) float32.
    """

    bundle: Path
    images: np.ndarray
    payloads: list[bytes]
    expected: np.ndarray

    def right(self, rows: list[int], probabilities: np.ndarray) -> bool:
        """Check whether these are the right answers to these images."""
        return bool(np.allclose(probabilities, self.expected[rows], atol=TOLERANCE, equal_nan=False))


def make_split(seed: int):
    """Make a split of a small network with random weights and a bottleneck."""
    import keras

    import isplit_tf as isplit

    keras.utils.set_random_seed(seed)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 64)(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    last = keras.layers.Dense(N_CLASSES, activation="softmax")
    model = keras.Model(inputs, last(x))
    last.set_weights([30 * last.get_weights()[0], last.get_weights()[1]])  # so that answers tell images apart
    return isplit.split(model, "pool", isplit.Autoencoder(0.5, seed=seed))


def make_place(directory: Path, *, seed: int = 0, version: int = 1, n_images: int = 64, coded: bool = False) -> Place:
    """Export a bundle, whose latent is coded if asked, and compute the right answers with it."""
    import isplit_tf as isplit
    from isplit_edge.code import Code

    rng = np.random.default_rng(100 + seed)
    images = rng.integers(0, 256, (n_images, *SHAPE), np.uint8)
    split = make_split(seed)
    many = images.repeat(-(-100 // n_images), axis=0).astype(np.float32)
    bundle = isplit.export_bundle(split, directory, representative_data=many, version=version, progress=False)
    if coded:
        form = bundle.manifest.form
        split.bottleneck_code = Code.fit(np.stack([form.unpack(one)[1] for one in bundle.payloads(images)]))
        options = {"representative_data": many, "version": version, "overwrite": True, "progress": False}
        bundle = isplit.export_bundle(split, directory, **options)
    payloads = bundle.payloads(images)
    expected, status = bundle.answer(payloads)
    apart = np.abs(expected[:, None] - expected[None]).max(axis=2) + np.eye(n_images)
    if status.any() or apart.min() < 100 * TOLERANCE:
        raise RuntimeError(f"no place to test with: status {status}, answers only {apart.min():.1e} apart")
    return Place(Path(directory), images, payloads, expected)


class ServerProcess:
    """`isplit serve` in a separate process, so that it can be killed and its memory can be read.

    Args:
        path: A bundle or a folder of published bundles.
        port: Port of REST; 0 for a free one.
        grpc_port: Port of gRPC; 0 for a free one.
    """

    def __init__(self, path: Path, port: int = 0, grpc_port: int = 0):
        command = [sys.executable, "-m", "isplit_tf", "serve", str(path)]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--grpc-port", str(grpc_port)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        )
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            found = re.search(r"(http://\S+:\d+) and (grpc://\S+:\d+)", line)
            if found:
                self.url, self.grpc_url = found[1], found[2]
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(lines)[-2000:])
        self._said = lines
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ports(self) -> tuple[int, int]:
        """Return the ports of REST and gRPC."""
        return int(self.url.rsplit(":")[-1]), int(self.grpc_url.rsplit(":")[-1])

    @property
    def said(self) -> str:
        """Return all that the server wrote on standard error."""
        return "".join(self._said)

    def resident_bytes(self) -> int:
        """Return the resident memory of the server in bytes."""
        return resident_bytes(self.process.pid)

    def kill(self) -> None:
        """Kill the server at once, by its process id."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self._said.append(line)

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        if self.process.stderr is not None:
            self.process.stderr.close()


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
