"""Heads as `.tflite` files, by the real converter, run by the real interpreter."""

import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from isplit_edge.interpreter import quantize
from isplit_tf.errors import ArgumentError, DataError, ExportError, NumericsError
from isplit_tf.export.litert.converter import convert
from isplit_tf.export.litert.representative import FewImagesWarning, representative_images
from isplit_tf.export.litert.verification import run_file
from support import tiny


@pytest.fixture(scope="module")
def calibration(train_images) -> np.ndarray:
    """Representative images in the model's own space."""
    return train_images[:100].astype(np.float32) / 255


def head_of(build, shape: tuple[int, ...] = (6, 5, 3)) -> keras.Model:
    """A head of one input, with fixed weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    return keras.Model(inputs, build(inputs))


def noise(shape: tuple[int, ...] = (6, 5, 3), count: int = 100) -> np.ndarray:
    """Representative images of any shape."""
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("precision", "dtype", "bound"),
    [
        ("int8", "int8", 0.05),
        ("int16x8", "int16", 0.02),
        ("float16", "float32", 2e-3),
        ("dynamic", "float32", 0.02),
        ("float32", "float32", 1e-5),
    ],
)
def test_every_precision(halves, calibration, precision, dtype, bound):
    """Each precision gives one input and one output of batch 1, named, in its dtype, close to Keras."""
    head = convert(halves.head, halves.encoder, precision=precision, representative=calibration)
    assert (head.dtype, head.input_shape, head.latent_shape) == (dtype, tiny.SHAPE, halves.latent_shape)
    assert head.relative_error < bound
    assert head.contents.custom_operators == ()
    interpreter = Interpreter(model_content=head.content)
    runner = interpreter.get_signature_runner("serving_default")
    (input_name, into), (output_name, out) = (
        *runner.get_input_details().items(),
        *runner.get_output_details().items(),
    )
    assert (input_name, output_name) == ("input", "latent")
    assert tuple(into["shape"]) == (1, *tiny.SHAPE)
    assert tuple(out["shape"]) == (1, *halves.latent_shape)
    assert np.dtype(out["dtype"]).name == dtype
    integers = dtype != "float32"
    assert np.dtype(into["dtype"]).name == (dtype if integers else "float32")
    assert (head.scale is not None) == (head.zero_point is not None) == integers
    if integers:
        assert (head.scale, head.zero_point) == out["quantization"]
        assert head.contents.float_operators == ()


def test_the_same_weights_give_the_same_bytes(calibration, elsewhere):
    """Twice in one process, where automatic layer names go on counting, and once in another: one file."""
    found = []
    for _ in range(2):
        split = tiny.make_split(tiny.make_original())
        head = convert(split.head, split.encoder, precision="int8", representative=calibration)
        found.append(hashlib.sha256(head.content).hexdigest())
    assert found == [elsewhere["head"]] * 2


def test_the_screen_stays_clean(halves, calibration, capfd):
    """Neither the converter nor the interpreter prints a line for the user to wonder about."""
    for precision in ("int8", "dynamic"):
        convert(halves.head, halves.encoder, precision=precision, representative=calibration, progress=False)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_flex_operators_are_refused_by_name():
    """What only TensorFlow itself computes never enters a head; the error names operator and layer."""
    head = head_of(lambda x: keras.layers.Dense(2)(keras.ops.erf(keras.layers.Flatten()(x))))
    with pytest.raises(ExportError, match=r"no built-in operator for Erf \('.*Erf'\)\. Flex operators"):
        convert(head, precision="float32")


def test_int8_is_refused_with_the_operators_that_stay_float():
    """An int8 head is int8 from input to output, or the error counts and places what is not."""
    head = head_of(lambda x: keras.layers.Dense(3)(keras.ops.sin(keras.layers.Dense(4)(x))), (8,))
    with pytest.raises(ExportError, match=r"1 DEQUANTIZE, 1 QUANTIZE, 1 SIN\. SIN is '.*[Ss]in'\. Possible"):
        convert(head, precision="int8", representative=noise((8,)))
    assert convert(head, precision="float16").relative_error < 2e-3


def test_a_head_that_computes_nothing_is_not_passed_off_as_int8():
    """After an augmentation layer, which does nothing in inference, there is nothing to quantize."""
    with pytest.raises(ExportError, match="computes nothing that could be quantized"):
        convert(head_of(keras.layers.RandomFlip()), precision="int8", representative=noise())


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda x: keras.layers.LSTM(4, return_sequences=True)(x), (7, 3)),
        (lambda x: keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))(x), (7, 3)),
        (lambda x: keras.layers.RNN([keras.layers.LSTMCell(3), keras.layers.SimpleRNNCell(2)])(x), (5, 3)),
        (lambda x: keras.layers.ConvLSTM1D(2, 3)(x), (4, 6, 3)),
    ],
)
@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_recurrent_layers_are_unrolled_for_integers(build, shape, precision):
    """LiteRT has no loop of integers: the steps are written out, and the layers are as before."""
    head = head_of(build, shape)
    found = convert(head, precision=precision, representative=noise(shape), progress=False)
    assert found.contents.float_operators == ()
    assert found.relative_error < 0.15
    recurrent = [layer for layer in head._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    assert recurrent
    assert not any(layer.unroll or "call" in vars(layer) for layer in recurrent)
    assert convert(head, precision="float32", progress=False).contents.counts["WHILE"] > 0


def test_loops_are_refused_before_they_end_the_process():
    """The converter crashes on quantizing a loop: where it cannot be unrolled, the error names layer and reason."""
    head = head_of(keras.layers.GRU(2, name="long"), (300, 1))
    with pytest.raises(ExportError, match=r"1 WHILE\. WHILE is '.*' in layer 'long' \(GRU\)\. .*up to 256 steps"):
        convert(head, precision="int8", representative=noise((300, 1)))
    loop = head_of(lambda x: keras.ops.fori_loop(0, 3, lambda _, y: y * 0.5, keras.layers.Dense(2)(x)), (3,))
    with pytest.raises(ExportError, match="LiteRT has loops in float alone"):
        convert(loop, precision="int8", representative=noise((3,)))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda x: keras.layers.RMSNormalization()(keras.layers.Dense(6)(x)), (8,)),
        (lambda x: keras.layers.GroupNormalization(2)(keras.layers.Conv2D(4, 3)(x)), (8, 8, 3)),
        (lambda x: keras.layers.UnitNormalization()(keras.layers.Dense(6)(x)), (8,)),
        (lambda x: keras.layers.Dense(6)(x) ** 2, (8,)),
        (lambda x: keras.ops.norm(keras.layers.Dense(6)(x), axis=-1, keepdims=True), (8,)),
        (lambda x: keras.layers.STFTSpectrogram("magnitude", 64, 32, 64)(x), (256, 1)),
    ],
)
def test_squares_are_products_in_int8(build, shape):
    """LiteRT squares in float alone, and multiplies in integers: x * x, only where it is needed."""
    head = head_of(build, shape)
    found = convert(head, precision="int8", representative=noise(shape), progress=False)
    assert found.contents.float_operators == ()
    assert found.relative_error < 0.1


def test_squares_stay_in_float():
    """Where LiteRT has the kernel, the file is what it was."""
    head = head_of(lambda x: keras.layers.RMSNormalization()(keras.layers.Dense(6)(x)), (8,))
    assert convert(head, precision="float32", progress=False).contents.counts["SQUARE"] == 1


def test_squares_that_integers_cannot_hold_are_refused():
    """A head whose rewritten squares give other numbers is no head: the logarithm of small ones, for instance."""
    head = head_of(lambda x: keras.layers.STFTSpectrogram("log", 64, 32, 64)(x), (256, 1))
    with pytest.raises(ExportError, match=r"differs from Keras by \d+% of its output: it holds squares"):
        convert(head, precision="int8", representative=noise((256, 1)), progress=False)


@pytest.mark.parametrize("length", [100, 48, 96])
def test_fourier_transforms_of_other_lengths_are_refused_with_the_layer(length):
    """LiteRT computes lengths of a power of two: the error has the layer, the length and a possible one."""

    def mel(n: int) -> keras.Model:
        layer = keras.layers.MelSpectrogram(fft_length=n, sequence_stride=32, num_mel_bins=4, sampling_rate=8000)
        return head_of(layer, (256,))

    with pytest.raises(ExportError, match=rf"\(MelSpectrogram\), of length {length}, .*Possible: fft_length=\d+"):
        convert(mel(length), precision="float32", progress=False)
    assert convert(mel(64), precision="float32", progress=False).relative_error < 1e-4
    with pytest.raises(ExportError, match=r"RFFT2D is .*\(MelSpectrogram\).*Fourier transforms in float alone"):
        convert(mel(64), precision="int8", representative=noise((256,)), progress=False)


@pytest.mark.parametrize(
    "pool",
    [
        keras.layers.MaxPooling3D((2, 3, 2)),
        keras.layers.MaxPooling3D(3, strides=2, padding="same"),
        keras.layers.AveragePooling3D(2),
        keras.layers.AveragePooling3D((3, 2, 2), strides=(2, 1, 2), padding="same"),
    ],
)
def test_volumes_are_pooled_as_maps(pool):
    """LiteRT pools maps alone: over height and width, then over depth, is the same."""
    found = convert(head_of(lambda x: pool(keras.layers.Conv3D(4, 2)(x)), (7, 8, 9, 2)), precision="float32")
    assert found.relative_error < 1e-6
    assert found.contents.custom_operators == ()


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_layers_that_keras_quantized_are_exported(mode):
    """A head after `quantize` computes with its dequantized weights, in every precision; it stays as it is."""
    head = head_of(lambda x: keras.layers.Dense(5)(keras.layers.Dense(16, activation="relu")(x)), (8,))
    head.quantize(mode)
    before = head(noise((8,))).numpy()
    for precision, bound in (("float32", 1e-6), ("dynamic", 1e-2), ("float16", 2e-3), ("int8", 0.05)):
        found = convert(head, precision=precision, representative=noise((8,)), progress=False)
        assert found.relative_error < bound
        assert dict(found.contents.counts).keys() <= {"FULLY_CONNECTED", "DEQUANTIZE"}
    assert np.array_equal(head(noise((8,))).numpy(), before)


def test_layer_normalization_is_int8_throughout():
    """Attention heads are quantized whole: the negation in a normalization is written as a product."""

    def block(x):
        x = keras.layers.LayerNormalization()(x)
        return x + keras.layers.MultiHeadAttention(2, 4)(x, x)

    head = convert(head_of(block, (7, 8)), precision="int8", representative=noise((7, 8)))
    assert head.contents.float_operators == ()
    assert head.relative_error < 0.1


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_one_operator_and_int8(approximate):
    """GELU, exact or by tanh, becomes LiteRT's own operator in every precision."""
    model = head_of(lambda x: keras.ops.gelu(keras.layers.Conv2D(4, 3)(x), approximate=approximate))
    for precision in ("float32", "int8"):
        head = convert(model, precision=precision, representative=noise())
        assert dict(head.contents.counts) == {"CONV_2D": 1, "GELU": 1}
        assert bool(head.contents.float_counts) == (precision == "float32")


