"""Bundles of small real splits, one for each way that a head takes images and gives numbers."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.kinds import CODED_KINDS, KINDS, Kind

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "export" / "raspberry_pi"))  # the kit's programs are no package


@pytest.fixture(scope="session")
def kit_bundle(tmp_path_factory) -> Callable[[str], Path]:
    """Makes the bundle of a kind, once; tests only read it."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = _export((KINDS | CODED_KINDS)[name], tmp_path_factory.mktemp("kit") / "bundle")
        return made[name]

    return make


@pytest.fixture
def raw_images() -> Callable[..., np.ndarray]:
    """Makes raw images for a kind, (N, H, W, C) uint8: noise and smooth ramps, black and white among them."""

    def make(name: str, count: int = 12) -> np.ndarray:
        kind = (KINDS | CODED_KINDS)[name]
        height, width = kind.raw_size
        rng = np.random.default_rng(7)
        noise = rng.integers(0, 256, (count, height, width, kind.input_shape[2]), np.uint8)
        noise[1::2] = np.linspace(0, 255, width, dtype=np.uint8)[:, None]
        noise[0], noise[1] = 0, 255
        return noise

    return make


def _export(kind: Kind, directory: Path) -> Path:
    import keras

    import isplit_tf as isplit
    from isplit_edge.code import Code
    from isplit_edge.geometric import geometric_tables

    keras.utils.set_random_seed(1)
    layers = keras.layers
    x = inputs = keras.Input(kind.input_shape)
    if kind.preprocessing is None:
        x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(kind.units, activation=kind.last)(x))
    halves = isplit.split(model, "pool", isplit.Autoencoder(0.5, latent_bits=kind.latent_bits, seed=0))
    rng = np.random.default_rng(3)
    height, width = kind.raw_size
    if kind.latent_bits is not None:
        images = rng.random((32, *kind.input_shape), np.float32)
        isplit.train(halves, images, bottleneck_epochs=0, fine_tune_epochs=0, progress=False)
    if kind.coded:
        channels = halves.latent_shape[-1]
        halves.bottleneck_code = Code(
            geometric_tables(), [11] * channels, [17] * channels, [0] * channels, halves.latent_shape
        )
    isplit.export_bundle(
        halves,
        directory,
        representative_data=rng.integers(0, 256, (100, height, width, kind.input_shape[2]), np.uint8),
        class_names=[f"class {k}" for k in range(kind.units)],
        preprocessing=kind.preprocessing,
        precision=kind.precision,
        from_logits=True if kind.last is None else None,
        version=2,
        progress=False,
    )
    return directory
