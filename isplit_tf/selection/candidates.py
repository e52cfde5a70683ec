"""Candidates for the split: the cuts that importance, tensor sizes or accuracy suggest, and the costs of each."""

import math
import os
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from isplit_edge.wire import payload_bytes, sent_bits

from ..bottlenecks.autoencoder import Autoencoder
from ..bottlenecks.base import for_parts
from ..display.tables import html_table, text_table
from ..errors import ArgumentError, BundleError, checked_integer, checked_share
from ..graph.cuts import Cut
from ..importance.curve import Curve
from ..storage.records import read_record, write_record
from .accuracy_curve import AccuracyCurve
from .bounds import HEAVY_SHARE, RANKS, WITHIN, Bounds, by_accuracy, by_work, heavy_warning, share_of
from .costs import export_warning, latent_cost, payload_warning
from .latencies import check_plan, latency_of, latency_warning

FORMAT_VERSION = 3  # 3: latencies
_WITHOUT_LATENCY = 2
_KIND = "candidates"


class PayloadWarning(UserWarning):
    """The best candidate sends more bytes per frame than the compressed image that it replaces."""


class HeadWarning(UserWarning):
    """The head of the best candidate by accuracy does most of the model's work."""


@dataclass(frozen=True)
class Candidate:
    """A cut to split at.

    Attributes:
        cut: The cut.
        importance: The curve's value at the cut.
        is_peak: Whether the curve has a peak at the cut.
        size_drops: Whether the tensor is smaller than that of the previous cut on the curve, the criterion of
            Cut-Distil-Encode (CDE); False for the first cut.
        payload_bytes: Bytes per frame on the wire, with an int8 latent or the bottleneck's `latent_bits`; None
            if the bottleneck does not take this shape.
        encoder_params: Weights of the encoder, which the device runs after the head; None as for `payload_bytes`.
        encoder_macs: Multiply-accumulates of the encoder per image; None as for `payload_bytes`.
        reason: Why the cut is proposed, in words.
        warning: Why the cut may be a bad choice, in words, or None: the split cannot be exported, or not in integers;
            the payload is larger than the compressed image; the bottleneck does not take the shape; or head and
            encoder take more than 70 % of the model's multiply-accumulates.
        predicted_accuracy: The accuracy that `predict_accuracy` gave for the cut; None without one, or if the cut
            dropped out of the race.
        latency_s: Median seconds from the image to the answer, by the plan that was given; None without one.
    """

    cut: Cut
    importance: float
    is_peak: bool
    size_drops: bool
    payload_bytes: int | None
    encoder_params: int | None
    encoder_macs: int | None
    reason: str
    warning: str | None = None
    predicted_accuracy: float | None = None
    latency_s: float | None = None

    @property
    def device_macs(self) -> int:
        """Return the multiply-accumulates per image on the device: the head's and, where it is known, the encoder's."""
        return self.cut.head_macs + (self.encoder_macs or 0)

    @property
    def head_share(self) -> float:
        """Return the head's multiply-accumulates, without the encoder's, as a share of the whole model's."""
        return share_of(self.cut.head_macs, self.cut)

    @property
    def device_share(self) -> float:
        """Return `device_macs` as a share of the whole model's, which an encoder can bring above 1."""
        return share_of(self.device_macs, self.cut)

    def __repr__(self) -> str:
        payload = "no payload" if self.payload_bytes is None else f"{self.payload_bytes:,} bytes per frame"
        accuracy = "" if self.predicted_accuracy is None else f", predicted accuracy {self.predicted_accuracy:.4f}"
        warning = f"; warning: {self.warning}" if self.warning else ""
        return f"Candidate('{self.cut.name}' {self.cut.shape}, {payload}{accuracy}: {self.reason}{warning})"


