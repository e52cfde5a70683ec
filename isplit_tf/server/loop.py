"""The event loop of this process's servers, in a thread of its own; connections that wait take no thread there."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, which begins with the first call in a process; one, as gRPC knows only one in a process."""
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="isplit-server", daemon=True).start()
        return loop


def run_there(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop, and wait for its result; not to be called from the loop itself."""
    return asyncio.run_coroutine_threadsafe(work, event_loop()).result()
