"""The times of a device and a server for any cut, rate and codec, from the ones that were measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph.cuts import Cut
from . import kernels
from .option import Pair

LOSSLESS = ("PNG", "RAW")


@dataclass(frozen=True)
class Found:
    """A time, and whether it comes from others that were measured beside it."""

    seconds: Pair
    interpolated: bool = False


@dataclass(frozen=True, eq=False)
class DeviceTimes:
    """The times of a device.

    Attributes:
        profile: The device's profile.
        total_macs: Multiply-accumulates of the whole model.
    """

    profile: Any
    total_macs: int

    @property
    def by_index(self) -> dict[int, Any]:
        """Return what was measured at each cut, by its index."""
        return {one.index: one for one in self.profile.cuts}

    def head(self, cut: Cut, encoder_macs: int | None) -> Found:
        """Return the time of a head with an encoder of so many multiply-accumulates; as measured for None."""
        own = self.by_index.get(cut.index)
        if own is not None and encoder_macs in (None, own.encoder_macs):
            return Found(pair(own.head))
        wanted = cut.head_macs + (encoder_macs or 0)
        seconds = []
        for which in (0, 1):
            points = [(0.0, 0.0), *((one.head_macs + one.encoder_macs, pair(one.head)[which]) for one in self.measured)]
            if self.profile.whole is not None:
                points.append((self.total_macs, pair(self.profile.whole.run)[which]))
            if own is None:
                seconds.append(kernels.interpolate(wanted, points))
            else:
                at = own.head_macs + own.encoder_macs
                seconds.append(kernels.shift_along(pair(own.head)[which], at, wanted, points))
        return Found(ordered(*seconds), True)

    @property
    def measured(self) -> tuple[Any, ...]:
        """Return what was measured at cuts."""
        return tuple(self.profile.cuts)

    def preprocessing(self, cut: Cut) -> Pair:
        """Return the time of preprocessing before the head of a cut."""
        return pair(self._nearest(cut).preprocess)

    def coding(self, cut: Cut, payload_bytes: float, by_hand: bool) -> Pair:
        """Return the time from the head's output to a payload of so many bytes, in proportion to those measured.

        Args:
            cut: The cut.
            payload_bytes: Mean bytes.
            by_hand: Whether the link was given by hand: the making of the request is then added, which a measured one
                holds.
        """
        near = self._nearest(cut)
        share = payload_bytes / near.payload_bytes if near.payload_bytes else 1.0
        median, p95 = pair(near.coding)
        request = (0.0, 0.0) if near.request is None or not by_hand else pair(near.request)
        return ordered(median * share + request[0], p95 * share + request[1])

    def size_bytes(self, cut: Cut) -> int | None:
        """Return the size of the head's file; between cuts that were measured, along their weights."""
        return self._along(cut, "size_bytes")

    def ram_bytes(self, cut: Cut) -> int | None:
        """Return the memory of the head, that of the nearest cut that was measured."""
        return self._nearest(cut).ram_bytes

    def _along(self, cut: Cut, name: str) -> int | None:
        own = self.by_index.get(cut.index)
        if own is not None:
            return int(getattr(own, name))
        points = [(one.head_macs, getattr(one, name)) for one in self.measured]
        if self.profile.whole is not None:
            points.append((self.total_macs, getattr(self.profile.whole, name)))
        return round(kernels.interpolate(cut.head_macs, points))

    def _nearest(self, cut: Cut) -> Any:
        return min(self.measured, key=lambda one: (one.index != cut.index, abs(one.head_macs - cut.head_macs)))

    def codec(self, codec: str, quality: int | None, size: tuple[int, int] | None) -> Found | None:
        """Return the time of the compression of an image; None if this codec was not measured on the device.

        It is in proportion to the pixels, and between two qualities that were measured it lies between their times.
        """
        entries = [one for one in self.profile.codecs if one.codec == codec]
        if not entries:
            return Found((0.0, 0.0)) if codec == "RAW" else None
        nearest = min(entries, key=lambda one: _distance(one.size, size))
        entries = [one for one in entries if tuple(one.size) == tuple(nearest.size)]
        scale = 1.0 if size is None else _pixels(size) / _pixels(nearest.size)
        exact = [one for one in entries if one.quality == quality]
        if exact or quality is None:
            median, p95 = pair((exact or entries)[0].encode)
            return Found((scale * median, scale * p95), scale != 1.0)
        medians = ((float(one.quality or 0), pair(one.encode)[0]) for one in entries)
        p95s = ((float(one.quality or 0), pair(one.encode)[1]) for one in entries)
        median, p95 = (scale * kernels.interpolate(quality, list(points)) for points in (medians, p95s))
        return Found(ordered(median, p95), True)


