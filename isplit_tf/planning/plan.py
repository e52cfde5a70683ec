"""The plan: every option of a model on a device, a server and a link, and which of them is best."""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge import schema
from isplit_edge.files import make_folder, write_atomic

from ..display.tables import html_table, text_table
from ..errors import ArgumentError, BundleError
from ..storage.records import read_record, write_record
from . import kernels
from .choice import GIVEN_UP, checked_bounds, choose, misses
from .link import LinkTimes, link_times, rate_text
from .option import WATTS, Option
from .reason import reason

FORMAT_VERSION = 1
KIND = "plan"
_SLOWEST_BIT_S, _FASTEST_BIT_S = 1e3, 1e11


@dataclass(frozen=True)
class Crossover:
    """A link rate at which another option becomes the fastest.

    Attributes:
        rate_bit_s: Bits per second from the device to the server.
        below: The fastest option at a slower link.
        above: The fastest option at a faster one.
        latency_s: What both take there, in seconds.
    """

    rate_bit_s: float
    below: Option
    above: Option
    latency_s: float

    def __repr__(self) -> str:
        return f"Crossover({rate_text(self.rate_bit_s)}: '{self.below.name}' below, '{self.above.name}' above)"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Plan:
    """Every option, with its accuracy, latency and costs, over one link.

    Attributes:
        options: All options: local, remote, and the splits by cut and rate.
        original: Accuracy of the whole model; None where no data were given for it.
        link: The times of the link.
        overhead_s: Seconds of the server to handle a request, for links that do not hold them.
        watts: Of "compute", "send" and "wait", as the user gave them, or None.
        model_name: Name of the model.
        model_sha256: Its identity.
        precision: Of the heads on the device.
        device: Facts about the device, by name.
        server: Facts about the server, by name.
        notes: What could not be counted, or only roughly, in words.
    """

    options: tuple[Option, ...]
    original: float | None
    link: LinkTimes
    overhead_s: float
    watts: Mapping[str, float] | None
    model_name: str
    model_sha256: str
    precision: str
    device: Mapping[str, Any]
    server: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def at(self, link: Any = None, *, slowdown: float = 1.0, watts: Mapping[str, float] | None = None) -> "Plan":
        """Return the same options over another link, or on a device of another speed; nothing is measured again.

        Args:
            link: As for `plan_deployment`; by default the plan's own.
            slowdown: How many times slower the device is than the measured one: a guess, of which the notes say so.
            watts: Of the device there; by default those of this plan.

        Raises:
            ArgumentError: If the link, the slowdown or the watts are not possible.
        """
        factor = schema.number(above=0)("slowdown", slowdown)
        times = self.link if link is None else link_times(link)
        power = self.watts if watts is None else checked_watts(watts)
        options = self.options if factor == 1 else tuple(option.slower(factor) for option in self.options)
        guess = f"The device's times are {factor:g} times those that were measured: a guess."
        return replace(
            self,
            options=tuple(option.over(times, self.overhead_s, power) for option in options),
            link=times,
            watts=power,
            notes=self.notes if factor == 1 else (*self.notes, guess),
        )

    @property
    def pareto(self) -> list[Option]:
        """Return the options that no other one is better than in accuracy and latency, from fast to slow."""
        accuracy = np.array([np.nan if one.accuracy is None else one.accuracy for one in self.options])
        latency = np.array([one.latency_s for one in self.options])
        return [self.options[k] for k in kernels.pareto_front(accuracy, latency)]

    def best(
        self,
        *,
        min_accuracy: float | None = None,
        max_latency_s: float | None = None,
        max_energy_j: float | None = None,
        max_head_bytes: int | None = None,
        max_payload_bytes: int | None = None,
        min_frames_s: float | None = None,
        kind: str | None = None,
    ) -> Option:
        """Return the fastest option that keeps all bounds.

        Of options whose latencies differ by at most 5 %, the simpler one is taken: the whole model on the device before
        sending the image, and both before a split; unless it is surely less accurate. Options of unknown accuracy are
        never taken.

        Args:
            min_accuracy: The least accuracy, from 0 to 1. Without it, an option may keep at most one in a hundred less
                than the most accurate one within the other bounds.
            max_latency_s: The longest median latency in seconds.
            max_energy_j: The most joules of the device for an image; needs a plan with watts.
            max_head_bytes: The largest file on the device, of a head or of the whole model.
            max_payload_bytes: The most bytes of a payload or of a compressed image, in the mean.
            min_frames_s: The fewest frames per second where device, link and server work side by side.
            kind: "local", "remote" or "split", to look at these alone.

        Returns:
            The option.

        Raises:
            ArgumentError: If a bound is not possible.
            PlanError: If no option keeps the bounds. Its `nearest` is the option that misses them by least, its `fails`
                what that one fails; the message says both.

        Example:
            >>> choice = plan.best(min_accuracy=0.9, max_head_bytes=2_000_000)
            >>> print(plan.why(choice))
        """
        bounds = {"min_accuracy": min_accuracy, "max_latency_s": max_latency_s, "max_energy_j": max_energy_j}
        bounds |= {"max_head_bytes": max_head_bytes, "max_payload_bytes": max_payload_bytes}
        return choose(self.options, checked_bounds(bounds | {"min_frames_s": min_frames_s}), kind)

    def why(self, option: Option | None = None) -> str:
        """Return in words why an option is the best, or is not: what else there is, and how long that takes.

        Args:
            option: One of the plan; by default the best.

        Raises:
            ArgumentError: If it is no option.
        """
        chosen = self.best() if option is None else option
        if not isinstance(chosen, Option):
            raise ArgumentError(f"option: expected one of plan.options. Received: {type(chosen).__name__}.")
        return reason(chosen, self.options)

    def crossovers(self, min_accuracy: float | None = None) -> list[Crossover]:
        """Return the link rates at which another option becomes the fastest, at the delay of this plan's link.

        Args:
            min_accuracy: Look at options that keep at least so much; by default, at those that keep at most one in a
                hundred less than the most accurate one.

        Returns:
            From the slowest link to the fastest; empty where one option is the fastest at all rates.
        """
        options, rate = self.accurate(min_accuracy), self.link.rate_bit_s
        slopes = np.array([one.bytes_s for one in options])
        fixed = np.array([one.latency_s for one in options]) - slopes
        lowest = kernels.lower_envelope(fixed, slopes)
        found = [
            Crossover(rate / x, options[at], options[lowest[k][1]], float(fixed[at] + slopes[at] * x))
            for k, (x, at) in enumerate(lowest[1:])
            if x > 0 and _SLOWEST_BIT_S <= rate / x <= _FASTEST_BIT_S
        ]
        return found[::-1]

    def accurate(self, min_accuracy: float | None = None) -> list[Option]:
        """Return the options that keep an accuracy, by default one in a hundred less than the most accurate one.

        Raises:
            PlanError: If there is none.
        """
        bounds = checked_bounds({"min_accuracy": min_accuracy})
        choose(self.options, bounds)
        highest = max(one.accuracy for one in self.options if one.accuracy is not None)
        bounds.setdefault("min_accuracy", highest - GIVEN_UP)
        return [one for one in self.options if not misses(one, bounds)]

    def rows(self, options: Sequence[Option] | None = None) -> list[dict[str, Any]]:
        """Return one record of plain values per option: its name, kind, accuracy, times, bytes, memory and energy."""
        names = ["kind", "accuracy", "latency_s", "latency_p95_s", "mean_bytes", "energy_j", "device_bytes"]
        names += ["device_ram_bytes", "server_s", "frames_s", "interpolated"]
        chosen = self.options if options is None else options
        return [
            {"name": one.name, **{name: one.to_json()[name] for name in names}, "parts_s": dict(one.parts_s)}
            for one in chosen
        ]

    def table(self, every: bool = False) -> str:
        """Return the options as text: those that no other is better than, and the simple ones, or all of them.

        Args:
            every: Whether to list all.
        """
        lines = [self._title(), text_table(*self.cells(every))]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(self._title())}</p>{html_table(*self.cells())}{notes}"

    def _title(self) -> str:
        original = "" if self.original is None else f"; the whole model: {self.original:.4f}"
        return f"Plan for '{self.model_name}' over {self.link.text}: {len(self.options)} options{original}"

    def cells(self, every: bool = False) -> tuple[list[str], list[list[Any]]]:
        """Return the header and the rows of the table; see `table`."""
        front = self.pareto
        shown = [
            one for one in self.options if every or one in front or one.kind == "local" or one.codec in ("RAW", "PNG")
        ]
        header = ["option", "accuracy", "ms", "95 % ms", "device ms", "up ms", "server ms", "down ms", "bytes"]
        joules = [] if self.watts is None else ["mJ"]
        header += [*joules, "file B", "frames/s", ""]
        rows: list[list[Any]] = [
            [
                one.name,
                one.accuracy,
                *(_ms(seconds) for seconds in (one.latency_s, one.latency_p95_s, one.device_s)),
                *(_ms(one.parts_s[part]) for part in ("up", "server", "down")),
                round(one.mean_bytes),
                *([] if self.watts is None else [_ms(one.energy_j or 0.0)]),
                one.device_bytes,
                f"{min(one.frames_s, 1e6):8.1f}",
                "front" if one in front else "",
            ]
            for one in sorted(shown, key=lambda one: one.latency_s)
        ]
        return header, rows

    def plot(self, kind: str = "latency", *, ax: Any = None) -> Any:
        """Draw the plan.

        Args:
            kind: "latency": latency against link rate, a line an option, with the rates at which another one takes
                over; "accuracy": accuracy against latency, with the Pareto front; "parts": where the time goes, as
                bars.
            ax: Matplotlib axes to draw on; new ones by default.

        Returns:
            The axes.

        Raises:
            ArgumentError: If the kind is none of these.
        """
        from .picture import draw

        return draw(self, kind, ax)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the plan as a page of its own, with its pictures, and write it where a path is given.

        Args:
            path: The file; None for none.
        """
        from .page import plan_page

        page = plan_page(self)
        if path is not None:
            make_folder(Path(path).parent)
            write_atomic(path, page.encode())
        return page

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, replacing an existing file."""
        make_folder(Path(path).parent)
        record = {name: getattr(self, name) for name in _PLAIN}
        record |= {"options": [one.to_json() for one in self.options], "link": self.link.to_json()}
        write_record(path, KIND, FORMAT_VERSION, schema.plain(record))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read a plan that `save` wrote.

        Raises:
            BundleError: If the file does not exist, is no plan, is damaged, or has a newer format.
        """
        record = read_record(path, KIND, FORMAT_VERSION)
        try:
            fields: dict[str, Any] = {name: check(name, record[name]) for name, check in _PLAIN.items()}
            options = tuple(Option.from_json(one) for one in record["options"])
            return cls(options=options, link=LinkTimes.from_json(record["link"]), **fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"'{path}' is damaged: {error!r}") from error


def _ms(seconds: float) -> str:
    """Return seconds as milliseconds of one width, which columns of a table are aligned by."""
    return f"{1000 * seconds:8.2f}"


def checked_watts(watts: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return the watts of a device while it computes, sends and waits; None for none.

    Raises:
        ArgumentError: If one is missing, unknown or negative.
    """
    if watts is None:
        return None
    return dict(schema.record(dict.fromkeys(WATTS, schema.number(0)))("watts", watts))


_FACTS = schema.mapping(schema.scalar)
_PLAIN: Mapping[str, schema.Check] = {
    "original": schema.nullable(schema.number(0, 1)),
    "overhead_s": schema.number(0),
    "watts": lambda key, value: checked_watts(value),
    "model_name": schema.text,
    "model_sha256": schema.text,
    "precision": schema.text,
    "device": _FACTS,
    "server": _FACTS,
    "notes": schema.sequence(schema.text),
}
