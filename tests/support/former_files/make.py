"""Write one small file of each kind that a release saves, and what a later release must read from them.

    python make.py FOLDER

Run it with the release whose files are wanted, from the root of its source. It writes VERSION.zip and VERSION.json to
the folder. Those beside this script were made by 0.1.0 as it was at commit 527e9ca, before its modules were moved, with
the lowest Keras that it allows (3.14.0): older ones do not read what newer ones save.
"""

import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

import isplit_tf as isplit

CLASSES = ["left", "middle", "right"]
FIXED = 6  # images whose predictions are written down
BOTTLENECKS: dict[str, dict[str, Any]] = {"checkpoint": {"init": "projection"}, "checkpoint_distilled": {}}
RUNS: dict[str, dict[str, Any]] = {  # arguments of trainings that are interrupted in the third epoch of phase 2
    "checkpoint": {"bottleneck_epochs": 2, "fine_tune_epochs": 3, "seed": 3},
    "checkpoint_distilled": {
        "bottleneck_epochs": 1,
        "fine_tune_epochs": 4,
        "seed": 5,
        "loss": "distill",
        "keep_best": True,
        "batch_norm": "update",
    },
}


class StoppedError(Exception):
    """The end of a training, on purpose."""


class Stop(keras.callbacks.Callback):
    """Stop in the middle of the third epoch."""

    epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise StoppedError


def make_data() -> tuple[np.ndarray, np.ndarray]:
    """Return images with a bright part, whose place is the class, and the labels."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(102, 8, 8, 1)), np.arange(102) % 3
    for k, label in enumerate(y):
        x[k, :, 3 * label : 3 * label + 2] += 1.2
    return np.round(x * 16).clip(-128, 127).astype(np.int8), y


def make_net(x: np.ndarray, y: np.ndarray) -> keras.Model:
    """Return a small trained classifier whose optimizer has a state of zeros, which takes no room."""
    keras.utils.set_random_seed(0)
    h = inputs = keras.Input((8, 8, 1), name="image")
    h = keras.layers.Conv2D(4, 3, padding="same", name="conv")(h)
    h = keras.layers.BatchNormalization(momentum=0.8, name="norm")(h)
    h = keras.layers.ReLU(name="relu")(h)
    h = keras.layers.MaxPooling2D(name="pool")(h)
    h = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="last")(h)
    h = keras.layers.Dropout(0.2, name="drop")(h)
    h = keras.layers.Flatten(name="flat")(h)
    net = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="scores")(h), name="tiny")
    net.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    net.fit(x, y, epochs=6, verbose=0)
    net.compile("adam", "sparse_categorical_crossentropy")
    net.optimizer.build(net.trainable_variables)
    return net


def make_records(out: Path, net: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Save a curve, an accuracy curve and candidates; return what they hold."""
    curve = isplit.measure_importance(net, data, class_names=CLASSES, progress=False)
    curve.save(out / "curve.npz")
    accuracy = isplit.predict_accuracy(net, data, payload_bytes=16, fit_images=64, progress=False)
    accuracy.save(out / "accuracy.npz")
    candidates = isplit.propose(curve, accuracy=accuracy)
    candidates.save(out / "candidates.json")
    return {
        "curve": {
            "cuts": [cut.name for cut in curve.cuts],
            "values": curve.values.tolist(),
            "means": curve.statistics.means.tolist(),
            "class_names": list(curve.class_names or ()),
            "method": curve.method,
            "n_images": curve.n_images,
        },
        "accuracy": {
            "cuts": [cut.name for cut in accuracy.cuts],
            "accuracy": accuracy.accuracy.tolist(),
            "predictions": accuracy.predictions.ravel().tolist(),
            "original": accuracy.original,
            "relative_errors": accuracy.relative_errors.tolist(),
            "payload_bytes": accuracy.payload_bytes.tolist(),
        },
        "candidates": [{"cut": c.cut.name, "importance": c.importance, "reason": c.reason} for c in candidates],
    }


def describe(halves: isplit.SplitModel, x: np.ndarray) -> dict[str, Any]:
    """Return what is expected of a split that was saved."""
    return {
        "cut": halves.cut.name,
        "bottleneck": repr(halves.bottleneck),
        "latent_shape": list(halves.latent_shape),
        "predictions": halves.predict(x[:FIXED]).tolist(),
    }


def make_splits(out: Path, net: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Save a projection, and both runs of training: to their end, and where they were interrupted."""
    projected = isplit.split(net, "pool", isplit.Projection(payload_bytes=24))
    isplit.train(projected, data, fine_tune_epochs=0, seed=3, progress=False)
    projected.save(out / "split_projection")
    expected: dict[str, Any] = {"split_projection": describe(projected, data[0])}
    for name, arguments in RUNS.items():
        common = {"validation_data": data, "progress": False} | arguments
        bottleneck = isplit.Autoencoder(0.8, seed=0, **BOTTLENECKS[name])
        halves = isplit.split(net, "pool", bottleneck)
        history = isplit.train(halves, data, **common)
        again = isplit.split(net, "pool", bottleneck)
        with contextlib.suppress(StoppedError):
            isplit.train(again, data, checkpoint_dir=out / name, callbacks=[Stop()], **common)
        history.save(out / f"{name}_history.json")
        np.savez(out / f"{name}_weights.npz", *halves.model.get_weights())
        metrics = [dict(epoch.metrics) for epoch in history.epochs]
        expected[name] = {
            "bottleneck": bottleneck.get_config(),
            "train": arguments,
            "metrics": metrics,
            "kept_epoch": history.kept_epoch,
        }
        if name == "checkpoint":
            halves.save(out / "split_autoencoder")
            expected["split_autoencoder"] = describe(halves, data[0])
            expected |= make_bundle(out, halves, data)
    return expected


def make_bundle(out: Path, halves: isplit.SplitModel, data: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Save the evaluation of a split, and export it; return what is expected of both."""
    evaluation = isplit.evaluate(halves, data, progress=False)
    evaluation.save(out / "evaluation.json")
    bundle = isplit.export_bundle(
        halves, out / "bundle", representative_data=data[0], evaluation_data=data, class_names=CLASSES, progress=False
    )
    fixed = data[0][:FIXED]
    for name in ("decoder", "tail"):
        (out / f"{name}.json").write_text(getattr(halves, name).to_json())
    return {
        "evaluation": {"accuracy": evaluation.accuracy, "confusion": evaluation.confusion.tolist()},
        "bundle": {
            "bundle_id": bundle.manifest.bundle_id,
            "scale": bundle.manifest.scale,
            "predictions": bundle.predict(fixed, preprocessed=True).tolist(),
            "payloads": [payload.hex() for payload in bundle.payloads(fixed, preprocessed=True)],
        },
    }


def main(folder: Path) -> None:
    """Write the files and what is expected of them."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        pixels, y = make_data()
        np.savez_compressed(out / "data.npz", pixels=pixels, y=y)
        data = (pixels / np.float32(16), y)
        net = make_net(*data)
        net.save(out / "net.keras")
        expected = make_records(out, net, data) | make_splits(out, net, data)
        shutil.make_archive(str(folder / isplit.__version__), "zip", out)
    parts = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in expected.items()]
    (folder / f"{isplit.__version__}.json").write_text("{" + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
