"""What a device measured of the link to its server: the time to an answer, as a line in the bytes."""

import dataclasses
from typing import ClassVar

import numpy as np

from . import schema
from .record import Record
from .times import Times

SCHEMES = ("http", "https", "grpc", "grpcs")
_SECONDS = schema.number(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkPoint(Record):
    """The time to the answers to requests of one size.

    Attributes:
        sent_bytes: Of the request's body, without headers.
        received_bytes: Of the answer's body.
        time: From the call to the answer that is read, the making of the request included.
        served: Whether the server ran a model for it, which answered that the payload is malformed.
    """

    sent_bytes: int
    received_bytes: int
    time: Times
    served: bool = True

    RULES: ClassVar = {
        "sent_bytes": schema.integer(0),
        "received_bytes": schema.integer(0),
        "time": Times.check,
        "served": schema.flag,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkFit(Record):
    """The link between a device and its server, as the device's program sees it.

    The time to an answer is `base_s + up_s_per_byte * sent + down_s_per_byte * received`, without the work of a model.

    Attributes:
        url: The server's address.
        scheme: "http", "https", "grpc" or "grpcs".
        points: What was measured.
        base_s: The time for a request without a body and an answer without one.
        up_s_per_byte: Seconds for each further byte of a request's body.
        down_s_per_byte: Seconds for each further byte of an answer's body; None where the server gave no answers of
            two sizes.
        residual_s: Median distance between the medians of the points and the line.
        p95_over_median: How many times the median the 95th percentile is, the median over the points.
        served_s: The model's part of the time of the points that were `served`.
        failures: Requests that failed or had no answer in time.
    """

    url: str
    scheme: str
    points: tuple[LinkPoint, ...]
    base_s: float
    up_s_per_byte: float
    down_s_per_byte: float | None
    residual_s: float
    p95_over_median: float
    served_s: float = 0.0
    failures: int = 0

    RULES: ClassVar = {
        "url": schema.text,
        "scheme": schema.choice(*SCHEMES),
        "points": schema.sequence(LinkPoint.check),
        "base_s": _SECONDS,
        "up_s_per_byte": _SECONDS,
        "down_s_per_byte": schema.nullable(_SECONDS),
        "residual_s": _SECONDS,
        "p95_over_median": schema.number(1),
        "served_s": _SECONDS,
        "failures": schema.integer(0),
    }

    def line_s(self, sent_bytes: float, received_bytes: float = 0) -> float:
        """Return the seconds that the line gives; bytes down cost what those up do where they were not measured."""
        down = self.up_s_per_byte if self.down_s_per_byte is None else self.down_s_per_byte
        return self.base_s + self.up_s_per_byte * sent_bytes + down * received_bytes

    def answer_s(self, sent_bytes: float, received_bytes: float = 0) -> float:
        """Return the seconds to an answer, without the model's work.

        Between the sizes that were measured, the distances of the points from the line are added in proportion: a
        buffer on the way, or TCP's slow start, bends it. Beyond them it is the line.

        Args:
            sent_bytes: Of the request's body.
            received_bytes: Of the answer's body.
        """
        found: dict[int, list[float]] = {}
        for point in self.points:
            if point.served:
                line = self.line_s(point.sent_bytes, point.received_bytes) + self.served_s
                found.setdefault(point.sent_bytes, []).append(point.time.median_s - line)
        bend = 0.0
        if found:
            sizes = sorted(found)
            bend = float(np.interp(sent_bytes, sizes, [float(np.median(found[size])) for size in sizes]))
        return max(0.0, self.line_s(sent_bytes, received_bytes) + bend)
