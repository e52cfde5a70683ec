"""Small kits of three kinds of models, and servers that serve them."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.kit import Kit
from isplit_tf.server import Server


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
    "colour": lambda folder, rng: isplit.build_kit(
        _convolutions((14, 10, 3)),
        folder,
        representative_data=rng.integers(0, 256, (40, 14, 10, 3), np.uint8),
        preprocessing="tf",
        bottleneck=isplit.Projection(payload_bytes=60),
        progress=False,
    ),
    "grey": lambda folder, rng: isplit.build_kit(
        _convolutions((8, 9, 1)),
        folder,
        representative_data=rng.integers(0, 256, (40, 8, 9, 1), np.uint8),
        bottleneck=None,
        precision="float32",
        progress=False,
    ),
    "series": lambda folder, rng: isplit.build_kit(
        _series(),
        folder,
        representative_data=rng.normal(size=(40, 12, 2)).astype(np.float32),
        bottleneck=None,
        precision="float32",
        progress=False,
    ),
}
KINDS = tuple(_KINDS)


@pytest.fixture(scope="session")
def kit_of(tmp_path_factory) -> Callable[[str], Kit]:
    """Builds the kit of a kind, once."""
    made: dict[str, Kit] = {}

    def kit(kind: str) -> Kit:
        if kind not in made:
            made[kind] = _KINDS[kind](tmp_path_factory.mktemp("kit") / kind, np.random.default_rng(0))
        return made[kind]

    return kit


@pytest.fixture
def server_of(kit_of) -> Iterator[Callable[..., Server]]:
    """Serves the kit of a kind over REST and gRPC."""
    running: list[Server] = []

    def serve(kind: str, **options) -> Server:
        options = {"port": 0, "grpc_port": 0, **options}
        running.append(Server(kit_of(kind).directory / "serving", **options).start())
        return running[-1]

    yield serve
    for server in running:
        server.close()
