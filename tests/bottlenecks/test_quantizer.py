"""Latents of few bits: cells by hand, ranges of known distributions, and agreement with the wire."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_edge import wire
from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.bottlenecks.projection import Projection
from isplit_tf.bottlenecks.quantizer import (
    LatentQuantizer,
    LatentScale,
    best_ranges,
    forget,
    is_observed,
    roundings,
    scales,
    set_ranges,
    unrounded,
    with_rounding,
)
from isplit_tf.errors import ArgumentError
from isplit_tf.splitting import SplitModel, split
from support.zoo import ZOO, randomize

pytestmark = pytest.mark.numerical


def make_quantizer(bits, center, reach, observed=1.0):
    layer = LatentQuantizer(bits)
    layer.build((None, len(center)))
    layer.set_range(np.array(center), np.array(reach))
    layer.observed.assign(observed)
    return layer


def test_cells_by_hand():
    """Center 1, reach 2, two bits: -2 and -0.9 are -1.5 and -0.95 and fall into the lowest cell, whose middle is
    -0.75; 1.1 is 0.05, in the cell from 0 to 0.5; 5 is 2, above the highest cell; the scale gives back 1 + 2 u."""
    z = np.array([[-2.0], [-0.9], [1.1], [5.0]], np.float32)
    unit = make_quantizer(2, [1.0], [2.0])(z)
    np.testing.assert_allclose(unit, [[-0.75], [-0.75], [0.25], [0.75]])
    scale = LatentScale()
    scale.build((None, 1))
    scale.set_range(np.array([1.0]), np.array([2.0]))
    np.testing.assert_allclose(scale(unit), [[-0.5], [-0.5], [1.5], [2.5]])


def test_gradient_passes_straight_through():
    """Within the range the gradient is 1 / reach, as if nothing had been rounded; beyond it, it is zero."""
    z = tf.constant([[-2.0], [-0.9], [1.1], [5.0]])
    layer = make_quantizer(2, [1.0], [2.0])
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = tf.reduce_sum(layer(z))
    np.testing.assert_allclose(tape.gradient(total, z), [[0.0], [0.5], [0.5], [0.0]])


def test_until_a_range_is_observed_the_latent_passes_as_it_is():
    """A new bottleneck with bits computes what one without computes."""
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 6)).astype(np.float32) * 9
    plain, few = (Autoencoder(0.5, latent_bits=bits, seed=0).build((5, 4, 6)) for bits in (None, 2))
    np.testing.assert_allclose(few[0](x), plain[0](x), rtol=1e-6)
    np.testing.assert_allclose(few[1](few[0](x)), plain[1](plain[0](x)), rtol=1e-5)
    assert is_observed(plain[0])
    assert not is_observed(few[0])


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_training_and_wire_round_alike(bits):
    """The integers of a head whose range is [-1, 1], sent and taken apart, give the middles that training had: to the
    integers' own step, and with 4 and 2 bits the same cell for all but those at its edge."""
    unit = np.linspace(-1, 1, 4001, dtype=np.float32)[:, np.newaxis]
    trained = make_quantizer(bits, [0.0], [1.0])(unit).numpy()[:, 0]
    scale, zero_point = 2 / 255, -1  # what LiteRT gives a tensor from -1 to 1
    integers = np.clip(np.round(unit[:, 0] / scale) + zero_point, -128, 127).astype(np.int8)
    middles = integers if bits == 8 else wire.middles(wire.levels(integers, bits), "int8", bits)
    sent = scale * (middles.astype(np.float32) - zero_point)
    same_cell = np.abs(sent - trained) < 2 * scale
    assert same_cell.mean() > (0.999 if bits == 8 else 1 - 2**bits / 255)
    assert np.abs(sent - trained).max() < 2 / 2**bits + 2 * scale


def test_ranges_are_the_best_known_ones():
    """Of a normal distribution the best range has 1.99 (2 bits) and 2.68 (4 bits) standard deviations (Max, "Quantizing
    for minimum distortion", 1960, Table II: 4 steps of 0.9957, 16 of 0.3352); of an even one, all of it."""
    rng = np.random.default_rng(0)
    normal, even = rng.normal(3.0, 0.2, 20_000), rng.uniform(-5, 1, 20_000)
    for bits, deviations in ((2, 1.991), (4, 2.682)):
        center, reach = best_ranges(np.stack([normal, even], axis=1), bits)
        np.testing.assert_allclose(center, [3.0, -2.0], atol=0.02)
        assert reach[0] == pytest.approx(0.2 * deviations, rel=0.1)
        assert reach[1] == pytest.approx(3.0, rel=0.01)
    assert best_ranges(even[:, np.newaxis], 8)[1] == pytest.approx(3.0, rel=0.01)


