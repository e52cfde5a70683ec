"""Data as users bring it."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from isplit_tf.batches import batches, count_images, is_endless
from isplit_tf.batches.labels import read_labels
from isplit_tf.batches.sampling import Reservoir, take_part
from isplit_tf.errors import ArgumentError, DataError

X = np.arange(10 * 2, dtype="float32").reshape(10, 2)
Y = np.arange(10) % 3


class Sequence(keras.utils.PyDataset):
    """Batches of three."""

    def __init__(self, endless: bool = False):
        super().__init__()
        self.endless = endless

    @property
    def num_batches(self):
        return None if self.endless else 4

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], Y[3 * index : 3 * index + 3]


def together(data, **options) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of the batches."""
    found = list(batches(data, **options))
    return np.concatenate([np.asarray(b.x) for b in found]), np.concatenate([b.labels for b in found])


def weighted() -> tf.data.Dataset:
    """Images, labels and weights."""
    return tf.data.Dataset.from_tensor_slices((X, Y, np.ones(10))).batch(4)


KINDS = {
    "arrays": lambda: (X, Y),
    "list": lambda: [X, Y],
    "weights": lambda: (X, Y, np.ones(10)),
    "tensors": lambda: (tf.constant(X), tf.constant(Y)),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),
    "weighted dataset": weighted,
    "one-hot dataset": lambda: tf.data.Dataset.from_tensor_slices((X, np.eye(3)[Y])).batch(4),
    "generator": lambda: tf.data.Dataset.from_generator(
        lambda: iter([(X[:6], Y[:6]), (X[6:], Y[6:])]),
        output_signature=(tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int32)),
    ),
    "PyDataset": Sequence,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_kinds(kind, batch_size):
    """Every kind of data gives the same images and int64 labels, in the data's order."""
    x, labels = together(KINDS[kind](), n_classes=3, batch_size=batch_size)
    assert np.array_equal(x, X)
    assert np.array_equal(labels, Y)
    assert labels.dtype == np.int64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 4, 5, 10, 11])
def test_limit(kind, limit):
    """max_images cuts a batch where needed, and more than there are is no error."""
    x, labels = together(KINDS[kind](), max_images=limit, batch_size=3)
    assert len(x) == len(labels) == min(limit, 10)
    assert np.array_equal(x, X[:limit])


def test_sizes():
    """A batch says how many images it holds."""
    assert [batch.size for batch in batches((X, Y), batch_size=4)] == [4, 4, 2]


@pytest.mark.parametrize("structure", ["dict", "tuple", "nested dataset"])
def test_several_inputs(structure):
    """x may be a dict or a tuple of arrays, which stay together."""
    x = {"a": X, "b": X[:, :1]} if structure != "tuple" else (X, X[:, :1])
    data = tf.data.Dataset.from_tensor_slices((x, Y)).batch(4) if "dataset" in structure else (x, Y)
    found = list(batches(data, batch_size=4, max_images=6))
    assert [batch.size for batch in found] == [4, 2]
    leaves = keras.tree.flatten(found[1].x)
    assert [tuple(leaf.shape) for leaf in leaves] == [(2, 2), (2, 1)]
    assert np.array_equal(leaves[0], X[4:6])


@pytest.mark.parametrize(
    "data",
    [X, tf.constant(X), (X,), {"a": X}, tf.data.Dataset.from_tensor_slices(X).batch(4), (X, None)],
    ids=["array", "tensor", "tuple", "dict", "dataset", "no labels"],
)
def test_without_labels(data):
    """With labels=False, images alone will do."""
    found = list(batches(data, labels=False, batch_size=4))
    assert sum(batch.size for batch in found) == 10
    assert all(batch.labels is None for batch in found)


