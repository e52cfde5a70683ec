"""The whole model in a bundle: what it answers, and that only those who ask for it carry it."""

import json

import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge import Client
from isplit_tf.errors import ExportError, ModelError
from isplit_tf.export.local_fallback import fallback_precision, probability_model
from isplit_tf.graph.outputs import Output, to_probabilities
from support import tiny


@pytest.fixture(scope="module")
def with_local(halves, train_images, test_data, tmp_path_factory):
    """An int8 bundle that holds the whole model."""
    return isplit.export_bundle(
        halves,
        tmp_path_factory.mktemp("local") / "bundle",
        representative_data=train_images,
        evaluation_data=test_data,
        class_names=tiny.CLASSES,
        preprocessing=tiny.PREPROCESSING,
        version=3,
        local_fallback=True,
    )


def test_a_device_without_a_server_answers_as_the_split_does(with_local, halves, test_data):
    """From the bundle's edge/ alone, with nobody listening, the probabilities are those of the float split to the
    rounding of 8-bit weights."""
    with Client(with_local.directory, "http://127.0.0.1:9", retries=0) as client:
        answer = client.run(test_data[0])
    assert answer.source == "local"
    expected = to_probabilities(halves.model.predict(test_data[0] / np.float32(255), verbose=0), halves.output)
    np.testing.assert_allclose(answer.probabilities, expected, atol=0.02)
    assert (answer.classes == expected.argmax(axis=1)).mean() > 0.95
    report = json.loads((with_local.directory / "edge/local.json").read_bytes())
    assert report["accuracy"] == (answer.classes == test_data[1]).mean()
    assert report["images"] == len(test_data[1])


def test_it_is_a_file_of_the_bundle(with_local, shared_bundle):
    """The manifest names it with its hash, a report tells what is in it; head, wire and identity are those of a bundle
    without."""
    names = set(with_local.manifest.files)
    assert names - set(shared_bundle.manifest.files) == {"edge/local.tflite", "edge/local.json"}
    assert with_local.manifest.bundle_id == shared_bundle.manifest.bundle_id
    report = json.loads((with_local.directory / "edge/local.json").read_bytes())
    assert report["precision"] == "dynamic"
    assert report["size_bytes"] == (with_local.directory / "edge/local.tflite").stat().st_size
    assert report["relative_error"] < 0.05


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("int8", "dynamic"),
        ("int16x8", "dynamic"),
        ("dynamic", "dynamic"),
        ("float16", "float16"),
        ("float32", "float32"),
    ],
)
def test_probabilities_stay_fine(precision, expected):
    """No precision of the head makes probabilities of 8 bit."""
    assert fallback_precision(precision) == expected


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("softmax", [[0.2, 0.3, 0.5]]),
        ("multi_label", [[0.2, 0.9, 0.5]]),
        ("multi_label_logits", [[-3.0, 0.0, 2.0]]),
        ("logits", [[-3.0, 0.5, 2.0], [100.0, 0.0, -100.0]]),
        ("sigmoid", [[0.2]]),
        ("binary_logit", [[0.2], [-200.0], [200.0]]),
    ],
)
def test_outputs_become_probabilities_as_on_the_server(kind, outputs):
    """Every kind of output gives what the evaluation gives."""
    values = np.array(outputs, np.float32)
    output = Output.of(kind, values.shape[1])
    found = np.asarray(probability_model(output)(values))
    np.testing.assert_allclose(found, to_probabilities(values, output), atol=1e-6)


def test_an_unknown_kind():
    """What is not class scores is not exported."""
    with pytest.raises(ModelError, match="unknown kind: 'regression'"):
        probability_model(Output.of("regression", 2))


def test_a_tail_that_a_device_cannot_run_is_told(tmp_path):
    """An operation that only a server has is named, and how to export without it."""
    import keras

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(keras.ops.erfinv(keras.ops.tanh(x))))
    split = isplit.split(keras.Model(inputs, x), "conv", None)
    with pytest.raises(ExportError, match=r"local_fallback=True puts the whole model on the device.*Erfinv"):
        isplit.export_bundle(split, tmp_path / "bundle", precision="float32", local_fallback=True, progress=False)
