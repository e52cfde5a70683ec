"""What can be read as a flat program, and what cannot and why."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from isplit_tf import find_cuts, split
from isplit_tf.errors import CutError, ModelError
from isplit_tf.graph.passes import require_runnable
from isplit_tf.graph.program import read_program
from support.processor import has_channels_first
from support.recompose import difference, recompose
from support.zoo import ZOO, random_input, randomize

pytestmark = pytest.mark.numerical


def names(model: keras.Model, **options) -> list[str]:
    """Names of the steps."""
    return [step.name for step in read_program(model, **options).steps]


def run(model: keras.Model, x, **options) -> object:
    """The output that the steps give."""
    program = read_program(model, **options)
    flat = keras.tree.flatten(x)
    values = program.run(dict(zip(program.inputs, map(tf.constant, flat), strict=True)))
    return values[program.outputs[0]]


class TestReading:
    """The steps are the model's own calls, in an order in which they run."""

    @pytest.mark.parametrize("name", sorted(set(ZOO) - {"two_outputs", "preprocessing"}))
    def test_steps_give_the_model(self, name):
        """Run one after the other on real tensors, they compute what the model does, masks included."""
        model = randomize(ZOO[name]())
        x = random_input(model)
        assert difference(run(model, x), model(x)) == 0.0

    def test_what_no_output_needs_is_left_out(self):
        """Only the steps of the output that is wanted."""
        model = ZOO["two_outputs"]()
        assert names(model, output="scores") == ["trunk", "hidden", "scores"]
        assert names(model, output=0) == ["trunk", "again"]

    def test_saved_and_loaded(self, tmp_path):
        """A model from a file has the same steps."""
        model = ZOO["doubly_nested"]()
        model.save(tmp_path / "model.keras")
        assert names(keras.models.load_model(tmp_path / "model.keras")) == names(model)

    def test_inference_mode(self):
        """With training=False, what was called with training=True runs in inference mode, in nested models too; eager
        steps equal the graph of `predict` to 1e-5."""
        entry = keras.Input((4,))
        block = keras.Model(entry, layers.BatchNormalization(name="norm")(entry), name="block")
        x = inputs = keras.Input((4,))
        x = layers.Dropout(0.9, name="drop")(block(x, training=True), training=True)
        model = keras.Model(inputs, layers.Dense(2)(x))
        before = [weight.numpy() for weight in model.weights]
        x = random_input(model, 8)
        np.testing.assert_allclose(run(model, x, training=False), model.predict(x, verbose=0), atol=1e-5)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))
        kept = {step.name: step.kwargs.get("training") for step in read_program(model).steps}
        assert (kept["block/norm"], kept["drop"]) == (True, True)

    def test_mixed_precision_on_entering(self):
        """Where a nested model takes another dtype, the cast is a step."""
        model = ZOO["mixed_precision"]()
        assert "inner/cast" in names(model)
        assert names(model) == names(model)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_mixed_precision_of_subclassed(self, policy):
        """Weights that belong to no layer enter operations in the compute dtype, as Keras has it."""
        keras.config.set_dtype_policy(policy)
        try:
            model = randomize(ZOO["subclassed"]())
        finally:
            keras.config.set_dtype_policy("float32")
        found = recompose(model, random_input(model))
        assert (found.cuts, found.exact, found.difference) == (len(find_cuts(model)), True, 0.0)

    def test_rank_on_entering(self):
        """Keras adds or takes away a last axis of length 1 on entering a nested model."""
        entry = keras.Input((4, 1))
        inner = keras.Model(entry, layers.Flatten()(entry), name="inner")
        x = inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(2)(inner(x)))
        x = random_input(model)
        assert difference(run(model, x), model(x)) == 0.0

    def test_quantized(self):
        """Layers that Keras has quantized to int8."""
        x = inputs = keras.Input((8,))
        model = keras.Model(inputs, layers.Dense(3)(layers.Dense(16, activation="relu")(x)))
        for layer in model.layers[1:]:
            layer.quantize("int8")
        assert recompose(model, random_input(model)).difference == 0.0

    def test_vocabularies(self):
        """Layers with vocabularies, which are no weights."""
        text = layers.TextVectorization(output_sequence_length=4)
        text.adapt(["a b c d"])
        inputs = keras.Input((), dtype="string")
        x = layers.Flatten()(layers.Embedding(9, 3)(text(inputs)))
        model = keras.Model(inputs, layers.Dense(2)(x))
        assert recompose(model, tf.constant(["b a", "d"])).exact

    @pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
    def test_channels_first(self, data_format):
        """The order of axes is the user's; where TensorFlow cannot run it, an error says which switch is missing."""
        shape = (3, 8, 8) if data_format == "channels_first" else (8, 8, 3)
        x = inputs = keras.Input(shape)
        x = layers.Conv2D(4, 3, data_format=data_format)(x)
        x = layers.MaxPooling2D(data_format=data_format)(x)
        model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
        if data_format == "channels_first" and not has_channels_first():
            with pytest.raises(ModelError, match="TF_ENABLE_ONEDNN_OPTS=1"):
                require_runnable(read_program(model))
        else:
            assert recompose(model, random_input(model)).difference == 0.0


