"""The small model that the tests of export and server share: real, trained for a moment, and odd in its sizes."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np

import isplit_tf as isplit
from isplit_edge.manifest import Manifest, contract
from isplit_tf.export.fingerprint import bundle_id

SHAPE = (13, 11, 3)
CLASSES = ("red", "green", "blue", "grey")
PREPROCESSING = {"name": "unit", "scale": 1 / 255}
RECORD = {
    "wire_version": 1,
    "cut": {"name": "pool", "index": 1, "layer_type": "MaxPooling2D", "shape": [6, 5, 8], "size": 240},
    "shapes": {"input": [13, 11, 3], "cut": [6, 5, 8], "latent": [2, 2, 30]},
    "dtype": "int8",
    "scale": 0.5,
    "zero_point": 1,
    "byte_order": "little",
    "n_classes": 4,
    "class_names": None,
    "preprocessing": None,
}


def make_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images in one of four colours, with noise, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    colours = np.array([[200, 90, 90], [90, 200, 90], [90, 90, 200], [130, 130, 130]])
    noise = rng.normal(0, 60, (count, *SHAPE))
    return np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


def make_original(seed: int = 0, last: str | None = None, units: int = 4) -> keras.Model:
    """A convolutional classifier, not trained; layers keep their automatic names where it matters."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    y = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.Add(name="add")([x, y])
    x = keras.layers.BatchNormalization(momentum=0.8)(x)
    x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(units, activation=last)(keras.layers.Dropout(0.1)(x)))


def train_briefly(model: keras.Model) -> keras.Model:
    """Trains a classifier of `make_images` until it is right more often than not."""
    images, labels = make_images(256, seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(images / np.float32(255), labels, batch_size=32, epochs=4, verbose=0)
    return model


def make_split(model: keras.Model, cut: str = "pool", compression: float | None = 0.5):
    """A split of the model whose autoencoder is not trained, or which has none."""
    bottleneck = None if compression is None else isplit.Autoencoder(compression, seed=0)
    return isplit.split(model, cut, bottleneck)


def renumbered(bundle, directory: Path, version: int, **changes) -> Path:
    """A copy of a bundle under another version."""
    copy = shutil.copytree(bundle.directory, directory)
    record = bundle.manifest.to_dict()
    (copy / "serving/tail/3").rename(copy / f"serving/tail/{version}")
    files = {name.replace("tail/3/", f"tail/{version}/"): entry for name, entry in record["files"].items()}
    Manifest.from_dict({**record, "version": version, "files": files, **changes}).write(copy)
    return copy


def identity(split=None, head: bytes = b"head", **changes) -> str:
    """The identity of a split whose contract differs by some keys."""
    split = split or make_split(make_original())
    return bundle_id(head, split.tail, split.decoder, contract({**RECORD, **changes}))


def run_python(script: str, *arguments: object) -> dict:
    """Runs a script in a fresh interpreter and returns the JSON on the last line of what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
