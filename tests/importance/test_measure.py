"""Importance measured on real nets, against numbers by hand, other implementations and finite differences."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import Curve, find_cuts, measure_importance, split
from isplit_tf.errors import ArgumentError, CutError, DataError, ModelError, NumericsError
from isplit_tf.evaluation.evaluation import evaluate

pytestmark = pytest.mark.numerical


def hand_net() -> keras.Model:
    """Two pixels, a 1x1 convolution w = 2, and two linear units that read the pixels with weights of their own.

    For the image (1, 3): F = (2, 6). Logit 0 = F_1 + 3 F_2, logit 1 = -F_1 + 0.5 F_2.
    """
    inputs = keras.Input((2, 1, 1))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, activation="softmax", name="head")(x))
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 2.0)])
    model.get_layer("head").set_weights([np.array([[1.0, -1.0], [3.0, 0.5]])])
    return model


HAND_IMAGE = np.array([[[[1.0]], [[3.0]]]], np.float32)


@pytest.mark.parametrize(
    ("method", "reduction", "label", "value"),
    [
        # alpha = mean(1, 3) = 2; map = (4, 12); sum 16; mean over H W C = 2 elements: 8.
        ("grad_cam", "sum", 0, 16.0),
        ("grad_cam", "mean", 0, 8.0),
        # alpha = mean(-1, 0.5) = -0.25; the whole map is negative.
        ("grad_cam", "sum", 1, 0.0),
        # without F: ReLU(2) at two positions.
        ("gradients", "sum", 0, 4.0),
        ("gradients", "mean", 0, 2.0),
    ],
)
def test_hand_set_net(method, reduction, label, value):
    """The worked numbers of Eq. 1 and 2, with the gradient of the logit behind the softmax."""
    curve = measure_importance(
        hand_net(), (HAND_IMAGE, [label]), method=method, reduction=reduction, cuts=["conv"], progress=False
    )
    np.testing.assert_allclose(curve.values, [value], rtol=1e-6)


def test_target_predicted_is_the_models_own_class():
    """Logits (20, 1): class 0 is predicted, whatever the label; the row is still that of the label."""
    curve = measure_importance(
        hand_net(), (HAND_IMAGE, [1]), target="predicted", reduction="sum", cuts=["conv"], progress=False
    )
    np.testing.assert_allclose(curve.values, [16.0], rtol=1e-6)
    np.testing.assert_allclose(curve.per_class[1], [16.0], rtol=1e-6)


def test_one_sigmoid_unit_gives_class_zero_minus_the_logit():
    """z = -x: for class 1 the gradient points down, for class 0 up; F = x = 2, so 0 and 2 * 1."""
    inputs = keras.Input((1,))
    x = keras.layers.Dense(1, use_bias=False, name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, activation="sigmoid")(x))
    model.set_weights([np.array([[1.0]]), np.array([[-1.0]])])
    curve = measure_importance(model, (np.full((2, 1), 2.0), [0, 1]), progress=False)
    np.testing.assert_allclose(curve.per_class, [[2.0], [0.0]])


def test_a_saturated_softmax_does_not_hide_the_gradient():
    """Behind a softmax that rounds to 1.0 the probability's gradient is zero; the logit's is not."""
    model = hand_net()
    model.get_layer("head").set_weights([np.array([[100.0, -1.0], [300.0, 0.5]])])
    assert float(model(HAND_IMAGE)[0, 0]) == 1.0
    curve = measure_importance(model, (HAND_IMAGE, [0]), reduction="sum", cuts=["conv"], progress=False)
    np.testing.assert_allclose(curve.values, [1600.0], rtol=1e-6)


def small_net(seed: int = 0, classes: int = 3) -> keras.Model:
    """A residual net with pooling, batch normalization and dropout, weights that are not trivial."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    y = layers.Conv2D(4, 3, padding="same", activation="tanh", name="conv2")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Conv2D(5, 3, activation="relu", name="conv3")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="out")(x), name="small")
    rng = np.random.default_rng(seed)
    model.get_layer("bn1").set_weights([rng.uniform(0.5, 1.5, 4) for _ in range(4)])
    return model


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    return rng.normal(size=(24, 12, 12, 3)).astype("float32"), rng.integers(0, 3, 24)


