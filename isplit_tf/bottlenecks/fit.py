"""Fitting projections: one pass over the data that gives the moments of features and gradients at every cut."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from ..batches import batches, count_images, take_part
from ..display.progress import bar
from ..errors import NumericsError
from ..graph.cuts import Cut
from ..graph.inputs import feed
from ..graph.outputs import Logits, find_logits
from ..graph.passes import gradients_at, input_signature, watch_pass
from ..graph.program import Program, Step
from .layers import DECODE, ENCODE, assign, fisher_score, layer_named
from .linear_map import Fitted
from .moments import Moments, Sample

Halves = tuple[keras.Model, keras.Model]
# Matrices that are taken apart at the same time, each of which takes up to 400 MB.
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass gives of a batch, and one backward pass where gradients are wanted.

    Attributes:
        entry: The program that takes the images.
        names: Of the tensors that are looked at.
        units: Of the model's output, for each of which a random sign is drawn; 0 without gradients.
        call: From the inputs and the signs `(N, units)` to the tensors, float32, and to the gradient at each.
    """

    entry: Program
    names: list[str]
    units: int
    call: Callable[[list[tf.Tensor], tf.Tensor], tuple[list[tf.Tensor], list[tf.Tensor]]]


def pass_of_program(program: Program, places: Sequence[Sequence[int]], logits: Logits | None) -> Pass:
    """The tensors of all places of a model at once; without logits there are no gradients."""

    def forward(inputs: list[tf.Tensor], tape: tf.GradientTape) -> tuple[list[tf.Tensor], Any]:
        values, features = watch_pass(program, places, inputs, tape=tape, operation=_operation(logits))
        return features, values

    names = [program.tensors[tensor].name for place in places for tensor in place]
    return _traced(program, names, program, logits, forward)


def pass_of_halves(
    head: Program,
    tail: Program,
    cut: Cut,
    *,
    weighted: bool,
    loss: Any = None,
    through: Sequence[Halves] | None = None,
) -> Pass:
    """The tensors that cross between head and tail, each in its own shape; a bottleneck between them is left out.

    Args:
        head: From the images to what crosses.
        tail: From there to the output.
        cut: Names and shapes of the tensors.
        weighted: Whether gradients are wanted.
        loss: What the model was compiled with, or None.
        through: For each tensor an encoder and a decoder: what the encoder makes of it is then looked at. Its gradient
            is that through the decoder, where the tail reads the tensor itself.
    """
    logits = find_logits(tail, loss=loss) if weighted else None
    shapes = [tuple(int(n or 1) for n in shape) for shape in cut.shapes]
    ends = list(itertools.accumulate(map(math.prod, shapes)))

    def forward(inputs: list[tf.Tensor], tape: tf.GradientTape) -> tuple[list[tf.Tensor], Any]:
        whole = head.run(dict(zip(head.inputs, inputs, strict=True)))[head.outputs[0]]
        parts = [whole]
        if len(shapes) > 1:
            bounds = zip([0, *ends], ends, shapes, strict=False)
            parts = [tf.reshape(whole[:, a:b], [-1, *shape]) for a, b, shape in bounds]
        seen = parts
        if through is not None:
            seen = [encoder(part) for part, (encoder, _) in zip(parts, through, strict=True)]
        for one in seen:
            tape.watch(one)
        if through is not None:
            back = [decoder(one) for one, (_, decoder) in zip(seen, through, strict=True)]
            parts = [one + tf.stop_gradient(part - one) for part, one in zip(parts, back, strict=True)]
        flat = [tf.reshape(part, [-1, math.prod(shape)]) for part, shape in zip(parts, shapes, strict=True)]
        features = parts[0] if len(parts) == 1 else tf.concat(flat, axis=1)
        return seen, tail.run({tail.inputs[0]: features}, operation=_operation(logits))

    names = cut.name.split("+") if len(shapes) > 1 else [cut.name]
    return _traced(head, names, tail, logits, forward)


def _operation(logits: Logits | None) -> Callable[[Step], Any]:
    return (lambda step: step.operation) if logits is None else logits.operation


