"""The state of a training, and the files from which it continues after an interruption."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge.files import make_folder

from ..errors import ArgumentError, BundleError
from ..splitting import SplitModel
from ..storage.records import number_or_nan, number_or_none, read_arrays, write_arrays
from .history import FINE_TUNE, Epoch

FORMAT_VERSION = 2
FILE_NAME = "training.npz"
TEACHER_FILE_NAME = "teacher.npz"


@dataclass
class TrainingState:
    """The progress of a training, as its checkpoint holds it.

    Attributes:
        arguments: Arguments of the run as plain values; the checkpoint of a run with other arguments is refused.
        seed: Seed of the run, given or drawn.
        origin: Digest of head and tail at the start of the run.
        weights: All variables of the split after the last whole epoch, or at the start.
        optimizer: Variables of the optimizer after that epoch; empty if no checkpoint is written.
        epochs: Whole epochs of all phases.
        stopped: Phases that a callback ended before all their epochs were done.
        finished: Phases that have ended and whose final weights are set.
        kept_epoch: With `keep_best`, the epoch of phase 2 with the best weights so far; 0 for the weights before the
            first epoch.
        score: Score of the best weights on the validation data; higher is better.
        best: The best weights: all variables of the split.
        start: Metrics on the validation data before the first epoch of phase 2.
    """

    arguments: dict[str, Any]
    seed: int
    origin: str
    weights: list[np.ndarray]
    optimizer: list[np.ndarray] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    kept_epoch: int | None = None
    score: tuple[float, ...] = ()
    best: list[np.ndarray] = field(default_factory=list)
    start: Mapping[str, float] | None = None

    def done(self, phase: str) -> int:
        """Count the whole epochs of a phase so far."""
        return sum(epoch.phase == phase for epoch in self.epochs)

    @property
    def is_fine_tuned(self) -> bool:
        """Return whether phase 2 changed the split. It did not if the weights from before its first epoch were kept."""
        return self.done(FINE_TUNE) > 0 and not (FINE_TUNE in self.finished and self.kept_epoch == 0)


class Checkpoint:
    """The files of one run: its state after the last whole epoch, and the weights of the teacher, if any.

    Keras' BackupAndRestore is not enough here: it does not keep the states of Dropout's random numbers, does not tell
    the checkpoints of two models apart, and leaves a damaged file if the process dies while it writes. The files of
    this class are replaced in one step, hold only arrays and JSON, and identify their run.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        directory = Path(directory)
        if directory.exists() and not directory.is_dir():
            raise ArgumentError(f"checkpoint_dir: '{directory}' is a file. Expected a directory.")
        make_folder(directory)
        self.path, self._teacher_path = directory / FILE_NAME, directory / TEACHER_FILE_NAME
        for path in (self.path, self._teacher_path):
            for partial in directory.glob(f".{path.name}.*"):  # left by a process that died while it wrote
                partial.unlink(missing_ok=True)

    def write(self, state: TrainingState) -> None:
        """Replace the state in one step, so that a process killed meanwhile leaves the old state or the new one."""
        record = {
            "arguments": state.arguments,
            "origin": state.origin,
            "run_seed": state.seed,
            "epochs": [epoch.to_json() for epoch in state.epochs],
            "stopped": sorted(state.stopped),
            "finished": sorted(state.finished),
            "best": None if state.kept_epoch is None else {"epoch": state.kept_epoch, "score": state.score},
            "start": {name: number_or_none(value) for name, value in (state.start or {}).items()},
        }
        _write(self.path, record, [*state.weights, *state.optimizer, *state.best])

    def read(self, n_weights: int) -> TrainingState | None:
        """Return the state written for a split with `n_weights` variables, or None if there is no file."""
        contents = _read(self.path)
        if contents is None:
            return None
        record, arrays = contents
        state = TrainingState(
            arguments=record["arguments"],
            seed=int(record["run_seed"]),
            origin=record["origin"],
            weights=arrays[:n_weights],
            optimizer=arrays[n_weights:],
            epochs=[Epoch.from_json(epoch) for epoch in record["epochs"]],
            stopped=set(record["stopped"]),
            finished=set(record["finished"]),
        )
        if best := record.get("best"):
            state.kept_epoch, state.score = int(best["epoch"]), tuple(best["score"])
            state.optimizer, state.best = state.optimizer[:-n_weights], state.optimizer[-n_weights:]
            state.start = {name: number_or_nan(value) for name, value in record["start"].items()}
        return state

    def write_teacher(self, variables: Iterable[Any]) -> None:
        """Write the weights of a teacher."""
        _write(self._teacher_path, {}, values_of(variables))

    def restore_teacher(self, variables: list[Any]) -> None:
        """Give a teacher the weights in the file.

        Raises:
            BundleError: If the file does not exist or holds the weights of another teacher.
        """
        contents = _read(self._teacher_path)
        if contents is None or [array.shape for array in contents[1]] != [tuple(v.shape) for v in variables]:
            raise BundleError(
                f"'{self._teacher_path}' does not hold the teacher of this run. Delete the directory to start anew."
            )
        assign(variables, contents[1])


