"""Repeated calls and their seconds, in rounds over all that is measured, so that a busy moment falls on one round."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from isplit_edge.times import Times, believable

from ..display.progress import bar
from ..errors import ServerError, ServerTimeoutError, ServerUnreachableError

ROUNDS = 3
# Calls in each round: the fewest whatever the time, and the most, also where a clock stands still.
_LEAST, _MOST = 2, 2000


@dataclass(eq=False)
class Point:
    """A call that is measured.

    Attributes:
        part: What it is a measurement of; hashable.
        name: The part's name in a message.
        batch: The number of images in the call.
        prepare: Makes the call, which takes nothing and returns the answer.
        check: Looks at the first answer, and raises ServerError if it is none.
        seconds: Of each call.
        failure: Why it cannot be measured, or None.
    """

    part: Hashable
    name: str
    batch: int
    prepare: Callable[[], Callable[[], Any]]
    check: Callable[[Any], None] = lambda answer: None
    seconds: list[float] = field(default_factory=list)
    failure: str | None = None

    @cached_property
    def call(self) -> Callable[[], Any]:
        """Return the call; what it sends is made when it is first needed."""
        return self.prepare()

    @property
    def times(self) -> Times | None:
        """Return what the calls took; None if no call was measured."""
        kept = believable(self.seconds)
        return Times.of([self.seconds[index] for index in kept]) if kept else None

    def sample(self, seconds: float) -> None:
        """Call for so many seconds, after a call that is not counted, or two if it is the first time.

        A refusal is kept as the point's failure.

        Raises:
            ServerUnreachableError: If the server is away.
            ServerTimeoutError: If it does not answer in time.
        """
        try:
            answer = self.call()
            if not self.seconds:
                self.check(answer)
                self.call()
            self.seconds += seconds_of(self.call, seconds)
        except (ServerUnreachableError, ServerTimeoutError):
            raise
        except ServerError as error:
            self.failure = str(error)


def seconds_of(call: Callable[[], Any], seconds: float) -> list[float]:
    """Call until so many seconds have passed, and return what each call took."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < _LEAST or (len(found) < _MOST and time.perf_counter() < end):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found


def measure_points(points: Sequence[Point], seconds: float, *, progress: bool) -> None:
    """Measure all points, each for about so many seconds, in rounds; those of few images first.

    Raises:
        ServerError: If the server goes away; the points have what was measured until then.
    """
    ordered = sorted(points, key=lambda point: point.batch)
    with bar(total=ROUNDS * len(ordered), desc="profile", unit="part", enabled=progress) as progress_bar:
        for _ in range(ROUNDS):
            for point in ordered:
                if point.failure is None:
                    point.sample(seconds / ROUNDS)
                progress_bar.update()
