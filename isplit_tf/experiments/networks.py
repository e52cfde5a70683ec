"""The networks of the studies."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ..errors import ArgumentError
from .recipes import ModelRecipe

_VGG16_LAYOUT = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and convolutions of each block
_NARROW = 16


def preparation(recipe: ModelRecipe) -> Callable[[np.ndarray], np.ndarray]:
    """What turns RGB images from 0 to 255 into the network's input: that of its ImageNet weights, else -1 to 1."""
    if recipe.imagenet:
        module = {"vgg16": keras.applications.vgg16, "resnet50": keras.applications.resnet}[recipe.name]
        return lambda x: np.asarray(module.preprocess_input(x.copy()), np.float32)
    return lambda x: x / np.float32(127.5) - np.float32(1)


def build_network(
    recipe: ModelRecipe, size: int, n_classes: int, *, seed: int, weights: Path | None = None
) -> keras.Model:
    """An untrained classifier on that base.

    Args:
        recipe: Which.
        size: Pixels to a side.
        n_classes: Its outputs, a softmax.
        seed: Of the first weights.
        weights: A file of the base's ImageNet weights without the top; None for the one that Keras loads from the
            internet.

    Raises:
        ArgumentError: There is no network of that name.
    """
    keras.utils.set_random_seed(seed)
    shape = (size, size, 3)
    if recipe.name == "vgg16_narrow":
        base = _narrow_vgg16(shape)
    else:
        makers = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}
        if recipe.name not in makers:
            raise ArgumentError(f"No network {recipe.name!r}. There are: {', '.join(makers)}, vgg16_narrow.")
        start = (str(weights) if weights is not None else "imagenet") if recipe.imagenet else None
        base = makers[recipe.name](include_top=False, weights=start, input_shape=shape)
    layers = keras.layers
    if recipe.name == "resnet50":
        x = layers.GlobalAveragePooling2D(name="pooled")(base.output)
    else:
        x = layers.Dense(base.output.shape[-1] // 2, activation="relu", name="fc1")(
            layers.Flatten(name="flatten")(base.output)
        )
    return keras.Model(base.input, layers.Dense(n_classes, activation="softmax", name="predictions")(x))


def _narrow_vgg16(shape: tuple[int, int, int]) -> keras.Model:
    inputs = x = keras.Input(shape)
    for block, (width, convolutions) in enumerate(_VGG16_LAYOUT, 1):
        for k in range(1, convolutions + 1):
            x = keras.layers.Conv2D(
                width // _NARROW,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{k}",
            )(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(inputs, x)
