"""The order in which training data come, and features that are computed once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.errors import DataError
from isplit_tf.graph.program import read_program
from isplit_tf.training.data import ArrayFeed, cached_features, image_feed, labels_shape, pair_feed
from isplit_tf.training.objectives import Objective

AS_THEY_COME = Objective(None, None, None, None)
X, Y = np.arange(10, dtype=np.float32)[:, np.newaxis], np.arange(10)


def seen(feed):
    """All images that a feed gives, in order."""
    return np.concatenate([np.asarray(batch[0])[:, 0] for batch in feed]).tolist()


def test_each_image_comes_once_in_each_epoch_and_the_order_changes():
    """Every epoch is a permutation of the images, another one each time, cut into batches with a rest."""
    feed = ArrayFeed((X, Y), batch_size=4)
    feed.seed = (1, 0)
    orders = []
    for epoch in range(3):
        feed.epoch = epoch
        assert [len(feed[index][0]) for index in range(len(feed))] == [4, 4, 2]
        orders.append(seen(feed))
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1] != orders[2]


def test_the_order_depends_on_seed_and_epoch_alone():
    """A feed that starts at a later epoch gives that epoch's order; another seed or phase gives another
    one."""

    def order(seed, epoch):
        feed = ArrayFeed((X,), batch_size=3)
        feed.seed, feed.epoch = seed, epoch
        return seen(feed)

    feed = ArrayFeed((X,), batch_size=3)
    feed.seed = (1, 0)
    for feed.epoch in range(5):
        seen(feed)
    assert order((1, 0), 4) == seen(feed)
    assert order((1, 1), 4) != order((1, 0), 4) != order((2, 0), 4)


def test_without_a_seed_data_come_in_their_own_order():
    """Validation data are not shuffled."""
    assert seen(ArrayFeed((X,), batch_size=3)) == list(range(10))


def test_images_labels_and_weights_stay_together():
    """What belongs to an image is shuffled with it, in dicts of several inputs too."""
    feed = pair_feed(({"a": X, "b": X * 2}, Y, Y / 2), AS_THEY_COME, batch_size=4)
    feed.seed = (0, 0)
    for x, y, weight in feed:
        np.testing.assert_array_equal(x["a"][:, 0], y)
        np.testing.assert_array_equal(x["b"][:, 0], y * 2)
        np.testing.assert_array_equal(weight, y / 2)


class Pairs(keras.utils.PyDataset):
    """Five batches of two images, which counts its epochs."""

    def __init__(self, **workers):
        super().__init__(**workers)
        self.begun = self.ended = 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index * 2 : index * 2 + 2], Y[index * 2 : index * 2 + 2]

    def on_epoch_begin(self):
        self.begun += 1

    def on_epoch_end(self):
        self.ended += 1


def test_a_pydataset_is_shuffled_by_batches_and_keeps_its_ways():
    """Batches of a PyDataset come in another order, whole; its workers and its hooks stay."""
    data = Pairs(workers=3, max_queue_size=7)
    feed = pair_feed(data, Objective(None, "one_hot", 10, None), batch_size=99)
    feed.seed = (0, 0)
    assert (feed.workers, feed.max_queue_size, feed.use_multiprocessing) == (3, 7, False)
    found = seen(feed)
    assert sorted(found) == list(range(10)) != found
    assert [second - first for first, second in zip(found[::2], found[1::2], strict=True)] == [1] * 5
    assert feed[0][1].shape == (2, 10)
    feed.on_epoch_begin()
    feed.on_epoch_end()
    assert (data.begun, data.ended) == (1, 1)
    assert seen(image_feed(data, batch_size=99)) == list(range(10))


@pytest.mark.parametrize("weights", [(), (np.ones(10, np.float32),)])
def test_a_data_set_keeps_its_order_and_batches(weights):
    """tf.data comes as it is, labels in the form that is wanted; alone, its images are tuples of one."""
    data = tf.data.Dataset.from_tensor_slices((X, Y, *weights)).batch(4)
    pairs = pair_feed(data, Objective(None, "one_hot", 10, None), batch_size=99)
    assert seen(pairs) == list(range(10))
    assert [len(element) for element in pairs] == [2 + len(weights)] * 3
    assert next(iter(pairs))[1].shape == (4, 10)
    assert [len(element) for element in image_feed(data, batch_size=99)] == [1] * 3


def test_shapes_of_labels():
    """The shape of the first labels is read from arrays, lists, data sets with and without declared
    shapes."""
    declared = tf.data.Dataset.from_tensor_slices((X, np.eye(10))).batch(4)
    open_rank = tf.data.Dataset.from_generator(
        lambda: iter([(X, Y)]), output_signature=(tf.TensorSpec((None, 1)), tf.TensorSpec(None, tf.int64))
    )
    assert labels_shape((X, Y), 4) == (4,)
    assert labels_shape((X, Y.tolist()), 4) == (4,)
    assert labels_shape(declared, 4) == (None, 10)
    assert labels_shape(open_rank, 4) == (10,)
    assert labels_shape(Pairs(), 4) == (2,)
    for wrong in (X, (X, None), tf.data.Dataset.from_tensor_slices(X).batch(3)):
        with pytest.raises(DataError, match="Fine-tuning needs labels"):
            labels_shape(wrong, 4)


@pytest.fixture(scope="module")
def head():
    """A head that doubles its input: features of 4 bytes per image."""
    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))


@pytest.mark.parametrize(
    "data", [(X, Y), X, Pairs(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)], ids=["pair", "x", "py", "tf"]
)
def test_features_are_computed_once_in_the_datas_order(head, data):
    """Features of every kind of data, the last short batch included; exactly the budget is enough."""
    arguments = {"program": read_program(head), "batch_size": 4, "progress": False}
    found = cached_features(head, data, budget_bytes=1000, **arguments)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, X * 2)
    assert cached_features(head, data, budget_bytes=39, **arguments) is None
    assert cached_features(head, data, budget_bytes=0, **arguments) is None
    if isinstance(data, tuple | np.ndarray | Pairs):  # of a data set only an upper bound is known beforehand
        assert cached_features(head, data, budget_bytes=40, **arguments) is not None


def test_features_that_do_not_fit_are_not_computed(head):
    """Where the number of images is known, a budget that is too small costs nothing."""

    class Never:
        shape = (10, 1)

        def __len__(self):
            return 10

        def __getitem__(self, index):
            raise AssertionError("read")

    arguments = {"program": read_program(head), "batch_size": 4, "progress": False}
    assert cached_features(head, (Never(), Y), budget_bytes=39, **arguments) is None
