"""Layers that Keras quantized, computed with their dequantized weights."""

import keras
import numpy as np
import pytest

from isplit_tf.graph.keras_quantization import dequantized, is_quantized

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")


def model(kind: str) -> keras.Model:
    """A small model of a kind of layer that Keras quantizes."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 8)) if kind != "embedding" else keras.Input((5,), dtype="int32")
    if kind == "embedding":
        outputs = keras.layers.Embedding(10, 8)(inputs)
    elif kind == "einsum":
        outputs = keras.layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(inputs)
    elif kind == "attention":
        outputs = keras.layers.MultiHeadAttention(2, 4)(inputs, inputs)
    else:
        outputs = keras.layers.Dense(6, activation="relu", bias_initializer="normal")(inputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("kind", ["dense", "einsum", "attention", "embedding"])
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_only_the_rounding_of_inputs_is_missing(kind, mode):
    """The numbers are near those of Keras, which rounds inputs too, and those of the layer before its quantization;
    afterwards the layer is as it was."""
    if (kind, mode) == ("embedding", "float8"):
        pytest.skip("Keras has none")
    net = model(kind)
    x = np.random.default_rng(0).normal(size=(9, 5, 8)).astype(np.float32)
    x = np.arange(45).reshape(9, 5) % 10 if kind == "embedding" else x
    original = net(x).numpy()
    net.quantize(mode)
    before = net(x).numpy()
    assert any(is_quantized(layer) for layer in net._flatten_layers())
    with dequantized(net._flatten_layers()):
        found = net(x).numpy()
    norm = np.linalg.norm(original)
    assert np.linalg.norm(found - before) < 0.06 * norm
    assert np.linalg.norm(found - original) < 0.2 * norm
    assert np.array_equal(net(x).numpy(), before)


def test_lora_is_part_of_the_weights():
    """The kernels of LoRA are added to the dequantized one."""
    net = model("dense")
    net.quantize("int8")
    layer = net.layers[1]
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 6)))
    x = np.random.default_rng(0).normal(size=(9, 5, 8)).astype(np.float32)
    expected = net(x).numpy()
    with dequantized(net._flatten_layers()):
        found = net(x).numpy()
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_other_layers_stay_as_they_are():
    """What was not quantized is not touched."""
    net = model("dense")
    with dequantized(net._flatten_layers()):
        assert not any("call" in vars(layer) for layer in net._flatten_layers())
