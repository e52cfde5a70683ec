"""The latencies of candidates, from a plan that was measured."""

from typing import Any

from ..errors import ArgumentError
from ..graph.cuts import Cut


def check_plan(plan: Any, max_latency_s: float | None) -> None:
    """Check the plan and the bound on the latency.

    Raises:
        ArgumentError: If there is a bound but no plan, the plan is none, or the bound is not above 0.
    """
    if plan is not None and not all(hasattr(plan, name) for name in ("options", "accurate", "at")):
        raise ArgumentError(f"plan: expected the result of plan_deployment. Received: {type(plan).__name__}.")
    if max_latency_s is None:
        return
    if plan is None:
        raise ArgumentError(
            "max_latency_s: there are no latencies to go by. Give plan=plan_deployment(model, accuracy, device=..., "
            "server=..., link=...)."
        )
    if isinstance(max_latency_s, bool) or not isinstance(max_latency_s, int | float) or not max_latency_s > 0:
        raise ArgumentError(f"max_latency_s: expected seconds above 0. Received: {max_latency_s!r}")


def latency_of(plan: Any, cut: Cut, payload_bytes: int | None) -> float | None:
    """Return the latency of a split at a cut in seconds, at the rate next to a payload; None if unknown."""
    place = cut.index, cut.shapes
    splits = [one for one in plan.options if one.kind == "split" and (one.cut.index, one.cut.shapes) == place]
    if not splits:
        return None
    nearest = min(splits, key=lambda one: (abs(one.payload_bytes - (payload_bytes or 0)), one.latency_s))
    return float(nearest.latency_s)


def latency_warning(plan: Any, latency_s: float) -> str | None:
    """Return a warning where the whole model, here or on the server, is as fast at its full accuracy; else None."""
    whole = [one for one in plan.accurate() if one.kind != "split"]
    if not whole:
        return None
    fastest = min(whole, key=lambda one: one.latency_s)
    if fastest.latency_s > latency_s:
        return None
    where = "the whole model on the device" if fastest.kind == "local" else f"sending the {fastest.name}"
    return f"{where} is faster: {1000 * fastest.latency_s:.3g} ms against {1000 * latency_s:.3g}"