class Net(keras.Model):
    """A model written by hand."""

    def __init__(self, call, **layers_by_name):
        super().__init__(name="net")
        self.function = call
        for name, layer in layers_by_name.items():
            setattr(self, name, layer)

    def call(self, x):
        return self.function(self, x)


class TestSubclassed:
    """Models written by hand are read by calling them on symbolic tensors."""

    def test_names_stay(self):
        """Operations have the same names each time, although Keras counts theirs up."""
        model = ZOO["subclassed"]()
        expected = [
            "first/dense",
            "first/norm",
            "first/add",
            "first/matmul",
            "second/dense",
            "second/norm",
            "second/add",
            "second/matmul",
            "multiply",
            "relu",
        ]
        assert [cut.name for cut in find_cuts(model)] == expected
        assert [cut.name for cut in find_cuts(model)] == expected
        assert split(model, "second/add").cut.name == "second/add"

    def test_weights_without_a_layer(self):
        """They count, they are copied, and they train."""
        model = ZOO["subclassed"]()
        cut = next(cut for cut in find_cuts(model) if cut.name == "first/matmul")
        assert cut.layer_type == "Matmul"
        assert cut.head_params == (5 * 4 + 4) + 4 * 4 + 4 + 4 * 4
        assert cut.head_macs == 5 * 4 + 4 * 4
        halves = split(model, cut)
        assert len(halves.model.trainable_weights) == len(model.trainable_weights)
        assert halves.model.count_params() == model.count_params()

    def test_weights_in_slices_and_conditions(self):
        """As Python writes it."""

        def call(net, x):
            x = net.dense(x) + net.table[:5]
            x = ops.where(x > 0, x, net.table[1])
            return net.scores(ops.concatenate([x[:, 0], x[:, 1] * net.table[0]], axis=-1))

        net = Net(call, dense=layers.Dense(4), scores=layers.Dense(2))
        net.table = net.add_weight(shape=(6, 4), name="table")
        net(np.ones((2, 5, 3), "float32"))
        assert recompose(net, random_input(net)).difference == 0.0

    @pytest.mark.parametrize("structure", [dict, list, tuple])
    def test_several_inputs(self, structure):
        """One argument that holds several tensors."""
        keys = ("image", "meta") if structure is dict else (0, 1)
        net = Net(
            lambda net, x: net.scores(net.hidden(net.first(x[keys[0]]) + x[keys[1]])),
            first=layers.Dense(4),
            hidden=layers.Dense(4, name="hidden"),
            scores=layers.Dense(2),
        )
        arrays = [np.ones((2, 5), "float32"), np.ones((2, 4), "float32")]
        x = dict(zip(keys, arrays, strict=True)) if structure is dict else structure(arrays)
        net(x)
        assert [cut.name for cut in find_cuts(net)] == ["add", "hidden"]
        halves = split(net, "hidden")
        assert difference(halves.tail(halves.head(x)), net(x)) == 0.0

    def test_never_called(self):
        """The error says to call it once on data."""
        net = Net(lambda net, x: net.scores(x), scores=layers.Dense(2))
        with pytest.raises(
            ModelError, match=r"Model 'net' \(Net\) is not built: .* Call it once on data, for instance model\("
        ):
            find_cuts(net)

    def test_sequential_without_shape(self):
        """The same for a Sequential that does not know its input."""
        with pytest.raises(ModelError, match=r"\(Sequential\) is not built"):
            find_cuts(keras.Sequential([layers.Dense(2)]))

    def test_tensorflow_functions(self):
        """The error names the class, and says how to make it splittable; the model still works."""
        net = Net(lambda net, x: net.scores(tf.nn.relu(x)), scores=layers.Dense(2))
        y = net(np.ones((2, 3), "float32"))
        nodes = len(net.scores._inbound_nodes)
        with pytest.raises(ModelError) as caught:
            find_cuts(net)
        text = str(caught.value)
        assert text.startswith("Model 'net' of class Net cannot be traced: its `call` does not run on symbolic inputs.")
        assert "A KerasTensor cannot be used as input to a TensorFlow function" in text
        assert (
            "Write `call` with layers and keras.ops (not tf.*), or wrap what needs tf.* into a keras.layers.Layer"
            in text
        )
        assert len(net.scores._inbound_nodes) == nodes
        assert difference(net(np.ones((2, 3), "float32")), y) == 0.0

    def test_tensorflow_functions_inside(self):
        """A block that calls tf.* inside a model that does not is one layer."""

        @keras.saving.register_keras_serializable("tests")
        class Block(keras.Model):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.dense = layers.Dense(3)

            def call(self, x):
                return tf.nn.relu(self.dense(x))

            def compute_output_shape(self, shape):
                return (shape[0], 3)

        inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(2)(Block(name="block")(inputs)))
        assert [(cut.name, cut.layer_type) for cut in find_cuts(model)] == [("block", "Block")]
        assert find_cuts(model)[0].head_macs == 12
        assert recompose(model, random_input(model)).difference == 0.0

    def test_two_arguments(self):
        """Keras keeps the shape of the first argument only; the error says what to do."""

        class Two(keras.Model):
            def __init__(self):
                super().__init__(name="two")
                self.dense = layers.Dense(3)

            def call(self, left, right):
                return self.dense(left) + right

        model = Two()
        model(np.ones((1, 3), "float32"), np.ones((1, 3), "float32"))
        with pytest.raises(ModelError, match=r"takes 2 arguments \(left, right\); Keras keeps the shape of 1 only"):
            find_cuts(model)


