"""Each main call reads the graph of a model once."""

from collections import Counter

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.graph import program

layers = keras.layers
QUIET = {"progress": False}


def network() -> keras.Model:
    """A small classifier."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    for k in range(2):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{k}")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)), name="net")


@pytest.fixture
def data(rng):
    """Images and labels."""
    return rng.random((40, 8, 8, 1), "float32"), np.arange(40) % 3


@pytest.fixture
def reads(monkeypatch):
    """How often each model was read since the fixture was made, by its name and `id`."""
    counts: Counter[str] = Counter()
    models: dict[int, keras.Model] = {}
    original = program.as_graph

    def counted(model):
        models[id(model)] = model  # kept, so that no other model gets the same id
        counts[model.name, id(model)] += 1
        return original(model)

    monkeypatch.setattr(program, "as_graph", counted)
    return counts


def test_verbs_on_a_model(reads, data):
    """Importance, prediction, evaluation and splitting read the user's model once."""
    for verb in (
        lambda model: isplit.measure_importance(model, data, **QUIET),
        lambda model: isplit.predict_accuracy(model, data, compression=0.5, **QUIET),
        lambda model: isplit.evaluate(model, data, **QUIET),
        lambda model: isplit.evaluate(model, data, output=0, **QUIET),
        lambda model: isplit.split(model, "conv1"),
        lambda model: isplit.find_cuts(model),
    ):
        model = network()
        verb(model)
        assert reads["net", id(model)] == 1
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("bottleneck", [isplit.Projection(0.5), isplit.Autoencoder(0.5, seed=0), None])
def test_verbs_on_a_split(reads, data, tmp_path, bottleneck):
    """A split is read when it is made; training, evaluation and export read its parts once and the whole never."""
    halves = isplit.split(network(), "conv1", bottleneck)
    made = Counter(reads)
    epochs = {"bottleneck_epochs": 1, "fine_tune_epochs": 1}
    isplit.train(halves, data, validation_data=data, keep_best=True, **epochs, **QUIET)
    isplit.evaluate(halves, data, **QUIET)
    isplit.export_bundle(
        halves, tmp_path / "bundle", representative_data=data[0], evaluation_data=data, precision="float32", **QUIET
    )
    assert set(reads.values()) == {1}
    assert {name for name, _ in reads - made} <= {"head", "encoder", "decoder", "tail"}
