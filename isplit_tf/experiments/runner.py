"""The runner of experiments: it does missing jobs one by one, and keeps the row of every finished job."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..plots import svg
from ..storage.records import write_record
from ..sweep import Row, Store, run_sweep
from .catalogue import find_experiments, find_scale
from .findings import FINDERS
from .jobs import Job, is_ready, open_jobs
from .page import write_page
from .recipes import Experiment, Study
from .results import Measured


@dataclass(frozen=True)
class Sources:
    """Where the runner reads its inputs and writes its results.

    Attributes:
        results: The folder of results; each scale gets a folder in it.
        work: A folder for trained originals; an original that is missing there is trained again.
        archives: A folder that may hold the data sets' archives; without it they are loaded from the internet.
        weights: A file of VGG16's ImageNet weights without the top, or a folder with it and with networks that are
            trained already; without it VGG16's are loaded from the internet.
        data_dir: The folder where TensorFlow Datasets keeps prepared data sets; None for its default.
    """

    results: Path
    work: Path
    archives: Path | None = None
    weights: Path | None = None
    data_dir: Path | None = None


def store_of(study: Study, scale: str, results: Path) -> Store:
    """Open the store of a study's results."""
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
    """Do all missing jobs of these experiments.

    The run can be interrupted or killed at any moment and started again: a job whose row is written is not run again.

    Args:
        experiments: The experiments.
        scale: `smoke`, `cpu` or `paper`.
        sources: Where to read inputs and to write results.
        max_seconds: Begin no further job after this time in seconds; None for no limit.
        cluster: As `run_sweep` takes it. Workers on several machines need `sources.work` on a shared file system.
        say: Takes lines about progress; standard error by default.

    Returns:
        Whether all jobs are done.
    """
    say = say or _to_standard_error
    deadline = None if max_seconds is None else time.perf_counter() + max_seconds
    for study in _studies(experiments, find_scale(scale)):
        store = store_of(study, scale, sources.results)
        relevant = [experiment for experiment in experiments if study.name in experiment.studies]
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
    names = dict.fromkeys(name for experiment in experiments for name in experiment.studies)
    return [studies[name] for name in names]


def _describe(store: Store, tasks: Callable[[], Sequence[Job]], row: Row) -> str:
    accuracy = f"{row['accuracy']:.2%}" if row.get("accuracy") is not None else "measured"
    seconds = _seconds_left(store, tasks())
    return f"{accuracy} in {row['seconds']:.0f} s" + (f"; about {seconds / 60:.0f} min left" if seconds else "")


def _seconds_left(store: Store, left: Sequence[Job]) -> float:
    """Estimate the seconds for the jobs left, from the mean of finished jobs of the same kind, or 0 without any."""
    total = 0.0
    for job in left:
        same = [row["seconds"] for row in store.rows(kind=job.kind)]
        total += sum(same) / len(same) if same else 0.0
    return total


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")


FORMAT_VERSION = 1


def write_findings(experiments: Sequence[Experiment], scale: str, results: Path) -> dict[str, dict[str, Any]]:
    """Write `EXPERIMENT.json` and its pictures, as .svg and .png, from the existing rows.

    Args:
        experiments: The experiments.
        scale: `smoke`, `cpu` or `paper`.
        results: The folder of results.

    Returns:
        The findings by experiment, without experiments that have no study to read yet.
    """
    findings = {}
    for experiment in experiments:
        studies = open_studies(experiment, scale, results)
        if not studies:
            continue
        fields, pictures = FINDERS[experiment.name](studies)
        left = {name: jobs_left(experiment, measured) for name, measured in studies.items()}
        fields = {
            "experiment": experiment.name,
            "title": experiment.title,
            "scale": scale,
            "jobs_left": left,
            "runs": {name: _runs(measured) for name, measured in studies.items()},
            **fields,
        }
        write_record(results / scale / f"{experiment.name}.json", "experiment", FORMAT_VERSION, fields)
        for name, figure in pictures:
            _save(figure, results / scale / name)
        findings[experiment.name] = fields
    return findings


