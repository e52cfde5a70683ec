"""The command `isplit train --all-candidates`, which splits and trains at every candidate, each in its own job."""

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..display.tables import text_table
from ..selection.candidates import Candidates
from ..sweep import Row, Store, run_sweep
from .custom_objects import custom_objects
from .inputs import open_for_training, open_model, read_cut
from .options import OF_BOTTLENECK, kind_of_bottleneck, make_bottleneck

ROWS = "results.jsonl"
_OF_TRAINING = ("bottleneck_epochs", "fine_tune_epochs", "learning_rate", "loss", "rate_weight", "seed", "keep_best")


@dataclass(frozen=True)
class CandidateTask:
    """A candidate to split and train at.

    Attributes:
        rank: Position among the candidates, from 0.
        cut: Name of the cut.
        index: Index of the cut.
        settings: The other settings that the result depends on, as text.
    """

    rank: int
    cut: str
    index: int
    settings: str

    @property
    def key(self) -> str:
        """Return the key of the task; the same cut with other settings is another task."""
        return f"{self.rank:02}_{self.cut.replace('/', '.')} {self.settings}"

    @property
    def folder(self) -> str:
        """Return the name of the folder for the trained split."""
        return f"{self.rank:02}_{self.cut.replace('/', '.')}"


def train_candidates(args: argparse.Namespace) -> tuple[str, Any]:
    """Train at every candidate that is not trained yet; an interrupted run continues.

    Args:
        args: The command line.

    Returns:
        The results, as text and as JSON values.
    """
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    store = Store(output / ROWS)
    candidates = Candidates.load(args.split)
    settings = _settings(args)
    tasks = [
        CandidateTask(k, candidate.cut.name, candidate.cut.index, settings) for k, candidate in enumerate(candidates)
    ]
    run_sweep(
        lambda: [task for task in tasks if task.key not in store],
        partial(_Worker, args),
        store,
        cluster=args.cluster,
        describe=lambda row: f"{_percent(row['accuracy'])} in {row['seconds']:.0f} s",
    )
    rows = sorted((store[task.key] for task in tasks), key=lambda row: -(row["accuracy"] or 0.0))
    header = ["cut", "validation accuracy", "latent elements", "of all MACs", "seconds", "folder"]
    shares = {task.key: f"{100 * one.device_share:.0f} %" for task, one in zip(tasks, candidates, strict=True)}
    cells = [
        [
            row["cut"],
            _percent(row["accuracy"]),
            row["latent_elements"],
            shares[row["key"]],
            f"{row['seconds']:.1f}",
            row["folder"],
        ]
        for row in rows
    ]
    return text_table(header, cells), rows


class _Worker:
    """A worker that trains at candidates; it reads model and images once per process."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        with custom_objects(args.custom_objects):  # here again, since a worker may be in a process of its own
            self._model = open_model(args.model)
        shape = self._model.inputs[0].shape[1:]
        self._train, self._watched = open_for_training(args, shape)

    def __call__(self, task: CandidateTask) -> Row:
        import numpy as np

        from ..evaluation.evaluation import evaluate
        from ..splitting import split
        from ..training import train

        start = time.perf_counter()
        args = self._args
        with custom_objects(args.custom_objects):
            halves = split(self._model, read_cut(str(task.index)), make_bottleneck(args), output_kind=args.output_kind)
        validation_data = self._watched if args.keep_best else None
        train(halves, self._train, validation_data=validation_data, progress=False, **training_arguments(args))
        halves.save(Path(args.output) / task.folder, overwrite=True)
        accuracy = None if self._watched is None else evaluate(halves, self._watched, progress=False).accuracy
        return {
            "key": task.key,
            "cut": task.cut,
            "index": task.index,
            "folder": task.folder,
            "accuracy": accuracy,
            "latent_elements": int(np.prod(halves.latent_shape)),
            "seconds": round(time.perf_counter() - start, 2),
        }


def training_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments for `train` that the command line sets; the others keep the defaults of `train`."""
    import keras

    options = {
        "bottleneck_epochs": args.bottleneck_epochs,
        "fine_tune_epochs": args.fine_tune_epochs,
        "optimizer": None if args.learning_rate is None else keras.optimizers.Adam(args.learning_rate),
        "loss": args.loss,
        "seed": args.seed,
        "keep_best": args.keep_best or None,
        "rate_weight": args.rate_weight,
    }
    return {name: value for name, value in options.items() if value is not None}


def _settings(args: argparse.Namespace) -> str:
    names = ["model", "data", "output_kind", "bottleneck", *OF_BOTTLENECK, *_OF_TRAINING]
    if args.keep_best:
        names.append("validation_data")
    values = {name: getattr(args, name) for name in names} | {"bottleneck": kind_of_bottleneck(args)}
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None and value is not False)


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2%}"
