"""Copies of single layers: the user's own functions and objects go along."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from isplit_tf import SplitModel, split
from isplit_tf.errors import BundleError, ModelError, keras_reason
from isplit_tf.graph.keras_layers import copy_layer
from support.recompose import difference

X = np.random.default_rng(0).random((3, 4, 8), np.float32)


class Sum(keras.regularizers.Regularizer):
    """A regularizer that is not registered and has no configuration."""

    def __call__(self, weight):
        return ops.sum(weight)


class Known(Sum):
    """One that has a configuration."""

    def get_config(self):
        return {}


class Clipped(keras.constraints.Constraint):
    """A constraint that is not registered."""

    def __call__(self, weight):
        return ops.clip(weight, -0.1, 0.1)


class Ones(keras.initializers.Initializer):
    """An initializer that is not registered."""

    def __call__(self, shape, dtype=None, **_):
        return ops.ones(shape, dtype)


class Power:
    """An object that can be called, which Keras cannot write down."""

    def __call__(self, x):
        return x**2


def net(*inner):
    return keras.Sequential([keras.Input((4, 8)), *inner, layers.Flatten(name="end"), layers.Dense(3)])


@pytest.mark.parametrize("function", [ops.sin, ops.gelu, ops.square, ops.relu, ops.log1p], ids=lambda f: f.__name__)
@pytest.mark.parametrize("form", ["dense", "activation", "wrapped"])
def test_functions_of_keras_ops(function, form, tmp_path):
    """As activations they are copied, saved and read back as they are; `ops.gelu` is not `keras.activations.gelu`."""
    with keras.saving.custom_object_scope({function.__name__: function}):
        inner = {
            "dense": lambda: layers.Dense(4, activation=function),
            "activation": lambda: layers.Activation(function),
            "wrapped": lambda: layers.TimeDistributed(layers.Dense(4, activation=function)),
        }[form]()
    model = net(inner)
    halves = split(model, "end")
    halves.save(tmp_path / "split")
    for one in (halves.model, SplitModel.load(tmp_path / "split").model):
        assert difference(one(X), model(X)) == 0.0


@pytest.mark.parametrize("activation", [functools.partial(ops.leaky_relu, negative_slope=0.3), Power(), tf.sin])
def test_other_activations(activation, tmp_path):
    """They are carried along; what Keras cannot write down is refused when the split is saved, with its reason."""
    model = net(layers.Dense(4, activation=activation, name="d"))
    halves = split(model, "end")
    assert difference(halves.model(X), model(X)) == 0.0
    if activation is not tf.sin:
        with pytest.raises(ModelError, match=r"Layer 'd' of class Dense cannot be saved: Cannot serialize object"):
            halves.save(tmp_path / "split")
        assert not list(tmp_path.iterdir())
    else:
        halves.save(tmp_path / "split")
        with pytest.raises(BundleError, match=r"it needs 'sin', which is not known here\."):
            SplitModel.load(tmp_path / "split")
        again = SplitModel.load(tmp_path / "split", custom_objects={"sin": tf.sin})
        assert difference(again.model(X), model(X)) == 0.0


@pytest.mark.parametrize("part", [Sum(), Known(), Clipped(), Ones()], ids=lambda part: type(part).__name__)
def test_objects_that_keras_does_not_know(part):
    """Regularizers, constraints and initializers are the user's own, in layers and in layers inside them."""
    kinds = {"regularizer": keras.Regularizer, "constraint": keras.constraints.Constraint}
    name = "kernel_" + next((name for name, kind in kinds.items() if isinstance(part, kind)), "initializer")
    model = net(
        layers.Dense(4, **{name: part}),
        layers.TimeDistributed(layers.Dense(4, **{name: part})),
        layers.LSTM(4, return_sequences=True, **{name: part}),
    )
    copy = split(model, "end").model
    assert difference(copy(X), model(X)) == 0.0
    dense, wrapped, recurrent = copy.layers[1:4]
    for layer in (dense, wrapped.layer, recurrent.cell):
        assert getattr(layer, name) is part
    assert [float(loss) for loss in copy.losses] == [float(loss) for loss in model.losses]
    assert getattr(model.layers[0], name) is part


