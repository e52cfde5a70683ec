"""Where to split: the cuts that the curve and the sizes speak for, and what each would cost."""

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isplit_edge.wire import HEADER_BYTES

from .arguments import checked_integer
from .bottleneck import Autoencoder
from .errors import ArgumentError, BundleError
from .graph.cost import count_macs
from .graph.cuts import Cut
from .importance.curve import Curve
from .records import read_record, write_record
from .tables import html_table, text_table

FORMAT_VERSION = 1
_KIND = "candidates"
# A JPEG of quality 75 as Pillow writes it: 623 bytes of header and tables in colour, and by measurement 2.5
# bits a pixel on Tiny-ImageNet at 64 pixels, less on larger photographs, and 1.0 on grey chest X-rays.
_JPEG_HEADER_BYTES = 600
_JPEG_BITS_PER_PIXEL = {1: 1, 3: 2, 4: 2}


class PayloadWarning(UserWarning):
    """The best candidate sends more bytes a frame than the compressed image that it replaces."""


@dataclass(frozen=True)
class Candidate:
    """A cut to split at.

    Attributes:
        cut: Where.
        importance: The curve's value there.
        is_peak: Whether the curve has a peak there.
        size_drops: Whether the tensor is smaller than that of the cut before it on the curve, which is what
            Cut-Distil-Encode (CDE) goes by; False for the first cut.
        payload_bytes: Bytes a frame on the wire, with an int8 latent or the bottleneck's `latent_bits`; None
            where the bottleneck takes no such shape.
        encoder_params: Weights of the encoder, which the device runs after the head; None likewise.
        encoder_macs: Its multiply-accumulates for one image; None likewise.
        reason: In words, why it is proposed.
        warning: In words, what speaks against it, or None: a payload larger than the compressed image, or a
            shape that the bottleneck does not take.
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

    def __repr__(self) -> str:
        payload = "no payload" if self.payload_bytes is None else f"{self.payload_bytes:,} bytes a frame"
        warning = f"; warning: {self.warning}" if self.warning else ""
        return f"Candidate('{self.cut.name}' {self.cut.shape}, {payload}: {self.reason}{warning})"


class Candidates(list[Candidate]):
    """A list of candidates, the best first, that prints as a table."""

    def table(self) -> str:
        """The candidates as text, a line each, and the warnings below."""
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
        header = ["cut", "shape", "importance", "peak", "payload B", "head params", "encoder params", "encoder MACs"]
        rows = [
            [
                c.cut.name,
                "x".join(map(str, c.cut.shape)),
                c.importance,
                "peak" if c.is_peak else "",
                c.payload_bytes,
                c.cut.head_params,
                c.encoder_params,
                c.encoder_macs,
                c.reason,
            ]
            for c in self
        ]
        return [*header, "reason"], rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `candidates.json`, replacing it if it is there; its folder must exist."""
        fields = [asdict(c) | {"cut": c.cut.to_json()} for c in self]
        write_record(path, _KIND, FORMAT_VERSION, {"candidates": fields})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Candidates":
        """Reads what `save` wrote.

        Raises:
            BundleError: The file is not there, holds no candidates, is damaged, or has a newer format.
        """
        record = read_record(path, _KIND, FORMAT_VERSION)
        try:
            return cls(Candidate(**(c | {"cut": Cut.from_json(c["cut"])})) for c in record["candidates"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error


def propose(curve: Curve, *, bottleneck: Any = None, image_bytes: int | None = None) -> Candidates:
    """Names the cuts to split at, the best first.

    First come the peaks of the curve, by importance; then the cuts that Cut-Distil-Encode alone names,
    where the tensor is smaller than that of the cut before it on the curve, by importance. The first is
    always `curve.best`, also where the curve has no peak.

    Args:
        curve: What `measure_importance` found.
        bottleneck: What will stand at the cut, for the costs; by default `Autoencoder()`.
        image_bytes: Bytes of a compressed image as it would be sent to a server that runs the whole model,
            for the warnings. By default a JPEG is estimated from the model's input, if this is an image (H,
            W, 1, 3 or 4 channels): 600 bytes and 2 bits a pixel, 1 in grey. With a figure given here, a
            payload of the best candidate that exceeds it is a `PayloadWarning` too; an estimate only fills
            the field.

    Returns:
        A list of `Candidate`; it prints as a table, saves and loads.

    Raises:
        ArgumentError: The bottleneck has no `build`, or `image_bytes` is no positive integer.

    Example:
        >>> propose(curve)[0].cut == curve.best
        True

    Reference:
        I-Split, ICPR 2022, Sec. III-A (peaks); Sbai et al., "Cut, distil and encode (CDE)", SECON 2021.
    """
    if bottleneck is None:
        bottleneck = Autoencoder()
    if not callable(getattr(bottleneck, "build", None)):
        raise ArgumentError(f"Expected a bottleneck such as Autoencoder(). Received: {bottleneck!r}")
    if image_bytes is not None:
        image_bytes = checked_integer("image_bytes", image_bytes, 1)
    reasons = _reasons(curve)
    found = Candidates(
        _candidate(curve, position, reason, bottleneck, image_bytes) for position, reason in reasons.items()
    )
    if image_bytes is not None and found[0].warning:
        warnings.warn(f"{found[0].cut.name}: {found[0].warning}", PayloadWarning, stacklevel=2)
    return found


def _reasons(curve: Curve) -> dict[int, str]:
    """Positions on the curve, the best first, and why each is proposed."""
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
        before = cuts[position - 1]
        ratio = before.size / cuts[position].size
        reasons[position] += f"; {ratio:.3g} times smaller than {before.name} before it"
    return reasons


def _candidate(curve: Curve, position: int, reason: str, bottleneck: Any, image_bytes: int | None) -> Candidate:
    cut = curve.cuts[position]
    payload = params = macs = None
    warning: str | None
    try:
        # One autoencoder for each tensor that crosses.
        latent_size, params, macs = map(sum, zip(*(_cost(bottleneck, shape) for shape in cut.shapes), strict=True))
    except ArgumentError as error:
        warning = str(error)
    else:
        payload = HEADER_BYTES + math.ceil(latent_size * (getattr(bottleneck, "latent_bits", None) or 8) / 8)
        warning = _payload_warning(payload, image_bytes, curve.input_shape)
    return Candidate(
        cut=cut,
        importance=float(curve.values[position]),
        is_peak=any(cut.index == peak.index for peak in curve.peaks),
        size_drops=position > 0 and cut.size < curve.cuts[position - 1].size,
        payload_bytes=payload,
        encoder_params=params,
        encoder_macs=macs,
        reason=reason,
        warning=warning,
    )


def _cost(bottleneck: Any, shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    """Elements of the latent, weights and multiply-accumulates of the encoder."""
    if hasattr(bottleneck, "plan"):
        plan = bottleneck.plan(shape)
        return plan.latent_size, plan.encoder_params, plan.encoder_macs
    encoder, _ = bottleneck.build(shape)
    return math.prod(encoder.outputs[0].shape[1:]), encoder.count_params(), count_macs(encoder)


def _payload_warning(payload: int, image_bytes: int | None, input_shape: Sequence[int | None] | None) -> str | None:
    limit = image_bytes if image_bytes is not None else jpeg_bytes(input_shape)
    if limit is None or payload <= limit:
        return None
    image = "the compressed image" if image_bytes is not None else "an estimated JPEG of the input"
    return (
        f"a payload of {payload:,} bytes is more than {image} ({limit:,} bytes): sending the image takes less, "
        "unless it may not leave the device or the server's work counts"
    )


def jpeg_bytes(shape: Sequence[int | None] | None) -> int | None:
    """An estimate of a JPEG's bytes from an image's shape (H, W, C); None where this is no image of known
    size.

    Example:
        >>> jpeg_bytes((224, 224, 3))
        13144
    """
    if shape is None or len(shape) != 3 or shape[-1] not in _JPEG_BITS_PER_PIXEL:
        return None
    height, width, channels = shape
    if height is None or width is None or channels is None:
        return None
    return _JPEG_HEADER_BYTES + math.ceil(height * width * _JPEG_BITS_PER_PIXEL[channels] / 8)
