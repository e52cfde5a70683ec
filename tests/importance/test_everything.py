"""Importance on every kind of model, against gradients taken through the tail of a real split."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from isplit_tf import find_cuts, measure_importance, split
from isplit_tf.errors import ModelError
from support.processor import has_channels_first
from support.zoo import ZOO, random_input, randomize

OPTIONS = {"progress": False, "cuts": "all"}


def by_the_tail(model, x, labels, *, output=None, sign=None, every=None) -> np.ndarray:
    """Mean importance at each cut, from the tail of a split there: its last activation is taken off by hand.

    `every`: leave out all cuts but each k-th. `sign`: +1 or -1 for each image, where one unit stands for two classes.
    """
    values = []
    for cut in find_cuts(model, output=output)[:: every or 1]:
        halves = split(model, cut, output=output)
        halves.tail.layers[-1].activation = keras.activations.linear
        features = tf.convert_to_tensor(halves.head(x, training=False))
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = tf.cast(halves.tail(features, training=False), tf.float32)
            score = logits[:, 0] * sign if sign is not None else tf.gather(logits, labels, batch_dims=1)
        gradient = tape.gradient(score, features).numpy().astype("f8")
        features = features.numpy().astype("f8")
        axes = tuple(range(1, features.ndim - 1))
        alpha = gradient.mean(axis=axes, keepdims=True)
        maps = np.maximum((alpha * features).sum(axis=-1), 0)
        values.append(maps.reshape(len(maps), -1).sum(axis=1).mean() / cut.size)
    return np.array(values)


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"no_cut", "two_outputs", "varying_size", "mixed_precision"}))
def test_zoo(name):
    """Maps, sequences and vectors; nested, shared, masked, recurrent and attention layers; one and several inputs."""
    model = randomize(ZOO[name]())
    x, labels = random_input(model, 4), np.array([0, 1, 1, 0])
    before = [weight.numpy() for weight in model.weights]
    curve = measure_importance(model, (x, labels), **OPTIONS)
    every = -(-len(curve.cuts) // 4)
    np.testing.assert_allclose(curve.values[::every], by_the_tail(model, x, labels, every=every), rtol=2e-5, atol=1e-9)
    assert (curve.values > 0).any()
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))


def test_one_of_several_outputs():
    """The output with the class scores is named; without a name, the error lists them."""
    model = randomize(ZOO["two_outputs"]())
    x, labels = random_input(model, 4), np.array([0, 2, 1, 1])
    curve = measure_importance(model, (x, labels), output="scores", **OPTIONS)
    np.testing.assert_allclose(curve.values, by_the_tail(model, x, labels, output="scores"), rtol=1e-5)
    with pytest.raises(ModelError, match=r"Model 'two_outputs' has 2 outputs: \['again', 'scores'\]\. Name the one"):
        measure_importance(model, (x, labels), **OPTIONS)


def test_varying_size_needs_a_size():
    """A mean over elements needs to know how many there are."""
    model = ZOO["varying_size"]()
    data = (random_input(model, 2), np.zeros(2))
    with pytest.raises(ModelError, match="Cut 'conv1' has shape .* Give the model a fixed input size"):
        measure_importance(model, data, **OPTIONS | {"cuts": ["conv1"]})


@pytest.mark.parametrize("form", ["(N, 1)", "one-hot", "float"])
def test_forms_of_labels(form):
    """Integers (N, 1), one-hot and whole floats give what integers (N,) give."""
    model = randomize(ZOO["chain"]())
    x, labels = random_input(model, 6), np.array([0, 4, 1, 3, 2, 1])
    other = {"(N, 1)": labels[:, None], "one-hot": np.eye(5)[labels], "float": labels.astype("float32")}[form]
    expected, found = (measure_importance(model, (x, y), **OPTIONS) for y in (labels, other))
    np.testing.assert_array_equal(found.per_class, expected.per_class)


def net(last, units: int = 3) -> keras.Model:
    """A small net whose output is made by `last`."""
    x = inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, last(x, units))


def dense(activation):
    """A dense layer with an activation."""
    return lambda x, units: layers.Dense(units, activation=activation, name="scores")(x)


def then(layer):
    """A linear dense layer, then something else."""
    return lambda x, units: layer(layers.Dense(units, name="scores")(x))


HIDDEN = {
    "softmax": dense("softmax"),
    "sigmoids": dense("sigmoid"),
    "logits": dense(None),
    "Softmax layer": then(lambda x: layers.Softmax()(x)),
    "Activation": then(lambda x: layers.Activation("softmax")(x)),
    "Activation sigmoid": then(lambda x: layers.Activation("sigmoid")(x)),
    "ops.softmax": then(ops.softmax),
    "ops.sigmoid": then(ops.sigmoid),
    "float32 behind": then(lambda x: layers.Activation("linear", dtype="float32")(layers.Activation("softmax")(x))),
    "cast behind": then(lambda x: ops.cast(ops.softmax(x), "float32")),
}


@pytest.mark.parametrize("hidden", HIDDEN)
def test_logits_behind(hidden):
    """The score is the logit, however the probabilities are made of it."""
    plain = randomize(net(HIDDEN["logits"]))
    model = net(HIDDEN[hidden])
    model.set_weights(plain.get_weights())
    x, labels = random_input(model, 5), np.array([0, 1, 2, 1, 0])
    found, expected = (
        measure_importance(m, (x, labels), progress=False, cuts=["conv", "pool"]) for m in (model, plain)
    )
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)
    assert found.values.min() > 0


@pytest.mark.parametrize("form", ["sigmoid", "from_logits", "compiled loss", "Activation"])
def test_one_unit_for_two_classes(form):
    """The score of class 1 is the logit, that of class 0 minus the logit."""
    last = {"sigmoid": dense("sigmoid"), "Activation": then(layers.Activation("sigmoid"))}.get(form, dense(None))
    model = randomize(net(last, 1))
    if form == "compiled loss":
        model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    options = {"from_logits": True} if form == "from_logits" else {}
    x = random_input(model, 6)
    plain = net(dense(None), 1)
    plain.set_weights(model.get_weights())
    for label, sign in ((0, -1.0), (1, 1.0)):
        curve = measure_importance(model, (x, np.full(6, label)), progress=False, cuts=["conv", "pool"], **options)
        np.testing.assert_allclose(curve.values, by_the_tail(plain, x, None, sign=sign), rtol=1e-5)
        assert curve.counts.tolist() == [6 * (1 - label), 6 * label]


def test_single_linear_unit_alone_is_refused():
    """A single linear unit is a regression unless something says otherwise."""
    model = net(dense(None), 1)
    with pytest.raises(ModelError, match="a single linear unit is a regression unless"):
        measure_importance(model, (random_input(model, 2), np.zeros(2)), progress=False)


def test_regression_is_refused():
    """So are several units with a loss of regression; from_logits=True overrules it."""
    model = net(dense(None))
    model.compile("sgd", "mse")
    data = (random_input(model, 2), np.zeros(2))
    with pytest.raises(ModelError, match="is not class scores, by its loss"):
        measure_importance(model, data, progress=False)
    assert measure_importance(model, data, progress=False, from_logits=True).n_images == 2


def test_inference_mode():
    """Layers that were called with training=True run in inference mode, and no statistic of the user's moves."""
    x = inputs = keras.Input((5, 5, 2))
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x, training=True)
    x = layers.Dropout(0.5, name="drop")(x, training=True)
    x = layers.Flatten(name="flat")(x)
    model = randomize(keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x)))
    x, labels = random_input(model, 4), np.array([0, 2, 1, 1])
    before = [weight.numpy() for weight in model.weights]
    first, second = (measure_importance(model, (x, labels), **OPTIONS).values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, by_the_tail(model, x, labels), rtol=1e-5)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))


