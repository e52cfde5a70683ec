"""The sanity check: a copy is shuffled from the top, the user's model never, and the verdict follows the maps."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

from isplit_tf import measure_importance
from isplit_tf.errors import ArgumentError, ModelError
from isplit_tf.importance.kernels import METHODS, Method
from isplit_tf.importance.sanity import mean_rank_correlation, sanity_check
from support.zoo import ZOO, random_input, randomize


def test_rank_correlation_is_scipys():
    """Row by row, ties included; a row without two ranks is left out."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (5, 9)).astype(float), rng.normal(size=(5, 9))
    wanted = np.mean([stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(mean_rank_correlation(a, b), wanted)
    a[1:] = 7.0
    np.testing.assert_allclose(mean_rank_correlation(a, b), stats.spearmanr(a[0], b[0]).statistic)
    assert np.isnan(mean_rank_correlation(a[1:], b[1:]))


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return randomize(ZOO["residual"](), seed=3)


def test_grad_cam_passes_and_a_method_that_ignores_the_weights_fails(net, monkeypatch):
    """Maps of gradients change with the weights behind; a map of the features alone cannot."""
    data = random_input(net, 12), np.arange(12) % 3
    found = sanity_check(net, data, draws=4)
    assert found.passes
    assert "Grad-CAM passes on" in found.verdict
    brightness = Method("Brightness", lambda features, _: tf.reduce_sum(features, axis=2))
    monkeypatch.setitem(METHODS, "hires_cam", brightness)
    found = sanity_check(net, data, method="hires_cam", draws=1)
    np.testing.assert_allclose(found.kept[np.isfinite(found.kept)], 1.0)
    assert not found.passes
    assert "Brightness fails on" in found.verdict


def test_layers_come_from_the_top_each_once():
    """Those with weights only; a layer that is called twice counts where it is called last."""
    model = randomize(ZOO["called_twice"]())
    found = sanity_check(model, (random_input(model, 4), np.arange(4) % 2), draws=1, cuts="all")
    assert found.layers == ["scores", "dense#2", "block/norm#1"]
    assert found.maps.shape == (len(found.layers), len(found.cuts))
    assert found.behind == sorted(found.behind, reverse=True)


def test_a_seed_gives_the_same_shuffle():
    """Correlations lie in [-1, 1]; one seed gives one result, another seed another."""
    net = randomize(ZOO["chain"]())
    data = random_input(net, 4), np.arange(4) % 5
    one, again, other = (sanity_check(net, data, draws=1, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.maps, again.maps)
    assert not np.array_equal(one.maps, other.maps)
    assert (np.abs(one.maps[np.isfinite(one.maps)]) <= 1 + 1e-9).all()


@pytest.mark.parametrize("name", ["constants", "nested", "subclassed"])
def test_the_users_model_is_left_alone(name):
    """Weights, nodes, and what is measured afterwards; of any kind of model."""
    model = randomize(ZOO[name]())
    data = random_input(model, 4), np.arange(4) % 2
    before = model.get_weights(), [len(layer._inbound_nodes) for layer in model.layers]
    curve = measure_importance(model, data, progress=False)
    sanity_check(model, data, draws=1)
    for a, b in zip(before[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1] == [len(layer._inbound_nodes) for layer in model.layers]
    np.testing.assert_array_equal(measure_importance(model, data, progress=False).values, curve.values)


def test_it_shows_itself(net):
    """As text, as HTML and as a picture: a line a layer, and the verdict."""
    import matplotlib

    matplotlib.use("Agg")
    found = sanity_check(net, (random_input(net, 4), np.arange(4) % 3), draws=1)
    text, page = repr(found), found._repr_html_()
    for wanted in (*found.layers, "Grad-CAM", "curve"):
        assert wanted in text
        assert wanted in page
    lines = {line.get_label(): line.get_ydata() for line in found.plot().lines}
    np.testing.assert_array_equal(lines["curve"], found.curve)


def test_what_cannot_be_judged_is_named(net):
    """A method without a map; a net of vectors, whose maps have one position; no weights; no draw."""
    data = random_input(net, 4), np.arange(4) % 3
    with pytest.raises(ArgumentError, match="there is no map to compare"):
        sanity_check(net, data, method="gradients")
    with pytest.raises(ArgumentError, match="draws: expected an integer of at least 1. Received: 0"):
        sanity_check(net, data, draws=0)
    with pytest.raises(ArgumentError, match="Unknown method 'lime'"):
        sanity_check(net, data, method="lime")
    mlp = randomize(ZOO["mlp"]())
    found = sanity_check(mlp, (random_input(mlp, 4), np.arange(4) % 2), draws=1)
    assert not found.passes
    assert "cannot be judged on 'mlp': no map has two positions to rank" in found.verdict
    inputs = keras.Input((4, 4, 3))
    x = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(2)(inputs))
    bare = keras.Model(inputs, layers.Softmax()(x), name="bare")
    with pytest.raises(ModelError, match="Model 'bare' has no weights to shuffle"):
        sanity_check(bare, (random_input(bare, 2), [0, 1]))