def test_main_points(net):
    """Convolution, merge and pooling, each moved to the end of what acts on single elements after it."""
    x = (np.zeros((1, 12, 12, 3)), [0])
    curve = measure_importance(net, x, progress=False)
    assert [cut.name for cut in curve.cuts] == ["relu1", "add", "drop", "conv3"]


def test_one_pass_equals_the_gradient_through_each_tail(net, images):
    """The gradient at every cut equals the one of a tail split off there and differentiated alone."""
    x, y = images
    curve = measure_importance(net, (x[:4], y[:4]), cuts="all", reduction="sum", progress=False)
    for position, cut in enumerate(find_cuts(net)):
        halves = split(net, cut)
        tail = halves.tail
        tail.layers[-1].activation = keras.activations.linear
        features = tf.convert_to_tensor(halves.head(x[:4]))
        with tf.GradientTape() as tape:
            tape.watch(features)
            score = tf.reduce_sum(tf.gather(tail(features), y[:4], batch_dims=1))
        gradient = tape.gradient(score, features).numpy().reshape(4, -1, cut.shape[-1])
        flat = features.numpy().reshape(4, -1, cut.shape[-1])
        maps = np.maximum(np.einsum("npc,nc->np", flat, gradient.mean(axis=1)), 0)
        np.testing.assert_allclose(curve.values[position], maps.sum(axis=1).mean(), rtol=1e-5)


def test_gradient_equals_finite_differences():
    """In float64, alpha equals what moving all elements of a channel by a little does to the logit."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        net = small_net(seed=1)
        rng = np.random.default_rng(0)
        x, label = rng.normal(size=(1, 12, 12, 3)), 2
        curve = measure_importance(net, (x, [label]), cuts=["pool"], reduction="sum", progress=False)
        halves = split(net, "pool")
        halves.tail.layers[-1].activation = keras.activations.linear
        features = np.array(halves.head(x))
        step, positions = 1e-5, features[0, ..., 0].size
        alpha = []
        for channel in range(features.shape[-1]):
            moved = [features.copy(), features.copy()]
            moved[0][..., channel] += step
            moved[1][..., channel] -= step
            up, down = (float(halves.tail(m)[0, label]) for m in moved)
            alpha.append((up - down) / (2 * step) / positions)
        wanted = np.maximum(features @ np.array(alpha), 0).sum()
        np.testing.assert_allclose(curve.values, [wanted], rtol=1e-5)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("layer", ["conv1", "add", "pool", "conv3"])
def test_maps_equal_tf_keras_vis(net, images, layer):
    """An independent Grad-CAM gives the same sums, one call per layer, to 1e-5."""
    vis = pytest.importorskip("tf_keras_vis.gradcam")
    from tf_keras_vis.utils.scores import CategoricalScore

    x, y = images[0][:3], images[1][:3]
    logits = keras.Model(net.input, keras.layers.Dense(3, name="logits")(net.get_layer("gap").output))
    logits.get_layer("logits").set_weights(net.get_layer("out").get_weights())
    cam = vis.Gradcam(logits, clone=True)(
        CategoricalScore(y.tolist()),
        x,
        penultimate_layer=layer,
        expand_cam=False,
        normalize_cam=False,
        seek_penultimate_conv_layer=False,
    )
    wanted = np.maximum(cam, 0).reshape(3, -1).sum(axis=1).mean()
    curve = measure_importance(small_net(), (x, y), cuts=[layer], reduction="sum", progress=False)
    np.testing.assert_allclose(curve.values, [wanted], rtol=1e-5)


def test_the_same_whether_one_by_one_in_batches_or_merged(net, images):
    """Invariant: to 1e-6 relative."""
    x, y = images
    whole = measure_importance(net, (x, y), progress=False)
    single = measure_importance(net, (x, y), batch_size=1, progress=False)
    shards = Curve.merge(
        [measure_importance(net, (x[i], y[i]), progress=False) for i in np.array_split(np.arange(24), 5)]
    )
    np.testing.assert_allclose(single.values, whole.values, rtol=1e-6)
    np.testing.assert_allclose(shards.values, whole.values, rtol=1e-6)


class Pairs(keras.utils.PyDataset):
    """The images as a PyDataset of three batches."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.x[8 * index : 8 * index + 8], self.y[8 * index : 8 * index + 8]


