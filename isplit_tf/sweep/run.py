"""Running a sweep: what is missing is done, job by job, and every finished job stays."""

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
    """Do all tasks whose row is not there yet.

    Args:
        tasks: Gives what is still to be done, in order; asked again after every task, since some tasks follow from
            what others found. It may not name a task whose row is in the store.
        make_worker: Makes what does the tasks, once a process.
        store: Gets a row a task, at once.
        ready: Whether a task can begin: what it needs is in the store.
        cluster: None to work in this process, one task after the other; `"local"` for a Ray cluster of this machine,
            or the address of a running one (`ray://HOST:10001`, `auto`). Tasks then run side by side, one a CPU, and
            a task whose worker dies is given to another.
        deadline: Begin no further task once `time.perf_counter()` is past it.
        describe: What is said about a finished row.
        say: Takes a line for each finished task, with what is left; standard error by default.

    Returns:
        Whether all is done.

    Raises:
        MissingDependencyError: A cluster is asked for, and Ray is not installed.
        SweepError: A task lost its worker three times, or Ray does not start here.
    """
    say = say or _to_standard_error
    if cluster is not None:
        from .cluster import run_on_cluster

        return run_on_cluster(tasks, make_worker, store, ready, cluster, deadline, describe, say)
    worker: Worker | None = None
    while left := tasks():
        task = next(one for one in left if ready(one))
        if is_past(deadline):
            say(f"  stopped with {len(left)} left")
            return False
        worker = worker or make_worker()
        finish(worker(task), store, tasks, describe, say)
        gc.collect()  # models hold themselves in cycles, and their memory is large
    return True


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")