def begin(
    split: SplitModel, checkpoint: Checkpoint | None, arguments: dict[str, Any], seed: int | None
) -> TrainingState:
    """Return the state from which a run starts or continues, and give the split the weights of that state.

    Raises:
        ArgumentError: If the checkpoint belongs to another split or to other arguments.
        BundleError: If the checkpoint cannot be read.
    """
    variables = split.model.variables
    arguments = json.loads(json.dumps(arguments | {"seed": seed}, default=str))
    origin = _weights_digest(split, values_of(variables))
    state = None if checkpoint is None else checkpoint.read(len(variables))
    if checkpoint is None or state is None:
        seed = secrets.randbits(31) if seed is None else seed
        _seed_layers(split.model, seed)
        return TrainingState(arguments, seed, origin, values_of(variables))
    _refuse_others(f"The checkpoint '{checkpoint.path}'", state, split, arguments, origin)
    assign(variables, state.weights)
    state.arguments = arguments
    return state


def _refuse_others(where: str, state: TrainingState, split: SplitModel, arguments: dict[str, Any], origin: str) -> None:
    remedy = "Give another checkpoint_dir, or delete this one to start anew."
    if [w.shape for w in state.weights] != [tuple(v.shape) for v in split.model.variables]:
        raise ArgumentError(f"{where} is of another split: its weights have other shapes. {remedy}")
    changed = [
        f"{name}: {state.arguments.get(name)!r} there, {value!r} here"
        for name, value in arguments.items()
        if state.arguments.get(name) != value
    ]
    if changed:
        raise ArgumentError(f"{where} is of a run with other arguments ({'; '.join(changed)}). {remedy}")
    # The split may have its weights from the start of the run or, in the same process, those after the last epoch.
    if origin not in (state.origin, _weights_digest(split, state.weights)):
        raise ArgumentError(
            f"{where} is of another split: head and tail had other weights when that run began. {remedy}"
        )


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copy variables into arrays. Types unknown to numpy, such as bfloat16, become float32 without loss."""
    arrays = (np.array(variable.numpy()) for variable in variables)
    return [array if array.dtype.kind in "fiub" else array.astype(np.float32) for array in arrays]


def assign(variables: Iterable[Any], values: list[np.ndarray]) -> None:
    """Set variables to values, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _random_states(model: keras.Model) -> list[Any]:
    """Return the random states of Dropout and augmentation layers, which are variables but not weights of a model."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights and "int" in v.dtype and tuple(v.shape) == (2,)]


def _seed_layers(model: keras.Model, seed: int) -> None:
    for index, state in enumerate(_random_states(model)):
        state.assign(np.random.SeedSequence([seed, index]).generate_state(2, np.uint32))


def _weights_digest(split: SplitModel, values: list[np.ndarray]) -> str:
    """Return a digest of head and tail. The bottleneck is left out because its initial weights may be random."""
    excluded = {id(v) for half in (split.encoder, split.decoder) if half is not None for v in half.variables}
    excluded |= {id(v) for v in _random_states(split.model)}
    digest = hashlib.sha256()
    for variable, value in zip(split.model.variables, values, strict=True):
        if id(variable) not in excluded:
            digest.update(f"{value.dtype.str}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _write(path: Path, record: dict[str, Any], arrays: list[np.ndarray]) -> None:
    write_arrays(path, FORMAT_VERSION, record, {f"a{k:05d}": a for k, a in enumerate(arrays)}, compressed=False)


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    if not path.exists():
        return None
    record, arrays = read_arrays(path, FORMAT_VERSION, fault="cannot be read as a checkpoint of a training")
    return record, [arrays[name] for name in sorted(arrays)]
