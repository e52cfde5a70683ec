"""Writing what the experiments found: a JSON file and pictures each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..plots import svg
from ..storage.records import write_record
from .catalogue import find_scale
from .findings import FINDERS
from .jobs import open_jobs
from .recipes import Experiment
from .results import Measured
from .runner import store_of

FORMAT_VERSION = 1


def write_findings(experiments: Sequence[Experiment], scale: str, results: Path) -> dict[str, dict[str, Any]]:
    """Write `EXPERIMENT.json` and its pictures, as .svg and .png, from the rows that are there.

    Args:
        experiments: Which.
        scale: `smoke`, `cpu` or `paper`.
        results: The folder of results.

    Returns:
        What was found, by experiment; those whose studies have no original yet are left out.
    """
    found = {}
    for experiment in experiments:
        studies = open_studies(experiment, scale, results)
        if not studies:
            continue
        fields, pictures = FINDERS[experiment.name](studies)
        left = {name: jobs_left(experiment, one) for name, one in studies.items()}
        fields = {
            "experiment": experiment.name,
            "title": experiment.title,
            "scale": scale,
            "jobs_left": left,
            "runs": {name: _runs(one) for name, one in studies.items()},
            **fields,
        }
        write_record(results / scale / f"{experiment.name}.json", "experiment", FORMAT_VERSION, fields)
        for name, figure in pictures:
            _save(figure, results / scale / name)
        found[experiment.name] = fields
    return found


def open_studies(experiment: Experiment, scale: str, results: Path) -> dict[str, Measured]:
    """The studies of an experiment whose original is trained and whose curves are measured."""
    studies = find_scale(scale)
    found = {name: Measured(studies[name], store_of(studies[name], scale, results)) for name in experiment.studies}
    return {name: one for name, one in found.items() if one.is_there and not _scores_missing(one, experiment)}


def _scores_missing(one: Measured, experiment: Experiment) -> bool:
    return any(job.kind == "score" and job.seed == 0 for job in open_jobs(one.study, [experiment], one.store))


def jobs_left(experiment: Experiment, one: Measured) -> int:
    """How many jobs of a study an experiment still needs."""
    return len(open_jobs(one.study, [experiment], one.store))


def _runs(one: Measured) -> dict[str, Any]:
    """How the rows of a study came about: settings, versions, and what they took."""
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
    """Fingerprints of a seed's original: more than one where a machine that rounds differently went on."""
    return {row["original"] for row in rows if row["seed"] == seed}


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path.with_suffix(".png"), dpi=110)
    path.with_suffix(".svg").write_text(svg(figure), encoding="utf-8")