def test_what_litert_cannot_run_is_refused():
    """A file that converts but does not run, or not in integers, is no head: LiteRT has no 16-bit square root."""
    head = head_of(lambda x: keras.ops.sqrt(keras.ops.relu(keras.layers.Dense(4)(x)) + 1), (8,))
    with pytest.raises(ExportError, match=r"LiteRT cannot run it|stay in float|cannot be converted"):
        convert(head, precision="int16x8", representative=noise((8,)))


def test_a_squared_difference_of_sixteen_bits_is_a_product():
    """LiteRT has it in eight bits alone, so that a normalization is rewritten in sixteen."""
    head = head_of(lambda x: keras.layers.LayerNormalization()(keras.layers.Dense(4)(x)), (8,))
    found = convert(head, precision="int16x8", representative=noise((8,)), progress=False)
    assert found.contents.float_operators == ()
    assert found.relative_error < 0.02


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_other_dtypes_are_exported_in_float32(policy):
    """A head under any dtype policy becomes a float32 file without half-precision operators; it keeps its policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        head = head_of(lambda x: keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(x)))
    finally:
        keras.config.set_dtype_policy(before)
    converted = convert(head, precision="float32")
    assert converted.dtype == "float32"
    assert set(converted.contents.counts) <= {"CONV_2D", "ADD", "MUL"}
    assert converted.relative_error < 1e-5
    assert {layer.dtype_policy.name for layer in head.layers[1:]} == {policy}


def test_constant_latents_can_be_exported():
    """A latent that is zero for every image has a scale above zero and comes back as zero."""
    head = head_of(keras.layers.Dense(4, kernel_initializer="zeros"), (8,))
    converted = convert(head, precision="int8", representative=noise((8,)))
    assert converted.scale is not None
    assert converted.scale > 0
    assert converted.relative_error == 0.0


@pytest.mark.parametrize(
    ("shape", "build", "message"),
    [
        ((None, None, 3), keras.layers.Conv2D(2, 3), r"needs a fixed shape on a device. Found: \(None, None, 3\)"),
        ((), keras.layers.Reshape((1,)), r"needs a fixed shape on a device. Found: \(\)"),
    ],
)
def test_open_shapes_are_refused(shape, build, message):
    """A device's buffers have one size."""
    with pytest.raises(ExportError, match=message):
        convert(head_of(build, shape), precision="float32")


