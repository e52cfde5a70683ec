"""The link between a device and its server: given as a rate and a delay, measured, or a trace of both over time."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from isplit_edge import schema

from ..errors import ArgumentError
from .protocol import TRANSPORTS, Exchange

_RATE = schema.number(above=0)
_DELAY = schema.number(0)
# A measured link that takes no longer for more bytes, as inside one machine.
_FASTEST_BIT_S = 1e12


@dataclass(frozen=True)
class Link:
    """A link of a steady rate and delay.

    TCP's slow start is not in it: where frames are longer than about 14 kB and the delay is long, measure the link
    instead, with `python -m isplit_edge profile kit/ --url ...`.

    Attributes:
        rate_bit_s: Bits per second, both ways.
        rtt_s: Seconds there and back for the smallest packet.
        up_bit_s: Bits per second from the device to the server, where they differ.
        down_bit_s: Bits per second from the server to the device, where they differ.

    Raises:
        ArgumentError: If a rate is not above 0, or the delay is negative.

    Example:
        >>> Link(rate_bit_s=4e6, rtt_s=0.04)
        Link(rate_bit_s=4000000.0, rtt_s=0.04)
    """

    rate_bit_s: float
    rtt_s: float
    up_bit_s: float | None = None
    down_bit_s: float | None = None

    def __post_init__(self) -> None:
        checks = {"rate_bit_s": _RATE, "rtt_s": _DELAY}
        checks |= {"up_bit_s": schema.nullable(_RATE), "down_bit_s": schema.nullable(_RATE)}
        for name, check in checks.items():
            value = check(name, getattr(self, name))
            object.__setattr__(self, name, None if value is None else float(value))

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in ("rate_bit_s", "rtt_s", "up_bit_s", "down_bit_s"))
        return f"Link({', '.join(f'{name}={value}' for name, value in given if value is not None)})"


@dataclass(frozen=True, eq=False)
class LinkTimes:
    """The seconds that a request takes over a link, in each state that the link is in: arrays that a plan counts with.

    Attributes:
        base_s: float64 `(S,)`, for a request and an answer of no bytes.
        up_s_per_byte: float64 `(S,)`.
        down_s_per_byte: float64 `(S,)`.
        shares: float64 `(S,)`, the share of the time that the link is in this state; they add up to 1.
        p95_over_median: By how much the 95th percentile of a request's time exceeds its median.
        bends: Pairs of bytes sent and the seconds that are added there, between which is interpolated: what a measured
            link has beside its line. Empty for none.
        is_measured: Whether the times were measured at the server's door, so that they hold its handling of a request,
            and the bytes are those of bodies; otherwise headers and packets are added to the bytes.
        transport: "rest" or "grpc", where the link says so; else None.
        text: What the link is, in words.
    """

    base_s: np.ndarray
    up_s_per_byte: np.ndarray
    down_s_per_byte: np.ndarray
    shares: np.ndarray
    _: KW_ONLY
    p95_over_median: float = 1.0
    bends: tuple[tuple[float, float], ...] = ()
    is_measured: bool = False
    transport: str | None = None
    text: str = ""

    def up_s(self, exchange: Exchange) -> np.ndarray:
        """Return the seconds in which the device sends, in each state, `(S,)`."""
        seconds = self.up_s_per_byte * exchange.sent(self.is_measured)
        return np.maximum(0.0, seconds + (self._bend(exchange.sent(True)) if self.bends else 0.0))

    def down_s(self, exchange: Exchange) -> np.ndarray:
        """Return the seconds of the delay both ways and of receiving the answer, in each state, `(S,)`."""
        return self.base_s + self.down_s_per_byte * exchange.received(self.is_measured)

    def _bend(self, sent_bytes: float) -> float:
        places, seconds = np.array(self.bends, np.float64).T
        return float(np.interp(sent_bytes, places, seconds))

    @property
    def rate_bit_s(self) -> float:
        """Return the bits per second from the device to the server, of a trace the median state's."""
        order = np.argsort(self.up_s_per_byte, kind="stable")
        passed = np.cumsum(self.shares[order])
        return float(8 / self.up_s_per_byte[order[np.searchsorted(passed, 0.5 * passed[-1] - 1e-12)]])

    @property
    def delay_s(self) -> float:
        """Return the seconds for a request and an answer of no bytes, the mean over the time."""
        return float(np.sum(self.shares * self.base_s))

    def to_json(self) -> dict[str, Any]:
        """Return the link as plain JSON values."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        facts = {name: getattr(self, name) for name in ("p95_over_median", "is_measured", "transport", "text")}
        return arrays | facts | {"bends": [list(one) for one in self.bends]}

    @classmethod
    def from_json(cls, record: Any) -> "LinkTimes":
        """Return the link that `to_json` wrote.

        Raises:
            ArgumentError: If a value is missing or not possible.
        """
        checked = dict(_RECORD("link", record))
        checked |= {name: np.array(checked[name], np.float64) for name in _ARRAYS}
        if len({len(checked[name]) for name in _ARRAYS}) > 1 or not len(checked["shares"]):
            raise ArgumentError("link: its arrays must be of one length, and not empty.")
        return cls(**checked)


_ARRAYS = ("base_s", "up_s_per_byte", "down_s_per_byte", "shares")
_RECORD = schema.record(
    {
        **{name: schema.sequence(_RATE if name == "up_s_per_byte" else _DELAY) for name in _ARRAYS},
        "p95_over_median": schema.number(1),
        "bends": schema.sequence(schema.sequence(schema.number(), 2)),
        "is_measured": schema.flag,
        "transport": schema.nullable(schema.choice(*TRANSPORTS)),
        "text": lambda key, value: value if value == "" else schema.text(key, value),
    }
)


def link_times(link: Any) -> LinkTimes:
    """Return the times of a link, however it is given.

    Args:
        link: A `Link`; the `link` of a device's profile; or a trace, a sequence of (second, bits per second, seconds
            there and back), each of which holds until the next.

    Raises:
        ArgumentError: If it is none of them, or a rate is not above 0.
    """
    if isinstance(link, LinkTimes):
        return link
    if isinstance(link, Link):
        return _steady(link)
    if hasattr(link, "up_s_per_byte"):
        return _measured(link)
    if isinstance(link, Sequence) and not isinstance(link, str | bytes) and len(link):
        return _trace(link)
    raise ArgumentError(
        "link: expected a Link(rate_bit_s=, rtt_s=), the link of a device's profile, or a trace of (second, bits a "
        f"second, seconds there and back). Received: {link!r:.200}"
    )


def _steady(link: Link) -> LinkTimes:
    up, down = (way or link.rate_bit_s for way in (link.up_bit_s, link.down_bit_s))
    rates = f"{rate_text(up)}" if up == down else f"{rate_text(up)} up and {rate_text(down)} down"
    times = (np.array([value]) for value in (link.rtt_s, 8 / up, 8 / down, 1.0))
    return LinkTimes(*times, text=f"{rates}, {1000 * link.rtt_s:.3g} ms there and back")


def _measured(fit: Any) -> LinkTimes:
    """Return the times of a link that a device measured: its line, and the distances of the points from it."""
    up = max(fit.up_s_per_byte, 8 / _FASTEST_BIT_S)
    down = up if fit.down_s_per_byte is None else fit.down_s_per_byte
    sizes = sorted({point.sent_bytes for point in fit.points if getattr(point, "served", True)})
    bends = tuple(
        (float(size), float(fit.answer_s(size) - fit.base_s - up * size)) for size in sizes if hasattr(fit, "answer_s")
    )
    return LinkTimes(
        *(np.array([value], np.float64) for value in (fit.base_s, up, down, 1.0)),
        p95_over_median=max(1.0, float(fit.p95_over_median)),
        bends=bends,
        is_measured=True,
        transport="grpc" if fit.scheme.startswith("grpc") else "rest",
        text=f"measured to {fit.url}: {rate_text(8 / up)} up, {1000 * fit.base_s:.3g} ms",
    )


def _trace(rows: Sequence[Any]) -> LinkTimes:
    checked = []
    for k, row in enumerate(rows):
        if isinstance(row, Mapping) or not hasattr(row, "__len__") or len(row) != 3:
            raise ArgumentError(
                f"link[{k}]: expected (second, bits per second, seconds there and back). Received: {row!r:.80}"
            )
        second, rate, delay = (value.item() if isinstance(value, np.generic) else value for value in row)
        if isinstance(rate, int | float) and rate == 0:
            raise ArgumentError(
                f"link[{k}]: a rate of 0 at second {second}: no request would ever be answered. Give an outage a small "
                "rate, or leave it out and count it apart."
            )
        checked.append(
            (schema.number()(f"link[{k}][0]", second), _RATE(f"link[{k}][1]", rate), _DELAY(f"link[{k}][2]", delay))
        )
    times, rates, delays = np.array(checked, np.float64).T
    gaps = np.diff(times)
    if (gaps <= 0).any():
        raise ArgumentError("link: the seconds of a trace must ascend.")
    lengths = np.append(gaps, gaps.mean() if len(gaps) else 1.0)  # the last is taken to be as long as the others
    return LinkTimes(
        delays,
        8 / rates,
        8 / rates,
        lengths / lengths.sum(),
        text=f"a trace of {lengths.sum():.4g} s, {rate_text(rates.min())} to {rate_text(rates.max())}",
    )


def rate_text(rate_bit_s: float) -> str:
    """Return a rate as people say it.

    Example:
        >>> rate_text(250_000), rate_text(4e6)
        ('250 kbit/s', '4 Mbit/s')
    """
    for unit, factor in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bit_s >= 0.9995 * factor:
            return f"{rate_bit_s / factor:.3g} {unit}"
    return f"{rate_bit_s:.3g} bit/s"
