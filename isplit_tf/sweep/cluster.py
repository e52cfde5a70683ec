"""A sweep on Ray, with one actor and worker per CPU; the driver process writes the results."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import MissingDependencyError, SweepError
from .store import Row, Store, Task, Worker, finish, is_past

ATTEMPTS = 3
_LOCAL = "local"


class _Hand:
    """The actor that does tasks in a worker process."""

    def __init__(self, make_worker: Callable[[], Worker]):
        self._make_worker = make_worker
        self._worker: Worker | None = None

    def do(self, task: Task) -> Row:
        self._worker = self._worker or self._make_worker()  # not in __init__: errors keep their type here
        return self._worker(task)


def run_on_cluster(
    tasks: Callable[[], Sequence[Task]],
    make_worker: Callable[[], Worker],
    store: Store,
    ready: Callable[[Task], bool],
    address: str,
    deadline: float | None,
    describe: Callable[[Row], str],
    say: Callable[[str], None],
) -> bool:
    """Run a sweep on a Ray cluster, with the arguments and result of `run_sweep`."""
    if not tasks():
        return True
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        start(ray, address)
    try:
        return _Driver(ray, make_worker, say).run(tasks, store, ready, deadline, describe)
    finally:
        if started:
            ray.shutdown()


class _Driver:
    """The driver: hands tasks to actors and collects their rows."""

    def __init__(self, ray: Any, make_worker: Callable[[], Worker], say: Callable[[str], None]):
        self._ray, self._say = ray, say
        self._make_worker = ray.put(make_worker)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Hand)
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Task]] = {}
        self._losses: Counter[str] = Counter()
        self._capacity = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(
        self,
        tasks: Callable[[], Sequence[Task]],
        store: Store,
        ready: Callable[[Task], bool],
        deadline: float | None,
        describe: Callable[[Row], str],
    ) -> bool:
        self._say(f"  {self._capacity} workers")
        while True:
            if not is_past(deadline):
                self._give([task for task in tasks() if ready(task)])
            if not self._running:
                break
            finished, _ = self._ray.wait(list(self._running), num_returns=1)
            row = self._take(finished[0])
            if row is not None:
                finish(row, store, tasks, describe, self._say)
        if remaining := len(tasks()):
            self._say(f"  stopped with {remaining} left")
        return not remaining

    def _give(self, tasks: Sequence[Task]) -> None:
        busy = {task.key for _, task in self._running.values()}
        waiting = [task for task in tasks if task.key not in busy]
        for task in waiting[: self._capacity - len(self._running)]:
            actor = self._idle.pop() if self._idle else self._actor.remote(self._make_worker)
            self._running[actor.do.remote(task)] = actor, task

    def _take(self, reference: Any) -> Row | None:
        """Return the row of a finished task, or None if its worker died and the task has to be repeated."""
        actor, task = self._running.pop(reference)
        try:
            row: Row = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            self._losses[task.key] += 1
            if self._losses[task.key] >= ATTEMPTS:
                reason = str(error).splitlines()[0]
                raise SweepError(f"'{task.key}' lost its worker {ATTEMPTS} times: {reason}") from error
            self._say(f"  {task.key}: its worker died; another one does it")
            return None
        self._idle.append(actor)
        return row


def start(ray: Any, address: str, **resources: Any) -> None:
    """Connect to a running cluster, or start one here; a start may fail on a busy machine, so it is repeated.

    Raises:
        SweepError: If Ray does not start on this machine.
    """
    options = {"log_to_driver": False, "include_dashboard": False, "logging_level": 40}
    if address != _LOCAL:
        ray.init(address=address, **options)
        return
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(**options, **resources)
        except Exception as error:  # Ray raises RuntimeError and plain Exception
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise SweepError(
                    f"Ray did not start on this machine, {ATTEMPTS} times: {str(error).splitlines()[0]}. Run without a "
                    "cluster, or start one with `ray start --head` and give cluster='auto'."
                ) from error
        else:
            return


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "A sweep on a cluster needs Ray, which is not installed. Install it: pip install 'isplit-tf[cluster]'."
        ) from error
    return ray
