"""The pictures of a plan: its arrays, handed to the plots."""

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..plots.plan import draw_accuracy_by_latency, draw_latency_by_rate, draw_parts
from .option import KINDS, PARTS, Option

_RATES = np.geomspace(1e5, 1e9, 161)
_MOST_BARS = 12


def draw(plan: Any, kind: str, ax: Any = None) -> Any:
    """Draw one of the pictures of a plan; see `Plan.plot`."""
    pictures = {"latency": _latency, "accuracy": _accuracy, "parts": _parts}
    if kind not in pictures:
        raise ArgumentError(f"kind: expected one of {', '.join(map(repr, pictures))}. Received: {kind!r}")
    return pictures[kind](plan, ax)


def latencies_at(option: Option, rate_bit_s: float, rates: Any) -> np.ndarray:
    """Return the latency of an option at other link rates, with the delay as it is.

    Args:
        option: The option.
        rate_bit_s: The rate at which its latency is known.
        rates: Bits per second, `(n,)`.

    Returns:
        Seconds, `(n,)`.
    """
    return option.latency_s + option.bytes_s * (rate_bit_s / np.asarray(rates, float) - 1)


def _latency(plan: Any, ax: Any) -> Any:
    crossovers, rate = plan.crossovers(), plan.link.rate_bit_s
    options = plan.accurate()
    shown = [one for crossing in crossovers for one in (crossing.below, crossing.above)]
    for kind in KINDS:
        same = [one for one in options if one.kind == kind]
        shown += [min(same, key=lambda one: one.latency_s)] if same else []
    lines = {one.name: latencies_at(one, rate, _RATES) for one in sorted(set(shown), key=_order)}
    return draw_latency_by_rate(
        _RATES,
        lines,
        takeovers=[(one.rate_bit_s, one.latency_s) for one in crossovers if _RATES[0] <= one.rate_bit_s <= _RATES[-1]],
        now=rate,
        title=f"'{plan.model_name}': which is fastest, by the rate of the link",
        ax=ax,
    )


def _accuracy(plan: Any, ax: Any) -> Any:
    known = [one for one in plan.options if one.accuracy is not None]
    of_kind = {kind: [one for one in known if one.kind == kind] for kind in KINDS}
    points = {
        kind: ([one.latency_s for one in same], [one.accuracy for one in same])
        for kind, same in of_kind.items()
        if same
    }
    front = plan.pareto
    return draw_accuracy_by_latency(
        points,
        front=([o.latency_s for o in front], [o.accuracy for o in front], [o.name for o in front]),
        original=plan.original,
        title=f"'{plan.model_name}' over {plan.link.text}",
        ax=ax,
    )


def _parts(plan: Any, ax: Any) -> Any:
    chosen = sorted(plan.accurate(), key=lambda one: one.latency_s)
    shown = chosen[:_MOST_BARS] + [one for one in chosen[_MOST_BARS:] if one.kind == "local"]
    parts = {part: [one.parts_s[part] for one in shown] for part in PARTS}
    title = f"Where the time goes, over {plan.link.text}"
    return draw_parts([one.name for one in shown], parts, title=title, ax=ax)


def _order(option: Option) -> tuple[int, float]:
    return KINDS.index(option.kind), option.latency_s
