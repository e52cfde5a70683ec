"""Turns of threads that convert one after the other: a thread gives its turn away while the worker process converts.

What is traced, run and printed in this process belongs to one thread at a time; what the worker does, does not.
"""

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_mine = threading.local()


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait for the turn of this thread, and keep it until the end of the context."""
    with _lock:
        _mine.held = True
        try:
            yield
        finally:
            _mine.held = False


@contextlib.contextmanager
def given_away() -> Iterator[None]:
    """Let other threads have their turn within the context; nothing for a thread that has none."""
    if not getattr(_mine, "held", False):
        yield
        return
    _mine.held, _mine.away = False, True
    _lock.release()
    try:
        yield
    finally:
        _lock.acquire()
        _mine.held, _mine.away = True, False


@contextlib.contextmanager
def taken_back() -> Iterator[None]:
    """Take the turn back within the context, in the midst of `given_away`; nothing for other threads."""
    if not getattr(_mine, "away", False):
        yield
        return
    with _lock:
        yield