def test_channels_that_do_not_vary_are_kept():
    """A constant channel comes back as it was, to a thousandth of the widest range; so does a latent of zeros."""
    values = np.stack([np.full(50, 7.0), np.linspace(-1, 1, 50)], axis=1)
    center, reach = best_ranges(values, 2)
    assert center[0] == 7
    assert 0 < reach[0] <= 1e-3
    center, reach = best_ranges(np.zeros((9, 3)), 2)
    assert not center.any()
    assert (reach > 0).all()


@pytest.mark.parametrize("kind", [Autoencoder, Projection])
def test_a_latent_takes_2_to_the_bits_values(kind):
    """Once a range is set the encoder gives 2^bits values a channel and no others, in maps, sequences and vectors;
    without rounding it gives those in between; forgotten, the latent is as it was."""
    for shape in ((6, 5, 4), (9, 5), (12,)):
        x = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
        encoder, decoder = kind(0.5, latent_bits=2, seed=0).build(shape)
        before = encoder(x).numpy()
        set_ranges(encoder, decoder, before)
        latent = encoder(x).numpy()
        assert is_observed(encoder)
        assert set(np.unique(latent)) == {-0.75, -0.25, 0.25, 0.75}
        restored = scales(decoder)[0](latent).numpy()
        assert np.mean((restored - before) ** 2) < 0.2 * before.var()
        with unrounded(encoder):
            clipped = encoder(x).numpy()
        assert len(np.unique(clipped)) > 100
        assert np.abs(clipped).max() <= 1
        np.testing.assert_array_equal(encoder(x), latent)
        forget(encoder, decoder)
        np.testing.assert_allclose(encoder(x), before, rtol=1e-6)


def test_without_bits_a_bottleneck_is_left_alone():
    """None adds no layer."""
    encoder, decoder = Autoencoder(0.5).build((6, 5, 4))
    assert with_rounding(encoder, decoder, None) == (encoder, decoder)
    assert roundings(encoder) == roundings(None) == []


def test_each_tensor_that_crosses_has_ranges_of_its_own():
    """Where two tensors of different size cross, each is quantized by its own range."""
    model = randomize(ZOO["skips"]())
    halves = split(model, "down1+down2", Autoencoder(0.75, latent_bits=4, seed=0))
    x = np.random.default_rng(0).normal(size=(30, *halves.encoder.input_shape[1:])).astype(np.float32)
    first = np.prod(halves.cut.shapes[0])
    x[:, :first] *= 100
    set_ranges(halves.encoder, halves.decoder, halves.encoder(x).numpy())
    one, other = roundings(halves.encoder)
    assert float(np.mean(one.reach)) > 20 * float(np.mean(other.reach))
    assert len(np.unique(halves.encoder(x))) == 16


def test_a_split_with_ranges_is_saved_and_loaded(tmp_path):
    """Ranges and bits come back with the split, and its output is the same to the bit."""
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    halves = split(model, "conv", Autoencoder(0.8, latent_bits=4, seed=0))
    images = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype(np.float32)
    set_ranges(halves.encoder, halves.decoder, halves.encoder(halves.head(images)).numpy())
    halves.save(tmp_path / "split")
    back = SplitModel.load(tmp_path / "split")
    assert (back.latent_bits, back.bottleneck) == (4, halves.bottleneck)
    assert is_observed(back.encoder)
    np.testing.assert_array_equal(back.predict(images), halves.predict(images))


@pytest.mark.parametrize("kind", [Autoencoder, Projection])
def test_bits_are_8_4_or_2(kind):
    """Other numbers are refused; the record comes back from its configuration, and one without bits has no key."""
    for wrong in (1, 3, 16, "4", 4.5, True):
        with pytest.raises(ArgumentError, match="latent_bits: expected 8, 4 or 2"):
            kind(latent_bits=wrong)
    assert kind.from_config(kind(latent_bits=4).get_config()) == kind(latent_bits=4)
    assert "latent_bits" not in kind().get_config()
