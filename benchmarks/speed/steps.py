"""Measures of training steps, cached features, and waiting for images."""

import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_tf import Autoencoder, measure_importance, predict_accuracy, split, train
from isplit_tf.datasets import open_data

from .passes import build, images
from .timing import taking_turns

_IMAGES = 256
_EPOCH_IMAGES = 5000  # number of images in an epoch of notMNIST's original, at the scale `cpu`


def fine_tune(goal: float) -> dict[str, Any]:
    """Compare an epoch of phase 2 with an epoch of `fit` on the same network, after tracing."""
    reached, ok, details = {}, {}, {}
    for name, size in (("VGG16", 64), ("MobileNetV2", 96)):
        x, y = images(size, _IMAGES)
        y = y % 200
        cut = {"VGG16": "block4_pool", "MobileNetV2": "block_6_project_BN"}[name]
        halves = split(build(name, size), cut, Autoencoder(0.9, seed=0))
        times = epoch_times(halves, x, y)
        ratio = float(np.median([ours / theirs for ours, theirs in times]))
        reached[f"{name} {size}"], ok[f"{name} {size}"] = round(ratio, 3), ratio <= goal
        details[name] = {"epochs_s": times, "steps": _IMAGES // 32}
    return {"reached": reached, "ok": ok, "details": details}


def epoch_times(halves: Any, x: np.ndarray, y: np.ndarray, turns: int = 5) -> list[tuple[float, float]]:
    """Return the seconds per epoch of both sides, which alternate; the first epoch, which traces, is left out."""
    whole = halves.model
    twin = keras.models.clone_model(whole)
    twin.set_weights(whole.get_weights())
    for layer in twin._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # as in phase 2
    twin.compile(keras.optimizers.Adam(1e-5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    twin.fit(x, y, batch_size=32, verbose=0)
    pairs = []
    for _ in range(turns):
        history = train(
            halves,
            (x, y),
            bottleneck_epochs=0,
            fine_tune_epochs=3,
            optimizer=keras.optimizers.Adam(1e-5),
            loss="sparse_categorical_crossentropy",
            seed=0,
            progress=False,
        )
        start = time.perf_counter()
        twin.fit(x, y, batch_size=32, epochs=2, verbose=0)
        theirs_s = (time.perf_counter() - start) / 2
        pairs.append((float(np.mean([epoch.duration_s for epoch in history.epochs[1:]])), theirs_s))
    return pairs


def projections(goal: float) -> dict[str, Any]:
    """Compare fitting a projection at every main cut of VGG16 with an epoch of training, at notMNIST's size.

    The time of the epoch is computed from steps that are timed before and after the fit.
    """
    model = build("VGG16", 32)
    x, y = images(32, 2000)
    twin = keras.models.clone_model(model)
    twin.compile("adam", "sparse_categorical_crossentropy")

    def step_s() -> float:
        twin.train_on_batch(x[:32], y[:32])  # traces
        times = []
        for _ in range(10):
            start = time.perf_counter()
            twin.train_on_batch(x[:32], y[:32])
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    reached, ok, details = {}, {}, {}
    for compression in (0.9, 0.99):
        before = step_s()
        start = time.perf_counter()
        curve = predict_accuracy(model, (x[:1], y[:1]), fit_data=x, compression=compression, progress=False)
        fit_s = time.perf_counter() - start
        epoch_s = (before + step_s()) / 2 * _EPOCH_IMAGES / 32
        name = f"VGG16 32, {len(curve.cuts)} cuts, compression {compression}"
        reached[name], ok[name] = round(fit_s / epoch_s, 3), fit_s / epoch_s <= goal
        details[name] = {"fit_s": fit_s, "epoch_s": epoch_s, "fit_images": len(x), "epoch_images": _EPOCH_IMAGES}
    return {"reached": reached, "ok": ok, "details": details}


def cached(goal: float) -> dict[str, Any]:
    """Compare five epochs of phase 1 with and without cached features."""
    x, y = images(64, _IMAGES)

    def run(cache_bytes: int) -> None:
        halves = split(build("VGG16"), "block4_pool", Autoencoder(0.9, seed=0))
        train(halves, (x, y), bottleneck_epochs=5, fine_tune_epochs=0, cache_bytes=cache_bytes, seed=0, progress=False)

    times = taking_turns(lambda: run(2**30), lambda: run(0), repeats=3, warm_up=1)
    return {
        "reached": {"VGG16 64": f"{times['ratio']:.2f} times"},
        "ok": {"VGG16 64": times["ratio"] >= goal},
        "details": times | {"images": _IMAGES},
    }


def waiting(goal: float) -> dict[str, Any]:
    """Compare the pass over files with the same pass over arrays in memory; the difference is waiting for images."""
    x, y = images(64, 512)
    pixels = np.clip(127 + 50 * x, 0, 255).astype(np.uint8)
    model = build("MobileNetV2", 64)
    with tempfile.TemporaryDirectory() as folder:
        for k, image in enumerate(pixels):
            place = Path(folder) / f"class{y[k] % 4}"
            place.mkdir(exist_ok=True)
            (place / f"{k}.png").write_bytes(
                tf.io.encode_png(tf.image.resize(image, (256, 256)).numpy().astype("u1")).numpy()
            )

        def from_files() -> None:
            data, _ = open_data(folder, image_size=(64, 64))
            measure_importance(model, data, progress=False)

        arrays = pixels.astype("f4"), y % 4
        times = taking_turns(
            lambda: measure_importance(model, arrays, progress=False), from_files, repeats=5, warm_up=1
        )

        def decoding() -> None:
            data, _ = open_data(folder, image_size=(64, 64))
            for _ in data:
                pass

        alone = taking_turns(decoding, from_files, repeats=5, warm_up=1)["first_s"]
    share = max(0.0, 1 - 1 / times["ratio"])
    both = times["second_s"] / (times["first_s"] + alone)
    return {
        "reached": {
            "MobileNetV2 64": f"{share:.1%}",
            "of the pass and the decoding one after the other, on the same cores": f"{both:.0%}",
        },
        "ok": {"MobileNetV2 64": share <= goal},
        "details": times | {"images": 512, "files": "PNG, 256x256", "decoding_s": alone},
    }
