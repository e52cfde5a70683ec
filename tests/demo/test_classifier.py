"""The classifier that ships with the demo: what its record says of it holds, and its training runs."""

import hashlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from isplit_tf.datasets import load
from isplit_tf.demo.classifier import SEED, WIDTHS, build_classifier, framed, load_classifier, shipped_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    """tools/glyphs/classifier.py, as a module."""
    sys.path.insert(0, str(ROOT / "tools" / "glyphs"))
    try:
        import classifier
    finally:
        sys.path.pop(0)
    return classifier


@pytest.fixture(scope="module")
def record():
    """What the training wrote down of the file that ships."""
    return json.loads((ROOT / "tools" / "glyphs" / "classifier.json").read_text())


def test_the_file_is_the_one_of_the_record(tool, record):
    """Seed, widths, data and file are those that the record names; at most 2 MB; nothing lost to the compact form."""
    assert (record["seed"], record["widths"]) == (SEED, list(WIDTHS))
    assert record["data_sha256"] == tool.data_hash(load("glyphs"))
    content = shipped_file().read_bytes()
    assert len(content) == record["file_bytes"] <= 2_000_000
    assert hashlib.sha256(content).hexdigest() == record["file_sha256"]
    assert record["accuracy_in_the_file"] == record["accuracy_as_trained"]


def test_it_classifies(record):
    """It loads with a loss, and has the letters of unseen families right as often as the record says."""
    model = load_classifier()
    assert model.loss == "sparse_categorical_crossentropy"
    images, labels = load("glyphs").test
    right = model.predict(framed(images), batch_size=256, verbose=0).argmax(axis=1) == labels
    assert record["accuracy_in_the_file"]["test"] > 0.975
    assert np.mean(right) == pytest.approx(record["accuracy_in_the_file"]["test"], abs=2 / len(labels))


def test_training_for_some_steps_writes_a_file_that_keras_loads_exactly(tool, tmp_path):
    """The script's own way, on few glyphs: the loss falls, and Keras itself reads the written weights bit for bit."""
    splits = load("glyphs")
    few = splits.train[0][:640], splits.train[1][:640]
    model = build_classifier((4, 8, 8, 16, 16), seed=1)
    model.compile(loss=tool.LOSS)
    before = model.evaluate(framed(few[0]), few[1], verbose=0)
    tool.train_classifier(model, *few, epochs=2, seed=1)
    assert model.evaluate(framed(few[0]), few[1], verbose=0)[0] < before
    tool.write_compact(model, tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(mine, mine.astype(np.float16))
