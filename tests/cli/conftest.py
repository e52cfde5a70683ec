"""The small classifier and the images that commands work on."""

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small classifier of glyphs and an .npz of images."""
    folder = tmp_path_factory.mktemp("cli")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((28, 28, 1), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    for k in (1, 2, 3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"conv{k}")(x)
        x = layers.MaxPooling2D(name=f"pool{k}")(x)
    outputs = layers.Dense(10, activation="softmax", name="out")(layers.Flatten(name="flat")(x))
    keras.Model(inputs, outputs, name="tiny").save(folder / "tiny.keras")
    rng = np.random.default_rng(0)
    np.savez(folder / "images.npz", x=rng.integers(0, 256, (120, 28, 28, 1), np.uint8), y=np.arange(120) % 10)
    return folder
