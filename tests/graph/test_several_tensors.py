"""Cuts at which more than one tensor crosses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from isplit_tf import Autoencoder, Cut, SplitModel, find_cuts, measure_importance, split, train
from isplit_tf.errors import ArgumentError, CutError
from isplit_tf.export.litert.converter import convert
from isplit_tf.graph.cuts import list_cuts, place_of, places
from isplit_tf.graph.program import read_program
from isplit_tf.graph.surgery import copy_model, segment
from support.random_graphs import grow
from support.recompose import difference, recompose
from support.zoo import ZOO, random_input, randomize

# The masked models have no cut of two: a mask cannot cross.
SEVERAL = ["residual", "branches", "nested", "doubly_nested", "skips", "attention", "two_outputs"]


def test_names_and_sizes():
    """Inside a residual block two tensors cross, in graph order, and sizes add up."""
    cuts = find_cuts(ZOO["residual"](), max_tensors=2)
    names = [cut.name for cut in cuts]
    assert names[:4] == ["stem", "stem+block1_conv", "stem+block1_norm", "block1_add"]
    assert names[4].startswith("relu")
    assert [cut.index for cut in cuts] == list(range(len(cuts)))
    one, two = cuts[0], cuts[1]
    assert (one.shapes, one.shape, one.size) == (((8, 8, 4),), (8, 8, 4), 256)
    assert (two.shapes, two.shape, two.size, two.size_bytes) == (((8, 8, 4), (8, 8, 4)), (512,), 512, 2048)
    assert two.layer_type == "Conv2D"
    assert two.head_macs == 2 * one.head_macs + 8 * 8 * 9 * 4 * (4 - 2)
    assert two.head_macs + two.tail_macs == one.head_macs + one.tail_macs
    assert all(Cut.from_json(cut.to_json()) == cut for cut in cuts)


def test_default_is_one():
    """Without being asked for, no cut has several tensors, and a record without shapes is one of one tensor."""
    cuts = find_cuts(ZOO["skips"]())
    assert all(len(cut.shapes) == 1 for cut in cuts)
    record = cuts[0].to_json()
    del record["shapes"]
    assert Cut.from_json(record) == cuts[0]
    more = find_cuts(ZOO["skips"](), max_tensors=2)
    assert {cut.name for cut in cuts} < {cut.name for cut in more}
    assert "down1+down2" in {cut.name for cut in more}


@pytest.mark.parametrize("most", [0, True, 1.5, None])
def test_number_of_tensors(most):
    """At least one, and a whole number."""
    with pytest.raises(ArgumentError, match="max_tensors: expected an integer of at least 1"):
        find_cuts(ZOO["mlp"](), max_tensors=most)


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed):
    """On random graphs: exactly what is read across, each place, and exact recomposition at all of them."""
    model = grow(seed)
    program = read_program(model)
    expected = []
    for position in range(1, len(program.steps)):
        made = {tensor for step in program.steps[:position] for tensor in step.makes} | set(program.inputs)
        read = {tensor for step in program.steps[position:] for tensor in step.reads} | set(program.outputs)
        across = made & read
        if 0 < len(across) <= 3 and not across & {*program.inputs, *program.outputs}:
            expected.append(across)
    assert [set(place) for place in places(program, 3)] == expected
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(2, 4)).astype("float32") for _ in program.inputs]
    found = recompose(model, x if len(x) > 1 else x[0], max_tensors=3)
    assert (found.cuts, found.exact) == (len(expected), True)


@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121"])
def test_applications(application, name, rng):
    """Known architectures can be cut after every layer if two tensors may cross, and all of it recomposes exactly."""
    model = application(name)
    found = recompose(model, rng.normal(size=(2, 32, 32, 3)).astype("float32"), max_tensors=2)
    assert (found.cuts, found.exact) == (len(read_program(model).steps) - 1, True)


@pytest.mark.parametrize("name", SEVERAL)
def test_splits(name):
    """At each cut of up to three tensors, one vector crosses and `tail(head(x))` equals the model, to the bit."""
    model = randomize(ZOO[name]())
    x = random_input(model)
    expected = model(x, training=False)
    cuts = [cut for cut in find_cuts(model, max_tensors=3) if len(cut.shapes) > 1]
    assert cuts
    for cut in cuts[:: -(-len(cuts) // 4)]:
        halves = split(model, cut)
        assert halves.latent_shape == cut.shape == (cut.size,)
        assert difference(halves.tail(halves.head(x, training=False), training=False), expected) == 0.0, cut.name
        assert difference(halves.model(x, training=False), expected) == 0.0, cut.name


def test_ways_to_ask():
    """By Cut or by name; an index is one of find_cuts(model)."""
    model = ZOO["residual"]()
    cut = find_cuts(model, max_tensors=2)[1]
    assert split(model, "stem+block1_conv").cut.shapes == split(model, cut).cut.shapes == cut.shapes
    assert split(model, 1).cut.name == "block1_add"
    with pytest.raises(CutError, match=r"No cut named 'stem\+block2_conv'"):
        split(model, "stem+block2_conv")


def test_an_autoencoder_a_tensor(tmp_path):
    """Each tensor has its own, the latents are joined in graph order, and the whole is saved and read back."""
    model = randomize(ZOO["skips"]())
    x = random_input(model)
    cut = next(cut for cut in find_cuts(model, max_tensors=2) if cut.name == "down1+down2")
    bottleneck = Autoencoder(compression=0.75, seed=1)
    halves = split(model, cut, bottleneck)
    sizes = [bottleneck.plan(shape).latent_size for shape in cut.shapes]
    assert halves.latent_shape == (sum(sizes),)
    features = halves.head(x)
    latent = halves.encoder(features)
    restored = halves.decoder(latent)
    assert restored.shape == features.shape
    assert difference(halves.tail(restored), halves.model(x)) == 0.0
    flat = np.asarray(features).copy()
    flat[:, cut.size - np.prod(cut.shapes[1]) :] = 0  # the second tensor changes: the first latent does not
    other = halves.encoder(flat)
    assert difference(other[:, : sizes[0]], latent[:, : sizes[0]]) == 0.0
    assert difference(other[:, sizes[0] :], latent[:, sizes[0] :]) > 0
    halves.save(tmp_path / "split")
    again = SplitModel.load(tmp_path / "split")
    assert again.cut == cut
    assert difference(again.tail(again.decoder(again.encoder(again.head(x)))), halves.model(x)) == 0.0


def test_several_dtypes_cross_exactly():
    """Tensors of several dtypes are joined in one that holds them all."""
    x = inputs = keras.Input((4,))
    half = keras.layers.Dense(3, dtype="mixed_bfloat16", name="half")(x)
    whole = keras.layers.Dense(3, name="whole")(half)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()([half, whole])))
    halves = split(model, "half+whole")
    x = random_input(model)
    assert halves.head.outputs[0].dtype == "float32"
    assert difference(halves.tail(halves.head(x)), model(x)) == 0.0


@pytest.mark.parametrize("name", ["residual", "skips", "attention"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_importance(name, reduction):
    """The sum over the tensors' maps, over all their elements for the mean; gradients are those of the tail."""
    model = randomize(ZOO[name]())
    x, labels = random_input(model, 4), np.array([0, 2, 1, 1])
    cuts = find_cuts(model, max_tensors=2)
    curve = measure_importance(model, (x, labels), cuts=cuts, reduction=reduction, progress=False)
    assert curve.cuts == cuts
    for cut, value in list(zip(cuts, curve.values, strict=True))[::3]:
        scale = cut.size if reduction == "mean" else 1
        assert value == pytest.approx(_by_the_tail(model, cut, x, labels) / scale, rel=2e-5), cut.name
    singles = [k for k, cut in enumerate(cuts) if len(cut.shapes) == 1]
    alone = measure_importance(model, (x, labels), cuts="all", reduction=reduction, progress=False)
    np.testing.assert_allclose(curve.values[singles], alone.values, rtol=1e-6)