def test_every_form_of_data_gives_the_same_curve(net, images):
    """Arrays, tf.data with and without weights, PyDataset; labels as (N,), (N, 1) and one-hot."""
    x, y = images
    whole = measure_importance(net, (x, y), progress=False).values
    one_hot = keras.utils.to_categorical(y, 3)
    for data in (
        (x, y[:, None]),
        (x, one_hot),
        (x, y.astype("float32")),
        tf.data.Dataset.from_tensor_slices((x, y)).batch(7),
        tf.data.Dataset.from_tensor_slices((x, one_hot, np.ones(24))).batch(10),
        Pairs(x, y),
    ):
        np.testing.assert_allclose(measure_importance(net, data, progress=False).values, whole, rtol=1e-6)
    endless = tf.data.Dataset.from_tensor_slices((x, y)).batch(5).repeat()
    curve = measure_importance(net, endless, max_images=24, progress=False)
    assert curve.n_images == 24
    np.testing.assert_allclose(curve.values, whole, rtol=1e-6)


def test_the_model_is_left_alone(net, images):
    """No weight, node or layer changes."""
    before = net.get_weights(), [len(layer._inbound_nodes) for layer in net.layers]
    measure_importance(net, images, progress=False)
    after = net.get_weights(), [len(layer._inbound_nodes) for layer in net.layers]
    assert before[1] == after[1]
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"data": (np.zeros((2, 12, 12, 3)), [0, 3])}, DataError, "labels from 0 to 2. Received: labels from 0 to 3"),
        ({"data": (np.zeros((2, 12, 12, 3)), [0, -1])}, DataError, "Received: labels from -1"),
        ({"data": (np.zeros((2, 12, 12, 3)), [0.5, 1])}, DataError, "0.5 among them"),
        ({"data": (np.zeros((2, 12, 12, 3)), np.ones((2, 3)))}, DataError, "not every row is a single 1"),
        ({"data": (np.zeros((2, 12, 12, 3)), [0])}, DataError, "equally many"),
        ({"data": (np.zeros((0, 12, 12, 3)), [])}, DataError, "holds no image"),
        (
            {"data": (np.zeros((2, 10, 12, 3)), [0, 1])},
            DataError,
            "takes \\(N, 12, 12, 3\\). Received: \\(2, 10, 12, 3\\)",
        ),
        ({"data": 3}, DataError, "Expected a batched tf.data.Dataset"),
        (
            {"method": "lime"},
            ArgumentError,
            "Unknown method 'lime'. Possible: 'grad_cam', 'gradients', 'grad_cam\\+\\+'",
        ),
        ({"reduction": "max"}, ArgumentError, "Possible: 'mean', 'sum'"),
        ({"target": "top"}, ArgumentError, "Possible: 'label', 'predicted'"),
        ({"cuts": "most"}, ArgumentError, "'main', 'all', or a list"),
        ({"cuts": []}, ArgumentError, "list of cuts is empty"),
        ({"cuts": ["conv2"]}, CutError, "2 tensors are open there: 'relu1', 'conv2'"),
        ({"class_names": ["a"]}, ArgumentError, "3 classes apart. Received: 1 class names"),
        ({"max_images": 0}, ArgumentError, "max_images: expected an integer of at least 1. Received: 0"),
        ({"max_images": 2.5}, ArgumentError, "max_images: expected an integer of at least 1. Received: 2.5"),
        ({"batch_size": 0}, ArgumentError, "batch_size: expected an integer of at least 1. Received: 0"),
    ],
)
def test_bad_input_is_named(net, images, change, error, text):
    """What was asked, what was found, what is possible."""
    arguments = {"data": images, "progress": False} | change
    with pytest.raises(error, match=text):
        measure_importance(net, arguments.pop("data"), **arguments)


def test_data_without_end_or_batches_is_named(net, images):
    """An endless data set without max_images, and one that was not batched."""
    dataset = tf.data.Dataset.from_tensor_slices(images)
    with pytest.raises(DataError, match="The data never ends. Take n batches"):
        measure_importance(net, dataset.batch(4).repeat(), progress=False)
    with pytest.raises(DataError, match="call .batch\\(32\\)"):
        measure_importance(net, dataset, progress=False)


