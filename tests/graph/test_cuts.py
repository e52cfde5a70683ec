"""Which tensors are cuts, and how one is asked for."""

import keras
import numpy as np
import pytest
from keras import layers

from isplit_tf import Cut, find_cuts
from isplit_tf.errors import CutError, ModelError
from isplit_tf.graph.cuts import cut_tensors, require_sized, resolve_cut, tensor_of
from isplit_tf.graph.program import read_program
from support.zoo import ZOO

CUTS = {
    "chain": "conv1 pool1 conv2 norm relu flat",
    "mlp": "hidden1 drop hidden2",
    "shared": "conv conv#1 conv#2 pool conv#3 flat",
    "nested": "scale backbone/conv backbone/add backbone/relu pool",
    "doubly_nested": "outer/conv outer/inner/conv/conv outer/inner/conv/add outer/inner/conv/relu outer/inner/pool "
    "flat",
    "called_twice": "block/dense block/norm block/dense#1 block/norm#1 dense#2",
    "shared_between_nested": "block1/own block1/common block2/own block2/common#1",
    "unbuilt_nested": "block/conv block/relu flat",
    "two_inputs": "join hidden",
    "two_outputs": "trunk",
    "no_cut": "",
    "skips": "down1 skip after pool",
    "states": "lstm:2",
    "masks": "gru",
    "nested_masks": "block/pool hidden",
}


@pytest.mark.parametrize("name", CUTS)
def test_names_and_order(name):
    """Cuts are named by the path of layers, call and output, and come in the order in which they are made."""
    cuts = find_cuts(ZOO[name]())
    assert [cut.name for cut in cuts] == CUTS[name].split()
    assert [cut.index for cut in cuts] == list(range(len(cuts)))


@pytest.mark.parametrize(
    ("name", "side", "count"),
    [
        ("VGG16", 32, 21),
        ("ResNet50", 32, 39),
        ("MobileNetV2", 32, 74),
        ("InceptionV3", 75, 29),
        ("EfficientNetB0", 32, 84),
    ],
)
def test_counts_of_applications(application, name, side, count):
    """Known architectures have as many cuts as were counted by removing every tensor in turn."""
    assert len(find_cuts(application(name, side))) == count


@pytest.mark.parametrize("name", ZOO)
def test_agrees_with_brute_force(name):
    """A cut is what alone carries everything: without it, no input reaches an output."""
    program = read_program(ZOO[name]())
    found = cut_tensors(program)
    masked = {tensor for tensor in range(len(program.tensors)) if program.tensors[tensor].masked}
    for tensor in set(program.makers) - set(program.outputs) - masked:
        alive = set(program.inputs)
        for step in program.steps:
            if alive.intersection(step.reads):
                alive.update(set(step.makes) - {tensor})
        assert (tensor in found) == (not alive.intersection(program.outputs)), program.tensors[tensor].name


def test_fields():
    """A cut says its shape, its size in elements and in bytes, and its layer's class."""
    cut = find_cuts(ZOO["chain"]())[1]
    assert (cut.name, cut.layer_type, cut.shape, cut.size, cut.size_bytes) == (
        "pool1",
        "MaxPooling2D",
        (4, 4, 4),
        64,
        256,
    )
    assert Cut.from_json(cut.to_json()) == cut


def test_late_input_is_open_from_the_start():
    """No cut before an input that is only read late."""
    assert [cut.name for cut in find_cuts(ZOO["two_inputs"]())] == ["join", "hidden"]


def test_output_can_be_picked():
    """With one of several outputs named, the layers on its own way are cuts as well."""
    model = ZOO["two_outputs"]()
    assert [cut.name for cut in find_cuts(model, output="scores")] == ["trunk", "hidden"]
    assert [cut.name for cut in find_cuts(model, output=0)] == ["trunk"]
    with pytest.raises(ModelError, match=r"No output 'nothing' in model 'two_outputs'\. It has 2 outputs: \["):
        find_cuts(model, output="nothing")


def test_a_varying_size_counts_once():
    """Dimensions that the model leaves open count as 1; what needs them says which cut."""
    cut = find_cuts(ZOO["varying_size"]())[0]
    assert (cut.shape, cut.size) == ((None, None, 3), 3)
    with pytest.raises(
        ModelError, match=r"Cut 'conv1' has shape \(None, None, 3\): a dimension besides the batch varies"
    ):
        require_sized(cut)


@pytest.fixture(scope="module")
def program():
    """A model with names at several depths."""
    return read_program(ZOO["doubly_nested"]())


