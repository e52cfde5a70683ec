"""The plan for the machine that the demo runs on, which is the device and the server, over links of several rates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge.profiling import measure_device

from ..bottlenecks.projection import Projection
from ..display.page import Section
from ..display.tables import html_table
from ..export.kit import build_kit
from ..graph.cuts import Cut
from ..planning.deployment import plan_deployment
from ..planning.link import Link, rate_text
from ..planning.page import plan_sections
from ..planning.plan import Plan
from ..planning.server_measurement import measure_server

RATES_BIT_S = (0.25e6, 1e6, 4e6, 20e6, 100e6)
SLOWDOWNS = (1, 30, 1000)
_LINK = Link(rate_bit_s=4e6, rtt_s=0.04)
_CUTS = 3
_DEVICE_SECONDS, _SERVER_SECONDS = 0.2, 0.05


def plan_machine(directory: Path, model: keras.Model, accuracy: Any, images: np.ndarray, codecs: Any = None) -> Plan:
    """Measure this machine as the device and as the server of a model, and plan for it, in a few seconds.

    Args:
        directory: The folder in which kit/, device.json, server.json and plan.json are written, or replaced.
        model: The classifier.
        accuracy: The predicted accuracy at each cut, at one rate or several.
        images: Images in the model's own space, at least 16.
        codecs: Bytes and accuracy of compressed images, or None.

    Returns:
        The plan over 4 Mbit/s and 40 ms; `Plan.at` gives it over another link.
    """
    payload_bytes = int(np.median(accuracy.payload_bytes))
    kit = build_kit(
        model,
        directory / "kit",
        cuts=few_cuts(accuracy.cuts),
        bottleneck=Projection(payload_bytes=payload_bytes, fit_images=64),
        representative_data=images,
        overwrite=True,
        progress=False,
    )
    device = measure_device(kit, seconds=_DEVICE_SECONDS, memory=False)
    device.save(directory / "device.json")
    server = measure_server(kit, batches=(1, 8), seconds=_SERVER_SECONDS, progress=False)
    server.save(directory / "server.json")
    plan = plan_deployment(model, accuracy, device=device, server=server, link=_LINK, codecs=codecs)
    plan.save(directory / "plan.json")
    return plan


def few_cuts(cuts: Sequence[Cut], count: int = _CUTS) -> list[Cut]:
    """Return a few cuts whose heads have as different work as possible; the others lie between them."""
    macs = np.array([cut.head_macs for cut in cuts], float)
    wanted = np.linspace(macs.min(), macs.max(), count)
    return [cuts[k] for k in sorted({int(np.argmin(np.abs(macs - one))) for one in wanted})]


def links_section(plan: Plan) -> Section:
    """Return a section that says what is best over links of several rates, on this machine and on slower ones."""
    header = ["link", *("this machine" if one == 1 else f"a device {one} times slower" for one in SLOWDOWNS)]
    rows: list[list[Any]] = []
    for rate in RATES_BIT_S:
        link = Link(rate, _LINK.rtt_s)
        choices = [plan.at(link, slowdown=one).best() for one in SLOWDOWNS]
        rows.append([rate_text(rate), *(f"{one.name}: {1000 * one.latency_s:.3g} ms" for one in choices)])
    text = (
        f"The fastest that keeps the accuracy to one point, with {1000 * _LINK.rtt_s:.0f} ms there and back. "
        "Measured on this machine as device and as server. A slower device is a guess: measure yours."
    )
    return Section("Is a split worth it here?", text, html_table(header, rows))


def machine_answer(plan: Plan) -> str:
    """Return in a sentence what the plan says of this machine, as an answer to whether to split."""
    best = plan.best()
    if best.kind == "split":
        return f"On this machine and over {plan.link.text}, yes: {plan.why(best)}"
    where = {
        "local": f"the whole model answers here in {1000 * best.latency_s:.3g} ms",
        "remote": f"sending the {best.name} is the fastest, {1000 * best.latency_s:.3g} ms",
    }[best.kind]
    return (
        f"Not for speed on this machine, and over {plan.link.text}: {where}. A split is for devices that cannot run "
        "the whole model in time, for links where every byte counts, and for images that may not leave the device."
    )


def machine_sections(plan: Plan) -> list[Section]:
    """Return the sections of the demo's page about the plan."""
    return [links_section(plan), *plan_sections(plan)]
