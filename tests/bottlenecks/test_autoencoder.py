"""The autoencoder: shapes, arithmetic, bounds, repeatability, and full int8 conversion."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from isplit_edge.wire import payload_bytes
from isplit_tf.bottlenecks.autoencoder import Autoencoder, LatentPlan
from isplit_tf.bottlenecks.projection import Projection
from isplit_tf.errors import ArgumentError
from isplit_tf.graph.cost import count_macs

SHAPES = [
    (1, 1, 512),
    (1, 1, 1),
    (2, 2, 3),
    (3, 3, 1),
    (1, 7, 5),
    (7, 1, 5),
    (4, 4, 64),
    (5, 6, 7),
    (13, 13, 2),
    (37, 23, 10),
    (9, 5),
    (1, 5),
    (2, 3),
    (8, 1),
    (1,),
    (7,),
    (513,),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("compression", [0.0, 0.5, 0.9, 0.999])
def test_features_come_back_in_their_exact_shape_and_the_plan_is_right(shape, compression):
    """Every shape is restored exactly, and the built models have the plan's shapes, weights and MACs."""
    bottleneck = Autoencoder(compression)
    plan = bottleneck.plan(shape)
    encoder, decoder = bottleneck.build(shape)

    assert encoder.output_shape == (None, *plan.latent_shape)
    assert decoder.output_shape == (None, *shape)
    assert plan.latent_size == math.prod(plan.latent_shape)
    assert (encoder.count_params(), decoder.count_params()) == (plan.encoder_params, plan.decoder_params)
    assert count_macs(encoder) == plan.encoder_macs


def test_values_pass_through_both_halves():
    """What the symbolic shapes promise holds for arrays, from a single image on, on an odd map."""
    encoder, decoder = Autoencoder(0.9, seed=0).build((5, 3, 8))
    for n in (1, 4):
        features = np.ones((n, 5, 3, 8), np.float32)
        assert decoder(encoder(features)).shape == features.shape


def test_latent_arithmetic_by_hand():
    """The latent's size is worked out here by hand.

    (37, 23, 10) holds 8,510 elements, of which 851 are asked. Two halvings give a grid of 10 x 6 = 60
    positions; 851 / 60 = 14.18, so 14 channels and 840 elements, compression 1 - 840/8510. Eight filters:
    weights 9*10*8 + 9*8*14 = 1,728, and biases 8 + 14; MACs 19*12*720 + 60*1008.
    """
    assert Autoencoder(0.9).plan((37, 23, 10)) == LatentPlan(
        shape=(37, 23, 10),
        latent_shape=(10, 6, 14),
        latent_size=840,
        requested_size=851,
        compression=1 - 840 / 8510,
        filters=8,
        encoder_params=1750,
        encoder_macs=19 * 12 * 720 + 60 * 1008,
        decoder_params=1728 + 8 + 10,
    )


def test_latent_is_never_empty():
    """At least one element is left, whatever the compression and however small the features."""
    assert Autoencoder(0.999).plan((3,)).latent_shape == (1,)
    assert Autoencoder(0.999).plan((13, 13, 2)).latent_shape == (4, 4, 1)


def test_taps_that_would_only_see_padding_are_left_out():
    """On a 1x1 map a kernel has one tap, not nine of which eight never matter."""
    encoder, _ = Autoencoder(0.9, filters=16).build((1, 1, 512))
    assert [layer.kernel_size for layer in encoder.layers[1:]] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("shape", [(112, 112, 128), (28, 28, 512), (14, 14, 1024), (7, 7, 2048), (25088,)])
@pytest.mark.parametrize("compression", [0.5, 0.9, 0.99])
def test_default_width_keeps_the_encoder_below_one_convolution(shape, compression):
    """By default the encoder has no more weights than one convolution of C to min(C, 256) channels."""
    plan = Autoencoder(compression).plan(shape)
    channels, taps = shape[-1], 9 if len(shape) == 3 else 1
    biases = plan.filters + plan.latent_shape[-1]
    assert plan.encoder_params - biases <= taps * channels * min(channels, 256)
    assert plan.filters >= 8