class TestLabels:
    """Labels as int64 (N,)."""

    @pytest.mark.parametrize(
        "y",
        [
            np.array([2, 0, 1]),
            np.array([[2], [0], [1]]),
            np.array([2.0, 0.0, 1.0]),
            np.array([2, 0, 1], np.uint8),
            np.eye(3)[[2, 0, 1]],
            np.eye(3, dtype=bool)[[2, 0, 1]],
            tf.constant([2, 0, 1]),
            [2, 0, 1],
        ],
        ids=["(N,)", "(N, 1)", "floats", "uint8", "one-hot", "bools", "tensor", "list"],
    )
    def test_forms(self, y):
        """Each form that is taken."""
        y = np.asarray(y) if isinstance(y, list) else y
        assert read_labels(y, 3, 3).tolist() == [2, 0, 1]
        assert read_labels(y, None, 3).dtype == np.int64

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (np.array([0, 3, 1]), "Expected labels from 0 to 2. Received: labels from 0 to 3"),
            (np.array([0, -1, 1]), "Expected labels from 0 to 2. Received: labels from -1 to 1"),
            (np.array([0, 0.5, 1]), "Received: float64, 0.5 among them"),
            (np.array([0, np.nan, 1]), "Received: float64, nan among them"),
            (np.array(["a", "b", "c"]), "or one-hot .N, 3. for 3 images. Received: <U1"),
            (np.zeros((3, 2, 2)), "Received: float64 .3, 2, 2."),
            (np.zeros(4), "for 3 images. Received: float64 .4,."),
            (np.eye(4)[:3], "Received: float64 .3, 4."),
            (np.full((3, 3), 1 / 3), "in which not every row is a single 1 among zeros"),
            (np.zeros((3, 3)), "in which not every row is a single 1 among zeros"),
            ({"a": np.zeros(3), "b": np.zeros(3)}, "Expected one array of labels. Received: dict of 2"),
        ],
    )
    def test_refused(self, y, message):
        """What is out of range or of another shape is refused, with what was found."""
        with pytest.raises(DataError, match=message):
            read_labels(y, 3, 3)


class TestRefused:
    """Data that cannot be used says why."""

    @pytest.mark.parametrize("data", ["images/", 3, None, {"a": X}, (X, Y, X, Y), iter([(X, Y)])])
    def test_other_kinds(self, data):
        """What is expected is named."""
        with pytest.raises(DataError, match=r"Expected a batched tf\.data\.Dataset of \(x, y\).*Received: builtins\."):
            list(batches(data))

    def test_empty(self):
        """No image."""
        for data in ((X[:0], Y[:0]), tf.data.Dataset.from_tensor_slices((X[:0], Y[:0])).batch(2)):
            with pytest.raises(DataError, match="The data holds no image"):
                list(batches(data))

    def test_endless(self):
        """An endless data set needs max_images, and is read no further than that."""
        for data in (tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(4), Sequence(endless=True)):
            with pytest.raises(
                DataError, match=r"The data never ends\. Take n batches of it with take\(n\), or give max_images"
            ):
                list(batches(data))
            assert len(together(data, max_images=9)[0]) == 9

    def test_limit(self):
        """At least one image."""
        with pytest.raises(ArgumentError, match="max_images: expected an integer of at least 1. Received: 0"):
            list(batches((X, Y), max_images=0))

    def test_unequal(self):
        """Images and labels must be equally many."""
        with pytest.raises(DataError, match=r"Images and labels must be equally many\. Received: \[9, 10\]"):
            list(batches((X, Y[:9])))
        with pytest.raises(DataError, match=r"Received parts of \[9, 10\] images"):
            list(batches(({"a": X, "b": X[:9]}, Y)))

    @pytest.mark.parametrize("place", ["x", "y"])
    @pytest.mark.parametrize("kind", ["SparseTensor", "SciPy", "RaggedTensor", "objects", "lists"])
    @pytest.mark.parametrize("streamed", [False, True])
    def test_sparse_or_ragged(self, place, kind, streamed):
        """What has no rows of one length, or does not store all, is refused with the way to make it so."""
        rows = np.empty(10, object)
        rows[:] = [list(range(k % 3)) for k in range(10)]
        unusual = {
            "SparseTensor": lambda: tf.sparse.from_dense(X),
            "SciPy": lambda: scipy.sparse.csr_matrix(X),
            "RaggedTensor": lambda: tf.RaggedTensor.from_tensor(X),
            "objects": lambda: rows,
            "lists": lambda: rows.tolist(),
        }[kind]()
        if (kind, place) == ("lists", "x") or (streamed and not isinstance(unusual, tf.SparseTensor | tf.RaggedTensor)):
            pytest.skip("lists are several inputs; a data set holds no others")
        data = (unusual, Y) if place == "x" else (X, unusual)
        if streamed:
            data = tf.data.Dataset.from_tensor_slices(data).batch(4)
        sparse = kind.startswith("S")
        remedy = r"which is sparse\. .*tf\.sparse\.to_dense" if sparse else r"which is ragged\. .*to_tensor\(shape="
        with pytest.raises(DataError, match=remedy):
            together(data)
        if place == "x":
            for read in (lambda: next(batches(data, labels=False)), lambda: count_images(data)):
                with pytest.raises(DataError, match=remedy):
                    read()
        else:
            assert next(batches(data, labels=False, batch_size=4)).size == 4

    def test_no_labels(self):
        """Where labels are needed, images alone will not do."""
        for data in (tf.data.Dataset.from_tensor_slices(X).batch(4), (X, None)):
            with pytest.raises(DataError, match="The data gives no labels"):
                list(batches(data))

    def test_not_batched(self):
        """Single values are no batch."""
        with pytest.raises(DataError, match=r"single images with single labels\. Batch it: call \.batch\(32\)"):
            list(batches(tf.data.Dataset.from_tensor_slices((np.arange(3.0), np.arange(3)))))


