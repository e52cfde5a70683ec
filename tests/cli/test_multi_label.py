"""The command line on images with several labels, and what it is told of the output."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf.cli.inputs import in_order_of
from isplit_tf.splitting import SplitModel
from support.shell import isplit

layers = keras.layers


@pytest.fixture(scope="module")
def tags(tmp_path_factory):
    """A folder with a tagger of three labels and an .npz of images."""
    folder = tmp_path_factory.mktemp("tags")
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    for k in range(2):
        x = layers.Conv2D(4, 3, activation="relu", name=f"conv{k}")(x)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    keras.Model(inputs, layers.Dense(3, "sigmoid")(x), name="tagger").save(folder / "tagger.keras")
    mean = layers.Average()([layers.Dense(3, "softmax")(x), layers.Dense(3, "softmax")(x)])
    keras.Model(inputs, mean, name="ensemble").save(folder / "ensemble.keras")
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 256, (40, 8, 8, 1), np.uint8), "class_names": ["a", "b", "c"]}
    np.savez(folder / "images.npz", y=(rng.random((40, 3)) < 0.4).astype("int64"), **arrays)
    np.savez(folder / "classes.npz", y=np.arange(40) % 3, **arrays)
    return folder


def test_every_step_takes_several_labels(tags, capsys):
    """importance, accuracy, split, train, evaluate, export and predict, with the same accuracy at both ends."""
    model, data = tags / "tagger.keras", tags / "images.npz"
    assert isplit("importance", model, "--data", data, "-o", tags / "curve.npz") == 0
    assert isplit("accuracy", model, "--data", data, "-o", tags / "accuracy.npz") == 0
    assert isplit("split", model, "--cut", "conv1", "--compression", 0.5, "-o", tags / "split") == 0
    train = ["train", tags / "split", "--data", data, "--validation-data", data, "--keep-best"]
    assert isplit(*train, "--bottleneck-epochs", 1, "--fine-tune-epochs", 1, "-o", tags / "trained") == 0
    export = ["export", tags / "trained", "--evaluation-data", data, "--original", model, "--precision", "float32"]
    capsys.readouterr()
    assert isplit(*export, "-o", tags / "bundle", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["output"]["kind"] == "multi_label"
    assert isplit("evaluate", tags / "bundle", "--data", data, "-o", tags / "report.json") == 0
    report = json.loads((tags / "report.json").read_text())
    assert report["accuracy"] == manifest["accuracy"]["artefacts"]
    assert np.shape(report["labels"]) == (40, 3)
    np.save(tags / "frames.npy", np.load(data)["x"][:3])
    capsys.readouterr()
    assert isplit("predict", tags / "bundle", tags / "frames.npy", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(set(row["labels"]) <= {"a", "b", "c"} and min([1, *row["labels"].values()]) > 0.5 for row in rows)
    assert isplit("predict", tags / "bundle", tags / "frames.npy") == 0


def test_what_the_output_is_can_be_said(tags, capsys):
    """`--output-kind` reaches the split; what is not so is refused before anything is written."""
    model, data = tags / "ensemble.keras", tags / "classes.npz"
    split = ["split", model, "--cut", "conv1", "--no-bottleneck"]
    for word, kind in ((None, "softmax"), ("probabilities", "softmax"), ("multi_label", "multi_label")):
        said = ["--output-kind", word] if word else []
        assert isplit(*split, *said, "-o", tags / f"said_{word}") == 0
        assert SplitModel.load(tags / f"said_{word}").output_kind == kind
        assert isplit("evaluate", model, "--data", data, *said, "--overwrite", "-o", tags / "said.json") == 0
    assert isplit("split", tags / "tagger.keras", "--cut", 0, "--output-kind", "probabilities", "-o", tags / "no") == 2
    assert "is not what --output-kind probabilities says" in capsys.readouterr().err
    assert not (tags / "no").exists()
    train = ["train", tags / "said_None", "--data", data, "--output-kind", "logits", "-o", tags / "no"]
    assert isplit(*train) == 2
    assert "knows its output already" in capsys.readouterr().err


def test_labels_are_renumbered_by_name():
    """Several labels of an image keep their names, as single ones do."""
    x = np.zeros((3, 1), "float32")
    for y, expected in (
        (np.array([0, 1, 2]), [2, 0, 1]),
        (np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]]), [[0, 0, 1], [1, 0, 1], [0, 0, 0]]),
    ):
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
        ((_, found),) = in_order_of(["b", "c", "a"], data, ["a", "b", "c"], of="x", spec="y").as_numpy_iterator()
        np.testing.assert_array_equal(found, expected)
