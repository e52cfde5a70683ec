"""The demo's classifier of the glyphs: its layout, its training, and the trained one that ships with the package."""

from importlib.resources import files
from pathlib import Path

import keras
import numpy as np

from ..display.progress import bar
from ..storage.models import load_model

SIZE = 32  # VGG16's five poolings need 32 pixels; the glyphs have 28 and get a black border
WIDTHS = (20, 40, 80, 112, 112)
EPOCHS = 20
SEED = 0
BATCH = 64
LOSS = "sparse_categorical_crossentropy"
_LAYOUT = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))  # VGG16's blocks and their convolutions
_LEARNING_RATE = 1e-3


def shipped_file() -> Path:
    """Return the file of the trained classifier, which `tools/glyphs/classifier.py` made."""
    return Path(str(files(__package__).joinpath("glyphs.keras")))


def load_classifier() -> keras.Model:
    """Load the trained classifier that ships with the package, compiled with its loss."""
    return load_model(shipped_file())


def build_classifier(widths: tuple[int, ...] = WIDTHS, *, seed: int = SEED) -> keras.Model:
    """Build an untrained classifier in VGG16's layout with narrower layers, for 32x32 grey images from 0 to 255."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(inputs)
    for (block, convolutions), width in zip(_LAYOUT, widths, strict=True):
        for k in range(1, convolutions + 1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{k}",
            )(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(4 * widths[-1], activation="relu", kernel_initializer="he_normal", name="fc1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(10, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, outputs, name="glyph_vgg")


def train_classifier(
    model: keras.Model, glyphs: np.ndarray, labels: np.ndarray, *, epochs: int = EPOCHS, seed: int = SEED
) -> None:
    """Train a classifier, with a bar on standard error.

    In each epoch every glyph stands somewhere else in its frame. Places and order depend on the seed alone.

    Args:
        model: The result of `build_classifier`; it is changed.
        glyphs: uint8 images, `(N, 28, 28, 1)`.
        labels: Integers from 0 to 9, `(N,)`.
        epochs: Number of passes over the glyphs.
        seed: Seed of places, order and dropout.
    """
    steps = epochs * -(-len(labels) // BATCH)
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model.compile(decaying(_LEARNING_RATE, steps), LOSS, metrics=["accuracy"])
    with bar(total=steps, desc="training", unit="step") as progress_bar:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress_bar.update(1))
        for _ in range(epochs):
            model.fit(_placed(glyphs, rng), labels, batch_size=BATCH, verbose=0, callbacks=[callback])


def decaying(rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with a rate that falls to a twentieth over so many steps, along a cosine."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.05))


def framed(glyphs: np.ndarray) -> np.ndarray:
    """Return uint8 glyphs `(N, 28, 28, 1)` with a black border, as float32 `(N, 32, 32, 1)` from 0 to 255."""
    border = (SIZE - glyphs.shape[1]) // 2
    return np.pad(glyphs, ((0, 0), (border, border), (border, border), (0, 0))).astype(np.float32)


def _placed(glyphs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return glyphs as `framed` does, each moved by up to the border in either direction."""
    size = glyphs.shape[1]
    images = np.zeros((len(glyphs), SIZE, SIZE, 1), np.float32)
    corners = rng.integers(0, SIZE - size + 1, (len(glyphs), 2))
    for image, glyph, (top, left) in zip(images, glyphs, corners, strict=True):
        image[top : top + size, left : left + size] = glyph
    return images
