"""Float32 arithmetic for both halves of a bundle, whatever dtype policy the model was trained with."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from ...graph.keras_layers import all_layers
from ...graph.keras_quantization import dequantized, is_quantized
from ...graph.program import Program, read_program


class _Float32Policy(keras.DTypePolicy):
    """A policy that computes in float32 on variables of another dtype; Keras casts them when it reads them."""

    def __init__(self, variable_dtype: str):
        super().__init__("float32")
        self._stored_dtype = variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self._stored_dtype


Read = Callable[[keras.Model], Program]
Answer = Callable[[keras.Model, tf.Tensor], tf.Tensor]


def in_inference(model: keras.Model) -> Program:
    """Read a model as `predict` runs it."""
    return read_program(model, training=False)


@contextlib.contextmanager
def in_float32(*models: keras.Model | None, read: Read = in_inference, dequantize: bool = False) -> Iterator[Answer]:
    """Let models compute in float32 while their graph is traced, and restore their policies afterwards.

    Layers under a policy such as mixed_float16 would put casts and half-precision operators into the graph, which
    no LiteRT kernel and few servers' CPUs run well.

    Args:
        models: Models of one input and one output, or None for a half that does not exist. Each is read once.
        read: What reads a model; a split knows the programs of its parts.
        dequantize: Whether layers that Keras' `quantize` changed compute with dequantized weights on inputs that are
            not rounded, as LiteRT needs it. Those under a policy of half precision always do.

    Yields:
        What gives the output of one of the models for a batch, in inference mode.
    """
    present = [model for model in models if model is not None]
    programs = {id(model): read(model) for model in present}
    layers = {id(layer): layer for model in present for layer in all_layers(model)}
    policies = [(layer, layer.dtype_policy) for layer in layers.values() if _is_other_float(layer.compute_dtype)]
    chosen = layers.values() if dequantize else [layer for layer, _ in policies if is_quantized(layer)]
    try:
        with dequantized(chosen):
            for layer, policy in policies:
                layer.dtype_policy = _Float32Policy(policy.variable_dtype)
            yield lambda model, x: _answer(model, programs[id(model)], x)
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy


def _answer(model: keras.Model, program: Program, x: tf.Tensor) -> tf.Tensor:
    """Return the output of a half for a batch.

    A functional model casts to the dtype of its Input: float16 in a half of a mixed-precision model, uint8 if images
    are rescaled inside. To avoid that cast, its layers are called one by one where possible.
    """
    is_dict = isinstance(program.input_structure, dict)  # Keras warns of an array where a dict of one is meant
    if not (is_dict or _is_other_float(model.inputs[0].dtype) or _casts_itself(program)):
        return model(x, training=False)
    return program.run({program.inputs[0]: x})[program.outputs[0]]


def _casts_itself(program: Program) -> bool:
    """Check whether the first layers turn integer inputs into floats, so that the model need not."""
    readers = [step.operation for step in program.steps if program.inputs[0] in step.reads]
    return bool(readers) and all(
        isinstance(reader, keras.layers.Rescaling | keras.layers.Normalization) for reader in readers
    )


def _is_other_float(dtype: str | None) -> bool:
    return dtype is not None and "float" in dtype and dtype != "float32"
