"""Models with layers of the user's own on the command line, by the file that defines them."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from isplit_tf.cli.custom_objects import read_custom_objects
from isplit_tf.errors import ArgumentError
from support.shell import isplit

MODULE = """
import keras
from neighbour import Doubled

class Shifted(keras.layers.Layer):
    def call(self, x):
        return x + 1.0

@keras.saving.register_keras_serializable("test_custom_objects")
class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2.0

def steep(x):
    return keras.ops.relu(x) * 3.0

def own_loss(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
"""
NEIGHBOUR = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return x * 2.0
"""
BUILD = """
import keras, own_layers as own
layers = keras.layers
model = keras.Sequential([
    keras.Input((8, 8, 1)), own.Shifted(name="shifted"), own.Doubled(name="doubled"), own.Halved(name="halved"),
    layers.Conv2D(4, 3, activation=own.steep, name="conv"), layers.Flatten(name="flat"),
    layers.Dense(3, activation="softmax", name="scores"),
])
model.compile(loss=own.own_loss)
model.save("own.keras")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a module of layers, a model that needs it, saved by another process, and images."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_layers.py").write_text(MODULE)
    (folder / "neighbour.py").write_text(NEIGHBOUR)
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True)
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    np.savez(folder / "images.npz", x=x, y=np.arange(24) % 3)
    return folder


def test_without_the_module_the_model_says_what_it_needs(place, capsys):
    """Exit status 2, and the option that helps."""
    assert isplit("cuts", place / "own.keras") == 2
    assert "--custom-objects MODULE.py" in capsys.readouterr().err


def test_every_command_that_reads_a_model_takes_the_module(place, capsys):
    """cuts, importance, split and train: layers, an activation and the loss come from the file."""
    own = ["--custom-objects", place / "own_layers.py"]
    assert isplit("cuts", place / "own.keras", "--json", *own) == 0
    names = [cut["name"] for cut in json.loads(capsys.readouterr().out)]
    assert names == ["shifted", "doubled", "halved", "conv", "flat"]
    ask = ["importance", place / "own.keras", "--data", place / "images.npz", "-o", place / "curve.npz"]
    assert isplit(*ask, *own) == 0
    assert isplit("split", place / "own.keras", "--cut", "conv", "-o", place / "split", *own) == 0
    train = ["train", place / "split", "--data", place / "images.npz", "--bottleneck-epochs", 1]
    assert isplit(*train, "--fine-tune-epochs", 1, "-o", place / "trained", *own) == 0
    assert isplit("evaluate", place / "trained", "--data", place / "images.npz", "-o", place / "r.json", *own) == 0
    assert keras.saving.get_registered_object("Shifted") is None  # known to the commands alone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("x = = 1", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_fails_is_named(tmp_path, text, message):
    """The kind of the error and its text are told."""
    (tmp_path / "failing_module.py").write_text(text)
    with pytest.raises(ArgumentError, match=f"failing_module.py' ends with {message}: "):
        read_custom_objects(str(tmp_path / "failing_module.py"))
    assert "failing_module" not in sys.modules


@pytest.mark.parametrize("path", ["missing.py", "own_layers", "."])
def test_what_is_no_python_file_is_refused(path):
    """A file that ends in .py is asked for."""
    with pytest.raises(ArgumentError, match="expected a Python file, MODULE.py"):
        read_custom_objects(path)
