"""Latents of few bits through both phases."""

import keras
import numpy as np
import pytest

from isplit_tf.bottlenecks.autoencoder import Autoencoder
from isplit_tf.bottlenecks.projection import Projection
from isplit_tf.bottlenecks.quantizer import is_observed, roundings
from isplit_tf.errors import NumericsError
from isplit_tf.splitting import split
from isplit_tf.training import train
from support.splitnet import EPOCHS, Stop, assert_same, weights_of


def few(net, bits=2):
    return split(net, "pool", Autoencoder(0.8, latent_bits=bits, seed=0))


def values_of(halves, x):
    return np.unique(halves.encoder(halves.head(x)))


def test_phase_1_is_that_of_a_latent_without_bits(net, data):
    """The bottleneck alone learns what it learns without bits; then the latent takes 4 values, and the range is that
    of the trained encoder."""
    plain = split(net, "pool", Autoencoder(0.8, seed=0))
    halves = few(net)
    losses = [
        train(one, data, bottleneck_epochs=2, fine_tune_epochs=0, seed=0).values("bottleneck", "loss")
        for one in (plain, halves)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_array_equal(values_of(halves, data[0]), [-0.75, -0.25, 0.25, 0.75])


def test_phase_2_learns_with_the_steps_of_the_wire(net, data):
    """End to end the loss falls with a latent of 2 bits, whose ranges stay; the encoder learns through the rounding."""
    halves = few(net)
    train(halves, data, bottleneck_epochs=2, fine_tune_epochs=0, seed=0)
    ranges = [np.array(layer.reach) for layer in roundings(halves.encoder)]
    before = weights_of(halves.encoder)
    adam = keras.optimizers.Adam(3e-3)
    losses = train(
        halves, data, bottleneck_epochs=0, fine_tune_epochs=4, optimizer=adam, loss="distill", seed=0
    ).values("fine_tune", "loss")
    assert losses[-1] < 0.8 * losses[0]
    assert_same(ranges, [np.array(layer.reach) for layer in roundings(halves.encoder)])
    learned = [not np.array_equal(a, b) for a, b in zip(before, weights_of(halves.encoder), strict=True)]
    assert learned == [True] * 4 + [False] * 3  # kernels and biases; range, and that it was observed
    assert len(values_of(halves, data[0])) == 4


def test_without_epochs_the_range_is_observed_all_the_same(net, data):
    """A projection, or an autoencoder as it is, gets its ranges without labels and without an epoch."""
    for bottleneck in (Projection(0.8, latent_bits=4), Autoencoder(0.8, latent_bits=4)):
        halves = split(net, "pool", bottleneck)
        assert not is_observed(halves.encoder)
        train(halves, data[0], bottleneck_epochs=0, fine_tune_epochs=0)
        assert is_observed(halves.encoder)
        assert len(values_of(halves, data[0])) == 16


def test_phase_1_once_more_gives_new_ranges(net, data):
    """A split that is trained again from phase 1 on forgets its ranges and observes new ones."""
    halves = few(net, bits=4)
    arguments = {"bottleneck_epochs": 1, "fine_tune_epochs": 0, "seed": 0}
    train(halves, data, **arguments)
    first = np.array(roundings(halves.encoder)[0].reach)
    keras.utils.set_random_seed(1)
    halves.encoder.layers[-2].kernel.assign(halves.encoder.layers[-2].kernel * 3)
    train(halves, data, **arguments)
    assert np.median(np.array(roundings(halves.encoder)[0].reach) / first) > 2


def test_an_interrupted_run_ends_with_the_same_ranges_and_weights(net, data, tmp_path):
    """Interrupted in the middle of phase 2, a run with bits ends as one that was not."""
    whole = few(net)
    train(whole, data, **EPOCHS)
    halves = few(net)
    with pytest.raises(RuntimeError):
        train(halves, data, checkpoint_dir=tmp_path, callbacks=[Stop(1, RuntimeError("out"), batch=1)], **EPOCHS)
    fresh = few(net)
    train(fresh, data, checkpoint_dir=tmp_path, **EPOCHS)
    assert_same(weights_of(fresh.model), weights_of(whole.model))


def test_a_latent_that_is_not_finite_has_no_range(net, data):
    """An encoder that gives NaN is an error before a range is set."""
    halves = few(net)
    halves.encoder.layers[-2].bias.assign(np.full(halves.latent_shape[-1], np.nan))
    with pytest.raises(NumericsError, match="The latent holds NaN"):
        train(halves, data, bottleneck_epochs=0, fine_tune_epochs=0)
    assert not is_observed(halves.encoder)