class Candidates(list[Candidate]):
    """A list of candidates, the best first, which prints as a table."""

    def table(self) -> str:
        """Return the candidates as text, one line each, with the warnings below."""
        header, rows = self._rows()
        warned = [f"{c.cut.name}: {c.warning}" for c in self if c.warning]
        return "\n".join([text_table(header, rows), *([""] if warned else []), *warned])

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        header, rows = self._rows()
        if any(c.warning for c in self):
            header, rows = [*header, "warning"], [[*row, c.warning or ""] for row, c in zip(rows, self, strict=True)]
        return html_table(header, rows)

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        predicted = any(c.predicted_accuracy is not None for c in self)
        header = ["cut", "shape", "importance", "peak", *(["predicted accuracy"] if predicted else []), "payload B"]
        timed = any(c.latency_s is not None for c in self)
        header += [*(["ms"] if timed else []), "head params", "encoder params", "encoder MACs"]
        header += ["head + encoder MACs", "of all MACs"]
        rows = [
            [
                c.cut.name,
                "x".join(map(str, c.cut.shape)),
                c.importance,
                "peak" if c.is_peak else "",
                *([c.predicted_accuracy] if predicted else []),
                c.payload_bytes,
                *([None if c.latency_s is None else round(1000 * c.latency_s, 2)] if timed else []),
                c.cut.head_params,
                c.encoder_params,
                c.encoder_macs,
                c.device_macs,
                f"{100 * c.device_share:.0f} %",
                c.reason,
            ]
            for c in self
        ]
        return [*header, "reason"], rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `candidates.json`, replacing an existing file; its folder must exist."""
        fields = [asdict(c) | {"cut": c.cut.to_json()} for c in self]
        timed = any(c.latency_s is not None for c in self)
        if not timed:  # as earlier releases read it
            for one in fields:
                del one["latency_s"]
        write_record(path, _KIND, FORMAT_VERSION if timed else _WITHOUT_LATENCY, {"candidates": fields})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Candidates":
        """Read a file of `save`.

        Raises:
            BundleError: If the file does not exist, holds no candidates, is damaged, or has a newer format.
        """
        record = read_record(path, _KIND, FORMAT_VERSION)
        try:
            return cls(Candidate(**(c | {"cut": Cut.from_json(c["cut"])})) for c in record["candidates"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error


def propose(
    curve: Curve,
    *,
    accuracy: AccuracyCurve | None = None,
    rank: Literal["importance", "accuracy", "cheapest"] = "importance",
    within: float | None = None,
    min_accuracy: float | None = None,
    max_payload_bytes: int | None = None,
    max_head_macs: int | None = None,
    max_head_share: float | None = None,
    bottleneck: Any = None,
    image_bytes: int | None = None,
    plan: Any = None,
    max_latency_s: float | None = None,
) -> Candidates:
    """Return the candidates for the split, the best first.

    With rank="importance", the peaks of the curve come first, then the cuts that only Cut-Distil-Encode suggests, where
    the tensor is smaller than that of the previous cut on the curve. The first candidate is then always `curve.best`,
    even if the curve has no peak. With rank="accuracy", return every cut that both curves have, the highest predicted
    accuracy first; of equal ones, the smaller payload first. With rank="cheapest", those come first whose predicted
    accuracy is within 0.01 of the highest, the head with the least work first; the others follow by accuracy.

    Args:
        curve: The result of `measure_importance`.
        accuracy: The result of `predict_accuracy`, for `predicted_accuracy`. Costs are then those of its projections,
            unless a `bottleneck` is given.
        rank: "importance"; or "accuracy" or "cheapest", which need `accuracy`.
        within: Predicted accuracy that rank="cheapest" gives up for a cheaper head; 0.01 by default, a point.
        min_accuracy: Leave out cuts whose predicted accuracy is lower or unknown.
        max_payload_bytes: Leave out cuts whose payload is larger or unknown.
        max_head_macs: Leave out cuts whose head takes more multiply-accumulates per image, without the encoder.
        max_head_share: Leave out cuts whose head takes more than this share of the whole model's multiply-accumulates,
            such as 0.5; without the encoder, too, which `encoder_share` of a projection bounds.
        bottleneck: The bottleneck planned at the cut, for the costs; `Autoencoder()` by default.
        image_bytes: Bytes of the compressed image that would be sent to a server with the whole model, for the
            warnings. By default, the size of a JPEG is estimated from the model's input, if this is an image (H, W,
            1, 3 or 4 channels): 600 bytes and 2 bits per pixel, 1 in grey. If given, a larger payload of the best
            candidate also issues a `PayloadWarning`; an estimate only fills the field `warning`.
        plan: The result of `plan_deployment`, for `latency_s`, and a warning where the whole model is faster.
        max_latency_s: Leave out cuts whose median latency is longer or unknown; measured, in place of a guess at
            `max_head_macs`. Needs `plan`.

    Returns:
        A list of `Candidate`, which prints as a table and can be saved and loaded.

    Raises:
        ArgumentError: If the bottleneck has no `build`, a number is out of range, `accuracy` is needed but missing, or
            no cut is within the bounds.

    Warns:
        HeadWarning: If the head of the first candidate by "accuracy" or "cheapest" takes more than 70 % of the model's
            multiply-accumulates, and no `max_head_share` was given.
        PayloadWarning: See `image_bytes`.

    Example:
        >>> propose(curve)[0].cut == curve.best
        True

    Reference:
        I-Split, ICPR 2022, Sec. III-A (peaks); Sbai et al., "Cut, distil and encode (CDE)", SECON 2021.
    """
    if not isinstance(curve, Curve):
        raise ArgumentError(f"Expected a curve, as measure_importance gives it. Received: {type(curve).__name__}.")
    _check(accuracy, rank, within, min_accuracy)
    check_plan(plan, max_latency_s)
    if bottleneck is not None and not callable(getattr(bottleneck, "build", None)):
        raise ArgumentError(f"Expected a bottleneck such as Autoencoder(). Received: {bottleneck!r}")
    if image_bytes is not None:
        image_bytes = checked_integer("image_bytes", image_bytes, 1)
    bounds = Bounds(min_accuracy, max_payload_bytes, max_head_macs, max_head_share, max_latency_s)
    reasons = _reasons(curve) if rank == "importance" else dict.fromkeys(range(len(curve.cuts)), "")
    proposed = [
        _candidate(curve, position, reason, bottleneck, image_bytes, accuracy) for position, reason in reasons.items()
    ]
    if plan is not None:
        proposed = [_timed(candidate, plan) for candidate in proposed]
    candidates = bounds.select(proposed)
    if rank == "accuracy":
        candidates = by_accuracy(candidates)
    elif rank == "cheapest":
        candidates = by_work(candidates, WITHIN if within is None else within)
    first = candidates[0]
    heavy = heavy_warning(first.head_share, first.device_share)
    if image_bytes is not None and first.warning not in (None, heavy):
        warnings.warn(f"{first.cut.name}: {first.warning}", PayloadWarning, stacklevel=2)
    if first.head_share > HEAVY_SHARE and rank != "importance" and max_head_share is None:
        warnings.warn(f"{first.cut.name}: {heavy}.", HeadWarning, stacklevel=2)
    return Candidates(candidates)


def _check(accuracy: AccuracyCurve | None, rank: str, within: float | None, min_accuracy: float | None) -> None:
    if rank not in RANKS:
        raise ArgumentError(f"rank: expected {' or '.join(map(repr, RANKS))}. Received: {rank!r}")
    if accuracy is None and (rank != "importance" or min_accuracy is not None):
        raise ArgumentError("There is no accuracy to go by: give accuracy=predict_accuracy(model, data).")
    if within is not None:
        if rank != "cheapest":
            raise ArgumentError(f"within={within!r} is for rank='cheapest'. Received: rank={rank!r}")
        if within != 0:
            checked_share("within", within)


def _timed(candidate: Candidate, plan: Any) -> Candidate:
    """Return a candidate with its latency, and a warning where the whole model is faster."""
    latency = latency_of(plan, candidate.cut, candidate.payload_bytes)
    if latency is None:
        return candidate
    texts = (latency_warning(plan, latency), candidate.warning)
    return replace(candidate, latency_s=latency, warning="; ".join(text for text in texts if text) or None)


def _reasons(curve: Curve) -> dict[int, str]:
    """Return the positions on the curve, the best first, and why each is proposed."""
    cuts, values = curve.cuts, curve.values
    positions = {cut.index: position for position, cut in enumerate(cuts)}

    def ranked(found: Iterable[int]) -> list[int]:
        return sorted(found, key=lambda position: (-values[position], position))

    peaks = ranked(positions[cut.index] for cut in curve.peaks)
    reasons = {position: f"peak {rank} of {len(peaks)}" for rank, position in enumerate(peaks, 1)}
    if not peaks:
        reasons[positions[curve.best.index]] = "the curve has no peak; highest but the last cut"
    drops = {position for position in range(1, len(cuts)) if cuts[position].size < cuts[position - 1].size}
    for position in ranked(drops - reasons.keys()):
        reasons[position] = "CDE alone"
    for position in drops:
        previous = cuts[position - 1]
        ratio = previous.size / cuts[position].size
        reasons[position] += f"; {ratio:.3g} times smaller than {previous.name} before it"
    return reasons


def _candidate(
    curve: Curve, position: int, reason: str, bottleneck: Any, image_bytes: int | None, accuracy: AccuracyCurve | None
) -> Candidate:
    cut = curve.cuts[position]
    place = None if accuracy is None else accuracy.position(cut)
    payload = params = macs = None
    predicted = math.nan if accuracy is None or place is None else float(accuracy.accuracy[place])
    warning: str | None
    try:
        if accuracy is not None and place is not None and bottleneck is None:
            params, macs = int(accuracy.encoder_params[place]), int(accuracy.encoder_macs[place])
            payload = int(accuracy.payload_bytes[place])
        else:
            parts = for_parts(bottleneck or Autoencoder(), cut.shapes)
            costs = (latent_cost(part, shape) for part, shape in zip(parts, cut.shapes, strict=True))
            latent_size, params, macs = map(sum, zip(*costs, strict=True))
            payload = payload_bytes("int8", (latent_size,), sent_bits("int8", getattr(bottleneck, "latent_bits", None)))
    except ArgumentError as error:
        warning = str(error)
    else:
        warning = payload_warning(payload, image_bytes, curve.input_shape)
    obstacle = export_warning(cut.shape, curve.input_shape, curve.n_inputs)
    candidate = Candidate(
        cut=cut,
        importance=float(curve.values[position]),
        is_peak=any(cut.index == peak.index for peak in curve.peaks),
        size_drops=position > 0 and cut.size < curve.cuts[position - 1].size,
        payload_bytes=payload,
        encoder_params=params,
        encoder_macs=macs,
        reason=reason,
        predicted_accuracy=None if math.isnan(predicted) else predicted,
    )
    warned = [text for text in (obstacle, warning, heavy_warning(candidate.head_share, candidate.device_share)) if text]
    return replace(candidate, warning="; ".join(warned) or None)
