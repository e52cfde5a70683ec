"""Lower precision on copies of a model's layers: the same curve, the user's model untouched, what stays is named."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from isplit_tf import measure_importance
from isplit_tf.errors import ArgumentError
from isplit_tf.graph.cuts import find_cuts, place_of
from isplit_tf.graph.outputs import find_logits
from isplit_tf.graph.program import read_program
from isplit_tf.importance.precision import fold, folded_norms, lowered
from isplit_tf.importance.probe import Probe
from support.zoo import ZOO, random_input, randomize

NAMES = (
    "attention constants custom_layer dict_inputs in_memory_lambda masks mixed_precision preprocessing "
    "shared_between_nested skips states subclassed"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_zoo(name):
    """Any model has nearly the same curve in bfloat16, and stays as it is: weights, dtypes and nodes."""
    model = randomize(ZOO[name]())
    data = random_input(model, 16), np.arange(16) % 2
    before = [(w.numpy(), w.dtype) for w in model.weights], [len(layer._inbound_nodes) for layer in model.layers]
    high = measure_importance(model, data, progress=False, cuts="all")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "precision='bfloat16'", UserWarning)
        low = measure_importance(model, data, progress=False, cuts="all", precision="bfloat16")
    np.testing.assert_allclose(low.values, high.values, rtol=0.1, atol=0.01 * high.values.max())
    assert low.precision == "bfloat16"
    for weight, (value, dtype) in zip(model.weights, before[0], strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
        assert weight.dtype == dtype
    assert [len(layer._inbound_nodes) for layer in model.layers] == before[1]


def test_a_plain_model_is_in_bfloat16_throughout():
    """Weights, every tensor on the way: no warning, and no copy keeps float32."""
    model = randomize(ZOO["chain"]())
    program = read_program(model, training=False)
    copies = lowered(program, lambda step: step.operation, "bfloat16")
    made = program.run(
        {program.inputs[0]: tf.zeros([1, 8, 8, 3], tf.bfloat16)}, None, lambda s: copies[id(s.operation)]
    )
    assert {value.dtype for value in made.values()} == {tf.bfloat16}
    assert {v.dtype for c in copies.values() if isinstance(c, keras.layers.Layer) for v in c.variables} == {"bfloat16"}


class Stubborn(layers.Layer):
    """Adds a number that is in float32: TensorFlow refuses to add it to anything else."""

    def call(self, x):
        return tf.convert_to_tensor(x) + tf.ones([], tf.float32)


class Uncopied(layers.Layer):
    """It holds a function and has no configuration that gives it back."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def test_what_stays_in_float32_is_named():
    """A layer that refuses bfloat16, one that cannot be copied, and an operation with a constant of its own."""
    x = inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="conv")(x)
    x = Stubborn(name="stubborn")(x)
    x = layers.Conv2D(3, 1, name="between")(x)
    x = Uncopied(lambda x: 2 * x, name="uncopied")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = ops.multiply(x, np.array([1.0, 2.0, 3.0], "float32"))
    model = randomize(keras.Model(inputs, layers.Dense(2, activation="softmax", name="scores")(x), name="odd"))
    data = random_input(model, 8), np.arange(8) % 2
    named = r"'stubborn' \(Stubborn\), 'uncopied' \(Uncopied\), 'multiply\w*' \(Multiply\)\.$"
    with pytest.warns(UserWarning, match=f"^precision='bfloat16': of model 'odd' these stay in float32: {named}"):
        low = measure_importance(model, data, progress=False, cuts="all", precision="bfloat16")
    high = measure_importance(model, data, progress=False, cuts="all")
    np.testing.assert_allclose(low.values, high.values, rtol=0.05, atol=0.01 * high.values.max())


def test_depthwise_convolutions_stay_in_float32_on_a_processor():
    """Their gradient in bfloat16 takes longer there; a long list is cut short."""
    x = inputs = keras.Input((8, 8, 2))
    for k in range(10):
        x = layers.DepthwiseConv2D(3, padding="same", name=f"dw{k}")(x)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    with pytest.warns(UserWarning, match=r"'dw7' \(DepthwiseConv2D\) and 2 more\."):
        measure_importance(model, (random_input(model, 2), [0, 1]), progress=False, precision="bfloat16")


