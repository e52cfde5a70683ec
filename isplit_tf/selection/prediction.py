"""Predict the accuracy of a split at every cut without training, from the frozen tail behind a projection."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from ..batches import batches, check_data, count_images, is_multi_hot
from ..bottlenecks.base import LatentPlan
from ..bottlenecks.fit import error_of, fit_all, gather, pass_of_program, put
from ..bottlenecks.moments import collector
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..errors import ArgumentError, checked_class_names, checked_integer
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_maker, place_of
from ..graph.inputs import feed
from ..graph.output_kinds import Output, to_probabilities
from ..graph.outputs import Logits, compiled_loss, find_logits
from ..graph.passes import input_signature, require_runnable
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import Program, read_program
from .accuracy_curve import AccuracyCurve
from .label_sets import LabelSets


def predict_accuracy(
    model: keras.Model,
    data: Any,
    *,
    compression: float | None = None,
    payload_bytes: int | None = None,
    latent_size: int | None = None,
    cuts: Literal["main", "all"] | Sequence[Cut | int | str] = "main",
    fit_data: Any = None,
    weighting: Literal["task", "features"] = "task",
    patch: int | str = "auto",
    fit_images: int = 2000,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AccuracyCurve:
    """Predict the accuracy that a split would keep at each cut, without training.

    A `Projection` is fitted and inserted at every cut, and the model's own layers classify the restored features. The
    moments of all cuts are gathered in one pass over `fit_data`, with one forward and one backward pass per image.
    Then, for each image of `data`, the model runs once, and the layers after each cut run once more: with n cuts
    evenly spread, about n / 2 forward passes per image.

    Args:
        model: A built classifier; it is not changed.
        data: Labelled images to classify: a batched `tf.data.Dataset` of `(x, y)`, a pair of arrays, or a
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot; of a multi-label model also
            multi-hot: an image is then right if all of its labels are.
        compression: Share of the elements left out at each cut; 0.9 if no other amount is given.
        payload_bytes: Instead of `compression`, the bytes per frame at most at each cut, header included, with an int8
            latent. Each position of the grid gets at least one number, even if this takes more bytes.
        latent_size: Instead of `compression`, the elements of the latent, rounded to the nearest that the grid allows.
        cuts: "main", "all", or a list of cuts, as in `measure_importance`.
        fit_data: Images to fit the projections from; labels are not needed. By default `data`; the prediction is then
            a little optimistic if there are few images.
        weighting: "task" or "features"; see `Projection`.
        patch: Elements of a patch on each axis, or "auto"; see `Projection`.
        fit_images: Number of images to fit from, spread over `fit_data`.
        max_images: Number of images of `data` at most; required for an endless data set.
        class_names: Names of the classes, for the curve.
        batch_size: Images per batch if the data are arrays.
        from_logits: True if linear outputs are logits and the compiled loss does not say so.
        output_kind: As in `measure_importance`; "multi_label" also for labels that happen to be one-hot.
        output: Name or index of the output with the class scores, if the model has several outputs.
        seed: Seed of the choice of images and of the random signs for the Fisher information.
        progress: Whether to show bars on standard error.

    Returns:
        The accuracy at each cut and of the whole model, on the same images.

    Raises:
        ArgumentError: If more than one amount is given, an argument is out of range, or a projection does not take the
            shape at a cut.
        ModelError: If the model has no cut, its output is not class scores, no gradient reaches a cut, or `predict`
            does more than the model's layers; the message names the preprocessor.
        CutError: If a cut in the list does not exist.
        DataError: If the data are empty, endless, or do not fit the model.
        NumericsError: If a layer, which is named, gives NaN or infinity.

    Example:
        >>> curve = predict_accuracy(model, (images, labels), compression=0.9, progress=False)
        >>> curve.best.name
    """
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    require_same_as_predict(model, program, data)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits, output_kind=output_kind)
    names = checked_class_names(class_names, logits.output.n_classes, source=data)
    fit_options: dict[str, Any] = {"patch": patch, "weighting": weighting, "fit_images": fit_images, "seed": seed}
    amount: dict[str, Any] = {"compression": compression, "latent_size": latent_size, "payload_bytes": payload_bytes}
    projection = Projection(**amount, **fit_options)
    stations = [_Station.at(program, cut, projection) for cut in choose_cuts(program, cuts)]
    said: dict[str, Any] = {"n_classes": logits.output.n_classes, "multi_label": logits.output.is_multi_label}
    feed(program, check_data(data, max_images=max_images, **said))
    loop_options: dict[str, Any] = {"batch_size": checked_integer("batch_size", batch_size, 1), "progress": progress}
    n_fit = _fit(program, stations, logits, data if fit_data is None else fit_data, fit_options, **loop_options)
    answers = _classify(program, stations, logits.output, data, max_images, **loop_options)
    labels, predictions = _read_answers(*answers, multi_label=output_kind is not None and logits.output.is_multi_label)
    return AccuracyCurve(
        cuts=[station.cut for station in stations],
        labels=labels,
        predictions=predictions[:, 1:],
        original_predictions=predictions[:, 0],
        latent_sizes=_sums(stations, "latent_size"),
        encoder_params=_sums(stations, "encoder_params"),
        encoder_macs=_sums(stations, "encoder_macs"),
        relative_errors=np.array([station.relative_error for station in stations]),
        class_names=names,
        model_name=model.name,
        settings={name: getattr(projection, name) for name in amount} | fit_options | {"fit_images": n_fit},
    )


@dataclass
class _Station:
    """A cut, and for each of its tensors the projection, its plan, and the encoder and decoder once fitted."""

    cut: Cut
    tensors: tuple[int, ...]
    projections: list[Projection]
    plans: list[LatentPlan]
    models: list[tuple[keras.Model, keras.Model]]
    relative_error: float = 0.0

    @classmethod
    def at(cls, program: Program, cut: Cut, projection: Projection) -> "_Station":
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


def _sums(stations: Sequence[_Station], name: str) -> np.ndarray:
    """Return a number of the plans for each cut, summed over its tensors, int64 `(n_cuts,)`."""
    return np.array([sum(getattr(plan, name) for plan in station.plans) for station in stations], np.int64)


def _fit(
    program: Program,
    stations: list[_Station],
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
    )
    with bar(total=len(plans), desc="solve", unit="tensor", enabled=progress) as progress_bar:
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


def _classify(
    program: Program,
    stations: Sequence[_Station],
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
        multi-label model the predicted labels, `(N, 1 + n_cuts, n_classes)` of 0 and 1, else `(N, 0)`.
    """
    labels, predictions, sets = [], [], []
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": max_images, "multi_label": output.is_multi_label}
    with bar(total=count_images(data, max_images), desc="accuracy", unit="image", enabled=progress) as progress_bar:
        outputs_of = _traced(program, stations)
        for batch in batches(data, n_classes=output.n_classes, **reading):
            rows = [to_probabilities(scores.numpy(), output) for scores in outputs_of(feed(program, batch.x))]
            labels.append(np.asarray(batch.labels))
            predictions.append(np.stack([row.argmax(axis=1) for row in rows], axis=1))
            if output.is_multi_label:
                sets.append(np.stack([row > 0.5 for row in rows], axis=1))
            progress_bar.update(batch.size)
    empty = np.zeros((0, 0), bool)
    return np.concatenate(labels), np.concatenate(predictions), np.concatenate(sets) if sets else empty


def _read_answers(
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


def _traced(program: Program, stations: Sequence[_Station]) -> Callable[[list[tf.Tensor]], Iterator[tf.Tensor]]:
    """Return a function that yields the outputs for a batch: the whole model's, then those behind each projection."""
    crossing = sorted({tensor for station in stations for tensor in station.tensors})

    @tf.function(input_signature=[input_signature(program)], autograph=False)
    def whole(inputs: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        values = program.run(dict(zip(program.inputs, inputs, strict=True)))
        return values[program.outputs[0]], [values[tensor] for tensor in crossing]

    # Concrete functions: TensorFlow would take the functions of one place in the code for one traced too often.
    def tail(station: _Station) -> Any:
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