def test_several_inputs_are_refused():
    """One image goes in; the error counts what there is."""
    inputs = [keras.Input((3,)), keras.Input((3,))]
    with pytest.raises(ExportError, match="Found: 2 inputs and 1 outputs"):
        convert(keras.Model(inputs, keras.layers.Add()(inputs)), precision="float32")


def test_nan_is_refused():
    """A head with a broken weight is told before it ships."""
    head = head_of(keras.layers.Dense(2), (3,))
    head.layers[1].kernel.assign(np.full((3, 2), np.nan))
    with pytest.raises(NumericsError, match="gives NaN or infinity on 16 of 16 elements"):
        convert(head, precision="float32")


def test_nan_that_a_maximum_hides_from_keras_is_refused():
    """Keras gives finite numbers behind ReLU and pooling, LiteRT does not."""
    inputs = keras.Input((8, 8, 2))
    conv = keras.layers.Conv2D(3, 3, activation="relu")
    head = keras.Model(inputs, keras.layers.MaxPooling2D()(conv(inputs)))
    conv.kernel.assign(np.where(np.arange(3) == 1, np.nan, conv.kernel))
    with pytest.raises(NumericsError, match="NaN or infinity"):
        convert(head, precision="float32")


def test_bad_requests():
    """An unknown precision and missing representative images are named with what is possible."""
    head = head_of(keras.layers.Dense(2), (3,))
    with pytest.raises(ArgumentError, match="one of int8, int16x8, float16, dynamic, float32. Received: 'int4'"):
        convert(head, precision="int4")
    with pytest.raises(DataError, match="representative_data of at least 16 images.*Received: 0"):
        convert(head, precision="int8")


