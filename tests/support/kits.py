"""Small kits of three kinds of models, each built once for all tests of a run."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.kit import Kit
from isplit_tf.export.kit import build_kit


def _network(shape: tuple[int, ...], *middle: keras.layers.Layer) -> keras.Model:
    """A classifier of four classes with cuts of two sizes."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input(shape)
    for layer in middle:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x), name="net")


def _convolutions(shape: tuple[int, ...]) -> keras.Model:
    layers = keras.layers
    stem = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")
    body = layers.Conv2D(6, 3, padding="same", activation="relu", name="body")
    return _network(shape, stem, body, layers.GlobalAveragePooling2D())


def _series() -> keras.Model:
    layers = keras.layers
    return _network(
        (12, 2), layers.Conv1D(4, 3, name="stem"), layers.Conv1D(6, 3, name="body"), layers.GlobalMaxPooling1D()
    )


_KINDS = {
    "colour": lambda folder, rng: build_kit(
        _convolutions((14, 10, 3)),
        folder,
        representative_data=rng.integers(0, 256, (40, 14, 10, 3), np.uint8),
        preprocessing="tf",
        bottleneck=isplit.Projection(payload_bytes=60),
        progress=False,
    ),
    "grey": lambda folder, rng: build_kit(
        _convolutions((8, 9, 1)),
        folder,
        representative_data=rng.integers(0, 256, (40, 8, 9, 1), np.uint8),
        bottleneck=None,
        precision="float32",
        progress=False,
    ),
    "series": lambda folder, rng: build_kit(
        _series(),
        folder,
        representative_data=rng.normal(size=(40, 12, 2)).astype(np.float32),
        bottleneck=None,
        precision="float32",
        progress=False,
    ),
}
KINDS = tuple(_KINDS)
_MADE: dict[str, Kit] = {}


@pytest.fixture(scope="session")
def kit_of(tmp_path_factory) -> Callable[[str], Kit]:
    """Builds the kit of a kind, once."""

    def kit(kind: str) -> Kit:
        if kind not in _MADE:
            _MADE[kind] = _KINDS[kind](tmp_path_factory.mktemp("kit") / kind, np.random.default_rng(0))
        return _MADE[kind]

    return kit
