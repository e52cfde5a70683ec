"""Predict the accuracy of a split at every cut without training, from the frozen tail behind a projection."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import keras
import numpy as np

from ..batches import check_data, first_images
from ..batches.class_names import known_class_names
from ..bottlenecks.projection import Projection
from ..errors import ArgumentError, checked_integer, checked_share
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut
from ..graph.inputs import feed
from ..graph.outputs import compiled_loss, find_logits
from ..graph.passes import require_runnable
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import read_program
from .accuracy_curve import AccuracyCurve
from .accuracy_map import AccuracyMap
from .map_prediction import predict_rates
from .stations import Station, classify_stations, fit_stations, read_answers, sums


@overload
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
    coding: Literal["entropy", "none"] | None = None,
    encoder_share: float | None = None,
    race: bool = True,
    max_loss: float = 0.1,
    fit_images: int = 2000,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AccuracyCurve: ...


@overload
def predict_accuracy(
    model: keras.Model,
    data: Any,
    *,
    compression: float | None = None,
    payload_bytes: Sequence[int],
    latent_size: int | None = None,
    cuts: Literal["main", "all"] | Sequence[Cut | int | str] = "main",
    fit_data: Any = None,
    weighting: Literal["task", "features"] = "task",
    patch: int | str = "auto",
    coding: Literal["entropy", "none"] | None = None,
    encoder_share: float | None = None,
    race: bool = True,
    max_loss: float = 0.1,
    fit_images: int = 2000,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> AccuracyMap: ...


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
    max_loss: float = 0.1,
    fit_images: int = 2000,
    max_images: int | None = None,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output_kind: str | None = None,
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
            `keras.utils.PyDataset`. Labels are integers `(N,)` or `(N, 1)`, or one-hot; of a multi-label model also
            multi-hot: an image is then right if all of its labels are. In a race, they
            should come in a random order.
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
            from at most 64 of them.
        max_images: Number of images of `data` at most; required for an endless data set.
        class_names: Names of the classes, for the curve; by default the `class_names` of the data.
        batch_size: Images per batch if the data are arrays.
        from_logits: True if linear outputs are logits and the compiled loss does not say so.
        output_kind: As in `measure_importance`; "multi_label" also for labels that happen to be one-hot.
        output: Name or index of the output with the class scores, if the model has several outputs.
        seed: Seed of the choice of images and of the random signs for the Fisher information.
        progress: Whether to show bars on standard error, one for each stage, numbered.

    Returns:
        The accuracy at each cut and of the whole model, on the same images: an `AccuracyCurve`, or, for a sequence of
        rates, an `AccuracyMap` with the bytes of the frames beside it.

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
        >>> rates = predict_accuracy(model, (images, labels), payload_bytes=(250, 1000), progress=False)
        >>> rates.at(1000).best.name
    """
    rates, max_loss = _checked_rates(payload_bytes), checked_share("max_loss", max_loss)
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    require_same_as_predict(model, program, lambda: first_images(data))
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits, output_kind=output_kind)
    names = known_class_names(class_names, data, logits.output.n_classes)
    fit_options: dict[str, Any] = {"patch": patch, "weighting": weighting, "fit_images": fit_images, "seed": seed}
    said: dict[str, Any] = {"n_classes": logits.output.n_classes, "multi_label": logits.output.is_multi_label}
    feed(program, check_data(data, max_images=max_images, **said))
    amount: dict[str, Any] = {"compression": compression, "latent_size": latent_size}
    how = amount | fit_options | {"coding": coding, "encoder_share": encoder_share}
    alone: Any = payload_bytes  # not several
    projections = [Projection(payload_bytes=rate, **how) for rate in rates or (alone,)]
    chosen = choose_cuts(program, cuts)
    loop_options: dict[str, Any] = {"batch_size": checked_integer("batch_size", batch_size, 1), "progress": progress}
    fit_data = data if fit_data is None else fit_data
    record: dict[str, Any] = {"class_names": names, "model_name": model.name}
    settings = {name: getattr(projections[0], name) for name in amount} | fit_options
    if rates or projections[0].is_coded:
        racing: dict[str, Any] = {"race": race and rates is not None, "max_loss": max_loss, "max_images": max_images}
        found = predict_rates(program, chosen, projections, logits, (fit_data, data), racing, loop_options)
        whole_map = replace(found, **record, settings=settings | racing | dict(found.settings))
        return whole_map if rates else whole_map.curve(0)
    stations = [Station.at(program, cut, projections[0].behind(cut.head_macs)) for cut in chosen]
    n_fit = fit_stations(program, stations, logits, fit_data, fit_options, **loop_options)
    answers = classify_stations(program, stations, logits.output, data, max_images, **loop_options)
    labels, predictions = read_answers(*answers, multi_label=output_kind is not None and logits.output.is_multi_label)
    return AccuracyCurve(
        cuts=chosen,
        labels=labels,
        predictions=predictions[:, 1:],
        original_predictions=predictions[:, 0],
        latent_sizes=sums(stations, "latent_size"),
        encoder_params=sums(stations, "encoder_params"),
        encoder_macs=sums(stations, "encoder_macs"),
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
