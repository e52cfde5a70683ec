"""What the output is: by its end, by its values, by what the user says; the same for every verb."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, ModelError
from isplit_tf.graph.measured_output import measure_output, read_values
from isplit_tf.graph.output_kinds import Output
from isplit_tf.graph.outputs import describe_output, find_logits
from isplit_tf.graph.program import read_program

QUIET = {"progress": False}


def network(end, **compiled) -> keras.Model:
    """A small network with a given end on its four features."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(3, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(4, 3, activation="relu", name="second")(x)
    model = keras.Model(inputs, end(layers.Flatten()(x)), name="net")
    if compiled:
        model.compile("sgd", **compiled)
    return model


def dense(activation=None, units=3):
    return lambda x: layers.Dense(units, activation)(x)


def exponentials(x):
    powers = ops.exp(2 * layers.Dense(3)(x))
    return powers / ops.sum(powers, axis=-1, keepdims=True)


def complement(x):
    p = layers.Dense(1, "sigmoid")(x)
    return layers.Concatenate()([1 - p, p])


def mean_of(activation, units=3):
    return lambda x: layers.Average()([dense(activation, units)(x), dense(activation, units)(x)])


def stacked(x):
    mix = layers.Dense(3, use_bias=False, kernel_initializer=keras.initializers.Constant(np.eye(3)[[1, 2, 0]]))
    return mix(dense("softmax")(x))


ADD_UP = {
    "mean": mean_of("softmax"),
    "exponentials": exponentials,
    "complement": complement,
    "geometric mean": lambda x: ops.softmax(ops.log(dense("softmax")(x)) + ops.log(dense("softmax")(x))) * 1.0,
    "Lambda": lambda x: layers.Lambda(keras.ops.softmax)(dense()(x)),
    "exp of log softmax": lambda x: ops.exp(dense("log_softmax")(x)),
    "own activation": dense(lambda z: ops.exp(z) / ops.sum(ops.exp(z), axis=-1, keepdims=True)),
    "label smoothing": lambda x: 0.9 * dense("softmax")(x) + 0.1 / 3,
    "clip": lambda x: ops.clip(dense("softmax")(x), 1e-7, 1 - 1e-7),
    "mixture of experts": lambda x: layers.Dot(1)([dense("softmax", 2)(x), layers.Reshape((2, 3))(
        layers.Concatenate()([dense("softmax")(x), dense("softmax")(x)])
    )]),
    "stacked": stacked,
}  # fmt: skip
INDEPENDENT = {
    "mean": mean_of("sigmoid"),
    "formula": lambda x: 1 / (1 + ops.exp(-dense()(x))),
    "Lambda": lambda x: layers.Lambda(keras.ops.sigmoid)(dense()(x)),
    "hard sigmoid": dense("hard_sigmoid"),
    "from tanh": lambda x: (dense("tanh")(x) + 1) / 2,
}


@pytest.mark.parametrize("name", list(ADD_UP))
def test_probabilities_that_add_up_in_whatever_form(name):
    """They are a softmax to every verb, and the compiled loss changes nothing."""
    for compiled in ({}, {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}, {"loss": "mse"}):
        assert describe_output(network(ADD_UP[name], **compiled)).kind == "softmax"


@pytest.mark.parametrize("name", list(INDEPENDENT))
def test_independent_probabilities_in_whatever_form(name):
    """Values between 0 and 1 that come from no weights are labels of their own; a regression loss says otherwise."""
    assert describe_output(network(INDEPENDENT[name])).kind == "multi_label"
    with pytest.raises(ModelError, match="is not class scores"):
        describe_output(network(INDEPENDENT[name], loss="mse"))


def test_one_unit_between_0_and_1():
    """A sigmoid that is written out is one."""
    for end in (mean_of("sigmoid", 1), lambda x: 1 / (1 + ops.exp(-dense(units=1)(x)))):
        assert describe_output(network(end)) == Output("sigmoid", 2)


@pytest.mark.parametrize(
    "end",
    [
        dense(),
        dense("log_softmax"),
        lambda x: layers.Add()([dense()(x), dense()(x)]),
        lambda x: layers.GlobalAveragePooling1D()(layers.Conv1D(3, 1)(layers.Reshape((4, 4))(x))),
        lambda x: ops.log(dense("softmax")(x)),
    ],
)
def test_logits_stay_logits(end):
    """Linear values, their sums and means, and logarithms of probabilities."""
    assert describe_output(network(end)).kind == "logits"


@pytest.mark.parametrize("name", ["mean", "exponentials", "Lambda", "complement"])
def test_every_verb_takes_the_same(name, tmp_path):
    """Bundle, evaluation, prediction and the split answer what the model answers."""
    model = network(ADD_UP[name])
    images = np.random.default_rng(0).random((24, 6, 6, 1), "float32")
    labels = model.predict(images, verbose=0).argmax(axis=1)
    assert isplit.evaluate(model, (images, labels), **QUIET).accuracy == 1.0
    assert isplit.predict_accuracy(model, (images, labels), compression=0.5, **QUIET).original == 1.0
    halves = isplit.split(model, "second")
    assert halves.output_kind == "softmax"
    bundle = isplit.export_bundle(
        halves, tmp_path / "b", precision="float32", evaluation_data=(images, labels), original=model, **QUIET
    )
    found = bundle.predict(images, preprocessed=True)
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-6)
    assert bundle.manifest.output["kind"] == "softmax"
    assert set(bundle.manifest.accuracy.values()) == {1.0, 24}


def test_the_score_of_two_probabilities_is_that_of_the_sigmoid():
    """`[1 - p, p]` has the importance of p: the log odds of class 1 are the logit, of class 0 minus the logit."""
    images = np.random.default_rng(0).random((8, 6, 6, 1), "float32")
    data = images, np.arange(8) % 2
    curves = [isplit.measure_importance(network(end), data, **QUIET) for end in (complement, dense("sigmoid", 1))]
    np.testing.assert_allclose(curves[0].values, curves[1].values, rtol=1e-5)


