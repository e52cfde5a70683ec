"""Data sets of TensorFlow Datasets by name, with builders of this test; nothing is downloaded."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from isplit_tf.datasets import open_data
from isplit_tf.errors import DataError


class TinyBoxes(tfds.core.GeneratorBasedBuilder):
    """Ten images of one value each, in two classes."""

    VERSION = tfds.core.Version("1.2.0")
    SIZES = ((4, 6),)

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3) if len(self.SIZES) > 1 else (4, 6, 3)),
                "label": tfds.features.ClassLabel(names=["dark", "light"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(8)), "test": self._generate_examples(range(8, 10))}

    def _generate_examples(self, values):
        for value in values:
            size = self.SIZES[value % len(self.SIZES)]
            yield value, {"image": np.full((*size, 3), value * 20, np.uint8), "label": value % 2}


class TinyMixedSizes(TinyBoxes):
    """The same, in two sizes."""

    SIZES = ((4, 6), (5, 5))


class TinyWithoutLabels(tfds.core.GeneratorBasedBuilder):
    """Images alone."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(4, 4, 3))})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {}

    def _generate_examples(self):
        yield from ()


class TinyText(TinyBoxes):
    """Text with labels."""

    def _info(self):
        features = tfds.features.FeaturesDict(
            {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("text", "label"))


class TinyOffline(TinyBoxes):
    """A data set whose server is gone."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where the builders of this test prepare their data."""
    return str(tmp_path_factory.mktemp("tfds"))


def collect(data):
    xs, ys = zip(*((x.numpy(), y.numpy()) for x, y in data), strict=True)
    return np.concatenate(xs), np.concatenate(ys)


def test_images_labels_and_names(data_dir):
    """A data set is prepared and comes in batches, with the names of its classes."""
    data, names = open_data("tfds:tiny_boxes:test", data_dir=data_dir, batch_size=1)
    x, y = collect(data)
    assert names == ("dark", "light")
    assert (x.shape, x.dtype, y.dtype) == ((2, 4, 6, 3), np.float32, np.int64)
    assert {int(label): value for label, value in zip(y, x[:, 0, 0, 0], strict=True)} == {0: 160, 1: 180}


def test_form_of_images(data_dir):
    """Size, channels and dtype are the caller's."""
    x, _ = collect(open_data("tfds:tiny_boxes", split="train", data_dir=data_dir, image_size=(3, 3), channels=1)[0])
    assert x.shape == (8, 3, 3, 1)
    x, _ = collect(open_data("tfds:tiny_boxes", split="train", data_dir=data_dir, dtype="uint8")[0])
    assert (x.shape, x.dtype) == ((8, 4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("tfds:tiny_boxes:train[:50%]", 4),
        ("tfds:tiny_boxes:train+test", 10),
        ("tfds:tiny_boxes:1.2.0:test", 2),
        ("tfds:tiny_boxes:1.*.*:train[2:5]", 3),
    ],
)
def test_versions_and_parts_of_splits(data_dir, spec, count):
    """What TensorFlow Datasets writes behind a name is understood."""
    assert len(collect(open_data(spec, data_dir=data_dir)[0])[1]) == count


def test_shuffle(data_dir):
    """Shuffled, all images come, in another order each pass."""
    data, _ = open_data("tfds:tiny_boxes:train", data_dir=data_dir, shuffle=True, seed=3)
    passes = [tuple(collect(data)[0][:, 0, 0, 0]) for _ in range(4)]
    assert len(set(passes)) > 1
    assert {tuple(sorted(one)) for one in passes} == {tuple(range(0, 160, 20))}


def test_sizes_that_differ_need_a_size(data_dir):
    """Images of several sizes do not batch: the message asks for a size."""
    with pytest.raises(DataError, match=r"tfds:tiny_mixed_sizes:train differ in size\. Give image_size"):
        open_data("tfds:tiny_mixed_sizes:train", data_dir=data_dir)
    x, _ = collect(open_data("tfds:tiny_mixed_sizes:train", data_dir=data_dir, image_size=(5, 5))[0])
    assert x.shape == (8, 5, 5, 3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tfds:tiny_boxess:train", r"has no data set 'tiny_boxess'\. Did you mean 'tiny_boxes'"),
        ("tfds:zzzzqqq", r"has no data set 'zzzzqqq'\. tfds\.list_builders\(\)"),
        (
            "tfds:tiny_boxes",
            r"tiny_boxes/1\.2\.0 has the splits train, test, and none is asked for.*tfds:tiny_boxes:train",
        ),
        ("tfds:tiny_boxes:val", r"has no split 'val'\. It has: train, test\."),
        ("tfds:tiny_boxes:9.0.0:train", r"tfds:tiny_boxes:9\.0\.0 cannot be opened: .*9\.0\.0"),
        ("tfds:", r"'tfds:' is not of the form tfds:NAME"),
        ("tfds:tiny_without_labels", r"does not say which features are image and label\. Its features: image"),
        ("tfds:tiny_text:train", r"tfds:tiny_text/1\.2\.0 holds text of type string\. Expected numbers"),
        ("tfds:tiny_offline:train", r"tfds:tiny_offline/1\.2\.0 cannot be prepared: no route to host"),
    ],
)
def test_what_cannot_be_opened(data_dir, spec, message):
    """Each error says what was asked, found and possible."""
    with pytest.raises(DataError, match=message):
        open_data(spec, data_dir=data_dir)
