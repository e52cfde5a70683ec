"""Taken apart at every cut, a model computes what it did, and stays as it was."""

import io

import keras
import numpy as np
import pytest

from isplit_tf import find_cuts, split
from isplit_tf.graph.cuts import cut_tensors
from isplit_tf.graph.program import read_program
from support.recompose import Recomposition, difference, recompose
from support.zoo import ZOO, random_input, randomize


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "MobileNetV2"])
def test_applications(application, name, rng):
    """Every cut of known architectures is exact: to the bit where two runs of the model agree to the bit."""
    found = recompose(application(name), rng.normal(size=(2, 32, 32, 3)).astype("float32"))
    assert found.cuts == {"VGG16": 21, "ResNet50": 39, "MobileNetV2": 74}[name]
    assert found.exact, found


@pytest.mark.numerical
def test_transfer_model(application, rng):
    """Preprocessing, a known backbone and a new top in a Sequential: every cut, those inside of the backbone too."""
    backbone = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    found = recompose(model, rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32"))
    assert (found.cuts, found.exact) == (len(find_cuts(backbone)) + 3, True), found


@pytest.mark.numerical
@pytest.mark.parametrize("name", ZOO)
def test_zoo_in_one_pass(name):
    """Every cut of every shape of graph, as a chain of models that see nothing but the array before them."""
    model = randomize(ZOO[name]())
    found = recompose(model, random_input(model))
    assert (found.cuts, found.exact) == (len(find_cuts(model)), True)


@pytest.mark.parametrize("name", ZOO)
def test_zoo_by_splitting(name):
    """At each cut of each shape of graph, `tail(head(x))` equals the model, to the bit."""
    model = randomize(ZOO[name]())
    x = random_input(model)
    expected = model(x, training=False)
    for cut in find_cuts(model):
        halves = split(model, cut)
        features = np.asarray(keras.ops.cast(halves.head(x, training=False), "float32"))
        assert features.shape[1:] == cut.shape or None in cut.shape
        found = halves.tail(keras.ops.cast(features, halves.tail.inputs[0].dtype), training=False)
        assert difference(found, expected) == 0.0, cut.name
        assert difference(halves.model(x, training=False), expected) == 0.0, cut.name


@pytest.mark.parametrize("name", ZOO)
def test_user_model_stays(name):
    """Weights, summary, and the nodes of each layer are as before, after everything that reads or copies a model."""
    model = ZOO[name]()
    x = random_input(model)
    model(x)
    before = _snapshot(model)
    recompose(model, x)
    for cut in find_cuts(model)[:1]:
        split(model, cut).model(x)
    assert _snapshot(model) == before


def _snapshot(model: keras.Model) -> dict:
    text = io.StringIO()
    model.summary(print_fn=lambda line: text.write(line + "\n"), expand_nested=True)
    layers = model._flatten_layers()
    return {
        "summary": text.getvalue(),
        "weights": [(w.path, w.numpy().tobytes()) for w in model.weights],
        "nodes": [(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers],
        "attributes": [sorted(vars(layer)) for layer in layers],
    }


def test_lost_mask_would_be_seen(monkeypatch):
    """A place where a mask is open is no cut: cut there, the result is another."""
    model = randomize(ZOO["nested_masks"]())
    program = read_program(model)
    embedded = next(k for k, tensor in enumerate(program.tensors) if tensor.name == "embed")
    assert embedded not in cut_tensors(program)
    monkeypatch.setattr("support.recompose.places", lambda program, most: [(embedded,)])
    found = recompose(model, random_input(model))
    assert found.difference > 1e-4
    assert not found.exact


def test_picked_output():
    """With one output picked, that one is recomposed."""
    model = randomize(ZOO["two_outputs"]())
    found = recompose(model, random_input(model), output="scores")
    assert (found.cuts, found.exact) == (2, True)


@pytest.mark.parametrize(
    ("found", "exact"),
    [
        (Recomposition(cuts=1, difference=0.0, largest=1.0, repeat=0.0), True),
        (Recomposition(cuts=1, difference=1e-9, largest=1.0, repeat=0.0), False),
        (Recomposition(cuts=1, difference=9e-6, largest=0.1, repeat=1e-7), True),
        (Recomposition(cuts=1, difference=9e-4, largest=100.0, repeat=1e-7), True),
        (Recomposition(cuts=1, difference=2e-5, largest=0.1, repeat=1e-7), False),
        (Recomposition(cuts=1, difference=float("inf"), largest=1.0, repeat=1e-7), False),
    ],
)
def test_what_counts_as_exact(found, exact):
    """Bit for bit where the model repeats itself; else to 1e-5 of the largest value."""
    assert found.exact is exact


def test_difference():
    """NaN in the same place is equal; NaN in one alone, or another shape, is not."""
    a = np.array([1.0, np.nan])
    assert difference(a, a) == 0.0
    assert difference({"x": a, "y": np.ones(2)}, {"x": a, "y": np.zeros(2)}) == 1.0
    assert difference(a, np.array([1.0, 2.0])) == float("inf")
    assert difference(np.ones(2), np.ones((2, 1))) == float("inf")
