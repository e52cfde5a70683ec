"""Models that do more in `predict` than in their layers: refused with both ways out, and taken in."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, ModelError

QUIET = {"progress": False}


class Scaled(keras.Model):
    """`predict_step` scales the images."""

    def predict_step(self, data):
        return super().predict_step(data / 255.0)


class Squashed(keras.Model):
    """`predict_step` adds a softmax."""

    def predict_step(self, data):
        return ops.softmax(super().predict_step(data))


class Whitened(keras.Model):
    """`predict` subtracts the mean."""

    def predict(self, x, **options):
        return super().predict(x - 127.5, **options)


class Called(keras.Model):
    """`__call__` scales the images, which no graph shows."""

    def __call__(self, x, *args, **options):
        return super().__call__(x / 255.0, *args, **options)


class Task(keras.Model):
    """As a task of KerasHub: the preprocessor runs outside of the layers, on tensors alone."""

    preprocessor = None

    def predict(self, x, **options):
        return super().predict(x if self.preprocessor is None else self.preprocessor(x), **options)


class Converter:
    """As KerasHub's ImageConverter: resizing, scale and offset."""

    def __init__(self, size=None, scale=None, offset=None):
        self.image_size, self.scale, self.offset = size, scale, offset
        self.resizing = layers.Resizing(*(size or (1, 1)))

    def __call__(self, x):
        x = tf.convert_to_tensor(x)
        if not tf.is_tensor(x) or isinstance(x, keras.KerasTensor):
            raise TypeError("only tensors")
        x = self.resizing(x) if self.image_size else x
        x = x * np.float32(1.0 if self.scale is None else self.scale)
        return x + np.float32(0.0 if self.offset is None else self.offset)


class ImagePreprocessor:
    """A preprocessor around a converter."""

    def __init__(self, converter):
        self.image_converter = converter

    def __call__(self, x):
        return self.image_converter(x)


def build(kind=keras.Model, activation="softmax") -> keras.Model:
    """A small classifier of a class."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(4, 3, activation="relu", name="second")(x)
    return kind(inputs, layers.Dense(3, activation)(layers.Flatten()(x)), name="net")


def task(preprocessor) -> keras.Model:
    """A task with a preprocessor."""
    model = build(Task)
    vars(model)["preprocessor"] = preprocessor
    return model


class Subclassed(keras.Model):
    """A subclassed model that keeps its preprocessing for `predict_step`."""

    def __init__(self):
        super().__init__(name="own")
        self.prepare = keras.Sequential([layers.Rescaling(1 / 127.5, -1)])
        self.first, self.last = layers.Conv2D(3, 3, name="first"), layers.Dense(3, "softmax")
        self.flat = layers.Flatten()

    def call(self, x):
        return self.last(self.flat(self.first(x)))

    def predict_step(self, data):
        return self(self.prepare(data), training=False)


def subclassed() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = Subclassed()
    model.prepare(np.zeros((1, 8, 8, 3), "float32"))
    model(np.zeros((1, 8, 8, 3), "float32"))
    return model


MORE = {
    "the predict_step of its class Scaled": lambda: build(Scaled),
    "the predict_step of its class Squashed": lambda: build(Squashed, None),
    "the predict_step of its class Subclassed": subclassed,
    "the __call__ of its class Called": lambda: build(Called),
    "the predict of its class Whitened": lambda: build(Whitened),
    "its preprocessor Rescaling": lambda: task(layers.Rescaling(1 / 255)),
    "its preprocessor ImagePreprocessor": lambda: task(ImagePreprocessor(Converter((8, 8), 1 / 255, [-0.1, 0, 0.1]))),
}


@pytest.fixture
def data(rng):
    """Images from 0 to 255, with labels."""
    return rng.uniform(0, 255, (12, 8, 8, 3)).astype("float32"), np.arange(12) % 3


@pytest.mark.parametrize("doer", list(MORE))
def test_every_verb_refuses_before_any_work(doer, data, tmp_path):
    """The message names what does more, and both ways out; the evaluation measures `predict`, which is the model."""
    model = MORE[doer]()
    weights = [weight.copy() for weight in model.get_weights()]
    halves = isplit.split(build(), "first", isplit.Autoencoder(0.5))
    for verb in (
        lambda: isplit.measure_importance(model, data, **QUIET),
        lambda: isplit.predict_accuracy(model, data, **QUIET),
        lambda: isplit.sanity_check(model, data),
        lambda: isplit.split(model, "first"),
        lambda: isplit.train(halves, data, loss=isplit.Distillation(teacher=model), **QUIET),
        lambda: isplit.export_bundle(halves, tmp_path / "b", precision="float32", original=model, **QUIET),
    ):
        with pytest.raises(ModelError, match=rf"does more in `predict` than in its layers, by {doer}: .* gives ") as e:
            verb()
        assert "prepare the data yourself" in str(e.value)
        assert "isplit_tf.include_preprocessor(model)" in str(e.value)
    assert all(map(np.array_equal, weights, model.get_weights()))
    expected = np.mean(model.predict(data[0], verbose=0).argmax(axis=1) == data[1])
    if not isinstance(model, Squashed):
        assert isplit.evaluate(model, data, **QUIET).accuracy == expected


@pytest.mark.parametrize("doer", [name for name in MORE if "Whitened" not in name])
def test_taken_into_the_model(doer, data, tmp_path):
    """The copy answers what `predict` answered, can be split, and takes the step into the head and the bundle."""
    model = MORE[doer]()
    weights, nodes = model.get_weights(), [len(layer._inbound_nodes) for layer in model.layers]
    expected = model.predict(data[0], verbose=0)
    whole = isplit.include_preprocessor(model)
    np.testing.assert_allclose(whole.predict(data[0], verbose=0), expected, atol=1e-5)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    assert all(map(np.array_equal, weights, model.get_weights()))
    halves = isplit.split(whole, isplit.find_cuts(whole)[2])
    bundle = isplit.export_bundle(halves, tmp_path / "b", precision="float32", **QUIET)
    np.testing.assert_allclose(bundle.predict(data[0], preprocessed=True), expected, atol=1e-5)
    isplit.measure_importance(whole, data, **QUIET)


def test_images_of_another_size(rng):
    """A converter that resizes takes the size that `input_shape` says."""
    model = task(ImagePreprocessor(Converter((8, 8), 1 / 255)))
    images = rng.uniform(0, 255, (4, 20, 12, 3)).astype("float32")
    whole = isplit.include_preprocessor(model, (20, 12, 3))
    np.testing.assert_allclose(whole.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5)
    names = [layer.name for layer in whole.layers[1:4]]
    assert names == ["preprocessor_resizing", "preprocessor_rescaling", "first"]


def test_images_that_only_the_preprocessor_takes(rng):
    """Images of another size than the layers', or layers that take what `predict` cannot."""
    model = task(ImagePreprocessor(Converter((8, 8), 1 / 255)))
    large = rng.uniform(0, 255, (4, 20, 12, 3)).astype("float32"), np.arange(4) % 3
    with pytest.raises(ModelError, match="the layers do not take the images that `predict` takes"):
        isplit.measure_importance(model, large, **QUIET)

    class Words(keras.Model):
        def predict_step(self, data):
            return super().predict_step(tf.strings.to_number(data))

    with pytest.raises(ModelError, match="`predict` does not take the images that the layers take"):
        isplit.split(build(Words), "first")


