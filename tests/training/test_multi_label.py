"""Training on images with several labels: loss, accuracy, the best weights, distillation, and the files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import isplit_tf as isplit

QUIET = {"progress": False, "seed": 0}


@pytest.fixture
def data(rng):
    """Images whose labels are whether the mean of each channel is high."""
    x = rng.random((64, 6, 6, 3)).astype("float32") + rng.normal(0, 0.4, (64, 1, 1, 3)).astype("float32")
    return x, (x.mean(axis=(1, 2)) > 0.5).astype("int64")


def tagger(activation="sigmoid", **compiled) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="first")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu", name="second")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, activation)(x))
    if compiled:
        model.compile("sgd", **compiled)
    return model


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("sigmoid", None),
        ("sigmoid", "binary_focal_crossentropy"),
        ("sigmoid", "squared_error"),
        (None, keras.losses.BinaryCrossentropy(from_logits=True)),
    ],
)
def test_training_learns_all_labels(activation, loss, data, tmp_path):
    """The accuracy of the history is that of all labels, as `evaluate` has it; streams and arrays alike."""
    compiled = {} if activation else {"loss": loss}
    halves = isplit.split(tagger(activation, **compiled), "first")
    before = isplit.evaluate(halves, data, progress=False)
    stream = tf.data.Dataset.from_tensor_slices(data).batch(16)
    optimizer = keras.optimizers.Adam(0.02)
    options = {"loss": loss if activation else None, "optimizer": optimizer, "fine_tune_epochs": 8}
    history = isplit.train(halves, stream, validation_data=data, keep_best=True, **options, **QUIET)
    after = isplit.evaluate(halves, data, progress=False)
    assert after.mean_auc > before.mean_auc
    best = max([history.start["val_accuracy"], *(epoch.metrics["val_accuracy"] for epoch in history.epochs)])
    assert best == pytest.approx(after.accuracy)
    halves.save(tmp_path / "split")
    loaded = isplit.SplitModel.load(tmp_path / "split")
    assert isplit.evaluate(loaded, data, progress=False).accuracy == after.accuracy
    assert loaded.output_kind == halves.output_kind


def test_labels_of_one_each_are_classes(data):
    """One-hot labels keep the accuracy of classes."""
    y = np.eye(3, dtype="float32")[np.arange(64) % 3]
    halves = isplit.split(tagger(), "first")
    isplit.train(halves, (data[0], y), fine_tune_epochs=1, **QUIET)
    found = halves.model.evaluate(data[0], y, verbose=0, return_dict=True)["accuracy"]
    assert found == pytest.approx(isplit.evaluate(halves, (data[0], y), progress=False).accuracy)


def test_distillation_needs_no_labels(data):
    """The teacher's probabilities of each label are the targets, for a projection and for an autoencoder."""
    for bottleneck in (isplit.Projection(0.5), isplit.Autoencoder(0.5, seed=0, init="projection")):
        halves = isplit.split(tagger(), "first", bottleneck)
        history = isplit.train(halves, data[0], loss="distill", bottleneck_epochs=1, fine_tune_epochs=2, **QUIET)
        assert all(np.isfinite(epoch.metrics.get("loss", 0.0)) for epoch in history.epochs)
