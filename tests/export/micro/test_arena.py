"""Heads under TensorFlow Lite Micro itself: the same answers, and the arena that they need."""

import sys

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.preprocessing import preprocess
from isplit_tf.datasets import load
from isplit_tf.errors import ArgumentError, ExportError, MissingDependencyError
from isplit_tf.export.litert.contents import Contents, Operator, Tensor
from isplit_tf.export.litert.converter import convert
from isplit_tf.export.micro.head import check_micro_head, recommended_arena
from isplit_tf.export.micro.runtime import measure_arena, run_micro, run_reference

pytest.importorskip("tflite_micro", reason="TensorFlow Lite Micro is not installed: pip install 'isplit-tf[micro]'")

layers = keras.layers


@pytest.fixture(scope="module")
def glyphs() -> np.ndarray:
    """Real glyphs from 0 to 255, float32."""
    images = load("glyphs").test[0]
    return images[:: len(images) // 120][:120].astype(np.float32)


@pytest.fixture(scope="module")
def glyph_split() -> isplit.SplitModel:
    """A net of many kinds of layers that devices run, split with a bottleneck; its weights are random."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = y = layers.Activation("hard_swish")(x)
    x = layers.AveragePooling2D(2)(x)
    y = layers.Conv2D(8, 1, strides=2, padding="same", activation="relu6")(y)
    x = layers.Concatenate()([x, y])
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Multiply()([x, layers.Activation("sigmoid")(x)])
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return isplit.split(model, "pool", isplit.Autoencoder(0.8, seed=0))


@pytest.fixture(scope="module")
def glyph_head(glyph_split, glyphs):
    """Its int8 head."""
    return convert(glyph_split.head, glyph_split.encoder, representative=glyphs[:32], progress=False)


def quantized(head, images: np.ndarray) -> np.ndarray:
    """(N, 1, 28, 28, 1) int8, as the device package quantizes."""
    micro = check_micro_head(head)
    from isplit_edge.interpreter import quantize

    x = preprocess(images, None)
    return quantize(x, np.float32(micro.input["scale"]), micro.input["zero_point"], np.dtype("int8"))[:, None]


def test_answers_equal_the_reference_kernels_bit_for_bit(glyph_head, glyphs):
    """On real glyphs, in the smallest arena, TensorFlow Lite Micro gives what LiteRT's reference kernels give."""
    inputs = quantized(glyph_head, glyphs)
    arena = measure_arena(glyph_head.content)
    found = run_micro(glyph_head.content, inputs, arena.smallest_bytes)
    assert np.ptp(found.astype(int)) > 20
    np.testing.assert_array_equal(found, run_reference(glyph_head.content, inputs))


def test_the_arena_is_the_smallest_that_works(glyph_head):
    """16 bytes less, and TensorFlow Lite Micro cannot plan the head; what it records as used is no more than this."""
    arena = measure_arena(glyph_head.content)
    inputs = np.zeros((1, 1, 28, 28, 1), np.int8)
    run_micro(glyph_head.content, inputs, arena.smallest_bytes)
    assert arena.smallest_bytes % 16 == 0
    assert 28 * 28 * 8 * 2 < arena.used_bytes <= arena.smallest_bytes
    with pytest.raises(ExportError, match="Failed to"):
        run_micro(glyph_head.content, inputs, arena.smallest_bytes - 16)


def test_a_hopeless_arena_does_not_end_this_process(glyph_head):
    """TensorFlow Lite Micro crashes in an arena of a few bytes; here that is an error like any other."""
    with pytest.raises(ExportError, match="ended with signal"):
        run_micro(glyph_head.content, np.zeros((1, 1, 28, 28, 1), np.int8), 64)


def test_what_it_says_is_whole(glyph_head):
    """The record names operators, needs and the comparison, and RAM is arena, frame and payload."""
    micro = check_micro_head(glyph_head)
    record = micro.record()
    assert record["operators"]["CONV_2D"] == glyph_head.contents.counts["CONV_2D"]
    assert record["reference_difference"] == 0
    assert record["flash_bytes"] == -(-len(glyph_head.content) // 16) * 16 + 256
    assert record["arena_bytes"] % 1024 == 0
    assert record["arena_bytes"] > record["arena_smallest_bytes"]
    assert record["ram_bytes"] == record["arena_bytes"] + 16 + 12 + int(np.prod(glyph_head.latent_shape))


@pytest.mark.parametrize("precision", ["int16x8", "float32"])
def test_other_precisions_that_it_runs(precision, glyphs):
    """A head of 16-bit or float activations passes the same comparison."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    split = isplit.split(model, "conv", isplit.Autoencoder(0.5, seed=0))
    head = convert(split.head, split.encoder, precision=precision, representative=glyphs[:32], progress=False)
    assert check_micro_head(head).reference_difference < 1e-4


def test_a_precision_that_it_does_not_run(glyph_split):
    """Kernels that mix float and int8 are not in TensorFlow Lite Micro; asked all the same, it says why."""
    head = convert(glyph_split.head, glyph_split.encoder, precision="dynamic", progress=False)
    with pytest.raises(ArgumentError, match="int8, int16x8, float32; float16 and dynamic need kernels"):
        check_micro_head(head)


def test_the_reason_is_in_the_error(glyphs):
    """Why a kernel refuses a head, which TensorFlow Lite Micro prints on file descriptor 2, is in the message."""
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 5, name="conv")(x)
    x = layers.Conv2D(16, 5, name="wide")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    head = convert(isplit.split(model, "wide").head, precision="dynamic", progress=False)
    assert head.contents.float_counts
    with pytest.raises(ExportError, match="Hybrid models are not supported on TFLite Micro"):
        measure_arena(head.content)


def test_a_missing_operator_is_named(glyphs):
    """An operator that TensorFlow Lite Micro does not have is in the message."""
    x = inputs = keras.Input((28, 28, 1))
    x = keras.ops.gelu(layers.Conv2D(2, 3)(x), approximate=True)
    x = layers.Conv2D(2, 3, name="after")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    head = convert(isplit.split(model, "after").head, representative=glyphs[:32], progress=False)
    with pytest.raises(ExportError, match="has no operator GELU, which the head uses"):
        check_micro_head(head)


def test_without_the_package_its_line_is_named(monkeypatch, glyph_head):
    """Where tflite-micro is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'isplit-tf\[micro\]'.*tflite-micro pyyaml"):
        measure_arena(glyph_head.content)


def operator(name: str, *shapes: tuple[int, ...], dtype: str = "INT8") -> Operator:
    """An operator on an input, a constant where there is a second shape, and an output of the first shape."""
    tensors = [Tensor(f"t{k}", dtype, shape, constant=k == 1) for k, shape in enumerate(shapes)]
    return Operator(name, True, tuple(tensors), (tensors[0],))


@pytest.mark.parametrize(
    ("operators", "scratch"),
    [
        ([], 0),
        ([operator("CONV_2D", (1, 8, 8, 3), (16, 3, 3, 3))], 4 * 32),  # 27 values, in sixteens
        ([operator("DEPTHWISE_CONV_2D", (1, 8, 8, 400), (1, 3, 3, 400))], 9 * 800),
        ([operator("DEPTHWISE_CONV_2D", (1, 8, 8, 4), (1, 3, 3, 4))], 9 * 4 * 124),
        ([operator("FULLY_CONNECTED", (1, 50), (50, 7))], 200),
        ([operator("CONV_2D", (1, 8, 8, 3), (16, 3, 3, 3), dtype="FLOAT32")], 0),
        ([operator("ADD", (1, 8, 8, 3)), operator("CONV_2D", (1, 1, 1, 16), (4, 1, 1, 16))], 64),
    ],
)
def test_the_margin(operators, scratch):
    """Recommended are the smallest, the largest scratch memory of CMSIS-NN, and a tenth of both, in whole KiB."""
    exact = 1.1 * (20000 + scratch)
    assert recommended_arena(20000, Contents(tuple(operators))) == int(np.ceil(exact / 1024)) * 1024
