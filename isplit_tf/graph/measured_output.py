"""What a model's output is, measured: its values on made-up inputs.

Whether probabilities add up to 1 does not depend on the images: a softmax, in whatever form it is written, gives them
for noise too, and logits do not. So a few images of noise at several scales decide it for every verb alike, without a
pass over the user's data.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from .program import Program, Step

# Room for rounding in a sum of probabilities, in single and in half precision.
_SLACK, _HALF_SLACK = 1e-4, 2e-2
# Elements of a variable that may be state; weights of frozen layers are larger, and change in no call.
_STATE_SIZE = 2**16
# Length to try for an axis whose size varies.
_SOME_LENGTH = 32
FAILURES = (
    tf.errors.OpError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the values of an output have in common.

    Attributes:
        add_up: Whether they are probabilities that add up to 1 for every image.
        bounded: Whether all lie between 0 and 1.
        varies: Whether they are not all the same.
    """

    add_up: bool
    bounded: bool
    varies: bool


def measure_output(program: Program) -> Measured | None:
    """Measure the output of a program on made-up images; None if it does not run on them.

    Args:
        program: A model whose first output is `(N, units)`.
    """
    try:
        with state_kept(program):
            values = program.run(made_up_inputs(program), in_inference(program.steps))[program.outputs[0]]
            outputs = np.asarray(tf.cast(values, tf.float32))
    except FAILURES:
        return None
    is_half = program.tensors[program.outputs[0]].dtype in ("float16", "bfloat16")
    return read_values(outputs, slack=_HALF_SLACK if is_half else _SLACK)


def read_values(outputs: np.ndarray, *, slack: float = _SLACK) -> Measured | None:
    """Return what values `(N, units)` have in common; None for less than two rows of finite numbers."""
    if outputs.ndim != 2:
        return None
    rows = outputs[np.isfinite(outputs).all(axis=1)].astype(np.float64)
    if len(rows) < 2:
        return None
    between = bool((rows >= -slack).all() and (rows <= 1 + slack).all())
    sums_to_one = bool(np.allclose(rows.sum(axis=1), 1, rtol=0, atol=slack))
    return Measured(between and sums_to_one and rows.shape[1] > 1, between, bool(np.ptp(rows) > 0))


def made_up_inputs(program: Program) -> dict[int, tf.Tensor]:
    """Return noise for the inputs of a program, by index: the same in every call, at the scales that images have."""
    random = np.random.default_rng(0)
    return {tensor: _noise(program.tensors[tensor], random) for tensor in program.inputs}


def _noise(spec: Any, random: np.random.Generator) -> tf.Tensor:
    shape = [size or _SOME_LENGTH for size in spec.sample_shape]
    dtype = tf.as_dtype(spec.dtype)
    if dtype == tf.string:
        words = np.array(["a", "b c", "c b a", "d"]).reshape(4, *[1] * len(shape))
        return tf.constant(np.broadcast_to(words, (4, *shape)))
    if not dtype.is_floating:  # numbers of words or classes: those that any vocabulary has
        return tf.constant(random.integers(0, 2, (4, *shape)), dtype)
    scales = ((0, 1), (-1, 1), (0, 255), (-3, 3))
    return tf.cast(tf.constant(np.stack([random.uniform(*scale, shape) for scale in scales])), dtype)


def in_inference(steps: tuple[Step, ...]) -> list[Step]:
    """Return steps in inference mode: a layer that was called with `training=True` would change its weights."""
    return [
        dataclasses.replace(step, kwargs=step.kwargs | {"training": False}) if step.kwargs.get("training") else step
        for step in steps
    ]


@contextmanager
def state_kept(program: Program) -> Iterator[None]:
    """Restore the state of layers, such as the seeds of random ones and what a layer of the user's own counts."""
    layers = {id(step.operation): step.operation for step in program.steps}
    states = [v for layer in layers.values() for v in getattr(layer, "non_trainable_variables", ())]
    kept = [(variable, np.array(variable)) for variable in states if np.prod(variable.shape) <= _STATE_SIZE]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
