"""The cost of a map of accuracies over cuts and rates, in times of `predict` on the same images."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_tf import predict_accuracy
from isplit_tf.datasets import load
from isplit_tf.selection import map_prediction

RATES = (250, 500, 1000, 2000)
MODELS = {"EfficientNetB0": 512, "MobileNetV2": 512, "VGG16": 256}
"""The models, and their numbers of images, to fit from and as many to classify."""

_SIZE = 224
_DIRECTIONS = 32
_BATCH = 32


def accuracy_map(goal: float, fit_goal: float) -> dict[str, Any]:
    """Compare `predict_accuracy` at four rates and all main cuts with `predict` on the same images.

    Whether cuts drop out depends on what a model can do, and there are no trained weights here: each model gets a last
    layer by least squares on the features of random layers. What it then answers counts as right, so that the map says
    how far a cut keeps the answers.
    """
    reached, ok, details = {}, {}, {}
    for name, count in MODELS.items():
        (fit_x, fit_y), (x, y) = letters("train", count), letters("test", count)
        model = classifier(name, fit_x, fit_y)
        model.predict(x[:_BATCH], verbose=0)
        begin = time.perf_counter()
        predicted = model.predict(x, batch_size=_BATCH, verbose=0).argmax(axis=1)
        predict_s = time.perf_counter() - begin
        begin = time.perf_counter()
        with timing_of("fit_rated") as fits:
            found = predict_accuracy(
                model, (x, predicted), fit_data=fit_x, payload_bytes=RATES, batch_size=_BATCH, progress=False
            )
        total_s = time.perf_counter() - begin
        rest, fit = (total_s - fits[0]) / predict_s, fits[0] / predict_s
        reached[name], ok[name] = f"{rest:.1f}, fit {fit:.1f}", rest <= goal and fit <= fit_goal
        details[name] = {
            "predict_s": predict_s,
            "fit_s": fits[0],
            "total_s": total_s,
            "images": count,
            "cuts": len(found.cuts),
            "accuracy": float(np.mean(predicted == y)),
            "images_seen": float(found.n_images.mean()),
            "map": [[None if np.isnan(a) else a for a in row] for row in found.accuracy.tolist()],
        }
    return {"reached": reached, "ok": ok, "details": details}


@contextmanager
def timing_of(function: str) -> Iterator[list[float]]:
    """Yield a list that gets the seconds of each call of a function of `map_prediction` within the context."""
    original, seconds = getattr(map_prediction, function), []

    def timed(*args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = original(*args, **options)
        seconds.append(time.perf_counter() - begin)
        return result

    setattr(map_prediction, function, timed)
    try:
        yield seconds
    finally:
        setattr(map_prediction, function, original)


def letters(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return letters of many fonts in colours on shaded grounds, 224 pixels to a side, and their labels."""
    x, y = getattr(load("glyphs"), part)
    order = np.random.default_rng(0).permutation(len(y))[:count]
    rng = np.random.default_rng(1)
    shapes = tf.image.resize(x[order].astype("f4") / 255, (_SIZE, _SIZE), "bicubic").numpy()
    inks = rng.uniform(-1, 1, (count, 1, 1, 3)).astype("f4")
    grounds = tf.image.resize(rng.normal(0, 0.4, (count, 4, 4, 3)), (_SIZE, _SIZE), "bicubic").numpy()
    return shapes * np.sign(inks) + (1 - shapes) * (grounds - 0.3 * inks), y[order].astype(np.int64)


def classifier(name: str, x: np.ndarray, y: np.ndarray) -> keras.Model:
    """Return a network of random layers whose normalizations and last layer are fitted to images and labels."""
    keras.utils.set_random_seed(0)
    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(_SIZE, _SIZE, 3))
    norms = [layer for layer in base._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    base(x[:64], training=True)
    pooled = keras.layers.GlobalAveragePooling2D(name="average")(base.output)
    features = keras.Model(base.inputs, pooled).predict(x, batch_size=_BATCH, verbose=0).astype("f8")
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    rows = (features - mean) / spread
    axes = np.linalg.svd(rows, full_matrices=False)[2][:_DIRECTIONS].T  # few, so that they hold for other images
    weights = axes @ np.linalg.lstsq(rows @ axes, np.eye(10)[y] - 0.1, rcond=None)[0] * 10
    dense = keras.layers.Dense(10, activation="softmax", name="scores")
    model = keras.Model(base.inputs, dense(pooled), name=name)
    dense.set_weights([weights / spread[:, np.newaxis], -(mean / spread) @ weights])
    return model
