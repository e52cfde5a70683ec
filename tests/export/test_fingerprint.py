"""A bundle's identity: the same for the same split, another for another."""

import keras
import numpy as np
import pytest

from isplit_tf.export.fingerprint import architecture
from support import tiny
from support.tiny import RECORD, identity


@pytest.fixture(scope="module")
def known() -> str:
    """The identity of the unchanged split."""
    return identity()


def test_two_builds_and_two_processes_agree(known, elsewhere):
    """Automatic layer names, which go on counting in a process, are not part of it."""
    assert identity() == known
    assert elsewhere["identity"] == known


def test_the_cut_is_known_by_its_place_not_by_its_name(known):
    """`add_3` in one process is `add_1` in another; a cut elsewhere is another contract."""
    assert identity(cut={**RECORD["cut"], "name": "max_pooling2d_7"}) == known
    assert identity(cut={**RECORD["cut"], "index": 2}) != known


def test_every_part_counts(known):
    """The head's bytes and each key of the contract change it."""
    assert identity(head=b"Head") != known
    changes = {
        "wire_version": 2,
        "shapes": {**RECORD["shapes"], "latent": [2, 2, 31]},
        "dtype": "int16",
        "scale": 0.25,
        "zero_point": 0,
        "n_classes": 5,
        "class_names": list("abcd"),
        "preprocessing": {"name": "tf"},
    }
    for key, value in changes.items():
        assert identity(**{key: value}) != known, key


def test_one_weight_counts(known):
    """A single element of one weight of the tail, or of the decoder, makes another bundle."""
    for part in ("tail", "decoder"):
        split = tiny.make_split(tiny.make_original())
        variable = getattr(split, part).weights[-1]
        values = variable.numpy()
        values.flat[0] += np.float32(1e-6)
        variable.assign(values)
        assert identity(split) != known, part


def test_freezing_a_layer_does_not_count(known):
    """What only training reads leaves the identity as it is."""
    split = tiny.make_split(tiny.make_original())
    split.tail.trainable = False
    assert identity(split) == known


def test_the_architecture_has_no_automatic_names():
    """Layers are named by position, and their connections with them; the activation stays."""
    first, second = (architecture(tiny.make_split(tiny.make_original()).tail) for _ in range(2))
    assert first == second
    text = repr(first)
    assert "layer_1" in text
    assert "conv2d" not in text
    assert "'relu'" in text


def test_another_activation_is_another_architecture():
    """Two tails with the same weights that compute differently are told apart."""
    plain, softmax = (tiny.make_split(tiny.make_original(last=last)).tail for last in (None, "softmax"))
    assert architecture(plain) != architecture(softmax)


def test_a_layer_whose_configuration_holds_no_name():
    """Keras makes one of the arguments of a custom layer's __init__; the layer is named by position all the same."""

    class Scale(keras.layers.Layer):
        def __init__(self, k=2.0, **kwargs):
            super().__init__(**kwargs)
            self.k = k

        def call(self, x):
            return x * self.k

    def made(k):
        return architecture(keras.Sequential([keras.Input((4,)), Scale(k), keras.layers.Dense(2)]))

    assert made(2.0) == made(2.0) != made(3.0)
    assert "scale" not in repr(made(2.0))