@dataclass(frozen=True, eq=False)
class ServerTimes:
    """The times of a server, without its handling of a request.

    Attributes:
        profile: The server's profile.
        cuts: The cuts of the model, by index.
    """

    profile: Any
    cuts: Mapping[int, Cut]

    def tail(self, cut: Cut) -> tuple[Found, float] | None:
        """Return the time of a tail for one payload, and the seconds per frame in the best batch.

        None if neither this tail nor others were measured.
        """
        tails = {one.index: one.times for one in self.profile.tails if 1 in one.times and one.index in self.cuts}
        if cut.index in tails:
            times = tails[cut.index]
            return Found(self._alone(times)), self._share(times)
        rows = [(float(self.cuts[index].tail_macs), times) for index, times in tails.items()]
        if 1 in self.profile.whole:
            rows.append((float(cut.head_macs + cut.tail_macs), self.profile.whole))
        if not rows:
            return None
        alone = [(macs, self._alone(times)) for macs, times in rows]
        medians, p95s = ([(macs, value[which]) for macs, value in alone] for which in (0, 1))
        seconds = (kernels.interpolate(cut.tail_macs, points) for points in (medians, p95s))
        share = kernels.interpolate(cut.tail_macs, [(macs, self._share(times)) for macs, times in rows])
        return Found(ordered(*seconds), True), share

    def image(self, codec: str, quality: int | None) -> tuple[Found, float] | None:
        """Return the time for one compressed image, decoding included, and the seconds per frame in the best batch.

        In one process, decoding was measured for each codec, and takes the place of that of the JPEG with which the
        whole way was measured. Over a network the decoding of a JPEG stands for all. None if nothing was measured.
        """
        whole, encoded = self.profile.whole, self.profile.encoded
        own, jpeg = self._decoding(codec, quality), self._decoding("JPEG", None)
        if 1 not in encoded:
            if 1 not in whole:
                return None
            added = own or {}
            return Found(_plus(self._alone(whole), added), own is None), self._share(whole) + self._share(added)
        if codec == "JPEG" or jpeg is None:
            return Found(self._alone(encoded), codec != "JPEG"), self._share(encoded)
        added, share = own or {}, self._share(encoded) - self._share(jpeg)
        alone = _plus(self._alone(encoded), added, jpeg)
        floor = self._share(whole) if 1 in whole else 0.0
        return Found(alone, own is None and codec != "RAW"), max(floor, share + self._share(added))

    def _decoding(self, codec: str, quality: int | None) -> Mapping[int, Any] | None:
        found = [one for one in self.profile.decoding if one.codec == codec and 1 in one.times]
        return min(found, key=lambda one: abs((one.quality or 0) - (quality or 75))).times if found else None

    def _alone(self, times: Mapping[int, Any]) -> Pair:
        median, p95 = pair(times[1])
        return ordered(max(0.0, median - self.profile.overhead_s), max(0.0, p95 - self.profile.overhead_s))

    def _share(self, times: Mapping[int, Any]) -> float:
        """Return the seconds per frame in the best batch; 0 for no times."""
        overhead = self.profile.overhead_s
        return min((max(0.0, one.median_s - overhead) / batch for batch, one in times.items()), default=0.0)


def pair(times: Any) -> Pair:
    """Return median and 95th percentile of times that were measured."""
    return float(times.median_s), float(max(times.median_s, times.p95_s))


def ordered(median: float, p95: float) -> Pair:
    """Return median and 95th percentile, the latter not below the former."""
    return median, max(median, p95)


def _plus(alone: Pair, added: Mapping[int, Any], taken: Mapping[int, Any] | None = None) -> Pair:
    more, less = (pair(times[1]) if times else (0.0, 0.0) for times in (added, taken))
    return ordered(max(0.0, alone[0] + more[0] - less[0]), max(0.0, alone[1] + more[1] - less[1]))


def _pixels(size: Iterable[int]) -> int:
    height, width = size
    return height * width


def _distance(own: tuple[int, int], size: tuple[int, int] | None) -> float:
    return 0.0 if size is None else abs(_pixels(own) - _pixels(size))