def _traced(entry: Program, names: list[str], end: Program, logits: Logits | None, forward: Callable) -> Pass:
    units = 0 if logits is None else int(end.tensors[logits.tensor].sample_shape[-1] or 0)

    @tf.function(input_signature=[input_signature(entry), tf.TensorSpec([None, units], tf.float32)], autograph=False)
    def call(inputs: list[tf.Tensor], signs: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            features, values = forward(inputs, tape)
            if logits is not None:
                score = tf.reduce_sum(fisher_score(values[logits.tensor], signs, logits.output))
        gradients = []
        if logits is not None:
            gradients = gradients_at(tape, score, features, names, remedy="Give weighting='features'.")
        return [tf.cast(f, tf.float32) for f in features], [tf.cast(g, tf.float32) for g in gradients]

    return Pass(entry, names, units, call.get_concrete_function())  # no warning of a call that traces too often


def gather(
    source: Pass,
    moments: Sequence[Moments | Sample],
    data: Any,
    *,
    images: int,
    seed: int,
    batch_size: int = 32,
    progress: bool = True,
) -> int:
    """Adds up the moments of every tensor, in one pass over a part of the data.

    Args:
        source: What gives the tensors.
        moments: Empty ones, for each tensor.
        data: As in `batches`, labels not needed.
        images: How many are read, spread over the data.
        seed: Of their choice, and of the random numbers of each.
        batch_size: Images at once, where the data are arrays.
        progress: Whether to show a bar.

    Returns:
        The number of images.

    Raises:
        DataError: There are no images, or they do not fit the model.
        NumericsError: Features or gradients are not finite.
    """
    chosen = take_part(data, images, seed=seed)
    seen = 0
    with bar(total=count_images(chosen, images), desc="fit", unit="image", enabled=progress) as shown:
        for batch in batches(chosen, batch_size=batch_size, max_images=images, labels=False):
            # A generator for each image: the result does not depend on how they are batched.
            generators = [np.random.default_rng((seed, seen + k)) for k in range(batch.size)]
            signs = np.stack([g.choice(np.array([-1, 1], np.float32), source.units) for g in generators])
            features, gradients = source.call(feed(source.entry, batch.x), tf.constant(signs, tf.float32))
            for k, one in enumerate(moments):
                gradient = gradients[k].numpy() if gradients else None
                _check_finite(source.names[k], features[k].numpy(), gradient)
                one.add(features[k].numpy(), gradient, generators)
            seen += batch.size
            shown.update(batch.size)
    return seen


def _check_finite(name: str, features: np.ndarray, gradients: np.ndarray | None) -> None:
    for what, values in (("features", features), ("gradient", gradients)):
        if values is not None and not np.isfinite(values.sum(dtype=np.float64)):
            raise NumericsError(f"The {what} at '{name}' holds NaN or infinity: look at the images and the weights.")


def fit_all(
    collected: list[Moments | Sample], numbers: Sequence[int], *, done: Callable[[], object] = lambda: None
) -> list[Fitted]:
    """The projection of each tensor onto so many numbers; empties `collected`, since it is large.

    Each is worked out in one thread, several at once: where a matrix is taken apart by as many threads as there are
    cores, beside others that want them, these wait for each other most of the time.

    Args:
        collected: What `gather` filled.
        numbers: Latents of a patch, for each.
        done: Called after each.
    """

    waiting: list[Moments | Sample | None] = list(collected)
    collected.clear()

    def fitted(index: int) -> Fitted:
        one, waiting[index] = waiting[index], None
        assert one is not None  # each index comes once
        found = one.fit(numbers[index])
        done()
        return found

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as threads:
        return list(threads.map(fitted, range(len(numbers))))


def put(found: Fitted, encoder: keras.Model, decoder: keras.Model, suffix: str = "") -> None:
    """Gives the weights of a projection to the layers that `Projection.build` made, whose names end in `suffix`."""
    assign(layer_named(encoder, ENCODE + suffix), layer_named(decoder, DECODE + suffix), found.map, found.mean)


def error_of(found: Iterable[Fitted], positions: Iterable[int]) -> float:
    """Sum of ||F - restored||^2 over the sum of ||F||^2, over all tensors of a cut, which have so many patches."""
    weighted = list(zip(found, positions, strict=True))
    energy = sum(one.energy * n for one, n in weighted)
    return sum(one.lost * n for one, n in weighted) / energy if energy > 0 else 0.0
