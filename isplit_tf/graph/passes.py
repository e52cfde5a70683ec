"""Running a program on real tensors."""

from typing import Any

import keras
import tensorflow as tf

from ..errors import ModelError
from .program import Program, Step, bare_operation

# Pixels along an axis whose size varies.
_SOME_PIXELS = 32


def require_runnable(program: Program) -> None:
    """Check that TensorFlow can run a model's channels-first layers on this machine, forwards and backwards.

    On a CPU it has such convolutions only with oneDNN, which it switches on by itself on some processors only. Each
    kind of layer is tried once, on one image of zeros; models without such layers cost nothing.

    Raises:
        ModelError: A layer cannot be run; the message names the switch.
    """
    tried = set()
    for step in program.steps:
        operation = bare_operation(step.operation)
        kind = type(operation), getattr(operation, "groups", None)
        if getattr(operation, "data_format", None) != "channels_first" or kind in tried:
            continue
        tried.add(kind)
        if not _runs(program, step):
            raise ModelError(
                f"Layer '{step.name}' ({step.layer_type}) of model '{program.name}' is channels-first, which "
                f"TensorFlow cannot run on this processor without oneDNN. Set the environment variable "
                "TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported, or build the model channels-last."
            )


def _runs(program: Program, step: Step) -> bool:
    """Check whether TensorFlow runs a step on one image of zeros; any other error than the order of axes is left."""
    values: dict[int, Any] = {}
    for tensor in step.reads:
        spec = program.tensors[tensor]
        values[tensor] = keras.ops.zeros((1, *(size or _SOME_PIXELS for size in spec.sample_shape)), spec.dtype)
    images = list(values.values())
    try:
        with tf.GradientTape() as tape:
            tape.watch(images)
            made = program.run(values, [step])
            outputs = [made[tensor] for tensor in step.makes]
        tape.gradient(outputs, images)
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        return "NHWC" not in error.message
    return True