def test_the_loss_comes_along_where_the_output_is_of_the_same_kind():
    """A loss of logits stays with logits, and is left behind where a softmax is taken in."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for kind, expected in ((Scaled, loss), (Squashed, None)):
        model = build(kind, None)
        model.compile("sgd", loss)
        whole = isplit.include_preprocessor(model)
        assert isplit.split(whole, "first").loss is expected


def test_what_cannot_be_taken_in():
    """Preprocessing in numpy is none of layers; an input of varying size needs a shape."""
    model = task(SimpleNamespace(__call__=None))
    vars(model)["preprocessor"] = lambda x: np.asarray(x) / 255
    with pytest.raises(ModelError, match="cannot be taken into it .* prepare the data yourself"):
        isplit.include_preprocessor(model)
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    with pytest.raises(ArgumentError, match="input_shape must be that of an image"):
        isplit.include_preprocessor(keras.Model(inputs, layers.Dense(2, "softmax")(x)))


def test_the_way_out_by_hand(data):
    """Without its preprocessor the model is its layers; so is one whose `predict_step` adds nothing."""

    class Same(keras.Model):
        def predict_step(self, data):
            return self(data, training=False)

    model = task(layers.Rescaling(1 / 255))
    vars(model)["preprocessor"] = None
    for one in (model, build(Same), task(layers.Rescaling(1.0))):
        assert isplit.split(one, "first").output_kind == "softmax"
        isplit.measure_importance(one, data, **QUIET)


def test_a_train_step_that_changes_the_images():
    """`train` does not run it: the split says so. One that changes the labels alone, or the loss, says nothing."""

    class Changes(keras.Model):
        def train_step(self, data):
            x, y = data
            return super().train_step((x / 255.0, y))

    class Keeps(keras.Model):
        def train_step(self, data):
            x, y = data
            return super().train_step((x, ops.one_hot(y, 3)))

    class Parts(keras.Model):
        def train_step(self, data):
            return {"loss": ops.sum(self.layers[1](data[0]))}

    for kind in (Changes, Keeps, Parts):
        model = build(kind)
        model.compile("sgd", "categorical_crossentropy")
        before = model.get_weights()
        if kind is Changes:
            with pytest.warns(UserWarning, match="The train_step of class Changes changes the images before"):
                isplit.split(model, "first")
        else:
            isplit.split(model, "first")
        assert all(map(np.array_equal, before, model.get_weights()))
        assert "call" not in vars(model)
