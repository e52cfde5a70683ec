"""Speed of TensorFlow with and without oneDNN, also with the instructions of other processors."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

# Names of oneDNN, which then uses only the instructions of such a processor. Without oneDNN, TensorFlow's own kernels
# use only AVX on all of them.
PROCESSORS = {"AVX2": "AVX2", "AVX-512": "AVX512_CORE"}
_PASSES = """
import json, sys, time
import keras, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
from importance import bare_pass
layers = keras.layers
keras.utils.set_random_seed(0)

def glyphs():
    x = inputs = keras.Input((28, 28, 1))
    for width in (16, 32):
        x = layers.MaxPooling2D()(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))

def application(name, size):
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)

models = {f"{name} {size}": application(name, size) for name, size in {"VGG16": 64, "MobileNetV2": 96}.items()}
models["two layers 28"] = glyphs()
found = {}
for name, model in models.items():
    x = tf.random.normal((32, *model.input_shape[1:]))
    labels, run, times = tf.range(32) % 10, bare_pass(model), []
    for turn in range(8):
        start = time.perf_counter()
        run(x, labels).numpy()
        if turn > 1:
            times.append(time.perf_counter() - start)
    found[name] = min(times)
print(json.dumps(found))
"""


def onednn(goal: float, turns: int = 2) -> dict[str, Any]:
    """Measure how many times faster a forward and backward pass is with oneDNN, by network and processor."""
    reached: dict[str, float] = {}
    details: dict[str, list[float]] = {}
    for label, isa in PROCESSORS.items():
        for _ in range(turns):
            off, on = (_seconds({"TF_ENABLE_ONEDNN_OPTS": switch, "ONEDNN_MAX_CPU_ISA": isa}) for switch in "01")
            for name in off:
                details.setdefault(f"{name}, {label}", []).append(off[name] / on[name])
    reached = {name: round(statistics.median(ratios), 2) for name, ratios in details.items()}
    return {"reached": reached, "ok": {name: value >= goal for name, value in reached.items()}, "details": details}


def _seconds(settings: dict[str, str]) -> dict[str, float]:
    here = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _PASSES, here], env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])
