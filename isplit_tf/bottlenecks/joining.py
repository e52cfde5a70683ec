"""Layers that join several tensors of a cut into one vector for the wire, and take the vector apart again."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable("isplit_tf")
class Join(keras.layers.Layer):
    """A layer that flattens and concatenates tensors: from a list of `(N, ...)` to `(N, size)`.

    Args:
        dtype: dtype of the result; it must hold all values of the tensors exactly.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)

    def call(self, tensors: Sequence[Any]) -> Any:
        """Return one vector for each image."""
        flat = [keras.ops.reshape(tensor, (-1, math.prod(tensor.shape[1:]))) for tensor in tensors]
        return keras.ops.concatenate([keras.ops.cast(tensor, self.compute_dtype) for tensor in flat], axis=-1)

    def compute_output_shape(self, shapes: Sequence[tuple]) -> tuple:
        """Return `(N, size)`."""
        return (shapes[0][0], sum(math.prod(shape[1:]) for shape in shapes))


@keras.saving.register_keras_serializable("isplit_tf")
class Part(keras.layers.Layer):
    """A layer that takes one of the joined tensors out of the vector of `Join`: from `(N, size)` to `(N, *shape)`.

    Args:
        start: Position of the tensor's first element in the vector.
        shape: The tensor's shape without the batch.
        dtype: The tensor's dtype.
    """

    def __init__(self, start: int, shape: Sequence[int], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.start = start
        self.shape = tuple(shape)

    def call(self, vector: Any) -> Any:
        """Return the tensor of each image."""
        part = vector[:, self.start : self.start + math.prod(self.shape)]
        return keras.ops.cast(keras.ops.reshape(part, (-1, *self.shape)), self.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """Return `(N, *shape)`."""
        return (shape[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Return the position and shape of the tensor, besides the layer's own configuration."""
        return super().get_config() | {"start": self.start, "shape": list(self.shape)}


def join(tensors: Sequence[Any], *, name: str) -> Any:
    """Join symbolic tensors into one vector, in their dtype if it is the same, else in float32."""
    dtypes = {tensor.dtype for tensor in tensors}
    return Join(name=name, dtype=dtypes.pop() if len(dtypes) == 1 else "float32")(list(tensors))


def take_apart(vector: Any, like: Sequence[Any], *, name: str) -> list[Any]:
    """Return the tensors in a vector of `join`: symbolic, with the shapes and dtypes of `like`."""
    starts = itertools.accumulate((math.prod(tensor.shape[1:]) for tensor in like), initial=0)
    return [
        Part(start, tensor.shape[1:], name=f"{name}_{k}", dtype=tensor.dtype)(vector)
        for k, (start, tensor) in enumerate(zip(starts, like, strict=False))
    ]


def join_bottlenecks(bottlenecks: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> tuple[keras.Model, keras.Model]:
    """Join the bottlenecks of several tensors into one, from vector to vector.

    Args:
        bottlenecks: For each tensor, an object whose `build` makes an encoder and a decoder for a shape.
        shapes: Shapes of the tensors, without the batch.

    Returns:
        The encoder, from the joined tensors to the joined latents, in graph order; and the decoder, from the joined
        latents to the joined tensors.
    """
    pairs = [
        _renamed(bottleneck.build(shape), k)
        for k, (bottleneck, shape) in enumerate(zip(bottlenecks, shapes, strict=True))
    ]
    likes = [keras.KerasTensor((None, *shape)) for shape in shapes]
    features = keras.Input((sum(math.prod(shape) for shape in shapes),), name="features")
    latents = [
        pair[0](part) for pair, part in zip(pairs, take_apart(features, likes, name="encoder_part"), strict=True)
    ]
    encoder = keras.Model(features, join(latents, name="encoder_join"), name="encoder")
    latent = keras.Input(encoder.output_shape[1:], name="latent")
    restored = [
        pair[1](part) for pair, part in zip(pairs, take_apart(latent, latents, name="decoder_part"), strict=True)
    ]
    return encoder, keras.Model(latent, join(restored, name="decoder_join"), name="decoder")


def _renamed(pair: tuple[keras.Model, keras.Model], k: int) -> tuple[keras.Model, keras.Model]:
    """Add the number of a tensor to the names in its pair, so that several pairs can stand in one model."""
    for side, model in zip(("encoder", "decoder"), pair, strict=True):
        model.name = f"{side}_{k}"
        for layer in model.layers:
            layer.name = f"{layer.name}_{k}"
    return pair
