"""One way to classify an image: on the device, on the server, or split between them; with all that it costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from isplit_edge import schema

from ..bottlenecks.projection import Projection
from ..errors import ArgumentError
from ..graph.cuts import Cut
from . import kernels
from .link import LinkTimes
from .protocol import Exchange

KINDS = ("local", "remote", "split")
PARTS = ("preprocessing", "head", "coding", "up", "server", "down")
WATTS = ("compute", "send", "wait")
_ON_DEVICE = ("preprocessing", "head", "coding")
_SEED = 0
# Arguments of Projection that the settings of a prediction hold.
_OF_BOTTLENECK = (
    "compression", "payload_bytes", "latent_size", "weighting", "patch", "seed", "coding", "encoder_share",
)  # fmt: skip

Pair = tuple[float, float]
"""Median and 95th percentile in seconds."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Option:
    """One way to classify an image, and what it costs.

    Attributes:
        kind: "local": the whole model on the device; "remote": the image is sent to the whole model; or "split".
        cut: Of a split; else None.
        codec: How a remote image is sent: "RAW", "PNG", "JPEG", "WEBP" or "AVIF"; else None.
        quality: Of the codec; None where it has none.
        size: (height, width) at which a remote image is sent; else None.
        payload_bytes: Bytes per frame without what the protocol adds: of a split as asked for, so that
            `Projection(payload_bytes=...)` makes it; of an image the mean; 0 for "local".
        mean_bytes: The same, as measured in the mean.
        accuracy: From 0 to 1; None where it is not known.
        accuracy_interval: Low and high ends of its 95 % interval; None where it is not known.
        times_s: Median and 95th percentile in seconds of the parts that do not depend on the link: "preprocessing",
            "head" (of a local option the whole model), "coding" (of a remote one the compression) and "server", there
            without the handling of a request.
        exchange: The bytes of a request and of its answer; None for "local".
        mean_p95_ratio: By how much the longest payloads, of which 5 % are longer, exceed the mean.
        parts_s: Seconds of each of `PARTS`, which add up to `latency_s`. "up" is the time in which the device sends,
            "down" the delay both ways and the receiving of the answer.
        latency_s: Median seconds from the camera's image to the answer.
        bytes_s: The part of it that the bytes take, in proportion to the link's rate.
        latency_p95_s: The seconds that 95 of 100 images do not exceed.
        energy_j: Joules of the device for an image; None without watts.
        device_bytes: Size of the file on the device; None where it is not known, 0 for "remote".
        device_ram_bytes: Memory that it takes there; None where it is not known.
        server_s: Seconds of the server for a frame, in the batch that takes least; 0 for "local".
        frames_s: Frames per second where device, link and server work side by side.
        interpolated: Whether times of the head or of the tail come from the cuts or rates measured beside it.
        precision: Of the device's file.
        settings: Of the bottleneck that the accuracy was measured or predicted with; empty where not known.
    """

    kind: str
    cut: Cut | None = None
    codec: str | None = None
    quality: int | None = None
    size: tuple[int, int] | None = None
    payload_bytes: int = 0
    mean_bytes: float = 0.0
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    times_s: Mapping[str, Pair] = field(default_factory=dict)
    exchange: Exchange | None = None
    mean_p95_ratio: float = 1.0
    parts_s: Mapping[str, float] = field(default_factory=dict)
    latency_s: float = 0.0
    bytes_s: float = 0.0
    latency_p95_s: float = 0.0
    energy_j: float | None = None
    device_bytes: int | None = None
    device_ram_bytes: int | None = None
    server_s: float = 0.0
    frames_s: float = 0.0
    interpolated: bool = False
    precision: str = "int8"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what the option is, in a few words."""
        if self.kind == "local":
            return "whole model here"
        if self.kind == "remote":
            quality = "" if self.quality is None else f" {self.quality}"
            shrunk = "" if self.size is None or self.codec == "RAW" else f" {'x'.join(map(str, self.size))}"
            return f"image as {self.codec}{quality}{shrunk}"
        return f"split at {self.cut.name if self.cut else '?'}, {self.payload_bytes:,} B"

    @property
    def device_s(self) -> float:
        """Return the median seconds of work on the device for an image."""
        return sum(self.parts_s[part] for part in _ON_DEVICE)

    @property
    def bottleneck(self) -> Projection:
        """Return the bottleneck with which the accuracy of this split was predicted.

        Raises:
            ArgumentError: If this is no split.
        """
        self._require_split("has no bottleneck")
        given = {name: self.settings[name] for name in _OF_BOTTLENECK if self.settings.get(name) is not None}
        if not {"compression", "latent_size"} & set(given):
            given["payload_bytes"] = self.payload_bytes
        return Projection(**given)

    def _require_split(self, why: str) -> Cut:
        if self.kind != "split" or self.cut is None:
            raise ArgumentError(
                f"The option '{self.name}' {why}: it is '{self.kind}', and leaves the model whole. Possible: the best "
                "split, plan.best(kind='split')."
            )
        return self.cut

    def over(self, link: LinkTimes, overhead_s: float = 0.0, watts: Mapping[str, float] | None = None) -> "Option":
        """Return this option over a link: its latency and what follows from it.

        Args:
            link: The link.
            overhead_s: Seconds of the server to handle a request, unless the link holds them.
            watts: Of computing, sending and waiting, or None.
        """
        parts = {name: self.times_s.get(name, (0.0, 0.0)) for name in (*_ON_DEVICE, "server")}
        medians = {name: pair[0] for name, pair in parts.items()}
        up = down = np.zeros(len(link.shares))
        if self.exchange is not None:
            up, down = link.up_s(self.exchange), link.down_s(self.exchange)
            medians["server"] += 0.0 if link.is_measured else overhead_s
        state = kernels.middle_state(up + down, link.shares)
        medians |= {"up": float(up[state]), "down": float(down[state])}
        latency = sum(medians.values())
        on_link = self._link_s(link, state)
        busiest = max(sum(medians[part] for part in _ON_DEVICE), *on_link, self.server_s)
        return replace(
            self,
            parts_s={part: medians[part] for part in PARTS},
            latency_s=latency,
            bytes_s=min(sum(on_link), latency),
            latency_p95_s=max(latency, self._p95(link, medians["server"] - parts["server"][0], up, down)),
            energy_j=None if watts is None else self._energy(medians, watts),
            frames_s=1 / busiest if busiest > 0 else float("inf"),
        )

    def slower(self, factor: float) -> "Option":
        """Return this option on a device that is so many times slower, before `over` counts it again."""
        times = {
            name: (factor * pair[0], factor * pair[1]) if name in _ON_DEVICE else pair
            for name, pair in self.times_s.items()
        }
        return replace(self, times_s=times)

    def _link_s(self, link: LinkTimes, state: int) -> Pair:
        """Return the seconds in which the bytes of a frame keep the link busy, up and down."""
        if self.exchange is None:
            return 0.0, 0.0
        received = link.down_s_per_byte[state] * self.exchange.received(link.is_measured)
        return float(link.up_s_per_byte[state] * self.exchange.sent(link.is_measured)), float(received)

    def _p95(self, link: LinkTimes, overhead_s: float, up: np.ndarray, down: np.ndarray) -> float:
        rng = np.random.default_rng(_SEED)
        total = np.full(kernels.DRAWS, overhead_s)
        for name in (*_ON_DEVICE, "server"):
            total += kernels.draw_times(*self.times_s.get(name, (0.0, 0.0)), rng)
        states = kernels.draw_states(link.shares, rng)
        sizes = kernels.draw_times(1.0, self.mean_p95_ratio, rng)
        total += (up[states] * sizes + down[states]) * kernels.draw_times(1.0, link.p95_over_median, rng)
        return float(np.quantile(total, 0.95))

    def _energy(self, parts: Mapping[str, float], watts: Mapping[str, float]) -> float:
        computing = sum(parts[part] for part in _ON_DEVICE)
        return (
            watts["compute"] * computing
            + watts["send"] * parts["up"]
            + watts["wait"] * (parts["server"] + parts["down"])
        )

    def to_json(self) -> dict[str, Any]:
        """Return the option as plain JSON values."""
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        record["cut"] = None if self.cut is None else self.cut.to_json()
        record["exchange"] = None if self.exchange is None else vars(self.exchange)
        record["frames_s"] = None if np.isinf(self.frames_s) else self.frames_s
        return schema.plain(record)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Option":
        """Return the option that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: If it is none.
        """
        given = dict(record)
        for name, check in _CHECKS.items():
            given[name] = check(name, given[name])
        given["cut"] = None if given["cut"] is None else Cut.from_json(given["cut"])
        given["exchange"] = None if given["exchange"] is None else Exchange(**given["exchange"])
        given["frames_s"] = float("inf") if given["frames_s"] is None else given["frames_s"]
        return cls(**given)

    def __repr__(self) -> str:
        accuracy = "not known" if self.accuracy is None else f"{self.accuracy:.4f}"
        return (
            f"Option('{self.name}', accuracy {accuracy}, {1000 * self.latency_s:.3g} ms, "
            f"95 of 100 under {1000 * self.latency_p95_s:.3g} ms)"
        )


_SECONDS = schema.number(0)
_SHARE = schema.number(0, 1)
_SEVERAL = schema.nullable(schema.integer(0))
_CHECKS: Mapping[str, schema.Check] = MappingProxyType(
    {
        "kind": schema.choice(*KINDS),
        "codec": schema.nullable(schema.text),
        "quality": _SEVERAL,
        "size": schema.nullable(schema.sequence(schema.integer(1), 2)),
        "payload_bytes": schema.integer(0),
        "mean_bytes": schema.number(0),
        "accuracy": schema.nullable(_SHARE),
        "accuracy_interval": schema.nullable(schema.sequence(_SHARE, 2)),
        "times_s": schema.mapping(schema.sequence(_SECONDS, 2)),
        "mean_p95_ratio": schema.number(1),
        "parts_s": schema.record(dict.fromkeys(PARTS, _SECONDS)),
        "latency_s": _SECONDS,
        "bytes_s": _SECONDS,
        "latency_p95_s": _SECONDS,
        "energy_j": schema.nullable(_SECONDS),
        "device_bytes": _SEVERAL,
        "device_ram_bytes": _SEVERAL,
        "server_s": _SECONDS,
        "frames_s": schema.nullable(schema.number(above=0)),
        "interpolated": schema.flag,
        "precision": schema.text,
        "settings": schema.mapping(lambda key, value: value),
    }
)
