"""The networks of the studies."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ..errors import ArgumentError
from .recipes import ModelRecipe

_VGG16_LAYOUT = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and convolutions of each block
_NARROW = 16
_TOP_NAMES = ("pooled", "flatten")


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
    if recipe.name in _NARROW_NETWORKS:
        base = _NARROW_NETWORKS[recipe.name](shape)
    else:
        makers = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}
        if recipe.name not in makers:
            raise ArgumentError(f"No network {recipe.name!r}. There are: {', '.join([*makers, *_NARROW_NETWORKS])}.")
        start = (str(weights) if weights is not None else "imagenet") if recipe.imagenet else None
        base = makers[recipe.name](include_top=False, weights=start, input_shape=shape)
    layers = keras.layers
    if recipe.name in ("resnet50", "residual_narrow"):
        x = layers.GlobalAveragePooling2D(name="pooled")(base.output)
    else:
        x = layers.Dense(base.output.shape[-1] // 2, activation="relu", name="fc1")(
            layers.Flatten(name="flatten")(base.output)
        )
    return keras.Model(base.input, layers.Dense(n_classes, activation="softmax", name="predictions")(x))


def top_start(model: keras.Model) -> keras.Layer:
    """The first layer behind the base of what `build_network` made."""
    return next(layer for layer in model.layers if layer.name in _TOP_NAMES)


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


def _narrow_residual(shape: tuple[int, int, int]) -> keras.Model:
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.MaxPooling2D(name="stem_pool")(x)
    for k, (width, stride) in enumerate(((8, 1), (16, 2), (16, 1), (32, 2)), 1):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", name=f"block{k}_conv1")(x)
        y = layers.ReLU(name=f"block{k}_relu1")(layers.BatchNormalization(name=f"block{k}_bn1")(y))
        y = layers.Conv2D(width, 3, padding="same", name=f"block{k}_conv2")(y)
        y = layers.BatchNormalization(name=f"block{k}_bn2")(y)
        if stride > 1:
            x = layers.Conv2D(width, 1, strides=stride, name=f"block{k}_shortcut")(x)
        x = layers.ReLU(name=f"block{k}_out")(layers.Add(name=f"block{k}_add")([x, y]))
    return keras.Model(inputs, x)


_NARROW_NETWORKS = {"vgg16_narrow": _narrow_vgg16, "residual_narrow": _narrow_residual}