def test_the_users_layer_is_left_as_it_is_when_its_copy_fails():
    """Also what was taken out of it for a moment."""

    class Broken(layers.Dense):
        def get_config(self):
            raise ValueError("not now")

    layer = Broken(2, activation=ops.sin, kernel_regularizer=Sum())
    regularizer = layer.kernel_regularizer
    with pytest.raises(ModelError, match="cannot be copied from its configuration: not now"):
        copy_layer(layer, "copy")
    assert (layer.activation, layer.kernel_regularizer) == (ops.sin, regularizer)


def test_a_scope_around_is_kept():
    """What the user lets Keras know for a while is known to the copies too."""

    class Holder(layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.saving.deserialize_keras_object(inner)

        def call(self, x):
            return x

        def get_config(self):
            return super().get_config() | {"inner": {"class_name": "Known", "config": {}, "registered_name": "Known"}}

    with keras.saving.custom_object_scope({"Known": Known}):
        holder = Holder({"class_name": "Known", "config": {}, "registered_name": "Known"})
        assert type(copy_layer(holder, "copy").inner) is Known
    with pytest.raises(ModelError, match="cannot be copied"):
        copy_layer(holder, "copy")


def test_the_reason_of_keras_comes_first():
    """Without the configuration that Keras prints before and after it."""
    for text in (
        "Error when deserializing class 'A' using config={'a': 1}.\n\nException encountered: wrong a",
        "B could not be deserialized.\n\nconfig={'b': {}}.\n\nException encountered: Error when deserializing class "
        "'A' using config={'a': 1}.\n\nException encountered: wrong\n a",
        "wrong a Full object config: {'class_name': 'A'}",
    ):
        assert keras_reason(TypeError(text)) == "wrong a"
    assert keras_reason(KeyError()) == "KeyError"


class TestSavedModels:
    """Layers that run a SavedModel."""

    @pytest.fixture
    def model(self, tmp_path):
        """A convolution on disk, between two layers of Keras."""
        inner = keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(4, 3, activation="relu")])
        inner.export(tmp_path / "saved", verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = layers.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serve", name="saved")
        inputs = keras.Input((4, 4, 3))
        x = layers.Flatten(name="end")(layer(layers.Conv2D(3, 1, name="before")(inputs)))
        return keras.Model(inputs, layers.Dense(3)(x))

    def test_copied_with_weights_of_their_own(self, model):
        """The SavedModel is loaded again, and has the weights of the user's layer, not those of the file."""
        x = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
        model.get_layer("saved").weights[1].assign([1.0, 2.0, 3.0, 4.0])
        halves = split(model, "before")
        assert difference(halves.tail(halves.head(x)), model(x)) == 0.0
        halves.model.get_layer("saved").weights[1].assign([0.0] * 4)
        assert model.get_layer("saved").weights[1].numpy().tolist() == [1.0, 2.0, 3.0, 4.0]

    def test_not_saved(self, model, tmp_path):
        """A file would have to name code to be run: it is refused before it is written, and the reason is given."""
        with pytest.raises(ModelError, match=r"run a SavedModel outside of the file .* running its code: 'saved'\."):
            split(model, "before").save(tmp_path / "split")
        assert not (tmp_path / "split").exists()

    def test_a_folder_that_is_gone(self, model, tmp_path):
        """TensorFlow's reason is given."""
        (tmp_path / "saved").rename(tmp_path / "moved")
        with pytest.raises(ModelError, match=r"Layer 'saved' of class TFSMLayer .*(does not exist|no file)"):
            split(model, "before")


@pytest.mark.parametrize("name", ["conv#x", "a:b", "a+b", "a~1", "x#1:2"])
def test_names_with_signs_of_ours(name, tmp_path):
    """A layer may have any name that Keras takes: it can be split at, saved and read back."""
    model = net(layers.Dense(4, name=name), layers.Dense(4, name="second#1"))
    for cut in (name, "second#1"):
        halves = split(model, cut)
        assert halves.cut.name == cut
        assert difference(halves.tail(halves.head(X)), model(X)) == 0.0
        halves.save(tmp_path / "split", overwrite=True)
        assert difference(SplitModel.load(tmp_path / "split").model(X), model(X)) == 0.0