class TestNoModel:
    """What is not a model of Keras 3 on TensorFlow."""

    @pytest.mark.parametrize("thing", ["model.keras", None, layers.Dense(2)], ids=["path", "nothing", "layer"])
    def test_other_things(self, thing):
        """The error says what was found and how to get a model."""
        with pytest.raises(
            ModelError, match=r"Expected a Keras 3 model\. Received: .*keras\.models\.load_model\(path\)"
        ):
            find_cuts(thing)

    def test_keras_2(self):
        """Models of tf_keras are recognized."""
        kind = type("Functional", (), {"__module__": "tf_keras.src.engine.functional"})
        with pytest.raises(
            ModelError, match=r"Received: tf_keras.*Functional\. Models of tf_keras \(Keras 2\) are not"
        ):
            find_cuts(kind())

    def test_other_backend(self, monkeypatch):
        """Another backend gets an error that says so."""
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(
            ModelError, match=r"works with the TensorFlow backend of Keras\. Found: 'jax'\. Set KERAS_BACKEND="
        ):
            find_cuts(ZOO["mlp"]())


class TestBuilt:
    """Subclassed models that `build` built, not a call."""

    @staticmethod
    def _model(build):
        class Net(keras.Model):
            def __init__(self):
                super().__init__(name="net")
                self.hidden, self.scores = layers.Dense(4, name="hidden"), layers.Dense(3, name="scores")

            def call(self, x, training=None, scale=2.0):
                return self.scores(self.hidden(x) * scale)

            def make(self):
                self.hidden.build((None, 8))
                self.scores.build((None, 4))
                self.built = True

        Net.build = build
        return Net()

    @pytest.mark.parametrize(
        ("build", "args"),
        [
            (lambda self, input_shape=(None, 8): self.make(), ()),
            (lambda self, input_shape=(2, 8), wide=False: self.make(), ()),
            (lambda self, input_shape, units=4: self.make(), ((None, 8), 5)),
            (lambda self, input_shape=None, sizes=(): self.make(), ((None, 8),)),
        ],
    )
    def test_default_arguments(self, build, args):
        """The shape is the argument of `build` that is one, given or default."""
        model = self._model(build)
        model.build(*args)
        model(np.zeros((1, 8), np.float32))
        program = read_program(model)
        assert [program.tensors[tensor].shape for tensor in program.inputs] == [(None, 8)]
        assert [step.name for step in program.steps] == ["hidden", "multiply", "scores"]

    def test_no_shape_at_all(self):
        """The way out that the error shows is one."""
        model = self._model(lambda self, input_shape=None: self.make())
        model.build()
        model(np.zeros((1, 8), np.float32))
        with pytest.raises(ModelError, match=r"not say what input it takes: .* keras\.Model\(inputs, model\(inputs\)"):
            read_program(model)
        inputs = keras.Input((8,))
        assert len(read_program(keras.Model(inputs, model(inputs))).steps) == 3


@pytest.mark.parametrize("layout", ["sparse", "ragged"])
def test_an_input_of_sparse_or_ragged_tensors_is_refused(layout):
    """A model whose input is not dense is refused by name, with what to build in its place."""
    inputs = keras.Input((None, 4), name="rows", **{layout: True})
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(3)(inputs)) if layout == "ragged" else inputs
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled), name="unusual")
    with pytest.raises(ModelError, match=f"Input 'rows' of model 'unusual' takes {layout} tensors.* without {layout}="):
        read_program(model)


@pytest.mark.parametrize("layer", ["CategoryEncoding", "IntegerLookup", "HashedCrossing"])
def test_a_sparse_tensor_inside_is_no_cut(layer):
    """A sparse tensor between layers is left out of the cuts; asked for by name, the reason is said."""
    inputs = keras.Input((1,), dtype="int64", name="codes")
    if layer == "CategoryEncoding":
        sparse = keras.layers.CategoryEncoding(4, output_mode="one_hot", sparse=True, name="code")(inputs)
    elif layer == "IntegerLookup":
        options = {"output_mode": "one_hot", "sparse": True, "vocabulary": [1, 2, 3]}
        sparse = keras.layers.IntegerLookup(**options, name="code")(inputs)
    else:
        crossing = keras.layers.HashedCrossing(4, output_mode="one_hot", sparse=True, name="code")
        sparse = crossing((inputs, inputs))
    hidden = keras.layers.Dense(3, name="hidden")(sparse)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden), name="codes")
    assert [cut.name for cut in find_cuts(model)] == ["hidden"]
    with pytest.raises(CutError, match="'code' in model 'codes'. It is a sparse tensor, .* without sparse=True"):
        split(model, "code")