class TestResolve:
    """A cut is asked for by a Cut, an index, a name, or the last part of a name."""

    @pytest.mark.parametrize(
        "wanted",
        [2, np.int64(2), "outer/inner/conv/add", "inner/conv/add", "add"],
        ids=["index", "numpy", "name", "part", "last"],
    )
    def test_ways_to_ask(self, program, wanted):
        """Each way gives the same cut."""
        assert resolve_cut(program, wanted).name == "outer/inner/conv/add"

    def test_exact_name_wins(self):
        """A whole name is never ambiguous."""
        x = inputs = keras.Input((3,))
        inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense")], name="inner")
        model = keras.Model(inputs, layers.Dense(2)(layers.Dense(3, name="dense")(inner(x))))
        assert resolve_cut(read_program(model), "dense").name == "dense"

    def test_cut_of_another_build(self):
        """A saved cut is found by index and shape when automatic names have changed."""

        def build():
            x = inputs = keras.Input((4,))
            for units in (3, 5):
                x = layers.Dense(units)(x)
            return keras.Model(inputs, layers.Dense(2)(x))

        first, second = find_cuts(build()), read_program(build())
        assert resolve_cut(second, first[1]).index == 1
        assert resolve_cut(second, first[1]).name != first[1].name

    def test_cut_of_another_model(self, program):
        """A cut that does not fit is refused, not guessed."""
        with pytest.raises(
            CutError, match=r"Cut 'conv1' \(index 0, shape \(8, 8, 4\)\) is not one of model 'doubly_nested'"
        ):
            resolve_cut(program, find_cuts(ZOO["chain"]())[0])

    @pytest.mark.parametrize("wanted", [6, -1])
    def test_index_out_of_range(self, program, wanted):
        """The range is named."""
        with pytest.raises(CutError, match=f"No cut {wanted} in model 'doubly_nested': it has 6 cuts, 0 to 5"):
            resolve_cut(program, wanted)

    @pytest.mark.parametrize("wanted", [True, 1.0, None])
    def test_other_kinds(self, program, wanted):
        """Nothing else is taken for a cut."""
        with pytest.raises(CutError, match=r"asked for by a Cut, its index or its name\. Received: "):
            resolve_cut(program, wanted)

    def test_ambiguous(self, program):
        """All that it could be are named."""
        with pytest.raises(
            CutError, match=r"'conv' names 2 cuts in model 'doubly_nested': 'outer/conv', 'outer/inner/conv/conv'"
        ):
            resolve_cut(program, "conv")

    def test_no_such_layer(self, program):
        """Similar names are offered."""
        with pytest.raises(CutError, match=r"No cut named 'relo' .* No layer has this name\. Similar: .*relu"):
            resolve_cut(program, "relo")

    def test_several_tensors_open(self, program):
        """What else is open there is named, with the nearest cuts on either side."""
        with pytest.raises(CutError) as caught:
            resolve_cut(program, "inner/conv/inner")
        assert str(caught.value) == (
            "No cut named 'inner/conv/inner' in model 'doubly_nested'. 2 tensors are open there: "
            "'outer/inner/conv/conv', 'outer/inner/conv/inner'. Nearest cuts: 'outer/inner/conv/conv' (earlier), "
            "'outer/inner/conv/add' (later). Or send these 2 as one vector, by the cut "
            "'outer/inner/conv/conv+outer/inner/conv/inner', one of find_cuts(model, max_tensors=2)."
        )
        assert len(resolve_cut(program, "outer/inner/conv/conv+outer/inner/conv/inner").shapes) == 2

    def test_mask_is_open(self):
        """A mask that a later layer reads is named as what it is."""
        with pytest.raises(
            CutError, match=r"2 tensors are open there: 'lstm', the mask of 'lstm'\. Nearest cuts: 'gru' \(later\)\.$"
        ):
            resolve_cut(read_program(ZOO["masks"]()), "lstm")

    def test_output(self, program):
        """The model's own output leaves nothing for a tail."""
        with pytest.raises(
            CutError, match=r"No cut named 'scores' .* It is the model's output: nothing is left for the tail"
        ):
            resolve_cut(program, "scores")

    def test_no_cut_at_all(self):
        """A model without cuts says so."""
        with pytest.raises(CutError, match="Model 'no_cut' has no cut: every layer has a path around it"):
            resolve_cut(read_program(ZOO["no_cut"]()), 0)

    def test_tensor_of(self, program):
        """A cut leads back to its tensor."""
        assert program.tensors[tensor_of(program, resolve_cut(program, "flat"))].name == "flat"
