"""The curve as an overlay for Model Explorer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from isplit_tf.errors import ArgumentError, DataError
from isplit_tf.importance.measure import measure_importance


@pytest.fixture(scope="module")
def nested():
    """A model around another one, with normalization, a merge and two layers whose names begin alike."""
    inner_input = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inner_input)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="act")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv_1")(x)
    x = keras.layers.Add(name="sum")([x, y])
    inner = keras.Model(inner_input, keras.layers.MaxPooling2D(name="pool")(x), name="backbone")
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(3, 1, use_bias=False, name="last")(inner(inputs))
    x = keras.layers.BatchNormalization(name="folded")(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="scores")(x), name="outer")


@pytest.fixture(scope="module")
def curve(nested):
    rng = np.random.default_rng(0)
    return measure_importance(nested, (rng.normal(size=(6, 8, 8, 2)), np.arange(6) % 3), progress=False)


@pytest.fixture(scope="module")
def file(nested, tmp_path_factory):
    """The whole model as a user opens it in Model Explorer."""
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(nested).convert())
    return path


def test_values_are_attached_to_the_tensors_of_the_file(curve, file, tmp_path):
    """Every cut's value stands at the tensor that its layer became, folded into another one or not; peaks have a
    colour of their own."""
    curve.to_model_explorer(tmp_path / "curve.json", file)
    record = json.loads((tmp_path / "curve.json").read_text())
    names = [detail["name"] for detail in Interpreter(str(file)).get_tensor_details()]
    assert set(record["results"]) <= set(names)
    by_layer = {"backbone/act": "act", "backbone/sum": "sum", "backbone/pool": "pool", "folded": "last"}
    assert [cut.name for cut in curve.cuts] == list(by_layer)
    peaks = {cut.name for cut in curve.peaks}
    for (key, result), cut, value in zip(record["results"].items(), curve.cuts, curve.values, strict=True):
        assert f"/{by_layer[cut.name]}_1/" in key
        assert result["value"] == pytest.approx(value)
        assert ("bgColor" in result) == (cut.name in peaks)


def test_the_file_has_the_fields_that_model_explorer_reads(curve, file, tmp_path):
    """Node data of one graph: a name, results by key with value and colours, and a gradient from 0 to 1."""
    curve.to_model_explorer(tmp_path / "curve.json", file)
    record = json.loads((tmp_path / "curve.json").read_text())
    assert set(record) == {"name", "results", "gradient"}
    assert [item["stop"] for item in record["gradient"]] == [0, 1]
    for item in (*record["gradient"], *record["results"].values()):
        assert set(item) <= {"value", "stop", "bgColor", "textColor"}
        assert all(color[0] == "#" and len(color) == 7 for name, color in item.items() if name.endswith("Color"))


def test_without_a_file_the_keys_are_the_names_of_the_cuts(curve, tmp_path):
    """A graph whose nodes are named after the layers takes the names of the cuts."""
    curve.to_model_explorer(tmp_path / "deep" / "curve.json")
    record = json.loads((tmp_path / "deep" / "curve.json").read_text())
    assert list(record["results"]) == [cut.name for cut in curve.cuts]


def test_a_file_that_does_not_fit_is_refused(curve, tmp_path):
    """Another model's file, a file that is not there, and one that is no .tflite: errors that say so."""
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="else")])
    (tmp_path / "other.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(other).convert())
    (tmp_path / "text.tflite").write_text("a text, and no model")
    for name, kind, message in [
        ("other.tflite", DataError, "No tensor in .* is named after a cut of the curve, such as 'backbone/act'"),
        ("text.tflite", ArgumentError, "is no .tflite file"),
        ("none.tflite", ArgumentError, "cannot be read"),
    ]:
        with pytest.raises(kind, match=message):
            curve.to_model_explorer(tmp_path / "curve.json", tmp_path / name)
    assert not (tmp_path / "curve.json").exists()
