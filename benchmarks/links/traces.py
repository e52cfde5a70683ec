"""Links that change over time: rate and round trip, each held until the next change, with a fixed seed."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np

STEP_S = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """A link over time.

    Attributes:
        name: What it imitates.
        times_s: (n,) moments of the changes, rising from 0.
        rate_bit_s: (n,) rate from that moment on, in each direction; 0 while nothing passes.
        rtt_s: (n,) round trip without any bytes.
        duration_s: Its end; it then begins anew.
    """

    name: str
    times_s: np.ndarray
    rate_bit_s: np.ndarray
    rtt_s: np.ndarray
    duration_s: float

    def at(self, time_s: float) -> tuple[float, float]:
        """Return rate and round trip at a moment."""
        index = int(np.searchsorted(self.times_s, time_s % self.duration_s, side="right")) - 1
        return float(self.rate_bit_s[index]), float(self.rtt_s[index])

    def sent(self, start_s: float, n_bytes: float) -> float:
        """Return the moment at which the last of n bytes has left, if the first one begins at `start_s`."""
        now_s, bits = start_s, 8.0 * n_bytes
        for _ in range(100 * len(self.times_s)):
            rate, _ = self.at(now_s)
            end_s = self.next_change(now_s)
            if rate > 0 and now_s + bits / rate <= end_s:
                return now_s + bits / rate
            bits -= rate * (end_s - now_s)
            now_s = end_s
        return math.inf

    def points(self) -> Iterator[tuple[float, float, float]]:
        """Walk through (seconds, rate_bit_s, rtt_s), as a plan takes a link over time."""
        for row in zip(self.times_s, self.rate_bit_s, self.rtt_s, strict=True):
            yield tuple(map(float, row))

    def next_change(self, time_s: float) -> float:
        """Return the moment of the first change after this one."""
        begin_s = math.floor(time_s / self.duration_s) * self.duration_s
        later = self.times_s[self.times_s > time_s - begin_s + 1e-9]
        return begin_s + float(later[0] if len(later) else self.duration_s)


def steady(rate_bit_s: float, rtt_s: float, duration_s: float = 60.0) -> Trace:
    """Make a link that does not change."""
    one = np.ones(1)
    return Trace("steady", 0 * one, rate_bit_s * one, rtt_s * one, duration_s)


def steps(seed: int = 0, scale: float = 1.0, duration_s: float = 240.0) -> Trace:
    """Make a link whose rate jumps between some levels every 8 to 20 s, as between cells of a network."""
    rng = np.random.default_rng(seed)
    times = _moments(rng, 8, 20, duration_s)
    levels = scale * np.array([0.25e6, 0.5e6, 1e6, 2e6, 4e6])
    chosen = [int(rng.integers(5))]
    while len(chosen) < len(times):
        chosen.append((chosen[-1] + int(rng.integers(1, 5))) % 5)
    return Trace("steps", times, levels[chosen], rng.choice([0.02, 0.03, 0.04], len(times)), duration_s)


def walk(seed: int = 0, scale: float = 1.0, duration_s: float = 240.0) -> Trace:
    """Make a link of a walker: a slow wander around 1 Mbit/s, with fades to a tenth of 1 to 3 s."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, duration_s, STEP_S)
    wander = _wander(rng, len(times), memory_s=10.0, spread=0.5)
    fade = np.zeros(len(times), bool)
    for begin in _moments(rng, 12, 30, duration_s)[1:]:
        fade |= (times >= begin) & (times < begin + rng.uniform(1, 3))
    rate = scale * 1e6 * np.exp(wander) * np.where(fade, 0.1, 1.0)
    return Trace("walk", times, rate, 0.03 * np.exp(rng.normal(0, 0.1, len(times))) + 0.02 * fade, duration_s)


def train(seed: int = 0, scale: float = 1.0, duration_s: float = 240.0) -> Trace:
    """Make a link of a train: the rate rises and falls between masts every 20 s, and tunnels of 3 to 10 s cut it."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, duration_s, STEP_S)
    mast = 0.5 + 0.5 * np.cos(2 * math.pi * (times / 20 + rng.uniform()))
    rate = scale * 4e6 * 0.1 ** (1 - mast) * np.exp(_wander(rng, len(times), memory_s=2.0, spread=0.2))
    for begin in _moments(rng, 30, 60, duration_s)[1:]:
        rate[(times >= begin) & (times < begin + rng.uniform(3, 10))] = 0.0
    return Trace("train", times, rate, 0.035 * np.exp(rng.normal(0, 0.15, len(times))), duration_s)


def congestion(seed: int = 0, scale: float = 1.0, duration_s: float = 240.0) -> Trace:
    """Make a link that is shared: others take up to 90 % of 2 Mbit/s for 2 to 15 s, and their queue delays ours."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, duration_s, STEP_S)
    share = np.zeros(len(times))
    for begin in _moments(rng, 4, 16, duration_s)[1:]:
        busy = (times >= begin) & (times < begin + rng.uniform(2, 15))
        share[busy] = np.maximum(share[busy], rng.uniform(0.3, 0.9))
    jitter = np.exp(rng.normal(0, 0.1, len(times)))
    return Trace("congestion", times, scale * 2e6 * (1 - share) * jitter, 0.025 + 0.03 * share * jitter, duration_s)


TRACES: dict[str, Callable[..., Trace]] = {"steps": steps, "walk": walk, "train": train, "congestion": congestion}


def _moments(rng: np.random.Generator, least_s: float, most_s: float, duration_s: float) -> np.ndarray:
    """Return 0 and later moments, that far from each other."""
    found = [0.0]
    while (later := found[-1] + rng.uniform(least_s, most_s)) < duration_s:
        found.append(later)
    return np.array(found)


def _wander(rng: np.random.Generator, n: int, memory_s: float, spread: float) -> np.ndarray:
    """Return a process (n,) of that standard deviation, which forgets within `memory_s`."""
    keep = math.exp(-STEP_S / memory_s)
    shocks = rng.normal(0, spread * math.sqrt(1 - keep**2), n)
    shocks[0] = rng.normal(0, spread)
    found = np.zeros(n)
    for index in range(n):
        found[index] = (keep * found[index - 1] if index else 0.0) + shocks[index]
    return found