def _vision(policy: str, data_format: str = "channels_last") -> keras.Model:
    options = {"dtype": policy}
    form = {"data_format": data_format}
    axis = 1 if data_format == "channels_first" else -1
    x = inputs = keras.Input((3, 10, 10) if axis == 1 else (10, 10, 3))
    x = layers.Conv2D(8, 3, name="conv1", activation="relu", **form, **options)(x)
    x = layers.BatchNormalization(axis=axis, name="norm", **options)(x)
    x = layers.MaxPooling2D(name="pool1", **form, **options)(x)
    x = layers.Conv2D(8, 3, name="conv2", activation="relu", **form, **options)(x)
    x = layers.GlobalAveragePooling2D(name="pool", **form, **options)(x)
    x = layers.Dense(3, name="scores", **options)(x)
    return keras.Model(inputs, layers.Activation("softmax", dtype="float32")(x))


@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)])
def test_mixed_precision(policy, tolerance):
    """A model in mixed precision has the curve of its float32 twin, as far as its own digits go."""
    plain, mixed = randomize(_vision("float32")), _vision(policy)
    mixed.set_weights(plain.get_weights())
    # Which of two pixels that are equal in 8 bits a maximum takes differs between processors; over 64 it cancels.
    data = random_input(plain, 64), np.arange(64) % 3
    expected, found = (measure_importance(model, data, **OPTIONS) for model in (plain, mixed))
    np.testing.assert_allclose(found.values, expected.values, rtol=tolerance)
    assert found.values.dtype == np.float64


def test_mixed_precision_nested():
    """The zoo's nested model of several dtypes, against the tail."""
    model = randomize(ZOO["mixed_precision"]())
    x, labels = random_input(model, 4), np.array([0, 2, 1, 1])
    curve = measure_importance(model, (x, labels), **OPTIONS)
    np.testing.assert_allclose(curve.values, by_the_tail(model, x, labels), rtol=0.02, atol=1e-6)


@pytest.mark.numerical
def test_channels_first():
    """The order of axes changes nothing: means over height and width, sums over channels.

    Where TensorFlow cannot run it, an error says which switch is missing.
    """
    last, first = randomize(_vision("float32")), _vision("float32", "channels_first")
    first.set_weights(last.get_weights())
    x, labels = random_input(last, 6), np.arange(6) % 3
    expected = measure_importance(last, (x, labels), **OPTIONS)
    data = x.transpose(0, 3, 1, 2), labels
    if not has_channels_first():
        with pytest.raises(ModelError, match="'conv1'.*TF_ENABLE_ONEDNN_OPTS=1"):
            measure_importance(first, data, **OPTIONS)
        return
    found = measure_importance(first, data, **OPTIONS)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)


@pytest.mark.parametrize("form", ["list", "tuple", "dict", "dataset of tuples", "dataset of dicts"])
def test_several_inputs(form):
    """However the inputs are given, in the model's order or by name, the curve is the same."""
    model = randomize(ZOO["two_inputs"]())
    image, meta = random_input(model, 6)
    labels = np.arange(6) % 3
    expected = by_the_tail(model, [image, meta], labels)
    x = {"list": [image, meta], "dict": {"meta": meta, "image": image}}.get(form.split()[-1].rstrip("s"), (image, meta))
    data = (x, labels)
    if form.startswith("dataset"):
        data = tf.data.Dataset.from_tensor_slices(data).batch(4)
    np.testing.assert_allclose(measure_importance(model, data, **OPTIONS).values, expected, rtol=1e-5)
