"""The record `Projection`: shapes, arithmetic, patches, and full int8 conversion of what it builds."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from isplit_tf.bottlenecks.projection import Projection
from isplit_tf.errors import ArgumentError
from isplit_tf.graph.cost import count_macs

SHAPES = [(1, 1, 12), (2, 2, 3), (3, 3, 1), (1, 7, 5), (4, 4, 16), (5, 6, 7), (13, 13, 2), (9, 5), (1, 5), (8, 1), (7,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("how", [{}, {"compression": 0.5, "patch": 2}, {"latent_size": 6}, {"patch": 3}], ids=str)
def test_features_come_back_in_their_exact_shape_and_the_plan_is_right(shape, how):
    """Every shape is restored exactly, and the built models have the plan's shapes, weights and MACs."""
    bottleneck = Projection(**how)
    plan = bottleneck.plan(shape)
    encoder, decoder = bottleneck.build(shape)
    assert encoder.output_shape == (None, *plan.latent_shape)
    assert decoder.output_shape == (None, *shape)
    assert plan.latent_size == math.prod(plan.latent_shape) <= math.prod(shape) * 2
    assert (encoder.count_params(), decoder.count_params()) == (plan.encoder_params, plan.decoder_params)
    assert count_macs(encoder) == plan.encoder_macs
    assert decoder(encoder(np.ones((2, *shape), np.float32))).shape == (2, *shape)


def test_before_the_fit_it_is_an_orthogonal_projection():
    """Encoder and decoder of a map are each other's transpose, so that nothing is blown up."""
    encoder, decoder = Projection(0.5, patch=2).build((4, 4, 3))
    kernel, back = encoder.layers[1].kernel.numpy(), decoder.layers[1].kernel.numpy()
    np.testing.assert_allclose(np.einsum("pqck,pqcl->kl", kernel, back), np.eye(6), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "how", "patch", "latent_shape"),
    [
        ((14, 14, 512), {}, (2, 2), (7, 7, 205)),  # 4 x 4 patches would hold 8,192 elements
        ((14, 14, 512), {"compression": 0.99}, (2, 2), (7, 7, 20)),
        ((16, 16, 128), {}, (4, 4), (4, 4, 205)),
        ((16, 16, 128), {"compression": 0.5}, (2, 2), (8, 8, 256)),  # 4 x 4 patches would take 128 C^2 weights
        ((16, 16, 64), {"compression": 0.99}, (8, 8), (2, 2, 41)),
        ((7, 7, 2048), {}, (1, 1), (7, 7, 205)),
        ((4, 4, 64), {"compression": 0.99}, (4, 4), (1, 1, 10)),
        ((5, 5, 64), {"compression": 0.99}, (5, 5), (1, 1, 16)),  # and not 4 and 1
        ((2, 2, 512), {"latent_size": 20}, (2, 2), (1, 1, 20)),
        ((1, 1, 512), {}, (1, 1), (1, 1, 51)),
        ((300,), {}, (), (30,)),
    ],
)
def test_automatic_patches(shape, how, patch, latent_shape):
    """As wide as elements and the encoder's weights allow, and shared out evenly on an axis."""
    plan = Projection(**how).plan(shape)
    assert (plan.patch, plan.latent_shape) == (patch, latent_shape)


@pytest.mark.parametrize("size", [1, 7, 20, 64, 333])
def test_a_latent_size_is_met_as_nearly_as_the_grid_allows(size):
    """The plan tells what was asked and what came of it, half the positions off at most."""
    plan = Projection(latent_size=size).plan((8, 8, 16))
    assert plan.requested_size == size
    assert abs(plan.latent_size - size) <= math.prod(plan.latent_shape[:-1]) / 2


@pytest.mark.parametrize(
    "shape", [(224, 224, 64), (112, 112, 64), (112, 112, 128), (56, 56, 256), (28, 28, 512), (14, 14, 1024), (50, 7)]
)
def test_a_payload_holds_also_where_the_map_is_large(shape):
    """At the usual sizes of images a patch grows until a number a position is not too much; a share does without."""
    plan = Projection(payload_bytes=64, coding="none").plan(shape)
    assert plan.latent_size <= 52
    assert math.prod(plan.patch) * shape[-1] <= 65536
    assert math.prod(Projection(0.999).plan(shape).patch) * shape[-1] <= 4096


