"""What can be run on this machine is known before any work."""

import os
import subprocess
import sys

import keras
import pytest

from isplit_tf.errors import ModelError
from isplit_tf.graph.passes import require_runnable
from isplit_tf.graph.program import read_program
from support.processor import has_channels_first

layers = keras.layers
FIRST = {"data_format": "channels_first"}

_VERBS = """
import keras, numpy as np
import isplit_tf as isplit
layers, first = keras.layers, {"data_format": "channels_first"}
inputs = keras.Input((3, 8, 8))
x = layers.MaxPooling2D(name="pool", **first)(layers.Conv2D(4, 3, name="conv", **first)(inputs))
model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
data = np.random.default_rng(0).random((40, 3, 8, 8), "float32"), np.arange(40) % 2
quiet = {"progress": False}
verbs = {
    "importance": lambda: isplit.measure_importance(model, data, **quiet),
    "accuracy": lambda: isplit.predict_accuracy(model, data, compression=0.5, **quiet),
    "sanity": lambda: isplit.sanity_check(model, data),
    "evaluate": lambda: isplit.evaluate(model, data, **quiet),
    "split": lambda: isplit.split(model, "conv").predict(data[0]),
}
for name, verb in verbs.items():
    try:
        verb()
        print(name, "done")
    except isplit.ISplitError as error:
        print(name, type(error).__name__, "TF_ENABLE_ONEDNN_OPTS=1" in str(error), "'conv'" in str(error))
print(len(isplit.find_cuts(model)), "cuts")
"""


@pytest.mark.parametrize(("switch", "outcome"), [("0", "ModelError True True"), ("1", "done")])
def test_every_verb_says_which_switch_is_missing(switch, outcome):
    """Without oneDNN TensorFlow has no channels-first convolutions on a CPU: each verb says so; cuts are found."""
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": switch, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", _VERBS], env=environment, capture_output=True, text=True, check=True)
    verbs = ("importance", "accuracy", "sanity", "evaluate", "split")
    assert done.stdout.splitlines() == [*(f"{verb} {outcome}" for verb in verbs), "3 cuts"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv1D(4, 3, **FIRST),
        lambda: layers.Conv2D(4, 3, strides=2, padding="same", **FIRST),
        lambda: layers.Conv2DTranspose(4, 3, **FIRST),
    ],
)
def test_what_needs_onednn_runs_or_is_refused(make):
    """A layer for which TensorFlow needs oneDNN on a CPU: it runs, or the error names it; sizes may vary."""
    layer = make()
    rank = 2 if isinstance(layer, layers.Conv1D) else 3
    inputs = keras.Input((3, *[None] * (rank - 1)))
    program = read_program(keras.Model(inputs, layer(inputs)))
    if has_channels_first():
        require_runnable(program)
    else:
        with pytest.raises(ModelError, match=f"'{layer.name}'.*TF_ENABLE_ONEDNN_OPTS=1"):
            require_runnable(program)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.MaxPooling2D(**FIRST),
        lambda: layers.GlobalAveragePooling2D(**FIRST),
        lambda: layers.UpSampling2D(**FIRST),
        lambda: layers.Conv2D(4, 3, data_format="channels_last"),
        lambda: layers.Conv2D(4, 40, **FIRST, groups=2),
    ],
)
def test_what_runs_everywhere_is_not_refused(make):
    """Layers that need no oneDNN, and one whose kernel is larger than the image that is tried."""
    inputs = keras.Input((64, 64, 64))
    require_runnable(read_program(keras.Model(inputs, make()(inputs))))
