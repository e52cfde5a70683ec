"""Running a program on real tensors: a check that it runs, and a forward and backward pass with gradients at cuts."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..errors import ModelError
from .cuts import place_maker
from .program import Program, Step, bare_operation

# Length to try for an axis whose size varies.
_SOME_PIXELS = 32


def require_runnable(program: Program) -> None:
    """Check that TensorFlow can run a model's channels-first layers on this machine, forwards and backwards.

    On a CPU TensorFlow runs such convolutions only with oneDNN, which it enables by default on some processors only.
    Each kind of layer is tried once, on one image of zeros; a model without such layers costs nothing.

    Raises:
        ModelError: If a layer cannot be run; the message names the environment variable that helps.
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
    """Check whether a step runs on one image of zeros; only an unsupported order of axes counts as a failure."""
    values: dict[int, Any] = {}
    for tensor in step.reads:
        spec = program.tensors[tensor]
        values[tensor] = keras.ops.zeros((1, *(size or _SOME_PIXELS for size in spec.sample_shape)), spec.dtype)
    images = list(values.values())
    try:
        with tf.GradientTape() as tape:
            tape.watch(images)
            results = program.run(values, [step])
            outputs = [results[tensor] for tensor in step.makes]
        tape.gradient(outputs, images)
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        return "NHWC" not in error.message
    return True


def input_signature(program: Program, tensors: Sequence[int] | None = None) -> list[tf.TensorSpec]:
    """Return the `tf.function` signature of a program's inputs, or of other tensors of it, for any batch size."""
    specs = [program.tensors[tensor] for tensor in (program.inputs if tensors is None else tensors)]
    return [tf.TensorSpec([None, *spec.sample_shape], spec.dtype) for spec in specs]


def watch_pass(
    program: Program,
    places: Sequence[Sequence[int]],
    inputs: Sequence[tf.Tensor],
    *,
    tape: tf.GradientTape,
    operation: Callable[[Step], Any],
) -> tuple[dict[int, Any], list[tf.Tensor]]:
    """Run a program forwards and watch the tensors at its cuts.

    Nothing before the first cut is recorded, because watching begins there.

    Args:
        program: The model.
        places: The tensors that cross each cut; the cuts may be in any order.
        inputs: The program's inputs.
        tape: An open tape that watches nothing by itself.
        operation: Returns the operation to call for a step.

    Returns:
        The value of every tensor by index, and the watched tensors, one place after the other.
    """
    values: dict[int, Any] = dict(zip(program.inputs, inputs, strict=True))
    cuts_after: dict[int, list[int]] = {}
    for k, place in enumerate(places):
        cuts_after.setdefault(place_maker(program, place), []).append(k)
    crossing: dict[int, list[tf.Tensor]] = {}
    for index, step in enumerate(program.steps):
        program.run(values, [step], operation)
        for k in cuts_after.get(index, ()):
            if len(places[k]) > 1:
                # Earlier steps may have read some of these tensors. The gradient shall count only later reads.
                values.update((tensor, tf.identity(values[tensor])) for tensor in places[k])
            crossing[k] = [values[tensor] for tensor in places[k]]
            for tensor in crossing[k]:
                tape.watch(tensor)
    return values, [tensor for k in range(len(places)) for tensor in crossing[k]]


def gradients_at(
    tape: tf.GradientTape, score: tf.Tensor, tensors: Sequence[tf.Tensor], names: Sequence[str], *, remedy: str
) -> list[tf.Tensor]:
    """Return the gradient of a score with respect to watched tensors.

    Args:
        tape: The closed tape.
        score: A sum over images, so that each image gets its own gradient.
        tensors: The watched tensors.
        names: Their names, for the error message.
        remedy: The advice at the end of the error message.

    Raises:
        ModelError: If no gradient reaches a tensor.
    """
    gradients = tape.gradient(score, list(tensors))
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None:
            raise ModelError(
                f"No gradient reaches '{name}' from the class scores: a later operation has none (rounding, argmax, an "
                f"integer cast). {remedy}"
            )
    return gradients