def test_default_width_does_not_outweigh_heads_of_real_networks():
    """At the deep cuts of VGG16 and ResNet50 the encoder has fewer weights than the head (counts by
    hand)."""
    for shape, head_params in [
        ((112, 112, 64), 38_720),  # VGG16 block1_pool
        ((56, 56, 128), 260_160),  # block2_pool
        ((28, 28, 256), 1_735_488),  # block3_pool
        ((14, 14, 512), 7_635_264),  # block4_pool
        ((7, 7, 512), 14_714_688),  # block5_pool
        ((14, 14, 1024), 8_589_184),  # ResNet50 conv4_block6_out
        ((7, 7, 2048), 23_587_712),  # conv5_block3_out
    ]:
        assert Autoencoder().plan(shape).encoder_params < head_params


def test_filters_set_the_width():
    """A width that the user gives is taken as it is, in both halves."""
    encoder, decoder = Autoencoder(0.9, 5).build((8, 8, 16))
    assert encoder.layers[1].filters == decoder.layers[1].filters == 5


def test_names_and_ends():
    """Inputs are called features and latent, layers carry their half's name, and both last layers are
    linear."""
    encoder, decoder = Autoencoder().build((9, 9, 4))
    assert (encoder.input.name, decoder.input.name) == ("features", "latent")
    assert (encoder.name, decoder.name) == ("encoder", "decoder")
    assert all(layer.name.startswith("encoder_") for layer in encoder.layers[1:])
    assert all(layer.name.startswith("decoder_") for layer in decoder.layers[1:])
    assert encoder.layers[-1].activation is keras.activations.linear
    assert [layer.activation for layer in decoder.layers if hasattr(layer, "kernel")] == [
        keras.activations.relu,
        keras.activations.linear,
    ]


def test_an_odd_axis_is_aligned_with_the_features():
    """The crop takes the first element of an odd axis: a value stays at its place with kernels that keep
    it.

    All kernels pass only their middle tap on an odd axis of 5. Convolving with stride 2 then reads
    positions 0, 2, 4, and again 0 and 4; the way back must put the values there, with zeros between.
    """
    encoder, decoder = Autoencoder(0.5, filters=1).build((5, 1))
    for model in (encoder, decoder):
        for layer in model.layers:
            if hasattr(layer, "kernel"):
                kernel = np.zeros(layer.kernel.shape, np.float32)
                kernel[1, 0, 0] = 1
                layer.kernel.assign(kernel)
                layer.bias.assign(np.zeros(layer.bias.shape, np.float32))
    features = np.array([[[1.0], [2.0], [3.0], [4.0], [5.0]]], np.float32)
    restored = np.asarray(decoder(encoder(features)))[0, :, 0]
    np.testing.assert_array_equal(restored, [1, 0, 0, 0, 5])


def test_seed_makes_weights_repeatable_and_layers_different():
    """The same seed gives the same weights, another seed others, and no two layers start alike."""

    def weights(seed):
        return [w for model in Autoencoder(0.5, seed=seed).build((1, 1, 8)) for w in model.get_weights()]

    for first, second in zip(weights(3), weights(3), strict=True):
        np.testing.assert_array_equal(first, second)
    kernels = [w for w in weights(3) if w.ndim == 4]
    assert not np.array_equal(kernels[0], weights(4)[0])
    assert len({w.ravel()[0] for w in kernels}) == 4
    assert not np.array_equal(weights(None)[0], weights(None)[0])


def test_config_round_trip():
    """from_config(get_config()) is equal, and the config is plain JSON."""
    bottleneck = Autoencoder(0.75, 12, seed=3)
    assert bottleneck.get_config() == {"compression": 0.75, "filters": 12, "seed": 3}
    assert Autoencoder.from_config(bottleneck.get_config()) == bottleneck
    assert Autoencoder.from_config({}) == Autoencoder()
    with pytest.raises(ArgumentError, match=r"no arguments \['width'\]; possible are 'compression'"):
        Autoencoder.from_config({"width": 3})


def test_record_is_frozen_and_takes_numpy_numbers():
    """Nothing changes an Autoencoder once made, and numpy scalars become plain numbers."""
    bottleneck = Autoencoder(np.float32(0.5), np.int64(4))
    assert bottleneck.get_config() == {"compression": 0.5, "filters": 4, "seed": None}
    with pytest.raises(dataclasses.FrozenInstanceError):
        bottleneck.compression = 0.2


def test_plan_prints_what_matters():
    """A plan reads as a sentence: shapes, elements reached and asked, and the encoder's cost."""
    text = repr(Autoencoder(0.9).plan((37, 23, 10)))
    assert text == (
        "LatentPlan((37, 23, 10) -> (10, 6, 14): 840 of 8,510 elements, 851 asked; compression 0.9013; 8 filters; "
        "encoder 1,750 weights, 224,640 MACs; decoder 1,746 weights)"
    )


