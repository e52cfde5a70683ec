"""Loose guards of what `benchmarks/performance.py` measures: ratios within one run, never times alone."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from speed.steps import epoch_times
from speed.timing import taking_turns

import isplit_tf as isplit
from importance import measure as against_bare

pytestmark = pytest.mark.slow
layers = keras.layers


def convolutions(size: int, depth: int, classes: int = 10) -> keras.Model:
    """So many convolutions of one width, and a softmax."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((size, size, 3))
    for k in range(depth):
        x = layers.Conv2D(32, 3, padding="same", activation="relu", name=f"conv{k}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def images(count: int, size: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, size, size, 3)).astype("float32"), np.arange(count) % classes


@pytest.mark.parametrize(("cuts", "goal"), [("main", 1.05), ("all", 1.10)])
def test_the_curve_costs_one_pass(cuts, goal):
    """VGG16: the goal of the benchmark, and half of a pass more."""
    assert against_bare("VGG16", 32, 16, 7, cuts)["ratio"] <= goal + 0.5


def test_one_pass_beats_one_a_layer():
    """tf-keras-vis is asked once for each of twelve layers; five times faster would do."""
    vis = pytest.importorskip("tf_keras_vis.gradcam")
    from tf_keras_vis.utils.scores import CategoricalScore

    model = convolutions(24, 12)
    x, y = images(96, 24)
    linear = keras.models.clone_model(model)
    linear.set_weights(model.get_weights())
    linear.layers[-1].activation = keras.activations.linear
    explain, score = vis.Gradcam(linear, clone=False), CategoricalScore(list(map(int, y)))

    def theirs():
        for k in range(12):
            explain(score, x, penultimate_layer=f"conv{k}", expand_cam=False, normalize_cam=False)

    def ours():
        isplit.measure_importance(model, (x, y), cuts="all", batch_size=96, progress=False)

    assert taking_turns(ours, theirs, repeats=2, warm_up=1)["ratio"] >= 5


def test_classes_cost_nothing():
    """Statistics of 1,000 classes against those of two, on the same images."""
    data = images(128, 24, classes=2)
    two, many = (convolutions(24, 6, classes) for classes in (2, 1000))
    times = taking_turns(
        lambda: isplit.measure_importance(two, data, progress=False),
        lambda: isplit.measure_importance(many, data, progress=False),
        repeats=5,
    )
    assert times["ratio"] <= 1.5


_PEAK = """
import re, sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import isplit_tf as isplit
inputs = keras.Input((32, 32, 3))
x = keras.layers.Conv2D(8, 3, strides=4, name="a")(inputs)
x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, name="b")(x))
model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))
image = tf.data.Dataset.from_tensors((np.zeros((32, 32, 3), "float32"), 0))
for count in (256, int(sys.argv[1])):
    isplit.measure_importance(model, image.repeat(count).batch(32), progress=False)
    # Of this process alone: `getrusage` starts from the peak of the one that began it.
    print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of one process is read from /proc")
def test_memory_does_not_grow_with_the_images():
    """20,000 images, 245 MB as float32, after 256: the peak of the process grows by less than a quarter of that."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, "20000"], env=environment, capture_output=True, text=True, check=True
    )
    few, many = map(float, done.stdout.split())
    assert many - few < 20000 * 32 * 32 * 3 * 4 / 2**20 / 4


def test_phase_2_is_as_fast_as_fit():
    """An epoch against one of `fit` on the same network, side by side."""
    halves = isplit.split(convolutions(32, 6), "conv2", isplit.Autoencoder(0.9, seed=0))
    pairs = epoch_times(halves, *images(128, 32), turns=2)
    assert np.median([ours / theirs for ours, theirs in pairs]) <= 1.5


def test_phase_1_runs_the_head_once():
    """Epochs from kept features against epochs that run a head of twelve convolutions."""
    model, data = convolutions(40, 14), images(128, 40)

    def seconds_an_epoch(cache_bytes: int) -> float:
        halves = isplit.split(model, "conv11", isplit.Autoencoder(0.95, seed=0))
        history = isplit.train(
            halves, data, bottleneck_epochs=4, fine_tune_epochs=0, cache_bytes=cache_bytes, seed=0, progress=False
        )
        return float(np.median([epoch.duration_s for epoch in history.epochs[1:]]))

    assert seconds_an_epoch(0) >= 1.5 * seconds_an_epoch(2**30)


def test_importing_the_package_is_as_fast_as_the_interpreter():
    """`import isplit_tf` against `import numpy`: TensorFlow comes only with what needs it."""

    def ran(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    ours, numpys = (lambda: ran("import isplit_tf")), (lambda: ran("import numpy"))
    assert taking_turns(numpys, ours, repeats=5)["ratio"] <= 1.5