def test_log_odds_by_hand():
    """log p - log(1 - p), also where p rounds to 1, and finite for 0 and 1."""
    output = Output("softmax", 3)
    np.testing.assert_allclose(output.log_odds(np.float32([[0.5, 0.25, 0.25]])), [[0, -1.0986, -1.0986]], atol=1e-4)
    sure = np.asarray(output.log_odds(np.float32([[1.0, 1e-9, 1e-9], [1, 0, 0]])))
    assert sure[0, 0] == pytest.approx(np.log(0.5e9), rel=1e-5)
    assert np.isfinite(sure).all()


def test_importance_does_not_vanish_where_the_model_is_sure():
    """A hidden softmax has a gradient however sure it is, as one that is removed has."""
    images = np.random.default_rng(0).random((8, 6, 6, 1), "float32")

    def sure(x):
        return layers.Lambda(keras.ops.softmax)(12 * dense()(x))

    model = network(sure)
    labels = model.predict(images, verbose=0).argmax(axis=1)
    assert isplit.measure_importance(model, (images, labels), **QUIET).values.max() > 1e-4


@pytest.mark.parametrize(
    ("end", "word", "kind"),
    [
        (dense(), "logits", "logits"),
        (dense(), "multi_label", "multi_label_logits"),
        (dense(units=1), "logits", "binary_logit"),
        (dense("sigmoid"), "multi_label", "multi_label"),
        (dense("sigmoid", 1), "probabilities", "sigmoid"),
        (dense("softmax"), "probabilities", "softmax"),
        (mean_of("softmax"), "probabilities", "softmax"),
        (mean_of("softmax"), "multi_label", "multi_label"),
        (mean_of("softmax"), "logits", "logits"),
        (dense("relu"), "logits", "logits"),
        (mean_of("sigmoid"), "multi_label", "multi_label"),
    ],
)
def test_the_user_says_what_it_is(end, word, kind):
    """`output_kind` goes before what is measured; the split keeps it."""
    assert describe_output(network(end), output_kind=word).kind == kind
    assert isplit.split(network(end), "first", output_kind=word).output_kind == kind


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (dense(), "probabilities"),
        (dense("sigmoid"), "probabilities"),
        (dense("softmax"), "logits"),
        (dense("sigmoid"), "multi_label_logits"),
        (dense("sigmoid", 1), "multi_label"),
    ],
)
def test_what_is_said_and_is_not_so(end, word):
    """The message says what each word means."""
    for verb in (
        lambda model: describe_output(model, output_kind=word),
        lambda model: isplit.split(model, "first", output_kind=word),
    ):
        with pytest.raises(ModelError, match=f"is not what output_kind='{word}' says"):
            verb(network(end))


def test_words_that_contradict():
    """An unknown word, or two words."""
    program = read_program(network(dense()))
    with pytest.raises(ArgumentError, match="one of 'probabilities', 'logits', 'multi_label'"):
        find_logits(program, output_kind="softmax")
    with pytest.raises(ArgumentError, match="contradict each other"):
        find_logits(program, output_kind="probabilities", from_logits=True)
    assert find_logits(program, output_kind="logits", from_logits=True).output.kind == "logits"


def test_independent_logits_by_their_loss():
    """Several linear units under a binary cross-entropy of logits are labels of their own."""
    for loss in (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy):
        assert describe_output(network(dense(), loss=loss(from_logits=True))).kind == "multi_label_logits"


def test_measuring_changes_nothing():
    """Weights, seeds of random layers and nodes stay, also where a layer was called in training mode."""

    class Counting(layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x

    def end(x):
        x = Counting()(x)
        x = layers.Dropout(0.5)(layers.BatchNormalization()(x, training=True), training=True)
        return layers.Lambda(keras.ops.softmax)(dense()(x))

    model = network(end)
    before = [np.array(variable) for variable in model.variables]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    assert describe_output(model).kind == "softmax"
    assert all(np.array_equal(a, b) for a, b in zip(before, model.variables, strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


def test_inputs_of_every_kind_are_made_up():
    """Words, numbers of words, flags and several inputs; sizes that vary."""
    words = keras.Input((5,), dtype="int32")
    text = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(words))
    image = keras.Input((None, None, 3), dtype="uint8")
    pixels = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    model = keras.Model([words, image], exponentials(layers.Concatenate()([text, pixels])))
    assert describe_output(model).kind == "softmax"


def test_values_by_hand():
    """Two rows decide; rows that are not finite tell nothing, and one row is too few."""
    found = read_values(np.float32([[0.5, 0.5], [np.nan, 1], [0.1, 0.9]]))
    assert (found.add_up, found.bounded, found.varies) == (True, True, True)
    assert read_values(np.float32([[0.5, 0.5], [np.inf, 0]])) is None
    assert not read_values(np.float32([[0.5, 0.5], [-0.5, 1.5]])).add_up
    assert read_values(np.float32([[0.5, 0.1], [0.5, 0.1]])).bounded


def test_a_model_that_cannot_be_run_on_noise_is_read_by_its_end():
    """Nothing is measured then, and nothing fails."""

    @keras.saving.register_keras_serializable("tests")
    class Picky(layers.Layer):
        def call(self, x):
            return ops.reshape(x, (7, -1))[:7]

        def compute_output_shape(self, shape):
            return shape

    inputs = keras.Input((4,))
    model = keras.Model(inputs, dense()(Picky()(inputs)))
    assert measure_output(read_program(model)) is None
    assert describe_output(model).kind == "logits"