@pytest.mark.parametrize("compression", [1, 1.5, -0.1, True, "0.9", float("nan"), float("inf"), 0.5j])
def test_compression_outside_of_its_range_is_refused(compression):
    """Compression is a number in [0, 1); booleans, text and NaN are none."""
    with pytest.raises(ArgumentError, match=r"expected a number in \[0, 1\)\. Received"):
        Autoencoder(compression)


@pytest.mark.parametrize("shape", [(32, 32, 64), (8, 8, 512), (2, 2, 512), (9, 5), (513,)], ids=str)
def test_a_latent_size_is_kept_at_every_shape(shape):
    """The same number of elements wherever it is cut: the nearest multiple of the grid's positions."""
    plan = Autoencoder(latent_size=64).plan(shape)
    positions = math.prod(plan.latent_shape[:-1])
    assert plan.requested_size == min(64, math.prod(shape))
    assert abs(plan.latent_size - plan.requested_size) <= positions / 2
    assert plan.latent_size == {32: 64, 8: 64, 2: 64, 9: 45, 513: 64}[shape[0]]


def test_a_latent_size_never_exceeds_the_features_and_excludes_a_compression():
    """A latent that were larger than the features would be no bottleneck; two amounts cannot both hold."""
    assert Autoencoder(latent_size=100).plan((1, 1, 3)).latent_size == 3
    bottleneck = Autoencoder(latent_size=20)
    assert bottleneck.get_config() == {"latent_size": 20, "filters": None, "seed": None}
    assert Autoencoder.from_config(bottleneck.get_config()) == bottleneck
    with pytest.raises(ArgumentError, match=r"Give one of compression, .* Received: compression=0.9, latent_size=20"):
        Autoencoder(0.9, latent_size=20)
    with pytest.raises(ArgumentError, match="latent_size: expected an integer of at least 1"):
        Autoencoder(latent_size=0)


@pytest.mark.parametrize("bits", [None, 8, 4, 2])
@pytest.mark.parametrize("kind", [Autoencoder, Projection])
@pytest.mark.parametrize("bound", [13, 20, 45, 76, 5000])
def test_a_payload_is_a_bound(kind, bound, bits):
    """The wire's own count of the latent's bytes stays within it, where the grid's positions leave a number each."""
    for shape in [(8, 8, 16), (5, 7, 3), (9, 5), (40,), (1, 1, 3)]:
        plan = kind(payload_bytes=bound, latent_bits=bits, coding="none").plan(shape)
        sent = payload_bytes("int8", plan.latent_shape, None if bits == 8 else bits)
        assert sent <= bound or plan.latent_shape[-1] == 1
        more = (*plan.latent_shape[:-1], plan.latent_shape[-1] + 1)
        is_full = plan.requested_size == math.prod(shape)
        assert is_full or payload_bytes("int8", more, None if bits == 8 else bits) > bound


def test_a_payload_in_the_record():
    """It takes the place of a compression, has room for a header and an element, and comes back from the record."""
    bottleneck = Projection(payload_bytes=64, latent_bits=4)
    assert (bottleneck.compression, bottleneck.latent_size, bottleneck.elements) == (None, None, 104)
    assert Projection.from_config(bottleneck.get_config()) == bottleneck
    with pytest.raises(ArgumentError, match="payload_bytes: expected an integer of at least 13"):
        Autoencoder(payload_bytes=12)
    with pytest.raises(ArgumentError, match=r"Give one of .* Received: latent_size=20, payload_bytes=64"):
        Autoencoder(latent_size=20, payload_bytes=64)


@pytest.mark.parametrize(
    "amount", [{"payload_bytes": 76}, {"payload_bytes": 76, "latent_bits": 4}, {"latent_size": 64}]
)
def test_tensors_that_cross_together_share_what_was_asked(amount):
    """By their sizes; a compression says the same for each of them."""
    shapes = [(4, 4, 12), (4, 4, 4)]
    whole = Projection(**amount)
    one, other = whole.for_parts(shapes)
    assert one.elements + other.elements <= whole.elements
    assert one.elements == pytest.approx(3 * other.elements, abs=8)
    assert Projection(0.5).for_parts(shapes) == [Projection(0.5)] * 2


