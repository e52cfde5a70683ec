"""The cuts of a model with a projection each whose latents are not coded, as Keras layers."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..batches.labels import is_multi_hot
from ..batches.watched import watched
from ..bottlenecks.base import LatentPlan
from ..bottlenecks.fit import error_of, fit_all, gather, pass_of_program, put
from ..bottlenecks.moments import collector
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..errors import ArgumentError
from ..graph.cuts import Cut, place_maker, place_of
from ..graph.inputs import feed
from ..graph.output_kinds import Output, to_probabilities
from ..graph.outputs import Logits
from ..graph.passes import input_signature
from ..graph.program import Program
from .label_sets import LabelSets


@dataclass
class Station:
    """A cut, and for each of its tensors the projection, its plan, and the encoder and decoder once fitted."""

    cut: Cut
    tensors: tuple[int, ...]
    projections: list[Projection]
    plans: list[LatentPlan]
    models: list[tuple[keras.Model, keras.Model]]
    relative_error: float = 0.0

    @classmethod
    def at(cls, program: Program, cut: Cut, projection: Projection) -> "Station":
        """Return the station of a cut, with a projection for each of its tensors."""
        shapes: Any = cut.shapes  # no dimension is None
        try:
            projections = projection.for_parts(shapes)
            plans = [part.plan(shape) for part, shape in zip(projections, shapes, strict=True)]
        except ArgumentError as error:
            raise ArgumentError(f"Cut '{cut.name}': {error}") from error
        return cls(cut, place_of(program, cut), projections, plans, [])

    def restore(self, values: dict[int, Any]) -> dict[int, Any]:
        """Return each tensor after its encoder and decoder."""
        pairs = zip(self.tensors, self.models, strict=True)
        return {t: decoder(encoder(values[t], training=False), training=False) for t, (encoder, decoder) in pairs}


def sums(stations: Sequence[Station], name: str) -> np.ndarray:
    """Return a number of the plans for each cut, summed over its tensors, int64 `(n_cuts,)`."""
    return np.array([sum(getattr(plan, name) for plan in station.plans) for station in stations], np.int64)


def fit_stations(
    program: Program,
    stations: list[Station],
    logits: Logits,
    data: Any,
    common: dict[str, Any],
    *,
    batch_size: int,
    progress: bool,
) -> int:
    """Fit the projections of all stations, and return the number of images."""
    weighted = logits if common["weighting"] == "task" else None
    source = pass_of_program(program, [station.tensors for station in stations], weighted)
    plans = [plan for station in stations for plan in station.plans]
    moments = [collector(plan.shape, plan.patch, weighted=weighted is not None) for plan in plans]
    n_images = gather(
        source,
        moments,
        data,
        images=common["fit_images"],
        seed=common["seed"],
        batch_size=batch_size,
        progress=progress,
        desc="fit (1 of 3)",
    )
    with bar(total=len(plans), desc="solve (2 of 3)", unit="tensor", enabled=progress) as progress_bar:
        projections = iter(fit_all(moments, [plan.latent_shape[-1] for plan in plans], done=progress_bar.update))
    for station in stations:
        cut_projections = [next(projections) for _ in station.plans]
        for fitted, projection, plan in zip(cut_projections, station.projections, station.plans, strict=True):
            station.models.append(projection.build(plan.shape))
            put(fitted, *station.models[-1])
        station.relative_error = error_of(
            cut_projections, [math.prod(plan.latent_shape[:-1]) for plan in station.plans]
        )
    return n_images


def classify_stations(
    program: Program,
    stations: Sequence[Station],
    output: Output,
    data: Any,
    max_images: int | None,
    *,
    batch_size: int,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the labels, and what the whole model and those behind each projection say of each image.

    Returns:
        Labels as `batches` gives them; the predicted classes `(N, 1 + n_cuts)`, the whole model's first; of a
        multi-label model the predicted labels, `(N, 1 + n_cuts, n_classes)` of 0 and 1, else `(0, 0)`.
    """
    labels, predictions, sets = [], [], []
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": max_images, "multi_label": output.is_multi_label}
    with bar(desc="accuracy (3 of 3)", unit="image", enabled=progress) as progress_bar:
        outputs_of = _traced(program, stations)
        for batch in watched(progress_bar, data, n_classes=output.n_classes, **reading):
            rows = [to_probabilities(scores.numpy(), output) for scores in outputs_of(feed(program, batch.x))]
            labels.append(np.asarray(batch.labels))
            predictions.append(np.stack([row.argmax(axis=1) for row in rows], axis=1))
            if output.is_multi_label:
                sets.append(np.stack([row > 0.5 for row in rows], axis=1))
    empty = np.zeros((0, 0), bool)
    return np.concatenate(labels), np.concatenate(predictions), np.concatenate(sets) if sets else empty


def read_answers(
    labels: np.ndarray, predictions: np.ndarray, sets: np.ndarray, *, multi_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels `(N,)` and predictions `(N, 1 + n_cuts)`: classes, or numbers of sets of labels where an image may
    have several, so that an image is right if all of its labels are.
    """
    if not (is_multi_hot(labels) or multi_label):
        return (labels if labels.ndim == 1 else labels.argmax(axis=1)), predictions
    numbers = LabelSets()
    present = labels if labels.ndim == 2 else np.eye(sets.shape[2], dtype=np.int64)[labels]
    return numbers.numbers(present), np.stack([numbers.numbers(sets[:, k]) for k in range(sets.shape[1])], axis=1)


def _traced(program: Program, stations: Sequence[Station]) -> Callable[[list[tf.Tensor]], Iterator[tf.Tensor]]:
    """Return a function that yields the outputs for a batch: the whole model's, then those behind each projection."""
    crossing = sorted({tensor for station in stations for tensor in station.tensors})

    @tf.function(input_signature=[input_signature(program)], autograph=False)
    def whole(inputs: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        values = program.run(dict(zip(program.inputs, inputs, strict=True)))
        return values[program.outputs[0]], [values[tensor] for tensor in crossing]

    # Concrete functions: TensorFlow would take the functions of one place in the code for one traced too often.
    def tail(station: Station) -> Any:
        tail_steps = program.steps[place_maker(program, station.tensors) + 1 :]

        @tf.function(input_signature=[input_signature(program, station.tensors)], autograph=False)
        def call(tensors: list[tf.Tensor]) -> tf.Tensor:
            restored = station.restore(dict(zip(station.tensors, tensors, strict=True)))
            return program.run(restored, tail_steps)[program.outputs[0]]

        return call.get_concrete_function()

    run_whole = whole.get_concrete_function()
    tails = [(station.tensors, tail(station)) for station in stations]

    def outputs_of(inputs: list[tf.Tensor]) -> Iterator[tf.Tensor]:
        output, features = run_whole(inputs)
        values = dict(zip(crossing, features, strict=True))
        yield output
        for tensors, call in tails:
            yield call([values[tensor] for tensor in tensors])

    return outputs_of