LINEAR = {
    "conv": (8, 8, 3, layers.Conv2D(4, 3, use_bias=False, name="linear"), {}),
    "conv with bias": (8, 8, 3, layers.Conv2D(4, 3, name="linear"), {"scale": False}),
    "depthwise": (8, 8, 3, layers.DepthwiseConv2D(3, depth_multiplier=2, name="linear"), {"center": False}),
    "sequence": (8, 3, layers.Conv1D(4, 3, name="linear"), {}),
    "dense": (6, layers.Dense(4, name="linear"), {"scale": False, "center": False}),
}


@pytest.mark.parametrize("kind", LINEAR)
def test_a_folded_layer_computes_both(kind):
    """Layer and normalization in one, to rounding in float32."""
    *shape, layer, options = LINEAR[kind]
    x = inputs = keras.Input(shape)
    x = layers.BatchNormalization(name="norm", **options)(layer(x))
    model = randomize(keras.Model(inputs, layers.ReLU(name="relu")(x)))
    program = read_program(model, training=False)
    norm = model.get_layer("norm")
    assert folded_norms(program, lambda step: step.operation, []) == {id(layer): norm}
    twin = type(layer).from_config(layer.get_config() | {"use_bias": True})
    data = random_input(model, 4)
    twin(data)
    fold(layer, norm, twin)
    np.testing.assert_allclose(ops.relu(twin(data)), model(data, training=False), rtol=1e-4, atol=1e-5)


def test_nothing_is_folded_that_is_looked_at_or_used_twice():
    """A cut between the two, another reader, an activation between, statistics along another axis."""
    x = inputs = keras.Input((8, 8, 8))
    conv = layers.Conv2D(6, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(conv)
    x = layers.Conv2D(6, 1, activation="relu", name="bent")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    twice = layers.Conv2D(6, 1, name="twice")(x)
    x = layers.Add(name="add")([layers.BatchNormalization(name="norm3")(twice), twice])
    x = layers.BatchNormalization(axis=1, name="norm4")(layers.Conv2D(6, 1, name="rows")(x))
    model = keras.Model(inputs, layers.Flatten()(x))
    program = read_program(model, training=False)
    found = folded_norms(program, lambda step: step.operation, [])
    assert [norm.name for norm in found.values()] == ["norm"]
    (between,) = place_of(program, find_cuts(model)[0])
    assert program.tensors[between].name == "conv"
    assert folded_norms(program, lambda step: step.operation, [between]) == {}


def test_float16_needs_a_gpu():
    """On a processor it is refused, with what is possible; so is a precision that there is not."""
    model = ZOO["chain"]()
    data = random_input(model, 2), [0, 1]
    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(ArgumentError, match="needs a GPU, and TensorFlow sees none.*Possible here: 'bfloat16'"):
            measure_importance(model, data, precision="float16", progress=False)
    with pytest.raises(ArgumentError, match="Unknown precision 'int8'. Possible: 'float32', 'bfloat16', 'float16'"):
        measure_importance(model, data, precision="int8", progress=False)


def test_float16_keeps_gradients_that_it_has_no_numbers_for():
    """Some of 1e-9 are zero in float16; 1,024 times as large on the way they are not."""
    model = randomize(ZOO["chain"]())
    for name, factor in (("conv2", 1e-3), ("scores", 1e-4)):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([factor * kernel, bias])
    program = read_program(model, training=False)
    places = [place_of(program, cut) for cut in find_cuts(model)]
    x, labels = random_input(model, 8), np.arange(8) % 5
    high, low = (
        Probe(program, places, find_logits(program), method="grad_cam", target="label", precision=precision)(x, labels)
        for precision in ("float32", "float16")
    )
    assert high.mean(axis=0).min() > 0
    np.testing.assert_allclose(low.mean(axis=0), high.mean(axis=0), rtol=0.1)