def test_too_few_representative_images():
    """Under 16 images are an error, under 100 a warning, and 100 are fine."""
    with pytest.raises(DataError, match=r"at least 16 images, 100 or more for good ranges. Found: 15"):
        representative_images(noise((3,), 15), (3,))
    with pytest.warns(FewImagesWarning, match="from 16 representative images"):
        assert representative_images(noise((3,), 16), (3,)).shape == (16, 3)
    assert representative_images((noise((3,), 100), np.arange(100)), (3,)).shape == (100, 3)
    assert representative_images(noise((3,), 4), (3,), quantizing=False).shape == (4, 3)


def test_representative_images_are_bounded_and_spread():
    """At most 500 images are used; of sorted arrays they come from all parts, first and last included."""
    images = np.arange(2000, dtype=np.float32)[:, np.newaxis]
    found = representative_images(images, (1,))[:, 0]
    assert len(found) == 500
    assert (found[0], found[-1]) == (0, 1999)
    assert np.abs(np.diff(found) - 4).max() <= 1


def test_representative_images_of_a_stream_are_spread():
    """Of a sorted stream whose length is known they come from all parts as well."""
    images = np.arange(4000, dtype=np.float32)[:, np.newaxis]
    found = representative_images(tf.data.Dataset.from_tensor_slices(images).batch(20), (1,))[:, 0]
    assert len(found) == 500
    assert (found[0], found[-1]) == (0, 3859)
    assert np.diff(found).max() == 141


def test_representative_images_are_preprocessed_as_the_device_does():
    """uint8 images get the preprocessing, floats are taken as they are; wrong shapes and NaN are errors."""
    record = {"name": None, "size": None, "resize": "bilinear", "scale": 0.5, "mean": 1.0, "std": 2.0}
    record["channel_order"] = "BGR"
    raw = np.tile(np.array([2, 4, 6], np.uint8), (16, 2, 2, 1))
    found = representative_images(np.tile(raw, (7, 1, 1, 1)), (2, 2, 3), preprocessing=record)
    assert found[0, 0, 0].tolist() == [1.0, 0.5, 0.0]
    as_is = representative_images(np.tile(raw, (7, 1, 1, 1)).astype(np.float32), (2, 2, 3), preprocessing=record)
    assert as_is[0, 0, 0].tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(DataError, match=r"input shape \(3, 3, 3\). Received: uint8 \(2, 2, 3\)"):
        representative_images(raw, (3, 3, 3))
    with pytest.raises(DataError, match="NaN or infinity"):
        representative_images(np.full((16, 3), np.nan, np.float32), (3,))


def test_a_file_is_run_on_what_the_device_feeds_it():
    """Halves between two levels are rounded away from zero as the device does, and give the device's latents."""
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    images = np.tile(levels[:, np.newaxis], (1, 4))
    head = convert(
        head_of(keras.layers.Dense(3, kernel_initializer="ones"), (4,)), precision="int8", representative=images
    )
    interpreter = Interpreter(model_content=head.content)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = into["quantization"]
    halves = ((np.arange(-100, 100) + 0.5 - zero_point) * np.float64(scale)).astype(np.float32)
    images = np.tile(halves[:, np.newaxis], (1, 4))
    images = images[np.abs(images[:, 0] / np.float32(scale)) % 1 == 0.5]
    assert len(images) > 50
    expected = []
    for x in images:
        interpreter.set_tensor(into["index"], quantize(x[np.newaxis], np.float32(scale), zero_point, np.dtype(np.int8)))
        interpreter.invoke()
        expected.append(interpreter.get_tensor(out["index"])[0])
    scale, zero_point = out["quantization"]
    found = run_file(head.content, images).latents
    assert np.array_equal(np.round(found / scale + zero_point).astype(int), np.array(expected, int))
