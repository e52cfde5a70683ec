"""Predict the accuracy of a split at every cut without training, from the frozen tail behind a projection."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import keras
import numpy as np
import tensorflow as tf

from ..batches import batches, count_images
from ..bottlenecks.base import LatentPlan
from ..bottlenecks.fit import error_of, fit_all, gather, pass_of_program, put
from ..bottlenecks.moments import collector
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..errors import ArgumentError, checked_class_names, checked_integer, checked_share
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_maker, place_of
from ..graph.inputs import feed
from ..graph.outputs import Logits, Output, compiled_loss, find_logits, to_probabilities
from ..graph.passes import input_signature, require_runnable
from ..graph.program import Program, read_program
from .accuracy_curve import AccuracyCurve
from .accuracy_map import AccuracyMap
from .map_prediction import predict_rates


@overload
def predict_accuracy(
    model: keras.Model, data: Any, *, payload_bytes: int | None = None, **options: Any
) -> AccuracyCurve: ...


@overload
def predict_accuracy(model: keras.Model, data: Any, *, payload_bytes: Sequence[int], **options: Any) -> AccuracyMap: ...


def predict_accuracy(
    model: keras.Model,
    data: Any,
    *,
    compression: float | None = None,
    payload_bytes: int | Sequence[int] | None = None,
    latent_size: int | None = None,
    cuts: Literal["main", "all"] | Sequence[Cut | int | str] = "main",
    fit_data: Any = None,
    weighting: Literal["task", "features"] = "task",
    patch: int | str = "auto",
    coding: Literal["entropy", "none"] | None = None,
    encoder_share: float | None = None,
    race: bool = True,
    max_loss: float = 0.25,
    fit_images: int = 2000,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AccuracyCurve | AccuracyMap:
    """Predict the accuracy that a split would keep at each cut, at one rate or at several, without training.

    A `Projection` is fitted and inserted at every cut, and the model's own layers classify the restored features. The
    moments of all cuts are gathered in one pass over `fit_data`, with one forward and one backward pass per image.
    Then, for each image of `data`, the model runs once, and the layers after each cut run once more: with n cuts
    evenly spread, about n / 2 forward passes per image.

    For several rates, `payload_bytes=(250, 500, 1000, 2000)`, one fit serves all, and the cuts race: all of them see
    the first 8 images; after 8, 16, 32, ... images a cut drops out at a rate

    - if a cut whose head takes no more multiply-accumulates is clearly better at this rate (an exact sign test on the
      images that only one of the two has right);
    - if it clearly loses more than `max_loss` against the whole model (an exact test likewise);
    - if an earlier cut, whose head takes no more, is at least as good so far, and the images that remain will hardly
      show the later cut to be clearly better (the chance is below 5 %). The best cut at a rate always stays.

    The error of the first two is 5 % over all looks together, which share it out. Where a cut dropped out, the map has
    NaN and the number of images that it saw. What stays has seen all images, and has the numbers of `race=False`.

    Args:
        model: A built classifier; it is not changed.
        data: Labelled images to classify: a batched `tf.data.Dataset` of `(x, y)`, a pair of arrays, or a
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot. In a race, they should come in
            a random order.
        compression: Share of the elements left out at each cut; 0.9 if no other amount is given.
        payload_bytes: Instead of `compression`, the mean bytes per frame at each cut, header included, with coded
            latents: one number for a curve, several for a map. With `coding="none"`, the bytes at most with an int8
            latent; each position of the grid then gets at least one number, even if this takes more bytes.
        latent_size: Instead of `compression`, the elements of the latent, rounded to the nearest that the grid allows.
        cuts: "main", "all", or a list of cuts, as in `measure_importance`.
        fit_data: Images to fit the projections from; labels are not needed. By default `data`; the prediction is then
            a little optimistic if there are few images.
        weighting: "task" or "features"; see `Projection`.
        patch: Elements of a patch on each axis, or "auto"; see `Projection`.
        coding: "entropy" or "none"; see `Projection`. By default "entropy" for `payload_bytes`.
        encoder_share: Multiply-accumulates of the encoder at most, as a share of the head's; see `Projection`.
        race: Whether cuts may drop out, for several rates; False measures every cut at every rate.
        max_loss: Share of the images by which a cut may fall behind the whole model in a race.
        fit_images: Number of images to fit from, spread over `fit_data`. Steps and tables of coded latents are chosen
            from at most 128 of them.
        max_images: Number of images of `data` at most; required for an endless data set.
        class_names: Names of the classes, for the curve.
        batch_size: Images per batch if the data are arrays.
        from_logits: True if linear outputs are logits and the compiled loss does not say so.
        output: Name or index of the output with the class scores, if the model has several outputs.
        seed: Seed of the choice of images and of the random signs for the Fisher information.
        progress: Whether to show bars on standard error.

    Returns:
        The accuracy at each cut and of the whole model, on the same images: an `AccuracyCurve`, or, for a sequence of
        rates, an `AccuracyMap` with the bytes of the frames beside it.

    Raises:
        ArgumentError: If more than one amount is given, an argument is out of range, or a projection does not take the
            shape at a cut.
        ModelError: If the model has no cut, its output is not class scores, or no gradient reaches a cut.
        CutError: If a cut in the list does not exist.
        DataError: If the data are empty, endless, or do not fit the model.
        NumericsError: If a layer, which is named, gives NaN or infinity.

    Example:
        >>> curve = predict_accuracy(model, (images, labels), compression=0.9, progress=False)
        >>> curve.best.name
        >>> rates = predict_accuracy(model, (images, labels), payload_bytes=(250, 1000), progress=False)
        >>> rates.at(1000).best.name
    """
    rates, max_loss = _checked_rates(payload_bytes), checked_share("max_loss", max_loss)
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits)
    names = checked_class_names(class_names, logits.output.n_classes, source=data)
    fit_options: dict[str, Any] = {"patch": patch, "weighting": weighting, "fit_images": fit_images, "seed": seed}
    amount: dict[str, Any] = {"compression": compression, "latent_size": latent_size}
    how = amount | fit_options | {"coding": coding, "encoder_share": encoder_share}
    projections = [Projection(payload_bytes=rate, **how) for rate in rates or (payload_bytes,)]
    chosen = choose_cuts(program, cuts)
    loop_options: dict[str, Any] = {"batch_size": checked_integer("batch_size", batch_size, 1), "progress": progress}
    fit_data = data if fit_data is None else fit_data
    record: dict[str, Any] = {"class_names": names, "model_name": model.name}
    settings = {name: getattr(projections[0], name) for name in amount} | fit_options
    if rates or projections[0].is_coded:
        racing: dict[str, Any] = {"race": race and rates is not None, "max_loss": max_loss, "max_images": max_images}
        found = predict_rates(program, chosen, projections, logits, (fit_data, data), racing, loop_options)
        whole_map = replace(found, **record, settings=settings | racing | found.settings)
        return whole_map if rates else whole_map.curve(0)
    stations = [_Station.at(program, cut, projections[0].behind(cut.head_macs)) for cut in chosen]
    n_fit = _fit(program, stations, logits, fit_data, fit_options, **loop_options)
    labels, predictions = _classify(program, stations, logits.output, data, max_images, **loop_options)
    return AccuracyCurve(
        cuts=chosen,
        labels=labels,
        predictions=predictions[:, 1:],
        original_predictions=predictions[:, 0],
        latent_sizes=_sums(stations, "latent_size"),
        encoder_params=_sums(stations, "encoder_params"),
        encoder_macs=_sums(stations, "encoder_macs"),
        relative_errors=np.array([station.relative_error for station in stations]),
        **record,
        settings=settings | {"payload_bytes": projections[0].payload_bytes, "fit_images": n_fit},
    )


def _checked_rates(payload_bytes: Any) -> tuple[int, ...] | None:
    """Return several rates, each once and in ascending order; None if there is one at most.

    Raises:
        ArgumentError: If the sequence is empty or a rate is too small to be one.
    """
    if not isinstance(payload_bytes, Iterable) or isinstance(payload_bytes, str | bytes):
        return None
    rates = sorted({checked_integer("payload_bytes", rate, 1) for rate in payload_bytes})
    if not rates:
        raise ArgumentError("payload_bytes: the list of rates is empty. Give bytes per frame, such as (250, 1000).")
    return tuple(rates)


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
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels `(N,)` and the predicted classes `(N, 1 + n_cuts)`, the whole model's first."""
    labels, predictions = [], []
    with bar(total=count_images(data, max_images), desc="accuracy", unit="image", enabled=progress) as progress_bar:
        outputs_of = _traced(program, stations)
        for batch in batches(data, n_classes=output.n_classes, batch_size=batch_size, max_images=max_images):
            classes = [
                to_probabilities(scores.numpy(), output).argmax(axis=1) for scores in outputs_of(feed(program, batch.x))
            ]
            labels.append(np.asarray(batch.labels))
            predictions.append(np.stack(classes, axis=1))
            progress_bar.update(batch.size)
    return np.concatenate(labels), np.concatenate(predictions)


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