@pytest.mark.parametrize("bits", [None, 4, 2])
@pytest.mark.parametrize("shapes", [[(1000,), (1,), (1,), (1,)], [(8, 8, 64), (8, 8), (8, 8)], [(4096,), (16,), (16,)]])
def test_the_smallest_of_several_tensors_get_a_number_within_the_bound(shapes, bits):
    """Each at least one, and all of them together no more than was asked."""
    parts = Projection(payload_bytes=64, latent_bits=bits).for_parts(shapes)
    assert all(part.elements >= 1 for part in parts)
    assert sum(part.payload_bytes - 12 for part in parts) <= 52
    parts = Projection(latent_size=52).for_parts(shapes)
    assert sum(part.elements for part in parts) <= 52


@pytest.mark.parametrize("filters", [0, -1, 2.0, True, "8", float("nan")])
def test_filters_must_be_a_positive_integer(filters):
    """Filters is an integer of at least 1."""
    with pytest.raises(ArgumentError, match="filters: expected an integer of at least 1"):
        Autoencoder(0.9, filters)


@pytest.mark.parametrize("seed", [-1, 0.5, False])
def test_seed_must_be_an_integer(seed):
    """A seed is an integer of at least 0."""
    with pytest.raises(ArgumentError, match="seed: expected an integer of at least 0"):
        Autoencoder(seed=seed)


def test_open_dimensions_are_refused():
    """Features whose shape varies get an error that says what to do."""
    with pytest.raises(ArgumentError, match=r"\(None, 64\), where None varies.*fixed input shape"):
        Autoencoder().plan((None, 64))
    with pytest.raises(ArgumentError, match="where None varies"):
        Autoencoder().build((None, None, 3))


@pytest.mark.parametrize("shape", [(0, 3), (2.0, 3), (-1,), (True, 2)])
def test_senseless_shapes_are_refused(shape):
    """A shape holds integers of at least 1."""
    with pytest.raises(ArgumentError, match="Expected a shape of integers of at least 1"):
        Autoencoder().plan(shape)


@pytest.mark.parametrize("shape", [(4, 4, 4, 2), (7, 5, 3, 4), (1, 9, 2, 8)])
def test_volumes_come_back_in_their_shape(shape):
    """Volumes get convolutions along three axes; the plan has the numbers of the models."""
    plan = Autoencoder(0.8).plan(shape)
    encoder, decoder = Autoencoder(0.8, seed=0).build(shape)
    assert encoder.output_shape[1:] == plan.latent_shape
    assert decoder.output_shape[1:] == shape
    assert encoder.count_params() == plan.encoder_params


def test_other_ranks_are_refused_with_what_is_possible():
    """Scalars and features of five axes are refused; the message names what is possible."""
    with pytest.raises(ArgumentError, match=r"\(H, W, C\) or \(D, H, W, C\).*Received: \(2, 2, 2, 2, 2\)"):
        Autoencoder().plan((2, 2, 2, 2, 2))
    with pytest.raises(ArgumentError, match=r"Received: \(\)"):
        Autoencoder().plan(())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_layers_compute_in_float32_under_a_mixed_policy(policy):
    """A mixed policy does not reach the bottleneck: its layers compute in the precision of their
    weights."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        encoder, decoder = Autoencoder().build((4, 4, 3))
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for m in (encoder, decoder) for layer in m.layers[1:]} == {"float32"}
    assert encoder.input.dtype == decoder.output.dtype == "float32"


@pytest.mark.parametrize("shape", [(1, 1, 16), (1, 7, 5), (7, 7, 6), (9, 5), (7,)], ids=str)
def test_encoder_becomes_a_full_int8_tflite_model(shape, tmp_path):
    """Every kind of encoder converts to int8, no float tensor is left, and the latent has the plan's shape."""
    encoder, _ = Autoencoder(0.8, seed=0).build(shape)
    inputs = keras.Input(shape, batch_size=1, name="features")
    keras.Model(inputs, encoder(inputs)).export(tmp_path / "encoder", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "encoder"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(20, 1, *shape)).astype(np.float32)
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    model = converter.convert()

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    # int32 holds biases and shapes.
    assert {np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details()} <= {"int8", "int32"}
    assert tuple(interpreter.get_output_details()[0]["shape"]) == (1, *Autoencoder(0.8).plan(shape).latent_shape)
