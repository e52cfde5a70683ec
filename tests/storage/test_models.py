"""Models from files: never compiled beyond their loss, and what cannot be read says what it needs."""

import json
import warnings

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from isplit_tf import measure_importance
from isplit_tf.errors import ModelError
from isplit_tf.storage.models import load_model


class OwnLoss(keras.losses.Loss):
    """A loss that is not registered."""

    def call(self, y_true, y_pred):
        """Return the squared error."""
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


class OwnMetric(keras.metrics.Mean):
    """A metric that is not registered."""


class OwnOptimizer(keras.optimizers.SGD):
    """An optimizer that is not registered."""


def own_loss(y_true, y_pred):
    """Return the squared error; a function that is not registered."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def regressor(**compiled) -> keras.Model:
    """A net with one linear unit."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(1)], name="net")
    model.compile(**compiled)
    return model


def saved(model: keras.Model, path) -> object:
    """Save a model, in either format, and return the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


FORMATS = pytest.mark.parametrize("ending", ["keras", "h5"])


@FORMATS
@pytest.mark.parametrize(
    "compiled",
    [
        {"loss": "mse", "metrics": [OwnMetric()]},
        {"loss": "mse", "weighted_metrics": [OwnMetric()]},
        {"loss": "mse", "optimizer": OwnOptimizer()},
    ],
)
def test_metrics_and_optimizers_of_ones_own_do_not_matter(tmp_path, ending, compiled):
    """They are not read, and nothing is said: only the loss is kept."""
    assert load_model(saved(regressor(**compiled), tmp_path / f"net.{ending}")).loss == "mse"


@FORMATS
@pytest.mark.parametrize(("loss", "name"), [(OwnLoss(), "OwnLoss"), (own_loss, "own_loss")])
def test_a_loss_of_ones_own_is_left_out_with_a_warning(tmp_path, ending, loss, name):
    """The model is read; the warning names the loss and the ways to bring it; custom_objects is one."""
    path = saved(regressor(loss=loss), tmp_path / f"net.{ending}")
    with pytest.warns(UserWarning, match=f"compiled with is left out: it needs '{name}'.*--custom-objects.*--loss"):
        assert not load_model(path).compiled
    known = load_model(path, custom_objects={name: globals()[name]})
    assert getattr(known.loss, "__name__", type(known.loss).__name__) == name


@FORMATS
def test_the_loss_still_says_what_a_linear_unit_is(tmp_path, ending):
    """A single linear unit with from_logits=True in its loss counts as a logit, read from either format."""
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = load_model(saved(regressor(loss=loss, metrics=[OwnMetric()]), tmp_path / f"net.{ending}"))
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    assert measure_importance(model, (x, np.arange(8) % 2), cuts="all", progress=False).n_images == 8


@pytest.mark.parametrize(
    ("record", "from_logits"),
    [
        ({"class_name": "BinaryCrossentropy", "config": {"reduction": "auto", "from_logits": True}}, True),
        ({"class_name": "BinaryCrossentropy", "config": {"reduction": "none", "fn": "binary_crossentropy"}}, False),
        ("binary_crossentropy", None),
    ],
)
def test_an_old_file_of_keras_2_is_read(tmp_path, record, from_logits):
    """An optimizer with `lr` and a loss with the reduction "auto" do no harm."""
    path = saved(regressor(loss="mse"), tmp_path / "old.h5")
    optimizer = {"class_name": "Adam", "config": {"lr": 0.001, "decay": 0.0}}
    with h5py.File(path, "a") as file:
        record = {"loss": record, "metrics": ["acc"], "optimizer_config": optimizer, "sample_weight_mode": None}
        file.attrs["training_config"] = json.dumps(record)
    loss = load_model(path).loss
    assert loss == "binary_crossentropy" if from_logits is None else loss.get_config()["from_logits"] is from_logits


def test_losses_of_several_outputs(tmp_path):
    """A dict or list of losses comes back as it was."""
    inputs = keras.Input((6,))
    a, b = layers.Dense(3, name="a")(inputs), layers.Dense(1, name="b")(inputs)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for outputs, losses in (({"a": a, "b": b}, {"a": logits, "b": "mse"}), ([a, b], [logits, "mse"])):
        model = keras.Model(inputs, outputs)
        model.compile(loss=losses)
        loss = load_model(saved(model, tmp_path / "net.keras")).loss
        assert (loss["b"] if isinstance(losses, dict) else loss[1]) == "mse"
        assert (loss["a"] if isinstance(losses, dict) else loss[0]).get_config()["from_logits"]


@FORMATS
@pytest.mark.parametrize("kind", ["layer", "activation"])
def test_a_model_that_needs_code_says_which(tmp_path, ending, kind):
    """The class or function is named, with the ways to bring it."""

    class Doubled(layers.Layer):
        def call(self, x):
            return 2.0 * x

    middle = Doubled() if kind == "layer" else layers.Dense(3, activation=own_relu)
    path = saved(keras.Sequential([keras.Input((6,)), middle, layers.Dense(2)]), tmp_path / f"net.{ending}")
    name = "Doubled" if kind == "layer" else "own_relu"
    with pytest.raises(
        ModelError, match=rf"it needs '{name}', which is not known here\. .*--custom-objects MODULE\.py"
    ):
        load_model(path)


def own_relu(x):
    """Return the positive part."""
    return keras.ops.maximum(x, 0.0)