def test_plan_prints_what_matters():
    """A plan reads as a sentence; there are patches in place of filters."""
    assert repr(Projection(0.9, patch=2).plan((4, 4, 10))) == (
        "LatentPlan((4, 4, 10) -> (2, 2, 4): 16 of 160 elements, 16 asked; compression 0.9000; patches of 2x2; "
        "encoder 164 weights, 640 MACs; decoder 170 weights)"
    )


def test_config_round_trip_and_frozen():
    """from_config(get_config()) is equal, the config is plain JSON, and nothing changes the record."""
    bottleneck = Projection(0.75, 2, "features", fit_images=300, seed=3)
    config = {"compression": 0.75, "patch": 2, "weighting": "features", "fit_images": 300, "seed": 3}
    assert bottleneck.get_config() == config
    assert Projection.from_config(config) == bottleneck
    assert Projection.from_config({}) == Projection() == Projection(0.9)
    assert Projection.from_config(Projection(latent_size=9).get_config()) == Projection(latent_size=9)
    with pytest.raises(ArgumentError, match=r"Projection has no arguments \['width'\]; possible are 'compression'"):
        Projection.from_config({"width": 3})
    with pytest.raises(dataclasses.FrozenInstanceError):
        bottleneck.patch = 4


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"compression": 1}, r"expected a number in \[0, 1\)"),
        ({"compression": 0.9, "latent_size": 3}, "Give one of"),
        ({"patch": 0}, "patch: expected an integer of at least 1"),
        ({"patch": "large"}, "patch: expected 'auto' or an integer"),
        ({"weighting": "labels"}, "weighting: expected one of"),
        ({"fit_images": 0}, "fit_images: expected an integer of at least 1"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
    ],
)
def test_arguments_outside_of_their_range_are_refused(how, message):
    """Each argument is checked where it is given."""
    with pytest.raises(ArgumentError, match=message):
        Projection(**how)


@pytest.mark.parametrize("shape", [(None, 4), (0, 3), (4, 4, 4, 4, 2)])
def test_shapes_that_it_does_not_take_are_refused(shape):
    """As an autoencoder does."""
    with pytest.raises(ArgumentError):
        Projection().plan(shape)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_layers_compute_in_float32_under_a_mixed_policy(policy):
    """A mixed policy does not reach the bottleneck."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        encoder, decoder = Projection().build((5, 4, 3))
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for m in (encoder, decoder) for layer in m.layers[1:]} == {"float32"}


@pytest.mark.parametrize(
    ("shape", "payload_bytes", "patch", "latents"),
    [
        ((15, 15, 80), 6000, (1, 1), 80),  # 26 bytes for each position, and no more latents than channels
        ((15, 15, 80), 2700, (2, 2), 270),
        ((15, 15, 80), 1500, (3, 3), 384),
        ((15, 15, 80), 150, (5, 5), 107),  # 16.7 bytes; the next patch would hold 5,120 elements
        ((60, 60, 24), 800, (8, 8), 80),  # 12.5 bytes; 9 x 9 elements would take 204,120 weights
        ((30, 30, 40), 1500, (4, 4), 150),
        ((128, 64), 1500, (3,), 190),
        ((8, 8, 64), 64, (4, 4), 103),
        ((64, 64, 3), 40, (32, 32), 64),
        ((8, 8, 48), 24, (8, 8), 154),  # 6 bytes for each of 4 patches: one of any weights
        ((300,), 40, (), 256),
    ],
    ids=str,
)
def test_coded_patches_leave_enough_bytes_within_the_budget(shape, payload_bytes, patch, latents):
    """At least 25 bytes are left for each patch, unless its encoder would have too many weights."""
    plan = Projection(payload_bytes=payload_bytes).plan(shape)
    assert plan.latent_shape[-1] == latents
    assert plan.patch == patch
