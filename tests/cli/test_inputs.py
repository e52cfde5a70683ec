"""Images that a command line names: prepared as on the device, classes told by name, every class in a part."""

import argparse
import json
import shutil

import keras
import numpy as np
import pytest

from isplit_edge.preprocessing import preprocess, resolve_preprocessing
from isplit_tf.cli.inputs import open_images
from isplit_tf.importance.curve import Curve
from support.shell import isplit


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """Stripes of one pixel, of colour by class, in class folders of large pictures; and a model that tells them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("a", "b", "c")):
        (folder / "data" / name).mkdir(parents=True)
        for k in range(16):
            picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
            picture[1::2, 1::2] = 10 + 20 * label + rng.integers(0, 10)  # the pixels that "nearest" takes
            Image.fromarray(picture).save(folder / "data" / name / f"{k}.png")
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(2, 1, name="conv", kernel_initializer="ones")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 1, name="more", kernel_initializer="ones")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(x))
    # The pooled sum is 6 times the mean of a pixel, from 15, 35 and 55 of 255: the nearest of three lines.
    places = 6 * np.array([15, 35, 55]) / 255
    model.get_layer("out").set_weights([np.stack([500 * places, 500 * places]), -500 * places**2])
    model.save(folder / "model.keras")
    record = {"size": [16, 16], "resize": "nearest", "scale": 1 / 255}
    (folder / "form.json").write_text(json.dumps(record))
    return folder


def test_images_are_resized_as_the_preprocessing_says(stripes, tmp_path, capsys):
    """evaluate, export and predict from large pictures: what the device computes from them, not a bilinear guess."""
    form = ["--preprocessing", stripes / "form.json"]
    data = stripes / "data"
    assert isplit("evaluate", stripes / "model.keras", "--data", data, *form, "-o", tmp_path / "a.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    assert isplit("split", stripes / "model.keras", "--cut", "conv", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--precision", "float32", "--evaluation-data", data, *form]
    capsys.readouterr()
    assert isplit(*export, "-o", tmp_path / "bundle", "--json") == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["accuracy"]["artefacts"] == manifest["accuracy"]["split"] == 1
    assert manifest["class_names"] == ["a", "b", "c"]
    assert isplit("evaluate", tmp_path / "bundle", "--data", data, "-o", tmp_path / "b.json", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1
    pictures = [data / name / "0.png" for name in "abc"]
    assert isplit("predict", tmp_path / "bundle", *pictures, "--json") == 0
    assert [row["class"] for row in json.loads(capsys.readouterr().out)] == ["a", "b", "c"]


@pytest.mark.parametrize("form", ["caffe", "tf", "torch"])
def test_images_are_prepared_by_the_devices_own_code(form, tmp_path):
    """To the last bit what the device makes of them, in batches whose shape stays known."""
    x = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(7) % 3)
    args = argparse.Namespace(preprocessing=form, batch_size=3)
    data, _ = open_images(str(tmp_path / "images.npz"), args, (6, 6, 3), split="test")
    assert data.element_spec[0].shape.as_list() == [None, 6, 6, 3]
    record = resolve_preprocessing(form, (6, 6, 3))
    found = np.concatenate([images.numpy() for images, _ in data])
    assert np.array_equal(found, np.stack([preprocess(image, record) for image in x]))


def test_classes_are_told_by_name(stripes, tmp_path, capsys):
    """A folder without the first class is counted as the bundle counts; one with another class is refused."""
    data = stripes / "data"
    assert isplit("split", stripes / "model.keras", "--cut", "conv", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--precision", "float32", "--preprocessing", stripes / "form.json"]
    assert isplit(*export, "--representative-data", data, "-o", tmp_path / "bundle") == 0
    shutil.copytree(data / "b", tmp_path / "some" / "b")
    shutil.copytree(data / "c", tmp_path / "some" / "c")
    capsys.readouterr()
    ask = ["evaluate", tmp_path / "bundle", "--data", tmp_path / "some", "--json", "--overwrite"]
    assert isplit(*ask, "-o", tmp_path / "report.json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["accuracy"], report["class_names"]) == (1, ["a", "b", "c"])
    (tmp_path / "some" / "c").rename(tmp_path / "some" / "zz")
    assert isplit(*ask, "-o", tmp_path / "report.json") == 2
    assert "Unknown there: zz" in capsys.readouterr().err


def test_a_sorted_file_calibrates_from_all_classes(tmp_path, capsys):
    """600 dark images, then 600 bright ones: the int8 head covers both, and the first 90 of a curve are of both."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 20, (600, 8, 8, 1)), rng.integers(230, 256, (600, 8, 8, 1))]).astype(np.uint8)
    np.savez(tmp_path / "sorted.npz", x=x, y=np.repeat([0, 1], 600))
    inputs = keras.Input((8, 8, 1))
    pooled = keras.layers.AveragePooling2D(2, name="pool")(keras.layers.Rescaling(1 / 255)(inputs))
    hidden = keras.layers.Conv2D(2, 1, kernel_initializer="ones", name="conv")(pooled)
    out = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, out(keras.layers.GlobalAveragePooling2D()(hidden)))
    out.set_weights([np.full((2, 1), 40.0), np.array([-40.0])])
    model.save(tmp_path / "model.keras")
    data = ["--data", tmp_path / "sorted.npz"]
    assert isplit("importance", tmp_path / "model.keras", *data, "--max-images", 90, "-o", tmp_path / "c.npz") == 0
    assert min(Curve.load(tmp_path / "c.npz").counts) > 20
    assert isplit("split", tmp_path / "model.keras", "--cut", "pool", "--no-bottleneck", "-o", tmp_path / "split") == 0
    export = ["export", tmp_path / "split", "--representative-data", tmp_path / "sorted.npz", "--json"]
    capsys.readouterr()
    assert isplit(*export, "-o", tmp_path / "bundle") == 0
    assert 255 * json.loads(capsys.readouterr().out)["scale"] > 0.9
