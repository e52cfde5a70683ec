"""The accuracies that a plan counts with: predicted at cuts and rates, on compressed images, or measured one by one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..evaluation.metrics import wilson_interval
from ..graph.cuts import Cut

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """An accuracy from 0 to 1 and its 95 % interval; None where it is not known."""

    value: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class SplitPoint:
    """A cut and a rate whose accuracy is known.

    Attributes:
        cut: The cut.
        payload_bytes: As asked for.
        mean_bytes: As measured in the mean.
        p95_bytes: The bytes that 95 of 100 payloads do not exceed.
        accuracy: What the split keeps.
        encoder_macs: Multiply-accumulates of the encoder; None where they are not known.
        settings: Of the bottleneck.
    """

    cut: Cut
    payload_bytes: int
    mean_bytes: float
    p95_bytes: float
    accuracy: Accuracy
    encoder_macs: int | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ImagePoint:
    """A codec at a quality and size; the accuracy may be unknown."""

    codec: str
    quality: int | None
    size: tuple[int, int]
    mean_bytes: float
    p95_bytes: float
    accuracy: Accuracy


def of_original(accuracy: Any) -> Accuracy:
    """Return the accuracy of the whole model, from a map or a curve of predicted accuracies."""
    hits = np.count_nonzero(accuracy.original_predictions == accuracy.labels)
    n = len(accuracy.labels)
    return Accuracy(accuracy.original, wilson_interval(int(hits), n, _CONFIDENCE))


def split_points(accuracy: Any) -> list[SplitPoint]:
    """Return the cuts and rates of an `AccuracyMap` or `AccuracyCurve` that saw all images.

    Raises:
        ArgumentError: If it is neither.
    """
    if accuracy is None:
        return []
    if not all(hasattr(accuracy, name) for name in ("cuts", "payload_bytes", "original_predictions", "encoder_macs")):
        raise ArgumentError(
            f"accuracy: expected the result of predict_accuracy, or None. Received: {type(accuracy).__name__}."
        )
    return _of_map(accuracy) if hasattr(accuracy, "is_measured") else _of_curve(accuracy)


def _of_map(accuracy: Any) -> list[SplitPoint]:
    values, (low, high) = accuracy.accuracy, accuracy.interval(_CONFIDENCE)
    mean, p95 = accuracy.mean_bytes, accuracy.p95_bytes
    return [
        SplitPoint(
            cut=accuracy.cuts[k],
            payload_bytes=int(accuracy.payload_bytes[r]) or round(float(mean[k, r])),
            mean_bytes=float(mean[k, r]),
            p95_bytes=float(p95[k, r]),
            accuracy=Accuracy(float(values[k, r]), (float(low[k, r]), float(high[k, r]))),
            encoder_macs=int(accuracy.encoder_macs[k, r]),
            settings=accuracy.settings,
        )
        for k, r in zip(*np.nonzero(accuracy.is_measured), strict=True)
    ]


def _of_curve(accuracy: Any) -> list[SplitPoint]:
    values, (low, high) = accuracy.accuracy, accuracy.interval(_CONFIDENCE)
    asked = accuracy.settings.get("payload_bytes")
    return [
        SplitPoint(
            cut=cut,
            payload_bytes=int(asked or accuracy.payload_bytes[k]),
            mean_bytes=float(accuracy.payload_bytes[k]),
            p95_bytes=float(accuracy.payload_bytes[k]),
            accuracy=Accuracy(float(values[k]), (float(low[k]), float(high[k]))),
            encoder_macs=int(accuracy.encoder_macs[k]),
            settings=accuracy.settings,
        )
        for k, cut in enumerate(accuracy.cuts)
        if not math.isnan(values[k])
    ]


def image_points(codecs: Any) -> list[ImagePoint]:
    """Return the points of a `CodecCurve`; none for None.

    Raises:
        ArgumentError: If it is something else.
    """
    if codecs is None:
        return []
    if not all(hasattr(codecs, name) for name in ("codecs", "qualities", "sizes", "mean_bytes")):
        raise ArgumentError(
            f"codecs: expected the result of measure_codecs, or None. Received: {type(codecs).__name__}."
        )
    low, high = codecs.interval(_CONFIDENCE)
    rows = zip(codecs.codecs, codecs.qualities, codecs.sizes.tolist(), strict=True)
    return [
        ImagePoint(
            codec=codec,
            quality=quality,
            size=(size[0], size[1]),
            mean_bytes=float(codecs.mean_bytes[k]),
            p95_bytes=float(codecs.p95_bytes[k]),
            accuracy=Accuracy(float(codecs.accuracy[k]), (float(low[k]), float(high[k]))),
        )
        for k, (codec, quality, size) in enumerate(rows)
    ]


def measured_accuracies(measured: Mapping[Any, Any] | None, find: Any) -> dict[Any, Accuracy]:
    """Return accuracies that the user measured, by the option that they are of.

    Args:
        measured: Results of `evaluate` by "local", "remote", (codec, quality) or (cut, payload_bytes); None for none.
        find: Returns the `Cut` for a cut, its index or its name.

    Returns:
        Accuracies by "local", "remote", (codec in capitals, quality), or (`Cut`, bytes).

    Raises:
        ArgumentError: If a key or a value is none of these.
        CutError: If there is no such cut.
    """
    found: dict[Any, Accuracy] = {}
    for key, evaluation in (measured or {}).items():
        if not hasattr(evaluation, "accuracy") or not callable(getattr(evaluation, "interval", None)):
            raise ArgumentError(
                f"measured[{key!r}]: expected the result of evaluate. Received: {type(evaluation).__name__}."
            )
        low, high = evaluation.interval(_CONFIDENCE)
        found[_key(key, find)] = Accuracy(float(evaluation.accuracy), (float(low), float(high)))
    return found


def _key(key: Any, find: Any) -> Any:
    if key in ("local", "remote"):
        return key
    if isinstance(key, tuple) and len(key) == 2:
        what, amount = key
        if isinstance(what, str) and what.upper() in ("JPEG", "WEBP", "AVIF", "PNG", "RAW"):
            return what.upper(), amount
        if isinstance(amount, int) and not isinstance(amount, bool) and amount > 0:
            return find(what), amount
    raise ArgumentError(
        f"measured: expected the keys 'local', 'remote', (codec, quality) or (cut, payload_bytes). Received: {key!r}"
    )


def with_measured(points: list[SplitPoint], measured: Mapping[Any, Accuracy]) -> list[SplitPoint]:
    """Return the points of splits with measured accuracies in place of predicted ones, and those with no other."""
    by_place = {(point.cut.index, point.payload_bytes): point for point in points}
    for key, accuracy in measured.items():
        if isinstance(key, tuple) and isinstance(key[0], Cut):
            cut, n_bytes = key
            known = by_place.get((cut.index, n_bytes)) or SplitPoint(cut, n_bytes, n_bytes, n_bytes, accuracy, None, {})
            by_place[cut.index, n_bytes] = replace(known, accuracy=accuracy)
    return sorted(by_place.values(), key=lambda point: (point.cut.index, point.payload_bytes))
