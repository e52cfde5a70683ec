"""Fit projections from one pass over the data, which gives the moments of features and gradients at every cut."""

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

from ..batches.sampling import take_part
from ..batches.watched import watched
from ..display.progress import bar
from ..errors import NumericsError
from ..graph.cuts import Cut
from ..graph.inputs import feed
from ..graph.outputs import Logits, Output, find_logits
from ..graph.passes import gradients_at, input_signature, watch_pass
from ..graph.program import Program, Step
from .layers import DECODE, ENCODE, assign, fisher_score, layer_named
from .linear_map import Fitted
from .moments import Moments, Sample

Halves = tuple[keras.Model, keras.Model]
# Matrices decomposed at the same time, each of which takes up to 400 MB.
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass for a batch, and a backward pass if gradients are needed.

    Attributes:
        entry: The program that takes the images.
        names: Names of the tensors that are observed.
        units: Units of the model's output, for each of which a random sign is drawn; 0 without gradients.
        call: Takes the inputs and the signs `(N, units)`; gives the tensors, float32, and the gradient at each.
    """

    entry: Program
    names: list[str]
    units: int
    call: Callable[[list[tf.Tensor], tf.Tensor], tuple[list[tf.Tensor], list[tf.Tensor]]]


def pass_of_program(program: Program, places: Sequence[Sequence[int]], logits: Logits | None) -> Pass:
    """Return the pass that gives the tensors of all places of a model; without logits, no gradients."""

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
    output: Output | None = None,
    through: Sequence[Halves] | None = None,
) -> Pass:
    """Return the pass that gives the tensors at the cut between head and tail, each in its own shape.

    A bottleneck between head and tail is left out.

    Args:
        head: The program from the images to the tensors at the cut.
        tail: The program from there to the output.
        cut: Names and shapes of the tensors.
        weighted: Whether gradients are needed.
        output: What the output of the tail is; None if it is not class scores.
        through: An encoder and a decoder for each tensor. If given, the latents are observed instead of the tensors.
            Their gradient passes through the decoder, while the tail still reads the tensor itself.
    """
    logits = find_logits(tail, known=output) if weighted else None
    shapes = [tuple(int(n or 1) for n in shape) for shape in cut.shapes]
    ends = list(itertools.accumulate(map(math.prod, shapes)))

    def forward(inputs: list[tf.Tensor], tape: tf.GradientTape) -> tuple[list[tf.Tensor], Any]:
        joined = head.run(dict(zip(head.inputs, inputs, strict=True)))[head.outputs[0]]
        tensors = [joined]
        if len(shapes) > 1:
            bounds = zip([0, *ends], ends, shapes, strict=False)
            tensors = [tf.reshape(joined[:, start:end], [-1, *shape]) for start, end, shape in bounds]
        observed = tensors
        if through is not None:
            observed = [encoder(tensor) for tensor, (encoder, _) in zip(tensors, through, strict=True)]
        for latent in observed:
            tape.watch(latent)
        if through is not None:
            decoded = [decoder(latent) for latent, (_, decoder) in zip(observed, through, strict=True)]
            tensors = [
                latent + tf.stop_gradient(tensor - latent) for tensor, latent in zip(tensors, decoded, strict=True)
            ]
        flat = [tf.reshape(tensor, [-1, math.prod(shape)]) for tensor, shape in zip(tensors, shapes, strict=True)]
        features = tensors[0] if len(tensors) == 1 else tf.concat(flat, axis=1)
        return observed, tail.run({tail.inputs[0]: features}, operation=_operation(logits))

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
                score = tf.reduce_sum(fisher_score(logits.of(values[logits.tensor]), signs, logits.output))
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
    desc: str = "fit",
) -> int:
    """Add up the moments of every tensor in one pass over a part of the data.

    Args:
        source: The pass that gives the tensors.
        moments: Empty moments, one for each tensor.
        data: As in `batches`; labels are not needed.
        images: Number of images to read, spread over the data.
        seed: Seed of the choice of images, and of the random numbers of each image.
        batch_size: Images per batch if the data are arrays.
        progress: Whether to show a bar.
        desc: What the bar is called.

    Returns:
        The number of images.

    Raises:
        DataError: If there are no images, or they do not fit the model.
        NumericsError: If features or gradients are not finite.
    """
    selection = take_part(data, images, seed=seed)
    n_images = 0
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": images, "labels": False}
    with bar(desc=desc, unit="image", enabled=progress) as progress_bar:
        for batch in watched(progress_bar, selection, **reading):
            # Each image has its own generator, so that the result does not depend on the batches.
            generators = [np.random.default_rng((seed, n_images + k)) for k in range(batch.size)]
            signs = np.stack([g.choice(np.array([-1, 1], np.float32), source.units) for g in generators])
            features, gradients = source.call(feed(source.entry, batch.x), tf.constant(signs, tf.float32))
            for k, moment in enumerate(moments):
                feature, gradient = np.asarray(features[k]), np.asarray(gradients[k]) if gradients else None
                _check_finite(source.names[k], feature, gradient)
                moment.add(feature, gradient, generators)
            n_images += batch.size
    return n_images


def _check_finite(name: str, features: np.ndarray, gradients: np.ndarray | None) -> None:
    for kind, values in (("features", features), ("gradient", gradients)):
        with np.errstate(over="ignore", invalid="ignore"):
            # A sum in float32 that is infinite may be one of large numbers.
            finite = values is None or np.isfinite(values.sum()) or np.isfinite(values.sum(dtype=np.float64))
        if not finite:
            raise NumericsError(f"The {kind} at '{name}' holds NaN or infinity: look at the images and the weights.")


def fit_all(
    collected: list[Moments | Sample], numbers: Sequence[int], *, done: Callable[[], object] = lambda: None
) -> list[Fitted]:
    """Fit the projection of each tensor; `collected` is emptied, since it is large.

    Each projection is fitted in one thread, and several at once. A decomposition that uses as many threads as there are
    cores, while other work needs the cores too, spends most of its time waiting.

    Args:
        collected: The moments that `gather` filled.
        numbers: For each tensor, the numbers of the latent per patch.
        done: Called after each fit.
    """
    pending: list[Moments | Sample | None] = list(collected)
    collected.clear()

    def fitted(index: int) -> Fitted:
        moments, pending[index] = pending[index], None
        assert moments is not None  # each index comes once
        projection = moments.fit(numbers[index])
        done()
        return projection

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as threads:
        return list(threads.map(fitted, range(len(numbers))))


def put(found: Fitted, encoder: keras.Model, decoder: keras.Model, suffix: str = "") -> None:
    """Assign the weights of a projection to the layers of `Projection.build` whose names end in `suffix`."""
    assign(layer_named(encoder, ENCODE + suffix), layer_named(decoder, DECODE + suffix), found.map, found.mean)


def error_of(found: Iterable[Fitted], positions: Iterable[int]) -> float:
    """Return the sum of ||F - restored||^2 over the sum of ||F||^2, over all tensors of a cut.

    Args:
        found: The projection of each tensor.
        positions: The number of patches of each tensor.
    """
    weighted = list(zip(found, positions, strict=True))
    energy = sum(projection.energy * n for projection, n in weighted)
    return sum(projection.lost * n for projection, n in weighted) / energy if energy > 0 else 0.0
