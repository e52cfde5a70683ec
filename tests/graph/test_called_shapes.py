"""Nested models that were built for any size: shapes, sizes and costs are those of the call."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from isplit_tf import Autoencoder, find_cuts, measure_importance, split
from isplit_tf.errors import ModelError
from isplit_tf.graph.cost import count_macs
from support.recompose import recompose
from support.zoo import random_input


def backbone(size: tuple = (None, None, 3), name: str = "backbone") -> keras.Model:
    """A residual backbone with an operation that is no layer."""
    inputs = keras.Input(size)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    x = layers.Add(name="add")([x, layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)])
    return keras.Model(inputs, layers.MaxPooling2D(name="pool")(ops.relu(x)), name=name)


def plain(size: tuple) -> keras.Model:
    """The backbone in a model of 28 x 28."""
    return keras.Sequential([keras.Input((28, 28, 3)), backbone(size), layers.Flatten(), layers.Dense(3)], name="plain")


def deep(size: tuple) -> keras.Model:
    """The backbone in two more models, which are of any size too."""
    pooled = (None if size[0] is None else 7,) * 2 + (4,)
    inner = keras.Sequential([keras.Input(size), backbone(size)], name="inner")
    after = keras.Sequential([keras.Input(pooled), layers.SeparableConv2D(2, 3, name="separable")], name="after")
    middle = keras.Sequential([keras.Input(size), inner, after], name="middle")
    return keras.Sequential([keras.Input((28, 28, 3)), middle, layers.GlobalAveragePooling2D(), layers.Dense(3)])


def sequence(size: tuple) -> keras.Model:
    """A recurrent model of steps of any number."""
    inputs = keras.Input((None if size[0] is None else 20, 6))
    x = layers.LSTM(5, return_sequences=True, name="lstm")(layers.Conv1D(8, 3, name="conv")(inputs))
    inner = keras.Model(inputs, layers.LayerNormalization(name="norm")(x), name="inner")
    return keras.Sequential([keras.Input((20, 6)), inner, layers.GlobalMaxPooling1D(), layers.Dense(3)])


def volume(size: tuple) -> keras.Model:
    """A model of volumes of any size."""
    inputs = keras.Input((8 if size[0] else None,) * 3 + (1,))
    inner = keras.Model(inputs, layers.Conv3D(2, 3, name="conv")(inputs), name="inner")
    return keras.Sequential(
        [keras.Input((8, 8, 8, 1)), inner, layers.MaxPooling3D(), layers.Flatten(), layers.Dense(3)]
    )


@pytest.mark.parametrize("build", [plain, deep, sequence, volume])
def test_the_same_as_in_a_backbone_of_fixed_size(build):
    """Cuts of a backbone of any size in a model of fixed size have shapes, sizes and costs as if it was built so."""

    def facts(model: keras.Model) -> list:
        cuts = find_cuts(model)
        return [(cut.shape, cut.size, cut.layer_type, cut.head_params, cut.head_macs, cut.tail_macs) for cut in cuts]

    keras.utils.set_random_seed(0)
    varying, fixed = build((None, None, 3)), build((28, 28, 3))
    assert facts(varying) == facts(fixed)
    assert count_macs(varying) == count_macs(fixed)
    assert not any(None in shape for shape, *_ in facts(varying))
    assert recompose(varying, random_input(varying, 2)).exact


def test_a_shared_backbone_called_at_two_sizes():
    """Each call has shapes and costs of its own, and the model stays whole at every cut of two tensors."""
    inputs, shared = keras.Input((28, 28, 3)), backbone()
    half = shared(layers.AveragePooling2D(2, name="half")(inputs))
    merged = layers.Concatenate(name="merge")(
        [layers.Flatten(name="a")(shared(inputs)), layers.Flatten(name="b")(half)]
    )
    model = keras.Model(inputs, layers.Dense(3)(merged))
    shapes = {name: shape for cut in find_cuts(model, max_tensors=2) for name, shape in cut_tensors(cut)}
    assert (shapes["backbone/pool"], shapes["backbone/pool#1"]) == ((3, 3, 4), (7, 7, 4))
    whole, small = (keras.Sequential([keras.Input((side, side, 3)), backbone()]) for side in (28, 14))
    assert count_macs(model) == count_macs(whole) + count_macs(small) + (9 + 49) * 4 * 3
    x = random_input(model, 2)
    for cut in find_cuts(model, max_tensors=2):
        halves = split(model, cut)
        assert np.abs(halves.tail(halves.head(x)) - model(x)).max() == 0.0


def cut_tensors(cut) -> list:
    """Name and shape of each tensor that crosses a cut."""
    return list(zip(cut.name.split("+"), cut.shapes, strict=True))


def test_a_subclassed_model_takes_the_branch_of_the_call():
    """A condition on the shape in `call` is decided by the shape with which the model is really called."""

    @keras.saving.register_keras_serializable("test_called_shapes")
    class Branching(keras.Model):
        def __init__(self, **config):
            super().__init__(**config)
            self.conv = layers.Conv2D(4, 3, name="conv")

        def call(self, x):
            x = self.conv(x)
            return x * 3.0 if x.shape[1] == 12 else x

    inputs = keras.Input((None, None, 3))
    middle = keras.Model(inputs, layers.ReLU(name="relu")(Branching(name="branching")(inputs)), name="middle")
    model = keras.Sequential([keras.Input((14, 14, 3)), middle, layers.GlobalMaxPooling2D(), layers.Dense(3)])
    x = random_input(model, 2)
    assert "middle/branching/multiply" in [cut.name for cut in find_cuts(model)]
    assert recompose(model, x).exact


def test_a_backbone_inside_a_wrapper_has_its_costs():
    """TimeDistributed(backbone) multiplies as often as the backbone on each of the frames."""
    frames = keras.Sequential([keras.Input((5, 28, 28, 3)), layers.TimeDistributed(backbone())])
    assert count_macs(frames) == 5 * count_macs(keras.Sequential([keras.Input((28, 28, 3)), backbone()]))


def test_importance_bottleneck_and_an_outer_model_of_fixed_size():
    """What a varying shape forbids works in a model that fixes the size, the remedy that the error names."""
    keras.utils.set_random_seed(0)
    pooled = layers.GlobalAveragePooling2D(name="pooling")
    model = keras.Sequential([keras.Input((None, None, 3)), backbone(), pooled, layers.Dense(3, activation="softmax")])
    x = np.random.default_rng(0).normal(size=(6, 28, 28, 3)).astype("float32")
    with pytest.raises(ModelError, match=r"keras.Sequential\(\[keras.Input\(\(224, 224, 3\)\), model\]\)"):
        split(model, "backbone/pool", Autoencoder())
    with pytest.warns(UserWarning, match=r"cuts whose shape varies.* 'backbone/conv' \(None, None, 4\)") as warned:
        curve = measure_importance(model, (x, np.arange(6) % 3), cuts="all", progress=False)
    assert [cut.name for cut in curve.cuts] == ["pooling"]
    assert warned[0].filename == __file__
    fixed = keras.Sequential([keras.Input((28, 28, 3)), model])
    curve = measure_importance(fixed, (x, np.arange(6) % 3), progress=False)
    assert [cut.shape for cut in curve.cuts] == [(14, 14, 4), (14, 14, 4), (7, 7, 4)]
    halves = split(fixed, curve.cuts[-1], Autoencoder(compression=0.5))
    assert None not in halves.latent_shape
