"""The time for a whole call, and the bytes of its payloads that follow from it."""

import math
import threading
import time

from . import schema
from .manifest import Manifest
from .pacing import Choice, Ladder, Pace
from .process import renew_in_children

# How much of the head's mean time is that of the last image.
_NEW = 0.2


class Deadline:
    """The seconds that a call has, and what was seen of the link so far; threads may share it.

    Args:
        deadline_s: Seconds for a call; None for no limit, and then no choice is made.
        manifest: The bundle's manifest.

    Raises:
        ArgumentError: If `deadline_s` is not above 0.
    """

    def __init__(self, deadline_s: float | None, manifest: Manifest):
        schema.nullable(schema.number(above=0))("deadline_s", deadline_s)
        self.seconds = math.inf if deadline_s is None else float(deadline_s)
        self._pace = None
        if deadline_s is not None:
            self._pace = Pace(Ladder.of(manifest.form, manifest.rates), self.seconds)
        self._head_s = 0.0
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Let go of the lock of the process from which this one was forked."""
        self._lock = threading.Lock()

    @property
    def paced(self) -> bool:
        """Return whether payloads follow the link."""
        return self._pace is not None

    def choose(self, images: int, waiting: int, until: float, most_bytes: int | None) -> Choice | None:
        """Choose the bytes of the payloads of a request.

        Args:
            images: How many images the request carries.
            waiting: How many of the call have no answer yet, these included; each has the same share of the time.
            until: The moment of `time.monotonic()` at which the call ends.
            most_bytes: A bound for the payloads, or None.

        Returns:
            The choice, or None without a deadline.
        """
        if self._pace is None:
            return None
        now_s = time.monotonic()
        with self._lock:
            left_s = (until - now_s) * images / waiting - images * self._head_s
            return self._pace.choose(images, left_s, now_s, most_bytes)

    def encoded(self, took_s: float) -> None:
        """Learn how long preprocessing and head of one image took, in seconds."""
        with self._lock:
            self._head_s = took_s if not self._head_s else (1 - _NEW) * self._head_s + _NEW * took_s

    def answered(self, sent_bytes: int, took_s: float, *, in_time: bool) -> None:
        """Learn how long a request took, or for how long an answer was waited for in vain."""
        if self._pace is not None:
            with self._lock:
                self._pace.observe(sent_bytes, took_s, time.monotonic(), answered=in_time)