@pytest.mark.parametrize(
    ("kind", "count"),
    [("arrays", 10), ("dataset", None), ("generator", None), ("PyDataset", None)],
)
def test_count(kind, count):
    """How many images there will be, where that is known without reading."""
    assert count_images(KINDS[kind]()) == count
    assert count_images(KINDS[kind](), 7) == 7
    assert not is_endless(KINDS[kind]())


def test_count_of_full_batches():
    """Known where every batch is of one size."""
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5, drop_remainder=True)
    assert (count_images(data), count_images(data, 7), count_images((X, Y), 100)) == (10, 7, 10)


def part_of(data, images, **options) -> list[int]:
    """Which images are in a part of data that number themselves, in order."""
    part = take_part(data, images, **options)
    return [int(i) for batch in batches(part, labels=False, max_images=images) for i in np.asarray(batch.x)[:, 0]]


def test_a_part_of_arrays():
    """Without a seed even steps from the first to the last, with one a random choice; labels are left out."""
    x = np.arange(10.0)[:, np.newaxis]
    for data in (x, (x, Y), tf.constant(x)):
        assert part_of(data, 4) == [0, 3, 6, 9]
        assert part_of(data, 4, seed=0) == [2, 4, 5, 7]
        assert part_of(data, 4, seed=1) != part_of(data, 4, seed=0)
        assert part_of(data, 11) == part_of(data, 10, seed=0) == list(range(10))
    both = take_part(({"a": x, "b": -x}, Y), 4)
    assert both[1] is None
    assert np.array_equal(both[0]["a"], -both[0]["b"])


class Numbered(keras.utils.PyDataset):
    """40 batches of five images that number themselves."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return np.arange(5.0 * index, 5 * index + 5)[:, np.newaxis], np.zeros(5)


@pytest.mark.parametrize("seed", [None, 0])
def test_a_part_of_a_stream(seed):
    """It is spread over the batches where their number is known; else it is what comes first."""
    x = np.arange(200.0)[:, np.newaxis]
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(200))).batch(5)
    spread = [i for start in range(0, 200, 50) for i in range(start, start + 5)]
    for data in (dataset, Numbered()):
        assert part_of(data, 20, seed=seed) == spread
        assert part_of(data, 18, seed=seed) == spread[:18]
        assert part_of(data, 500, seed=seed) == list(range(200))
    for data in (dataset.filter(lambda *_: True), dataset.repeat()):
        assert part_of(data, 20, seed=seed) == list(range(20))


def test_a_reservoir_is_fair():
    """Of a stream each item is kept as often as any other, and all of them where there is room."""
    rng = np.random.default_rng(0)
    counts = np.zeros(20)
    for _ in range(2000):
        kept = Reservoir(5)
        for item in range(20):
            if (place := kept.draw(rng)) is not None:
                kept.put(place, item)
        counts[kept.items] += 1
        assert (len(set(kept.items)), kept.seen, kept.is_whole) == (5, 20, False)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)
    whole = Reservoir(3)
    for item in "ab":
        whole.put(whole.draw(rng), item)
    assert (whole.items, whole.is_whole) == (["a", "b"], True)
