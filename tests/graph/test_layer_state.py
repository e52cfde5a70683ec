"""What Keras' own files merge or leave out of a layer is copied, trained, saved and read back as it is."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from isplit_tf import SplitModel, split, train
from isplit_tf.errors import ModelError
from isplit_tf.graph.layer_state import record_state
from support.recompose import difference

RNG = np.random.default_rng(0)


@keras.saving.register_keras_serializable("test_layer_state")
class Pair(layers.Layer):
    """Two dense layers, of which its configuration says nothing but their width."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first, self.second = layers.Dense(units), layers.Dense(units)

    def build(self, shape):
        self.first.build(shape)
        self.second.build((*shape[:-1], self.units))

    def call(self, x):
        return self.second(self.first(x))

    def get_config(self):
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable("test_layer_state")
class Rounded(layers.Dense):
    """A layer that rounds its kernel where it is saved."""

    def save_own_variables(self, store):
        store["0"], store["1"] = np.round(np.asarray(self.kernel), 1), np.asarray(self.bias)

    def load_own_variables(self, store):
        self.kernel.assign(store["0"])
        self.bias.assign(store["1"])


def net(*inner, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *inner, layers.Flatten(name="end"), layers.Dense(3)])


def lora(layer, rank=2, **options):
    """Enable LoRA and give all of its weights a value."""
    layer.enable_lora(rank, **options)
    for weight in layer.weights:
        if "lora" in weight.name:
            weight.assign(RNG.random(weight.shape))


def dense(mode=None, **options):
    model = net(layers.Dense(6, name="d"))
    if mode:
        model.get_layer("d").quantize(mode)
    lora(model.get_layer("d"), **options)
    return model


def convolution():
    model = net(layers.Conv2D(4, 3, name="d"), shape=(5, 5, 2))
    lora(model.get_layer("d"))
    return model


def embedding():
    model = net(layers.Embedding(10, 4, name="d"), layers.EinsumDense("bti,io->bto", (5, 4), name="e"), shape=(5,))
    lora(model.get_layer("d"))
    lora(model.get_layer("e"), lora_alpha=7)
    return model


def inside(mode=None, with_lora=True):
    model = net(Pair(4, name="pair"))
    if mode:
        model.get_layer("pair").first.quantize(mode)
    if with_lora:
        lora(model.get_layer("pair").first)
    return model


def single_flag():
    model = net(layers.BatchNormalization(name="norm"), layers.Dense(4))
    model.get_layer("norm").gamma.trainable = False
    return model


def frozen_inside():
    model = net(Pair(4, name="pair"))
    model.get_layer("pair").second.trainable = False
    return model


def frozen_attention():
    inputs = keras.Input((4, 6))
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten(name="end")(attention(inputs, inputs))))
    attention.trainable = False
    return model


MODELS = {
    "dense": dense,
    "alpha": lambda: dense(lora_alpha=16),
    "int8": lambda: dense("int8"),
    "int8, alpha": lambda: dense("int8", lora_alpha=16),
    "int4": lambda: dense("int4"),
    "convolution": convolution,
    "embedding": embedding,
    "inside": inside,
    "int8 inside": lambda: inside("int8", with_lora=False),
    "int8 and LoRA inside": lambda: inside("int8"),
    "single flag": single_flag,
    "frozen inside": frozen_inside,
    "frozen attention": frozen_attention,
    "own form for files": lambda: net(Rounded(6, name="d")),
}


def assert_same(model, other):
    """Weights, flags and answers, bit for bit."""
    assert [w.trainable for w in other.weights] == [w.trainable for w in model.weights]
    for weight, found in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(weight))
    x = RNG.integers(0, 9, (3, *model.input_shape[1:])).astype(np.float32)
    assert difference(other(x), model(x)) == 0.0


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
@pytest.mark.parametrize("name", sorted(MODELS))
def test_copied_saved_and_read_back(name, tmp_path):
    """LoRA, late quantization and single flags: the split and the split that was read back are the user's model."""
    model = MODELS[name]()
    halves = split(model, "end")
    assert_same(model, halves.model)
    halves.save(tmp_path / "split")
    again = SplitModel.load(tmp_path / "split")
    assert_same(model, again.model)
    again.save(tmp_path / "again")
    assert_same(model, SplitModel.load(tmp_path / "again").model)


def test_lora_learns():
    """Both LoRA kernels learn in a split, and the kernel stays."""
    model = dense()
    before = [np.asarray(weight) for weight in model.get_layer("d").weights]
    halves = split(model, "end")
    data = RNG.random((16, 8), np.float32), np.arange(16) % 3
    train(halves, data, fine_tune_epochs=1, loss="sparse_categorical_crossentropy", progress=False)
    moved = {
        weight.name: difference(weight, old) > 0
        for weight, old in zip(halves.model.get_layer("d").weights, before, strict=True)
    }
    assert moved == {"kernel": False, "bias": True, "lora_kernel_a": True, "lora_kernel_b": True}
    assert not halves.model.get_layer("d")._kernel.trainable


def test_a_plain_model_has_no_further_state(tmp_path):
    """Its split is written as before, so that earlier releases read it."""
    model = net(layers.Dense(4), layers.BatchNormalization())
    model.layers[0].trainable = False
    assert record_state(split(model, "end").model) == ([], {})
    split(model, "end").save(tmp_path / "split")
    assert '"format_version": 1' in (tmp_path / "split" / "split.json").read_text()
    assert sorted(path.name for path in (tmp_path / "split").iterdir()) == ["model.keras", "split.json"]


def test_other_weights_are_said():
    """A configuration that leaves out what decides the weights is no copy; the shapes are named."""

    class Scaled(layers.Layer):
        def __init__(self, wide=False, **kwargs):
            super().__init__(**kwargs)
            self.wide = wide

        def build(self, shape):
            self.scale = self.add_weight((shape[-1] if self.wide else 1,), name="scale")

        def call(self, x):
            return x * ops.convert_to_tensor(self.scale)

        def get_config(self):
            return super().get_config()

    with pytest.raises(ModelError, match=r"'scaled' of class Scaled cannot be copied: its weights have .*\[\(8,"):
        split(net(Scaled(wide=True, name="scaled")), "end")
