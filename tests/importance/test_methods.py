"""Every way to score a cut on real nets: numbers by hand, all cuts at once, completeness, another implementation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import find_cuts, measure_importance, split
from isplit_tf.errors import ModelError
from isplit_tf.importance.kernels import METHODS, by_position, cumulate
from support.zoo import ZOO, random_input, randomize


def hand_net() -> keras.Model:
    """Two pixels, a 1x1 convolution w = 2, and two linear units: F = (2, 6), logits (F_1 + 3 F_2, -F_1 + F_2 / 2)."""
    inputs = keras.Input((2, 1, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, activation="softmax", name="head")(x))
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 2.0)])
    model.get_layer("head").set_weights([np.array([[1.0, -1.0], [3.0, 0.5]])])
    return model


@pytest.mark.parametrize(
    ("method", "label", "value"),
    [
        # The sum of F is 8: w = 1/(2 + 8) + 3/(2 + 24) = 14/65; map = w (2, 6).
        ("grad_cam++", 0, 8 * 14 / 65),
        # One positive gradient of 0.5: w = 0.5/(2 + 4) = 1/12.
        ("grad_cam++", 1, 8 / 12),
        ("hires_cam", 0, 1 * 2 + 3 * 6),
        # Its first position is -1 * 2.
        ("hires_cam", 1, 0.5 * 6),
        ("layer_cam", 0, 1 * 2 + 3 * 6),
        ("layer_cam", 1, 0.5 * 6),
        ("gradient_x_activation", 1, 0.5 * 6),
        # Linear from a zero image on: gradient times activation.
        ("layer_integrated_gradients", 0, 1 * 2 + 3 * 6),
        ("layer_integrated_gradients", 1, 0.5 * 6),
    ],
)
def test_hand_set_net(method, label, value):
    """The worked numbers of each method, as a sum."""
    image = np.array([[[[1.0]], [[3.0]]]], np.float32)
    curve = measure_importance(
        hand_net(), (image, [label]), method=method, reduction="sum", cuts=["conv"], progress=False
    )
    np.testing.assert_allclose(curve.values, [value], rtol=1e-6)


def through_the_tail(model, method, cut, x, labels) -> float:
    """The mean importance at a cut, from the tail of a split there and its gradient alone."""
    halves = split(model, cut)
    halves.tail.layers[-1].activation = keras.activations.linear

    path = np.linspace(0, 1, 33) if METHODS[method].on_path else np.ones(1)
    features = tf.convert_to_tensor(halves.head(np.concatenate([share * x for share in path]), training=False))
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.gather(halves.tail(features, training=False), np.tile(labels, len(path)), batch_dims=1)
    gradients = tape.gradient(score, features).numpy().reshape(len(path), len(x), -1, cut.shape[-1])
    features = features.numpy().reshape(gradients.shape)
    if METHODS[method].on_path:
        steps = (gradients[:-1] + gradients[1:]) / 2 * np.diff(features, axis=0)
        maps = METHODS[method].maps(tf.constant(steps.sum(axis=0)))
    else:
        maps = METHODS[method].maps(tf.constant(features[0]), tf.constant(gradients[0]))
    return float(tf.reduce_mean(cumulate(maps)))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("name", ["chain", "residual"])
def test_all_cuts_at_once_equal_each_tail_alone(name, method):
    """Whatever the method, its passes give every cut what the gradient through the tail there gives."""
    model = randomize(ZOO[name]())
    x, labels = random_input(model, 4), np.array([0, 1, 2, 0])
    curve = measure_importance(model, (x, labels), method=method, cuts="all", reduction="sum", progress=False)
    wanted = [through_the_tail(model, method, cut, x, labels) for cut in find_cuts(model)[::2]]
    np.testing.assert_allclose(curve.values[::2], wanted, rtol=1e-4, atol=1e-6)
    assert curve.method == method
    assert METHODS[method].title in curve.table()


@pytest.mark.parametrize("target", ["label", "predicted"])
def test_integrated_gradients_are_complete(target):
    """At every cut they add up to the score of the image minus that of a zero image.

    All weights and pixels are positive and every layer rises, so that no part is negative and the ReLU takes none.
    """
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, activation="softplus", name="conv1"),
            layers.AveragePooling2D(2, name="pool"),
            layers.Conv2D(4, 2, activation="tanh", name="conv2"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.05, 0.3, weight.shape) for weight in model.weights])
    x = rng.uniform(0.1, 1.0, (5, 6, 6, 2)).astype("float32")
    logits = keras.Sequential([*model.layers[:-1], layers.Dense(3)])
    logits.build((None, 6, 6, 2))
    logits.set_weights(model.get_weights())
    top = logits.predict(x, verbose=0).argmax(axis=1)
    classes = top if target == "predicted" else np.array([0, 1, 2, 0, 1])
    rise = (logits.predict(x, verbose=0) - logits.predict(0 * x, verbose=0))[np.arange(5), classes]
    curve = measure_importance(
        model,
        (x, np.array([0, 1, 2, 0, 1])),
        method="layer_integrated_gradients",
        reduction="sum",
        cuts="all",
        target=target,
        progress=False,
    )
    np.testing.assert_allclose(curve.values, np.full(4, rise.mean()), rtol=5e-3)  # steps have a length


def test_integrated_gradients_need_numbers_to_go_through():
    """Between no token and the token there is nothing."""
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(6, 3)(inputs)
    x = keras.layers.Dense(4, name="dense")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(x)), name="words")
    data = (np.ones((2, 4), "int32"), [0, 1])
    with pytest.raises(ModelError, match="Input 'tokens' of model 'words' holds int32, which has nothing between"):
        measure_importance(model, data, method="layer_integrated_gradients", progress=False)
    assert measure_importance(model, data, method="hires_cam", progress=False).n_images == 2


def test_grad_cam_plus_plus_maps_equal_tf_keras_vis():
    """An independent Grad-CAM++ gives the same map of a layer with one channel, but for a factor an image.

    That one divides its weights by their sum for each channel, and leaves exp(y) in.
    """
    vis = pytest.importorskip("tf_keras_vis.gradcam_plus_plus")
    from tf_keras_vis.utils.scores import CategoricalScore

    layers = keras.layers
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(1, 3, activation="relu", name="conv")(inputs)
    x = layers.Flatten(name="flat")(layers.Conv2D(3, 2, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, name="scores")(x))
    x, labels = random_input(model, 4), [0, 1, 2, 0]
    theirs = vis.GradcamPlusPlus(model, clone=True)(
        CategoricalScore(labels),
        x,
        penultimate_layer="conv",
        expand_cam=False,
        normalize_cam=True,
        seek_penultimate_conv_layer=False,
    )
    head, tail = keras.Model(inputs, model.get_layer("conv").output), split(model, "conv").tail
    features = tf.convert_to_tensor(head(x))
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.gather(tail(features), labels, batch_dims=1)
    mine = METHODS["grad_cam++"].maps(by_position(features), by_position(tape.gradient(score, features))).numpy()
    mine = np.maximum(mine, 0)
    assert (mine.max(axis=1) > 0).all()
    np.testing.assert_allclose(
        (mine - mine.min(axis=1, keepdims=True)) / np.ptp(mine, axis=1)[:, None],
        np.reshape(theirs, (4, -1)),
        atol=1e-5,
    )
