"""`isplit reproduce`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .catalogue import find_experiments, find_scale
from .page import write_page
from .recipes import Experiment
from .report import write_findings
from .runner import Sources, run_jobs


def reproduce(args: argparse.Namespace) -> tuple[str, Any]:
    """Do the jobs that are missing, and write what was found.

    Args:
        args: What the command line says.

    Returns:
        What was found, as text and as JSON values.
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
    found = write_findings(experiments, args.scale, results)
    if args.page:
        write_page(found, args.scale, results, Path(args.page))
        sys.stderr.write(f"wrote {args.page}\n")
    lines = [_line(name, one, results / args.scale) for name, one in found.items()]
    if not done:
        lines.append("Not all jobs are done; the same command goes on.")
    return "\n".join(lines) or "Nothing is measured yet.", found


def _chosen(name: str, study: str | None) -> list[Experiment]:
    """The experiments of that name, on one study alone where it is named."""
    experiments = find_experiments(name)
    if study is None:
        return experiments
    known = dict.fromkeys(each for one in experiments for each in one.studies)
    if study not in known:
        raise ArgumentError(f"{name} reads no study {study!r}. It reads: {', '.join(known)}.")
    return [replace(one, studies=(study,)) for one in experiments if study in one.studies]


def _line(name: str, one: dict[str, Any], folder: Path) -> str:
    left = sum(one["jobs_left"].values())
    state = "complete" if not left else f"{left} jobs left"
    return f"{name}: {one['title']}, {state}: {folder / name}.json"
