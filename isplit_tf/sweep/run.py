"""Running of a sweep: does the missing tasks one by one and stores every finished task at once."""

import gc
import sys
from collections.abc import Callable, Sequence

from .store import Row, Store, Task, Worker, finish, is_past


def run_sweep(
    tasks: Callable[[], Sequence[Task]],
    make_worker: Callable[[], Worker],
    store: Store,
    *,
    ready: Callable[[Task], bool] = lambda _: True,
    cluster: str | None = None,
    deadline: float | None = None,
    describe: Callable[[Row], str] = lambda _: "done",
    say: Callable[[str], None] | None = None,
) -> bool:
    """Do all tasks whose row is not in the store yet.

    Args:
        tasks: Returns the remaining tasks, in order. It is called again after every task, since tasks may depend on
            the results of others. It must not return a task whose row is in the store.
        make_worker: Makes the worker that does the tasks; called once per process.
        store: Receives the row of each task as soon as the task is finished.
        ready: Returns whether a task can begin, because the rows that it needs are in the store.
        cluster: None to do the tasks one after the other in this process; `"local"` for a Ray cluster on this machine,
            or the address of a running cluster (`ray://HOST:10001`, `auto`). On a cluster, tasks run in parallel, one
            per CPU, and a task whose worker dies is given to another worker.
        deadline: No further task begins once `time.perf_counter()` is past this value.
        describe: Returns a description of a finished row for the progress line.
        say: Receives a line for each finished task, with the number of remaining tasks; writes to standard error by
            default.

    Returns:
        Whether all tasks are done.

    Raises:
        MissingDependencyError: If a cluster is requested and Ray is not installed.
        SweepError: If a task lost its worker three times, or Ray does not start on this machine.
    """
    say = say or _to_standard_error
    if cluster is not None:
        from .cluster import run_on_cluster

        return run_on_cluster(tasks, make_worker, store, ready, cluster, deadline, describe, say)
    worker: Worker | None = None
    while remaining := tasks():
        task = next(candidate for candidate in remaining if ready(candidate))
        if is_past(deadline):
            say(f"  stopped with {len(remaining)} left")
            return False
        worker = worker or make_worker()
        finish(worker(task), store, tasks, describe, say)
        gc.collect()  # models take much memory and are part of reference cycles
    return True


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")
