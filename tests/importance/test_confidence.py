"""A pass that ends as soon as the curve is settled, over every form of data, sorted by class or not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import measure_importance
from isplit_tf.errors import ArgumentError, DataError
from isplit_tf.importance import data_pass, settling

N = 600


def clear_net() -> keras.Model:
    """Three cuts of one shape with positive weights: the second is the peak for every image, the third is low."""
    layers = keras.layers
    inputs = keras.Input((4, 4, 1), name="image")
    x = layers.Conv2D(2, 1, use_bias=False, name="conv1")(inputs)
    x = layers.Conv2D(2, 1, activation="relu", name="conv2")(x)
    x = layers.Conv2D(8, 1, use_bias=False, name="conv3")(x)
    outputs = layers.Dense(3, activation="softmax", name="scores")(layers.GlobalAveragePooling2D(name="pool")(x))
    model = keras.Model(inputs, outputs, name="clear")
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.weights])
    model.get_layer("conv2").set_weights([np.full((1, 1, 2, 2), 1.0), np.full(2, 1.0)])
    return model


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return clear_net()


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Sorted by class: 300, 200 and 100 images."""
    x = np.random.default_rng(1).uniform(0.2, 1.0, (N, 4, 4, 1)).astype("float32")
    return x, np.repeat([0, 1, 2], [300, 200, 100])


class Batches(keras.utils.PyDataset):
    """The images as a PyDataset."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 50)

    def __getitem__(self, index):
        return self.x[50 * index : 50 * index + 50], self.y[50 * index : 50 * index + 50]


FORMS = {
    "arrays": lambda x, y: (x, y),
    "tensors and a list": lambda x, y: (tf.constant(x), y.tolist()),
    "dict": lambda x, y: ({"image": x}, y),
    "dataset": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(64),
    "endless": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(64).repeat(),
    "PyDataset": Batches,
}


@pytest.mark.parametrize("form", FORMS)
def test_it_stops_early_on_data_sorted_by_class(net, images, form):
    """One look of 32 images is enough here; each class has its share of them, and the leading cuts are the same."""
    data = FORMS[form](*images)
    whole = measure_importance(net, images, progress=False)
    curve = measure_importance(net, data, confidence=0.95, max_images=N, progress=False)
    assert curve.n_images == 32
    assert np.abs(curve.counts - np.array([16, 32 / 3, 16 / 3])).max() < 2
    assert curve.settled
    assert 0.95 <= curve.confidence <= 1
    assert (curve.best, curve.peaks) == (whole.best, whole.peaks)
    assert (whole.confidence, whole.settled) == (None, None)


@pytest.mark.parametrize("form", ["arrays", "dataset"])
def test_where_nothing_settles_all_images_are_seen(net, images, form, monkeypatch):
    """Without a look at them it stays open to the end: the curve of all images, and it says that it is not settled."""
    monkeypatch.setattr(settling, "FIRST_LOOK", N + 1)
    curve = measure_importance(net, FORMS[form](*images), confidence=0.95, progress=False)
    whole = measure_importance(net, images, progress=False)
    assert (curve.n_images, curve.confidence, curve.settled) == (N, 0.0, False)
    np.testing.assert_allclose(curve.values, whole.values, rtol=1e-6)


def test_a_stream_that_does_not_fit_into_memory(net, images, monkeypatch):
    """Of sorted images some of every class are kept; where they do not suffice, all are seen, each once."""
    monkeypatch.setattr(data_pass, "KEPT_BYTES", 60 * 4 * 4 * 4)
    data = FORMS["dataset"](*images)
    x, labels, complete = data_pass.at_hand(data, n_classes=3)
    assert (x.shape, complete) == ((60, 4, 4, 1), False)
    assert np.abs(np.bincount(labels) - [30, 20, 10]).max() < 10
    assert measure_importance(net, data, confidence=0.95, progress=False).n_images == 32
    monkeypatch.setattr(data_pass, "KEPT_BYTES", 20 * 4 * 4 * 4)
    curve = measure_importance(net, data, confidence=0.95, progress=False)
    assert curve.counts.tolist() == [300, 200, 100]
    np.testing.assert_allclose(curve.values, measure_importance(net, images, progress=False).values, rtol=1e-6)
    assert curve.settled


def test_max_images_limits_what_is_read(net, images):
    """The data are then the first ones, here of one class."""
    curve = measure_importance(net, images, confidence=0.95, max_images=40, batch_size=8, progress=False)
    assert curve.counts.tolist() == [32, 0, 0]


def test_bad_confidence_and_bad_data_are_named(net, images):
    """A percentage is no confidence; what is wrong with data is said as without it."""
    with pytest.raises(ArgumentError, match="confidence: expected a number between 0 and 1. Received: 95"):
        measure_importance(net, images, confidence=95, progress=False)
    for data in ((images[0], images[1][:-1]), (images[0][:0], images[1][:0]), (images[0], images[1] + 1), 3):
        with pytest.raises(DataError):
            measure_importance(net, data, confidence=0.95, progress=False)
