"""LiteRT's own converter beside TensorFlow's: the same heads, in the same precisions, checked in the same way."""

import importlib.util

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_tf.errors import ArgumentError, ExportError, MissingDependencyError
from isplit_tf.export.bundle import export_bundle
from isplit_tf.export.litert.converter import convert
from isplit_tf.export.litert.engines import check_converter
from support import tiny

PACKAGES = ("litert_converter", "litert_quantizer")
installed = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, PACKAGES)), reason="the extra isplit-tf[litert] is not installed"
)


def noise(shape: tuple[int, ...]) -> np.ndarray:
    """Representative images of any shape."""
    return np.random.default_rng(0).normal(size=(32, *shape)).astype(np.float32)


def head_of(shape: tuple[int, ...], *layers) -> keras.Model:
    """A head of layers after each other, with fixed weights."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *layers])


def attention() -> keras.Model:
    """A head with attention."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 8))
    return keras.Model(inputs, keras.layers.MultiHeadAttention(2, 4)(inputs, inputs))


@installed
@pytest.mark.parametrize(
    ("precision", "dtype", "bound"),
    [
        ("int8", "int8", 0.05),
        ("int16x8", "int16", 0.02),
        ("float16", "float32", 2e-3),
        ("dynamic", "float32", 0.02),
        ("float32", "float32", 1e-5),
    ],
)
def test_every_precision(halves, train_images, precision, dtype, bound):
    """Each precision gives a file of the dtype that was asked for, close to Keras, the same one each time."""
    images = train_images[:100].astype(np.float32) / 255
    heads = [
        convert(halves.head, halves.encoder, precision=precision, representative=images, converter="litert")
        for _ in range(2)
    ]
    assert heads[0].content == heads[1].content
    assert (heads[0].dtype, heads[0].latent_shape) == (dtype, halves.latent_shape)
    assert heads[0].relative_error < bound
    assert heads[0].contents.custom_operators == ()


@installed
@pytest.mark.parametrize(
    "head",
    [
        lambda: head_of((8, 8, 3), keras.layers.SeparableConv2D(4, 3, activation="swish"), keras.layers.ReLU(6.0)),
        lambda: head_of((16,), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(4)),
        attention,
        lambda: head_of((6, 8), keras.layers.GRU(4, return_sequences=True)),
    ],
    ids=["separable", "dense", "attention", "recurrent"],
)
def test_both_converters_agree(head):
    """A head in int8 is as close to Keras by the second converter as by the first, to a factor of two."""
    model = head()
    images = noise(model.input_shape[1:])
    first, second = (
        convert(model, precision="int8", representative=images, converter=name).relative_error
        for name in ("tf.lite", "litert")
    )
    assert second < 2 * first


@installed
def test_what_it_leaves_in_float_is_refused():
    """An operator that the second converter cannot quantize is named with its layer, and nothing is written."""
    model = head_of((8,), keras.layers.Dense(4, activation="gelu", name="exact"))
    with pytest.raises(ExportError, match=r"stay in float: .*ABS.*in layer 'exact'"):
        convert(model, precision="int8", representative=noise((8,)), converter="litert")


@installed
def test_a_bundle_says_by_what_it_was_converted(halves, train_images, tmp_path):
    """A bundle answers through the wire, and its manifest names the converter's packages."""
    options = {"representative_data": train_images[:100], "preprocessing": tiny.PREPROCESSING, "progress": False}
    bundle = export_bundle(halves, tmp_path / "bundle", converter="litert", **options)
    assert set(PACKAGES) <= set(bundle.manifest.versions)
    other = export_bundle(halves, tmp_path / "other", **options)
    assert not set(PACKAGES) & set(other.manifest.versions)
    images = train_images[:32]
    np.testing.assert_allclose(bundle.predict(images), other.predict(images), atol=0.1)


def test_an_unknown_converter(tmp_path):
    """The converters that there are are named before any work."""
    split = isplit.split(head_of((8,), keras.layers.Dense(4, name="one"), keras.layers.Dense(3)), "one")
    with pytest.raises(ArgumentError, match=r"one of 'tf\.lite', 'litert'\. Received: 'onnx'"):
        export_bundle(split, tmp_path / "bundle", converter="onnx", precision="float32")
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_named(monkeypatch):
    """Without the packages of the second converter, the error says how to install them, and what works without."""
    monkeypatch.setattr("isplit_tf.export.litert.engines.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"litert_converter and litert_quantizer.*isplit-tf\[litert\]"):
        check_converter("litert")
    check_converter("tf.lite")
