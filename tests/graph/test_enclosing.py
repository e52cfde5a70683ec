"""Layers that live only inside their model are copied out of a copy of it."""

import keras
import numpy as np
import pytest
from keras import layers

from isplit_tf import SplitModel, find_cuts, split
from isplit_tf.errors import BundleError, ModelError
from support.recompose import difference


class Positions(layers.Layer):
    """A layer whose configuration says more than its `__init__` takes."""

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape):
        self.table = self.add_weight((self.count, shape[-1]), initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table

    def get_config(self):
        return super().get_config() | {"count": self.count, "twice": 2 * self.count}


class Unbiased(layers.Layer):
    """A layer whose configuration leaves out an argument."""

    def __init__(self, units, bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.has_bias = units, bias

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.units), name="kernel")
        self.bias = self.add_weight((self.units,), initializer="random_normal", name="b") if self.has_bias else None

    def call(self, x):
        return x @ self.kernel if self.bias is None else x @ self.kernel + self.bias

    def get_config(self):
        return super().get_config() | {"units": self.units}


class After(layers.Layer):
    """A layer that was given another layer, and has no configuration at all."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, x):
        return self.other(x) * 2


class Backbone(keras.Model):
    """A functional model with a configuration of its own, as those of libraries are."""

    def __init__(self, width=8, **kwargs):
        inputs = keras.Input((4, width))
        x = Unbiased(6, bias=False, name="unbiased")(Positions(4, name="positions")(inputs))
        super().__init__(inputs, After(layers.Dense(6), name="after")(x), **kwargs)
        self.width = width

    def get_config(self):
        return {"width": self.width, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


class Subclassed(keras.Model):
    """A model with a `call` of its own."""

    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.positions, self.unbiased = Positions(4, name="positions"), Unbiased(units, bias=False, name="unbiased")
        self.scores = layers.Dense(3)

    def call(self, x):
        return self.scores(self.unbiased(self.positions(x)))


CLASSES = {kind.__name__: kind for kind in (Positions, Unbiased, After, Backbone, Subclassed)}
X = np.random.default_rng(0).random((3, 4, 8), np.float32)


def nested():
    inputs = keras.Input((4, 8))
    x = layers.Flatten(name="flat")(Backbone(name="backbone")(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


def twice_nested():
    inputs, inner = keras.Input((4, 8)), keras.Input((4, 8))
    middle = keras.Model(inner, layers.Dropout(0.1)(Backbone(name="backbone")(inner)), name="middle")
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(middle(inputs))))


def subclassed():
    model = Subclassed()
    model(X)
    return model


MODELS = {"nested": nested, "twice nested": twice_nested, "subclassed": subclassed, "alone": Backbone}


@pytest.mark.parametrize("name", MODELS)
def test_taken_out_of_a_copy_of_the_model_around(name, tmp_path):
    """At every cut; saved, read back, copied and saved again: bit for bit, with weights of its own."""
    model = MODELS[name]()
    for cut in find_cuts(model):
        halves = split(model, cut)
        assert difference(halves.tail(halves.head(X)), model(X)) == 0.0
        assert not {id(w) for w in halves.model.weights} & {id(w) for w in model.weights}
    halves.save(tmp_path / "split")
    again = SplitModel.load(tmp_path / "split", custom_objects=CLASSES)
    assert difference(again.tail(again.head(X)), model(X)) == 0.0
    assert difference(again.without_bottleneck()(X), model(X)) == 0.0
    again.save(tmp_path / "again")
    assert difference(SplitModel.load(tmp_path / "again", custom_objects=CLASSES).model(X), model(X)) == 0.0


def test_registered_classes_need_not_be_given(tmp_path):
    """A class that Keras knows is found, and Keras still knows it afterwards."""
    names = {f"test_enclosing>{name}": kind for name, kind in CLASSES.items()}
    registry = keras.saving.get_custom_objects()
    try:
        for name, kind in CLASSES.items():
            keras.saving.register_keras_serializable("test_enclosing", name)(kind)
        model = nested()
        split(model, "flat").save(tmp_path / "split")
        assert difference(SplitModel.load(tmp_path / "split").model(X), model(X)) == 0.0
        assert {name: registry[name] for name in names} == names
    finally:
        for name in names:
            registry.pop(name, None)
        for kind in CLASSES.values():
            keras.src.saving.object_registration.GLOBAL_CUSTOM_NAMES.pop(kind, None)


def test_unknown_classes(tmp_path):
    """The class that is missing is named."""
    split(nested(), "flat").save(tmp_path / "split")
    with pytest.raises(BundleError, match="holds no split that can be read: Could not locate class 'Backbone'"):
        SplitModel.load(tmp_path / "split")


def test_what_cannot_be_copied_is_said_by_find_cuts():
    """Where nothing around the layer can be rebuilt: its cuts are listed with a warning, and `split` refuses."""
    inputs = keras.Input((4, 8))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(Positions(4, name="positions")(inputs))))
    with pytest.warns(UserWarning, match=r"cannot be split.*'positions' of class Positions.*keyword.*'twice'"):
        assert find_cuts(model)[0].name == "positions"
    with pytest.raises(ModelError, match=r"cannot be copied from its configuration: Unrecognized keyword.*'twice': 8"):
        split(model, 0)


def test_what_is_around_is_named_if_it_cannot_be_rebuilt_either():
    """With its own reason."""

    class Broken(Backbone):
        @classmethod
        def from_config(cls, config, custom_objects=None):
            raise RuntimeError("no weights on this machine")

    inputs = keras.Input((4, 8))
    model = keras.Model(inputs, layers.Flatten()(Broken(name="broken")(inputs)))
    with pytest.raises(ModelError, match=r"Nor can Keras rebuild .*'broken' of class Broken: no weights"):
        split(model, 0)
