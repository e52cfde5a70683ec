"""The accuracy that a split keeps, before anything is trained: the frozen tail behind a projection, at every cut."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from ..batches import batches, count_images
from ..bottlenecks.base import LatentPlan
from ..bottlenecks.fit import error_of, fit_all, gather, pass_of_program, put
from ..bottlenecks.moments import collector
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..errors import ArgumentError, checked_class_names, checked_integer
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_maker, place_of
from ..graph.inputs import feed
from ..graph.outputs import Logits, Output, compiled_loss, find_logits, to_probabilities
from ..graph.passes import input_signature, require_runnable
from ..graph.program import Program, read_program
from .accuracy_curve import AccuracyCurve


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
    output: str | int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AccuracyCurve:
    """What accuracy a split would keep at each cut, in points of accuracy, without training anything.

    At every cut a `Projection` is fitted and put in; the model's own layers then classify what comes back. Moments of
    all cuts are gathered in one pass over `fit_data`, a forward and a backward pass an image. Then, for each image of
    `data`, the model runs once, and from each cut once more the layers after it: with n cuts evenly spread, about
    n / 2 forward passes an image.

    Args:
        model: A built classifier; it stays as it is.
        data: Labelled images to classify: a batched `tf.data.Dataset` of `(x, y)`, a pair of arrays, or a
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot.
        compression: Share of the elements left out at each cut; 0.9 where nothing else is given.
        payload_bytes: In its place, the bytes a frame that may cross at each cut, header included, with an int8
            latent. The grid gives at most these, but never less than one number a position.
        latent_size: Likewise, the elements of the latent; the nearest that the grid allows.
        cuts: "main", "all", or a list of cuts, as in `measure_importance`.
        fit_data: Images that the projections are fitted from, labels not needed; `data` by default, and the
            prediction is then a little optimistic where there are few of them.
        weighting: "task" or "features"; see `Projection`.
        patch: Elements of a patch on each axis, or "auto"; see `Projection`.
        fit_images: Images of the fit, spread over `fit_data`.
        max_images: Images of `data` at most; an endless data set needs it.
        class_names: Names of the classes, for the curve.
        batch_size: Images in a batch, where the data are arrays.
        from_logits: True where linear outputs are logits and the compiled loss does not say so.
        output: Name or index of the output with the class scores, where the model has several.
        seed: Of the choice of images and of what is drawn for the Fisher information.
        progress: Whether to show bars on standard error.

    Returns:
        The accuracy at each cut, and the whole model's, on the same images.

    Raises:
        ArgumentError: More than one amount is given, an argument is out of range, or a cut has a shape that no
            projection takes.
        ModelError: The model has no cut, its output is not class scores, or no gradient reaches a cut.
        CutError: A cut in the list does not exist.
        DataError: The data are empty, endless, or do not fit the model.
        NumericsError: NaN or infinity; the layer is named.

    Example:
        >>> curve = predict_accuracy(model, (images, labels), compression=0.9, progress=False)
        >>> curve.best.name
    """
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits)
    names = checked_class_names(class_names, logits.output.n_classes, source=data)
    common: dict[str, Any] = {"patch": patch, "weighting": weighting, "fit_images": fit_images, "seed": seed}
    amount: dict[str, Any] = {"compression": compression, "latent_size": latent_size, "payload_bytes": payload_bytes}
    projection = Projection(**amount, **common)
    stations = [_Station.at(program, cut, projection) for cut in choose_cuts(program, cuts)]
    shown: dict[str, Any] = {"batch_size": checked_integer("batch_size", batch_size, 1), "progress": progress}
    n_fit = _fit(program, stations, logits, data if fit_data is None else fit_data, common, **shown)
    labels, named = _classify(program, stations, logits.output, data, max_images, **shown)
    return AccuracyCurve(
        cuts=[station.cut for station in stations],
        labels=labels,
        predictions=named[:, 1:],
        original_predictions=named[:, 0],
        latent_sizes=_sums(stations, "latent_size"),
        encoder_params=_sums(stations, "encoder_params"),
        encoder_macs=_sums(stations, "encoder_macs"),
        relative_errors=np.array([station.relative_error for station in stations]),
        class_names=names,
        model_name=model.name,
        settings={name: getattr(projection, name) for name in amount} | common | {"fit_images": n_fit},
    )


@dataclass
class _Station:
    """A cut, and for each tensor that crosses there its projection, its plan, and encoder and decoder once fitted."""

    cut: Cut
    tensors: tuple[int, ...]
    projections: list[Projection]
    plans: list[LatentPlan]
    models: list[tuple[keras.Model, keras.Model]]
    relative_error: float = 0.0

    @classmethod
    def at(cls, program: Program, cut: Cut, projection: Projection) -> "_Station":
        shapes: Any = cut.shapes  # sized: no dimension varies
        try:
            projections = projection.for_parts(shapes)
            plans = [one.plan(shape) for one, shape in zip(projections, shapes, strict=True)]
        except ArgumentError as error:
            raise ArgumentError(f"Cut '{cut.name}': {error}") from error
        return cls(cut, place_of(program, cut), projections, plans, [])

    def restore(self, values: dict[int, Any]) -> dict[int, Any]:
        """What comes back of each tensor."""
        pairs = zip(self.tensors, self.models, strict=True)
        return {t: decoder(encoder(values[t], training=False), training=False) for t, (encoder, decoder) in pairs}


def _sums(stations: Sequence[_Station], name: str) -> np.ndarray:
    """A number of the plans, over all tensors that cross at each cut."""
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
    """Fits the projections of all stations; returns the number of images."""
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
    with bar(total=len(plans), desc="solve", unit="tensor", enabled=progress) as shown:
        found = iter(fit_all(moments, [plan.latent_shape[-1] for plan in plans], done=shown.update))
    for station in stations:
        own = [next(found) for _ in station.plans]
        for one, projection, plan in zip(own, station.projections, station.plans, strict=True):
            station.models.append(projection.build(plan.shape))
            put(one, *station.models[-1])
        station.relative_error = error_of(own, [math.prod(plan.latent_shape[:-1]) for plan in station.plans])
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
    """Labels `(N,)`, and the classes that are named `(N, 1 + n_cuts)`: by the whole model first."""
    labels, named = [], []
    with bar(total=count_images(data, max_images), desc="accuracy", unit="image", enabled=progress) as shown:
        ask = _traced(program, stations)
        for batch in batches(data, n_classes=output.n_classes, batch_size=batch_size, max_images=max_images):
            answers = [to_probabilities(one.numpy(), output).argmax(axis=1) for one in ask(feed(program, batch.x))]
            labels.append(np.asarray(batch.labels))
            named.append(np.stack(answers, axis=1))
            shown.update(batch.size)
    return np.concatenate(labels), np.concatenate(named)


def _traced(program: Program, stations: Sequence[_Station]) -> Callable[[list[tf.Tensor]], Iterator[tf.Tensor]]:
    """What gives the outputs for a batch, one after the other: the whole model's, and behind each projection."""
    crossing = sorted({tensor for station in stations for tensor in station.tensors})

    @tf.function(input_signature=[input_signature(program)], autograph=False)
    def whole(inputs: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        values = program.run(dict(zip(program.inputs, inputs, strict=True)))
        return values[program.outputs[0]], [values[tensor] for tensor in crossing]

    # Concrete from the start: TensorFlow takes functions of one place in the code for one that is traced too often.
    def tail(station: _Station) -> Any:
        after = program.steps[place_maker(program, station.tensors) + 1 :]

        @tf.function(input_signature=[input_signature(program, station.tensors)], autograph=False)
        def call(tensors: list[tf.Tensor]) -> tf.Tensor:
            restored = station.restore(dict(zip(station.tensors, tensors, strict=True)))
            return program.run(restored, after)[program.outputs[0]]

        return call.get_concrete_function()

    run = whole.get_concrete_function()
    tails = [(station.tensors, tail(station)) for station in stations]

    def ask(inputs: list[tf.Tensor]) -> Iterator[tf.Tensor]:
        answer, found = run(inputs)
        values = dict(zip(crossing, found, strict=True))
        yield answer
        for tensors, call in tails:
            yield call([values[tensor] for tensor in tensors])

    return ask