def open_studies(experiment: Experiment, scale: str, results: Path) -> dict[str, Measured]:
    """Return the studies of an experiment whose original is trained and whose curves are measured."""
    studies = find_scale(scale)
    all_measured = {
        name: Measured(studies[name], store_of(studies[name], scale, results)) for name in experiment.studies
    }
    return {
        name: measured
        for name, measured in all_measured.items()
        if measured.is_there and not _scores_missing(measured, experiment)
    }


def _scores_missing(one: Measured, experiment: Experiment) -> bool:
    return any(job.kind == "score" and job.seed == 0 for job in open_jobs(one.study, [experiment], one.store))


def jobs_left(experiment: Experiment, one: Measured) -> int:
    """Return the number of jobs of a study that an experiment still needs."""
    return len(open_jobs(one.study, [experiment], one.store))


def _runs(one: Measured) -> dict[str, Any]:
    """Return how the rows of a study were made: settings, versions, and the time they took."""
    rows = list(one.store.rows())
    retraining = one.study.retraining
    return {
        "rows": len(rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 1),
        "images": one.original["images"],
        "original_epochs": one.study.model.epochs,
        "bottleneck_epochs": retraining.bottleneck_epochs,
        "fine_tune_epochs": retraining.fine_tune_epochs,
        "batch_size": retraining.batch_size,
        "loss": retraining.loss,
        "seeds": sorted({row["seed"] for row in rows}),
        "learning_rates": sorted({row["learning_rate"] for row in one.store.rows(kind="split")}),
        "originals": {str(seed): sorted(_originals(rows, seed)) for seed in sorted({row["seed"] for row in rows})},
        "versions": sorted({", ".join(f"{k} {v}" for k, v in sorted(row["versions"].items())) for row in rows}),
        "first_date": min(row["date"] for row in rows),
        "last_date": max(row["date"] for row in rows),
    }


def _originals(rows: Sequence[dict[str, Any]], seed: int) -> set[str]:
    """Return the fingerprints of a seed's original: several if machines that round differently made the rows."""
    return {row["original"] for row in rows if row["seed"] == seed}


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path.with_suffix(".png"), dpi=110)
    path.with_suffix(".svg").write_text(svg(figure), encoding="utf-8")


def reproduce(args: argparse.Namespace) -> tuple[str, Any]:
    """Do the missing jobs, and write the findings.

    Args:
        args: The arguments of the command line.

    Returns:
        The findings, as text and as JSON values.
    """
    experiments = _chosen(args.experiment, args.study)
    find_scale(args.scale)
    results = Path(args.results)
    sources = Sources(
        results,
        Path(args.work) if args.work else results / "work",
        *(Path(value) if value else None for value in (args.archives, args.weights, args.data_dir)),
    )
    done = True
    if not args.report_only:
        seconds = None if args.max_minutes is None else 60 * args.max_minutes
        done = run_jobs(experiments, args.scale, sources, max_seconds=seconds, cluster=args.cluster)
    findings = write_findings(experiments, args.scale, results)
    if args.page:
        write_page(findings, args.scale, results, Path(args.page))
        sys.stderr.write(f"wrote {args.page}\n")
    lines = [_line(name, fields, results / args.scale) for name, fields in findings.items()]
    if not done:
        lines.append("Not all jobs are done; the same command goes on.")
    return "\n".join(lines) or "Nothing is measured yet.", findings


def _chosen(name: str, study: str | None) -> list[Experiment]:
    """Return the experiments of that name, restricted to one study if a study is given."""
    experiments = find_experiments(name)
    if study is None:
        return experiments
    known = dict.fromkeys(known_study for experiment in experiments for known_study in experiment.studies)
    if study not in known:
        raise ArgumentError(f"{name} reads no study {study!r}. It reads: {', '.join(known)}.")
    return [replace(experiment, studies=(study,)) for experiment in experiments if study in experiment.studies]


def _line(name: str, one: dict[str, Any], folder: Path) -> str:
    left = sum(one["jobs_left"].values())
    state = "complete" if not left else f"{left} jobs left"
    return f"{name}: {one['title']}, {state}: {folder / name}.json"
