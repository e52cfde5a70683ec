"""Several tensors as one vector, and back: what crosses the wire where a cut has more than one tensor."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable("isplit_tf")
class Join(keras.layers.Layer):
    """Flattens tensors and puts them one behind the other: a list of `(N, ...)` to `(N, size)`.

    Args:
        dtype: dtype of the result; one that holds all values of the tensors exactly.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)

    def call(self, tensors: Sequence[Any]) -> Any:
        """The vector of each image."""
        flat = [keras.ops.reshape(tensor, (-1, math.prod(tensor.shape[1:]))) for tensor in tensors]
        return keras.ops.concatenate([keras.ops.cast(tensor, self.compute_dtype) for tensor in flat], axis=-1)

    def compute_output_shape(self, shapes: Sequence[tuple]) -> tuple:
        """`(N, size)`."""
        return (shapes[0][0], sum(math.prod(shape[1:]) for shape in shapes))


@keras.saving.register_keras_serializable("isplit_tf")
class Part(keras.layers.Layer):
    """One of the tensors that `Join` put together: `(N, size)` to `(N, *shape)`.

    Args:
        start: Its first element in the vector.
        shape: Its shape without the batch.
        dtype: Its dtype.
    """

    def __init__(self, start: int, shape: Sequence[int], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.start = start
        self.shape = tuple(shape)

    def call(self, vector: Any) -> Any:
        """The tensor of each image."""
        part = vector[:, self.start : self.start + math.prod(self.shape)]
        return keras.ops.cast(keras.ops.reshape(part, (-1, *self.shape)), self.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        """`(N, *shape)`."""
        return (shape[0], *self.shape)

    def get_config(self) -> dict[str, Any]:
        """Where the tensor lies."""
        return super().get_config() | {"start": self.start, "shape": list(self.shape)}


def join(tensors: Sequence[Any], *, name: str) -> Any:
    """Symbolic tensors as one vector, in the dtype that holds them all."""
    dtypes = {tensor.dtype for tensor in tensors}
    return Join(name=name, dtype=dtypes.pop() if len(dtypes) == 1 else "float32")(list(tensors))


def take_apart(vector: Any, like: Sequence[Any], *, name: str) -> list[Any]:
    """The way back from `join`: symbolic tensors of the shapes and dtypes of `like`."""
    starts = itertools.accumulate((math.prod(one.shape[1:]) for one in like), initial=0)
    return [
        Part(start, one.shape[1:], name=f"{name}_{k}", dtype=one.dtype)(vector)
        for k, (start, one) in enumerate(zip(starts, like, strict=False))
    ]


def join_bottlenecks(bottlenecks: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> tuple[keras.Model, keras.Model]:
    """A bottleneck for each of the tensors in a vector, as one: encoder and decoder from vector to vector.

    Args:
        bottlenecks: What makes an encoder and a decoder of a shape; one for each tensor.
        shapes: Shapes of the tensors, without the batch.

    Returns:
        The encoder, from the joined tensors to the joined latents, in graph order; the decoder, the other way.
    """
    pairs = [_renamed(one.build(shape), k) for k, (one, shape) in enumerate(zip(bottlenecks, shapes, strict=True))]
    likes = [keras.KerasTensor((None, *shape)) for shape in shapes]
    features = keras.Input((sum(math.prod(shape) for shape in shapes),), name="features")
    latents = [pair[0](one) for pair, one in zip(pairs, take_apart(features, likes, name="encoder_part"), strict=True)]
    encoder = keras.Model(features, join(latents, name="encoder_join"), name="encoder")
    latent = keras.Input(encoder.output_shape[1:], name="latent")
    restored = [pair[1](one) for pair, one in zip(pairs, take_apart(latent, latents, name="decoder_part"), strict=True)]
    return encoder, keras.Model(latent, join(restored, name="decoder_join"), name="decoder")


def _renamed(pair: tuple[keras.Model, keras.Model], k: int) -> tuple[keras.Model, keras.Model]:
    """Encoders and decoders of several tensors carry the same names: numbered, they can stand in one model."""
    for side, model in zip(("encoder", "decoder"), pair, strict=True):
        model.name = f"{side}_{k}"
        for layer in model.layers:
            layer.name = f"{layer.name}_{k}"
    return pair