def test_a_layer_that_makes_nan_is_named(images):
    """The first layer whose output is not finite, not the last."""
    net = small_net()
    kernel, bias = net.get_layer("conv2").get_weights()
    net.get_layer("conv2").set_weights([kernel, np.full_like(bias, np.nan)])
    with pytest.raises(NumericsError, match="Layer 'conv2' \\(Conv2D\\) makes NaN or infinity for image 0"):
        measure_importance(net, images, progress=False)


def test_an_image_with_nan_is_told_from_a_bad_layer(net, images):
    """NaN that comes in with the data is the data's."""
    x = images[0].copy()
    x[2, 0, 0, 0] = np.nan
    with pytest.raises(NumericsError, match="Image 2 of a batch holds NaN or infinity before it enters"):
        measure_importance(net, (x, images[1]), progress=False)


def test_nan_that_a_relu_would_hide_is_found():
    """TensorFlow's ReLU makes 0 of NaN on a CPU, and all that follows is finite."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, activation="relu")(inputs))
    net = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    x = np.ones((6, 4, 4, 1), np.float32)
    x[5, 0, 0, 0] = np.nan
    with pytest.raises(NumericsError, match="Image 5 of a batch holds NaN or infinity before it enters"):
        measure_importance(net, (x, [0, 1] * 3), progress=False)


@pytest.mark.parametrize("method", ["grad_cam", "gradients"])
def test_one_image_at_a_time_is_the_same(method):
    """The same numbers to 1e-6 relative, as promised: kernels for a single row round differently, and a net as deep as
    VGG16 shows it."""
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=10)
    rng = np.random.default_rng(0)
    data = (rng.uniform(0, 255, (5, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 5))
    whole, *parts = (
        measure_importance(model, data, method=method, batch_size=size, progress=False).values for size in (5, 1, 2)
    )
    for part in parts:
        np.testing.assert_allclose(part, whole, rtol=1e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda x: keras.layers.Flatten()(keras.layers.Softmax()(x)),
        lambda x: keras.layers.Dropout(0.5)(keras.layers.Softmax()(keras.layers.Flatten()(x))),
        lambda x: keras.layers.Identity()(keras.layers.Reshape((3,))(keras.layers.Activation("softmax")(x))),
        lambda x: keras.ops.squeeze(keras.layers.Dense(3, activation="softmax", kernel_initializer="identity")(x)),
        lambda x: keras.ops.squeeze(keras.ops.softmax(x), axis=(1, 2)),
    ],
    ids=["flatten", "dropout", "reshape", "squeeze_of_a_layer", "squeeze_of_an_operation"],
)
def test_a_softmax_is_taken_off_behind_what_changes_no_value(last):
    """Reshaped from (1, 1, C), or behind Dropout: the score is the logit, and the output is known as a softmax."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    conv = keras.layers.Conv2D(4, 3, name="conv")
    scores = keras.layers.Conv2D(3, 1, kernel_initializer="random_normal")
    x = scores(keras.layers.GlobalAveragePooling2D(keepdims=True)(conv(inputs)))
    data = (np.random.default_rng(0).random((4, 6, 6, 3), np.float32), [0, 1, 2, 0])
    logits = measure_importance(keras.Model(inputs, keras.layers.Flatten()(x)), data, progress=False)
    squashed = keras.Model(inputs, last(x))
    assert split(squashed, "conv").output_kind == "softmax"
    np.testing.assert_allclose(
        measure_importance(squashed, data, progress=False).values[0], logits.values[0], rtol=1e-6
    )


