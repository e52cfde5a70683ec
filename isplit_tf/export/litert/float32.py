"""Both halves of a bundle compute in float32, whatever the policy that the model was trained with."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from ...graph.keras_layers import all_layers
from ...graph.program import Program, read_program


class _Float32Policy(keras.DTypePolicy):
    """Computes in float32 on variables of another dtype, which Keras then casts as it reads them."""

    def __init__(self, variable_dtype: str):
        super().__init__("float32")
        self._stored_dtype = variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self._stored_dtype


@contextlib.contextmanager
def in_float32(*models: keras.Model | None) -> Iterator[None]:
    """Lets models compute in float32 while their graph is being traced; afterwards they are as before.

    Layers under a policy such as mixed_float16 would put casts and half-precision operators into the graph, which
    no LiteRT kernel and few servers' CPUs run well.

    Args:
        models: Models, or None for a half that does not exist.
    """
    layers = {id(layer): layer for model in models if model is not None for layer in all_layers(model)}
    before = [(layer, layer.dtype_policy) for layer in layers.values() if _is_other_float(layer.compute_dtype)]
    try:
        for layer, policy in before:
            layer.dtype_policy = _Float32Policy(policy.variable_dtype)
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy


def answer(model: keras.Model, x: tf.Tensor) -> tf.Tensor:
    """What a half of one input and one output gives, in inference mode and within `in_float32`.

    A functional model casts to the dtype of its Input: float16 in a half of a mixed-precision model, uint8 where
    images are rescaled inside. Its layers are called one by one where that can be left out.
    """
    program = read_program(model, training=False)
    if not (_is_other_float(model.inputs[0].dtype) or _casts_itself(program)):
        return model(x, training=False)
    return program.run({program.inputs[0]: x})[program.outputs[0]]


def _casts_itself(program: Program) -> bool:
    """Whether integers that come in are made float by the first layer, and never by the model."""
    readers = [step.operation for step in program.steps if program.inputs[0] in step.reads]
    return bool(readers) and all(
        isinstance(one, keras.layers.Rescaling | keras.layers.Normalization) for one in readers
    )


def _is_other_float(dtype: str | None) -> bool:
    return dtype is not None and "float" in dtype and dtype != "float32"
