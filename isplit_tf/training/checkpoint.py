"""How far a training has come, and the files from which it goes on after an interruption."""

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

from ..errors import ArgumentError, BundleError
from ..splitting import SplitModel
from ..storage.records import number_or_nan, number_or_none, read_arrays, write_arrays
from .history import FINE_TUNE, Epoch

FORMAT_VERSION = 2
FILE_NAME = "training.npz"
TEACHER_FILE_NAME = "teacher.npz"


@dataclass
class TrainingState:
    """How far a training has come: what its checkpoint holds.

    Attributes:
        arguments: What the run was asked to do, plain values; another run's checkpoint is refused.
        seed: The seed of the run, given or drawn.
        origin: Digest of head and tail when the run began.
        weights: All variables of the split after the last whole epoch, or at the start.
        optimizer: The optimizer's variables after that epoch; empty where no checkpoint is written.
        epochs: The whole epochs of all phases.
        stopped: Phases that a callback ended before all their epochs were done.
        finished: Phases that have ended, with their last weights set.
        kept_epoch: With `keep_best`, the epoch of phase 2 whose weights are the best so far; 0 for those before the
            first.
        score: What the validation data say of them; the more, the better.
        best: These weights, all variables of the split.
        start: What the validation data said before the first epoch of phase 2.
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
        """Whether phase 2 changed the split: unless it ended with the weights from before it."""
        return self.done(FINE_TUNE) > 0 and not (FINE_TUNE in self.finished and self.kept_epoch == 0)


class Checkpoint:
    """The files of one run: its state after the last whole epoch, and the teacher's weights where it has one.

    Keras' own BackupAndRestore is not enough here: it does not keep the states of Dropout's random numbers,
    does not tell one model's checkpoint from another's, and a process that dies while it writes leaves a
    torn file. These are replaced in one step, hold arrays and JSON alone, and say what they belong to.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        directory = Path(directory)
        if directory.exists() and not directory.is_dir():
            raise ArgumentError(f"checkpoint_dir: '{directory}' is a file. Expected a directory.")
        directory.mkdir(parents=True, exist_ok=True)
        self.path, self._teacher_path = directory / FILE_NAME, directory / TEACHER_FILE_NAME
        for path in (self.path, self._teacher_path):
            for torn in directory.glob(f".{path.name}.*"):  # of a process that died while it wrote
                torn.unlink(missing_ok=True)

    def write(self, state: TrainingState) -> None:
        """Replace the state in one step: a process that is killed here leaves the old one or the new one."""
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
        """Return the state that was written for a split of so many variables, or None where there is none."""
        found = _read(self.path)
        if found is None:
            return None
        record, arrays = found
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
        """Give a teacher the weights that were written; refuse those of another one."""
        kept = _read(self._teacher_path)
        if kept is None or [array.shape for array in kept[1]] != [tuple(v.shape) for v in variables]:
            raise BundleError(
                f"'{self._teacher_path}' does not hold the teacher of this run. Delete the directory to start anew."
            )
        assign(variables, kept[1])


def begin(
    split: SplitModel, checkpoint: Checkpoint | None, arguments: dict[str, Any], seed: int | None
) -> TrainingState:
    """Return the state with which a run goes on after an interruption, or begins; the split gets its weights.

    Raises:
        ArgumentError: The checkpoint is of another split or of other arguments.
        BundleError: The checkpoint cannot be read.
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
    other = "Give another checkpoint_dir, or delete this one to start anew."
    if [w.shape for w in state.weights] != [tuple(v.shape) for v in split.model.variables]:
        raise ArgumentError(f"{where} is of another split: its weights have other shapes. {other}")
    changed = [
        f"{name}: {state.arguments.get(name)!r} there, {value!r} here"
        for name, value in arguments.items()
        if state.arguments.get(name) != value
    ]
    if changed:
        raise ArgumentError(f"{where} is of a run with other arguments ({'; '.join(changed)}). {other}")
    # The split as it was when the run began, or, in the same process, as the run left it.
    if origin not in (state.origin, _weights_digest(split, state.weights)):
        raise ArgumentError(
            f"{where} is of another split: head and tail had other weights when that run began. {other}"
        )


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copy variables; types that numpy does not know, such as bfloat16, become float32, which holds them."""
    arrays = (np.array(variable.numpy()) for variable in variables)
    return [array if array.dtype.kind in "fiub" else array.astype(np.float32) for array in arrays]


def assign(variables: Iterable[Any], values: list[np.ndarray]) -> None:
    """Set variables to values, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _random_states(model: keras.Model) -> list[Any]:
    """Return the states of the random numbers of Dropout and augmentation: variables of a model, but no weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights and "int" in v.dtype and tuple(v.shape) == (2,)]


def _seed_layers(model: keras.Model, seed: int) -> None:
    for index, state in enumerate(_random_states(model)):
        state.assign(np.random.SeedSequence([seed, index]).generate_state(2, np.uint32))


def _weights_digest(split: SplitModel, values: list[np.ndarray]) -> str:
    """Tell one trained model from another: head and tail alone, since a bottleneck may start at random."""
    own = {id(v) for half in (split.encoder, split.decoder) if half is not None for v in half.variables}
    own |= {id(v) for v in _random_states(split.model)}
    digest = hashlib.sha256()
    for variable, value in zip(split.model.variables, values, strict=True):
        if id(variable) not in own:
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
