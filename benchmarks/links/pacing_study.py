"""The pace of `Client(deadline_s=...)` against an oracle that knows the link, on simulated links.

A frame every 0.2 s. Its bytes leave behind those that are still on the link, then come the round trip, the server and
the bytes of the answer. The oracle knows the trace, and sends the payload of the highest accuracy that is back in time.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge.manifest import Manifest
from isplit_edge.pacing import Ladder, Pace

from .traces import TRACES, Trace

PERIOD_S = 0.2
SEGMENT_BYTES, SEGMENT_HEADER_BYTES = 536, 54


@dataclasses.dataclass(frozen=True)
class World:
    """What is the same for all frames.

    Attributes:
        deadline_s: From the frame to its answer.
        head_s: Time of the head.
        server_s: Median time of the server.
        request_bytes: What the protocol adds to a payload.
        answer_bytes: The answer.
        down: How many times faster the way down is.
        local_s: Time of the whole model on the device; None without one in the bundle.
        local_accuracy: Its accuracy.
        pause_s: `fallback_pause_s` of the client.
    """

    deadline_s: float = 0.1
    head_s: float = 0.02
    server_s: float = 0.012
    request_bytes: int = 250
    answer_bytes: int = 4300
    down: float = 4.0
    local_s: float | None = None
    local_accuracy: float = 0.0
    pause_s: float = 5.0

    def on_link(self, n_bytes: float) -> float:
        """Return the bytes on the link with the headers of all packets."""
        return n_bytes + SEGMENT_HEADER_BYTES * math.ceil(n_bytes / SEGMENT_BYTES)

    def back_s(self, trace: Trace, start_s: float, payload_bytes: float, server_s: float) -> tuple[float, float]:
        """Return when the payload has left the device, and when its answer is there."""
        left_s = trace.sent(start_s, self.on_link(payload_bytes + self.request_bytes))
        if math.isinf(left_s):
            return left_s, left_s
        at_server_s = left_s + trace.at(left_s)[1] / 2
        answer_s = trace.sent(at_server_s + server_s, self.on_link(self.answer_bytes) / self.down)
        return left_s, answer_s + trace.at(answer_s)[1] / 2


@dataclasses.dataclass
class Outcome:
    """What became of the frames: accuracy and whether in time, one entry each; bytes; those answered here."""

    accuracy: list[float] = dataclasses.field(default_factory=list)
    in_time: list[bool] = dataclasses.field(default_factory=list)
    payload_bytes: list[int] = dataclasses.field(default_factory=list)
    local: int = 0

    def add(self, accuracy: float, in_time: bool, payload_bytes: int) -> None:
        """Add a frame."""
        self.accuracy.append(accuracy)
        self.in_time.append(in_time)
        self.payload_bytes.append(payload_bytes)

    def best_of(self, count: int) -> float:
        """Return the mean accuracy of so many of its frames in time, those with the highest."""
        accuracy = np.sort(np.array(self.accuracy)[np.array(self.in_time)])
        return float(accuracy[-count:].mean()) if count else 0.0

    def summary(self) -> dict[str, float]:
        """Return the share in time, their accuracy, and the share of frames answered right in time."""
        accuracy, in_time = np.array(self.accuracy), np.array(self.in_time)
        return {
            "frames": len(accuracy),
            "in_time": float(in_time.mean()),
            "accuracy_in_time": float(accuracy[in_time].mean()) if in_time.any() else 0.0,
            "right_in_time": float((accuracy * in_time).mean()),
            "mean_payload_bytes": float(np.mean(self.payload_bytes)),
            "local": self.local / len(accuracy),
        }


def follow(world: World, trace: Trace, ladder: Ladder, seed: int, fixed: int | None = None) -> Outcome:
    """Send the frames of a trace with the client's pace, or with one rung of the ladder."""
    rng, outcome = np.random.default_rng(seed), Outcome()
    pace, free_s, asking_from_s, trial = Pace(ladder, world.deadline_s), 0.0, -math.inf, True
    for start_s in np.arange(0, trace.duration_s - 1, PERIOD_S):
        send_s, until_s = start_s + world.head_s, start_s + world.deadline_s
        server_s = world.server_s * math.exp(rng.normal(0, 0.15))
        if fixed is None and world.local_s is not None:
            choice = None if start_s < asking_from_s else pace.choose(1, until_s - send_s, start_s)
            if choice is None or (choice.late and not trial):
                if choice is not None:
                    asking_from_s, trial = start_s + world.pause_s, True
                outcome.local += 1
                outcome.add(world.local_accuracy, world.local_s <= world.deadline_s, 0)
                continue
            trial = False
        else:
            choice = pace.choose(1, until_s - send_s, start_s)
        bound = choice.payload_bytes if fixed is None else int(ladder.bounds[fixed])
        rung = int(np.searchsorted(ladder.bounds, bound))
        sent = ladder.sizes[rung] * rng.uniform(0.93, 1.0)
        free_s, back_s = world.back_s(trace, max(send_s, free_s), sent, server_s)
        in_time = back_s <= until_s
        pace.observe(sent, min(back_s, until_s) - send_s, min(back_s, until_s), answered=in_time)
        if not in_time and fixed is None and world.local_s is not None:
            outcome.local += 1
            outcome.add(world.local_accuracy, False, bound)
        else:
            outcome.add(float(ladder.worth[rung]), in_time, bound)
    return outcome