def _by_the_tail(model: keras.Model, cut: Cut, x: np.ndarray, labels: np.ndarray) -> float:
    """From a tail with an input for each tensor; its last activation is taken off by hand."""
    program = read_program(model)
    place = place_of(program, cut)
    _, copies = copy_model(program, name="copy")
    tail = segment(program, place, program.output_structure, name="tail", operations=copies)
    tail.layers[-1].activation = keras.activations.linear
    values = program.run({program.inputs[0]: tf.constant(x)})
    features = [values[tensor] for tensor in place]
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.gather(tail(features if len(features) > 1 else features[0], training=False), labels, batch_dims=1)
    total = 0.0
    for feature, gradient in zip(features, tape.gradient(score, features), strict=True):
        axes = tuple(range(1, feature.ndim - 1))
        alpha = gradient.numpy().astype("f8").mean(axis=axes, keepdims=True)
        maps = np.maximum((alpha * feature.numpy()).sum(axis=-1), 0)
        total += maps.reshape(len(maps), -1).sum(axis=1).mean()
    return total


def test_list_of_cuts_of_a_program():
    """A mask cannot cross with others, nor can whole numbers."""
    for name in ("masks", "nested_masks"):
        program = read_program(ZOO[name]())
        assert list_cuts(program, max_tensors=3) == list_cuts(program)


def test_trains_and_exports():
    """What follows a split does not see the difference: it trains, and head with encoder are int8 throughout."""
    model = randomize(ZOO["skips"]())
    x = random_input(model, 32)
    halves = split(model, "down1+down2", Autoencoder(compression=0.75, seed=0))
    history = train(
        halves, (x, np.arange(32) % 3), bottleneck_epochs=2, fine_tune_epochs=1, loss="squared_error", seed=0
    )
    assert history.epochs[1].metrics["loss"] < history.epochs[0].metrics["loss"]
    found = convert(halves.head, halves.encoder, precision="int8", representative=x, progress=False)
    assert (found.dtype, found.latent_shape) == ("int8", halves.latent_shape)
    assert found.relative_error < 0.1
