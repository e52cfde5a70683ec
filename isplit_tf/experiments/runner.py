"""Running experiments: what is missing is done, job by job, and every finished job stays."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..sweep import Row, Store, run_sweep
from .catalogue import find_scale
from .jobs import Job, is_ready, open_jobs
from .recipes import Experiment, Study


@dataclass(frozen=True)
class Sources:
    """Where things come from and go to.

    Attributes:
        results: The folder of results; a folder for each scale is made there.
        work: A folder for trained originals; what is lost there is trained again.
        archives: A folder that may hold the data sets' archives; without it they are loaded from the internet.
        weights: A file of VGG16's ImageNet weights without the top; without it they are loaded from the internet.
        data_dir: Where TensorFlow Datasets keeps what it prepared; None for its own place.
    """

    results: Path
    work: Path
    archives: Path | None = None
    weights: Path | None = None
    data_dir: Path | None = None


def store_of(study: Study, scale: str, results: Path) -> Store:
    """The results of a study so far."""
    return Store(results / scale / f"{study.name}.jsonl")


def run_jobs(
    experiments: Sequence[Experiment],
    scale: str,
    sources: Sources,
    *,
    max_seconds: float | None = None,
    cluster: str | None = None,
    say: Callable[[str], None] | None = None,
) -> bool:
    """Do all jobs that these experiments need and that are not done.

    It can be interrupted or killed at any moment and started again: a job whose row is written is not run again.

    Args:
        experiments: Which.
        scale: `smoke`, `cpu` or `paper`.
        sources: Where things come from and go to.
        max_seconds: Begin no further job after so long; None for no limit.
        cluster: As `run_sweep` takes it. Workers on several machines need `sources.work` on a shared file system.
        say: Takes lines about what is done and what is left; standard error by default.

    Returns:
        Whether all is done.
    """
    say = say or _to_standard_error
    deadline = None if max_seconds is None else time.perf_counter() + max_seconds
    for study in _studies(experiments, find_scale(scale)):
        store = store_of(study, scale, sources.results)
        relevant = [one for one in experiments if study.name in one.studies]
        tasks = partial(open_jobs, study, relevant, store)
        if not tasks():
            continue
        say(f"{study.title}: {len(tasks())} jobs to do, {len(store)} done")
        done = run_sweep(
            tasks,
            partial(_make_worker, study, sources, scale),
            store,
            ready=partial(is_ready, study, store),
            cluster=cluster,
            deadline=deadline,
            describe=partial(_describe, store, tasks),
            say=say,
        )
        if not done:
            return False
    return True


def _make_worker(study: Study, sources: Sources, scale: str) -> Any:
    from .originals import Workshop
    from .worker import Worker

    where = {"archives": sources.archives, "weights": sources.weights, "data_dir": sources.data_dir}
    return Worker(Workshop(study, sources.work / scale, **where))


def _studies(experiments: Sequence[Experiment], studies: dict[str, Study]) -> list[Study]:
    names = dict.fromkeys(name for one in experiments for name in one.studies)
    return [studies[name] for name in names]


def _describe(store: Store, tasks: Callable[[], Sequence[Job]], row: Row) -> str:
    accuracy = f"{row['accuracy']:.2%}" if row.get("accuracy") is not None else "measured"
    seconds = _seconds_left(store, tasks())
    return f"{accuracy} in {row['seconds']:.0f} s" + (f"; about {seconds / 60:.0f} min left" if seconds else "")


def _seconds_left(store: Store, left: Sequence[Job]) -> float:
    """What jobs of the same kind took on the average, for each that is left; unknown kinds count as nothing."""
    total = 0.0
    for job in left:
        same = [row["seconds"] for row in store.rows(kind=job.kind)]
        total += sum(same) / len(same) if same else 0.0
    return total


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")