def oracle(world: World, trace: Trace, ladder: Ladder, seed: int) -> Outcome:
    """Send each frame as one would who knows the link: the highest accuracy that is back in time."""
    rng, outcome = np.random.default_rng(seed), Outcome()
    for start_s in np.arange(0, trace.duration_s - 1, PERIOD_S):
        send_s, until_s = start_s + world.head_s, start_s + world.deadline_s
        server_s = world.server_s * math.exp(rng.normal(0, 0.15))
        rng.uniform()
        backs = [world.back_s(trace, send_s, size, server_s)[1] <= until_s for size in ladder.sizes]
        rung = max((rung for rung, fits in enumerate(backs) if fits), default=None)
        if rung is not None:
            outcome.add(float(ladder.worth[rung]), True, int(ladder.bounds[rung]))
        elif world.local_s is not None:
            outcome.local += 1
            outcome.add(world.local_accuracy, world.local_s <= world.deadline_s, 0)
        else:
            outcome.add(0.0, False, 0)
    return outcome


def study(manifest: Manifest, world: World, seeds: range, scale: float = 1.0) -> dict[str, Any]:
    """Compare pace, oracle and payloads of the export's own size over all traces and some seeds."""
    ladder = Ladder.of(manifest.form, manifest.rates)
    rows = {}
    for name, make in TRACES.items():
        found: dict[str, list[Mapping[str, float]]] = {}
        for seed in seeds:
            trace = make(seed, scale)
            ours, best = follow(world, trace, ladder, seed), oracle(world, trace, ladder, seed)
            found.setdefault("pace", []).append(ours.summary())
            found.setdefault("oracle", []).append(
                best.summary() | {"accuracy_of_as_many": best.best_of(sum(ours.in_time))}
            )
            usual = int(np.searchsorted(ladder.bounds, manifest.payload_bytes))
            found.setdefault("fixed", []).append(follow(world, trace, ladder, seed, usual).summary())
        rows[name] = {
            policy: {key: float(np.mean([one[key] for one in all_seeds])) for key in all_seeds[0]}
            for policy, all_seeds in found.items()
        }
    return rows


def load(bundle: str) -> Manifest:
    """Read the manifest of a bundle whose rates were measured, without its files."""
    return Manifest.from_dict(json.loads((Path(bundle) / "manifest.json").read_text()))
