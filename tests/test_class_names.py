"""Names of classes come along from the data, also behind the steps of `tf.data`, up to the manifest."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf
from isplit_tf.batches.class_names import class_names_of, known_class_names
from isplit_tf.errors import ArgumentError

NAMES = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """What `image_dataset_from_directory` gives for three folders of pictures."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in NAMES:
        (folder / name).mkdir()
        for k in range(8):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / name / f"{k}.png")
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(8, 8), color_mode="grayscale", batch_size=8, seed=0, verbose=False
    )


STEPS = {
    "itself": lambda data: data,
    "prefetch": lambda data: data.prefetch(2),
    "cache and shuffle": lambda data: data.cache().shuffle(4, seed=0),
    "take, skip, repeat, shard": lambda data: data.repeat(2).skip(1).take(2).shard(1, 0),
    "map of images": lambda data: data.map(lambda x, y: (x / 255.0, y)).prefetch(1),
    "one-hot": lambda data: data.map(lambda x, y: (x, tf.one_hot(y, 3))),
    "batched anew": lambda data: data.unbatch().batch(4),
    "options": lambda data: data.with_options(tf.data.Options()),
}
LOST = {
    "other labels": lambda data: data.map(lambda x, y: (x, tf.cast(y, tf.float32))),
    "zip": lambda data: tf.data.Dataset.zip((data.map(lambda x, y: x), data.map(lambda x, y: y))),
    "concatenate": lambda data: data.concatenate(data),
    "arrays": lambda data: (np.zeros((3, 8, 8, 1)), np.arange(3)),
}


@pytest.mark.parametrize("step", STEPS)
def test_steps_that_keep_the_labels_keep_the_names(photos, step):
    """Whatever gives the same labels, as numbers or one-hot."""
    assert class_names_of(STEPS[step](photos), 3) == NAMES


@pytest.mark.parametrize("step", LOST)
def test_where_labels_may_be_others_there_are_no_names(photos, step):
    """Several sources, labels of another type, and data that never had names."""
    assert class_names_of(LOST[step](photos), 3) is None


def test_names_of_another_number_are_none_of_the_models(photos):
    """Behind a step they are left out; what was given or stands on the data itself must be as many."""
    assert class_names_of(photos.prefetch(1), 10) is None
    assert known_class_names(["x", "y"], photos, 2) == ["x", "y"]
    assert known_class_names(None, (np.zeros((3, 2)), np.arange(3)), 3) is None
    for names, data in ((["x"], photos), (None, photos)):
        with pytest.raises(ArgumentError, match="class names"):
            known_class_names(names, data, 10)


def test_they_reach_curve_evaluation_and_manifest(photos, tmp_path):
    """With no word said: the curve, the predicted accuracy, the evaluation, and the manifest of the bundle."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Conv2D(2, 3, name="more")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    data = photos.cache().prefetch(1)
    quiet = {"progress": False}
    assert isplit_tf.measure_importance(model, data, **quiet).class_names == NAMES
    assert isplit_tf.predict_accuracy(model, data, **quiet).class_names == NAMES
    assert list(isplit_tf.evaluate(model, data, **quiet).class_names) == NAMES
    halves = isplit_tf.split(model, "conv")
    bundle = isplit_tf.export_bundle(
        halves, tmp_path / "bundle", precision="float32", evaluation_data=data, max_evaluation_images=4, **quiet
    )
    assert list(bundle.manifest.class_names) == NAMES
