"""Batching of simultaneous requests into one run of the model, as TensorFlow Serving does; needs no TensorFlow."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .refusal import INVALID_ARGUMENT, UNAVAILABLE, Refusal

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Batching:
    """How requests are joined; a bundle's `batching.config` holds the same settings for TensorFlow Serving.

    Attributes:
        max_size: Largest number of instances in one run. A larger request is refused.
        wait_s: Seconds that the first request of a run waits for others. With 0, no request waits while the model is
            idle, and requests that arrive during a run are joined for the next run.
        max_waiting: Largest number of waiting requests; further requests are refused.
    """

    max_size: int = 32
    wait_s: float = 0.0
    max_waiting: int = 1000


@dataclass(eq=False)
class _Task:
    inputs: Arrays
    size: int
    arrived: float
    ended: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, np.ndarray] | None = None
    error: BaseException | None = None

    @property
    def form(self) -> list[tuple[str, tuple[int, ...], np.dtype]]:
        """Return the names, shapes and dtypes of the inputs; only requests with the same form are joined."""
        return sorted((name, array.shape[1:], array.dtype) for name, array in self.inputs.items())


class Batcher:
    """A queue that joins the requests of many callers into runs of one signature.

    Each caller gets the rows of its own request. If a joined run fails, its requests are run one by one, so that
    no request fails because of another.

    Args:
        run: Maps arrays `(N, ...)` to arrays `(N, ...)`; its errors are raised in the caller.
        batching: The limits.
    """

    def __init__(self, run: Callable[[Arrays], dict[str, np.ndarray]], batching: Batching):
        self._run, self._batching = run, batching
        self._state = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run a request, joined with others if possible, and wait for its outputs.

        Args:
            inputs: An array for each input, all with the same size of the first axis.

        Returns:
            An array for each output.

        Raises:
            Refusal: If the request has too many instances (INVALID_ARGUMENT), or too many requests wait (UNAVAILABLE).
                Errors of `run` for this request alone are raised too.
        """
        sizes = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
        size = sizes.pop() if len(sizes) == 1 else -1
        if size > self._batching.max_size:
            raise Refusal(
                INVALID_ARGUMENT,
                f"Task size {size} is larger than maximum input batch size {self._batching.max_size}",
            )
        if size < 1:
            return self._run(inputs)  # nothing to join
        task = self._enqueued(_Task(inputs, size, time.monotonic()))
        if task is None:
            return self._run(inputs)
        task.ended.wait()
        if task.error is not None:
            raise task.error
        return task.outputs or {}

    def close(self) -> None:
        """Run the waiting requests and end the thread; later requests are run one by one."""
        with self._state:
            self._closing = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _enqueued(self, task: _Task) -> _Task | None:
        with self._state:
            if self._closing:
                return None
            if len(self._queue) >= self._batching.max_waiting:
                raise Refusal(UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="isplit-batcher", daemon=True)
                self._thread.start()
            self._queue.append(task)
            self._state.notify_all()
        return task

    def _work(self) -> None:
        while tasks := self._next():
            self._answer(tasks)

    def _next(self) -> list[_Task]:
        """Wait for requests and return those of the next run; an empty list if the batcher is closed and none wait."""
        with self._state:
            self._state.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return []
            deadline = self._queue[0].arrived + self._batching.wait_s
            while len(self._fitting()) == len(self._queue) and self._waiting() < self._batching.max_size:
                left_s = deadline - time.monotonic()
                if left_s <= 0 or self._closing:
                    break
                self._state.wait(left_s)
            tasks = self._fitting()
            for _ in tasks:
                self._queue.popleft()
            return tasks

    def _fitting(self) -> list[_Task]:
        """Return the longest beginning of the queue that can be joined into one run."""
        tasks: list[_Task] = []
        room = self._batching.max_size
        for task in self._queue:
            if task.size > room or (tasks and task.form != tasks[0].form):
                break
            tasks.append(task)
            room -= task.size
        return tasks

    def _waiting(self) -> int:
        return sum(task.size for task in self._queue)

    def _answer(self, tasks: list[_Task]) -> None:
        try:
            self._run_together(tasks)
        except BaseException as error:  # every error belongs to the caller, who waits in another thread
            if len(tasks) > 1:
                for task in tasks:
                    self._answer([task])
                return
            tasks[0].error = error
        for task in tasks:
            task.ended.set()

    def _run_together(self, tasks: list[_Task]) -> None:
        names = tasks[0].inputs
        joined = {name: np.concatenate([task.inputs[name] for task in tasks]) for name in names}
        outputs = self._run(joined if len(tasks) > 1 else tasks[0].inputs)
        total = sum(task.size for task in tasks)
        if len(tasks) > 1 and any(not array.ndim or len(array) != total for array in outputs.values()):
            raise ValueError("outputs that are not one for each instance cannot be told apart")
        start = 0
        for task in tasks:
            rows = slice(start, start + task.size) if len(tasks) > 1 else slice(None)
            task.outputs = {name: array[rows] if array.ndim else array for name, array in outputs.items()}
            start += task.size