def test_outputs_that_are_not_class_scores_are_refused():
    """A map, a single linear unit, a ReLU: said by name; from_logits=True accepts the unit."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3)(inputs)
    x = (np.ones((2, 4)), [0, 1])
    linear = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    with pytest.raises(ModelError, match="a single linear unit is a regression unless"):
        measure_importance(linear, x, progress=False)
    assert measure_importance(linear, x, from_logits=True, progress=False).n_images == 2
    linear.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert measure_importance(linear, x, progress=False).n_images == 2
    with pytest.raises(ModelError, match="relu\\) is not class scores"):
        measure_importance(keras.Model(inputs, keras.layers.Dense(2, activation="relu")(hidden)), x, progress=False)
    picture = keras.Input((8, 8, 1))
    maps = keras.Model(picture, keras.layers.Conv2D(2, 1)(keras.layers.Conv2D(2, 1)(picture)))
    with pytest.raises(ModelError, match="Expected class scores: \\(n_classes,\\)"):
        measure_importance(maps, (np.ones((2, 8, 8, 1)), [0, 1]), progress=False)
    with pytest.raises(ModelError, match="Expected a Keras 3 model. Received: builtins.int"):
        measure_importance(3, x)


@pytest.mark.parametrize(
    "activation",
    [
        keras.layers.Softmax(),
        tf.nn.softmax,
        functools.partial(keras.activations.softmax, axis=-1),
        keras.layers.Activation("softmax"),
    ],
    ids=["layer", "tensorflow", "partial", "activation layer"],
)
def test_a_softmax_is_known_however_it_is_given(activation):
    """As a layer, of TensorFlow, as a partial: the score is the logit, as behind activation="softmax"."""
    keras.utils.set_random_seed(0)
    conv = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    plain = keras.Sequential([keras.Input((8, 8, 3)), *conv, keras.layers.Dense(3, activation="softmax")])
    other = keras.Sequential([keras.Input((8, 8, 3)), *conv, keras.layers.Dense(3, activation=activation)])
    other.set_weights(plain.get_weights())
    data = np.random.default_rng(0).random((4, 8, 8, 3), np.float32), [0, 1, 2, 0]
    wanted = measure_importance(plain, data, progress=False)
    np.testing.assert_allclose(measure_importance(other, data, progress=False).values, wanted.values, rtol=1e-6)
    assert split(other, 0).output_kind == "softmax"


@pytest.mark.parametrize("name", ["_conv", "-x"])
def test_names_that_tensorflow_takes_within_a_scope_alone(name):
    """Keras runs such layers, and so does the pass."""
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3, name=name))
    assert measure_importance(model, (np.ones((2, 4, 4, 1)), [0, 1]), progress=False).n_images == 2


def test_a_model_of_named_inputs_takes_a_dict_of_them_alone():
    """A tuple would be matched by the order of the names, a key too many would go unnoticed."""
    a, b = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    hidden = keras.layers.Dense(5, activation="relu")(a * 2.0 - b)
    model = keras.Model({"zeta": a, "alpha": b}, keras.layers.Dense(3)(hidden))
    one, other, y = np.ones((2, 4)), np.zeros((2, 4)), [0, 1]
    assert measure_importance(model, ({"zeta": one, "alpha": other}, y), progress=False).n_images == 2
    for x in ((one, other), {"zeta": one, "alpha": other, "id": one}, {"zeta": one}):
        for ask in (measure_importance, evaluate):
            with pytest.raises(DataError, match=r"\['alpha', 'zeta'\]"):
                ask(model, (x, y), progress=False)


def test_a_stateful_layer_is_refused():
    """What it gives depends on the batches before, and measuring would change the user's model."""
    layers = [keras.layers.LSTM(4, return_sequences=True, stateful=True), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input(batch_shape=(2, 6, 4)), *layers, keras.layers.Flatten()])
    with pytest.raises(ModelError, match="'lstm.*' of model .* is stateful"):
        measure_importance(model, (np.ones((2, 6, 4)), [0, 1]), batch_size=2, progress=False)


def test_no_random_number_is_drawn(net, images):
    """A seeded experiment goes on as if nothing had been measured."""
    for look in (measure_importance, evaluate):
        keras.utils.set_random_seed(0)
        expected = keras.layers.Dense(3).kernel_initializer((2, 2))
        keras.utils.set_random_seed(0)
        look(net, images, progress=False)
        np.testing.assert_array_equal(keras.layers.Dense(3).kernel_initializer((2, 2)), expected)


def test_a_single_cut_needs_no_list(net, images):
    """An index or a Cut alone; anything else is named."""
    for cut in (0, find_cuts(net)[0]):
        assert len(measure_importance(net, images, cuts=cut, progress=False).cuts) == 1
    with pytest.raises(ArgumentError, match="Unknown cuts None"):
        measure_importance(net, images, cuts=None)
