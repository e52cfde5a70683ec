"""How far a training has come: kept in memory to fall back on, and on disk to go on from."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import ArgumentError, BundleError, NumericsError
from ..splitting import SplitModel
from ..storage.records import number_or_nan, number_or_none, read_arrays, write_arrays
from .history import Epoch
from .tensorboard import Summaries

FORMAT_VERSION = 2
FILE_NAME = "training.npz"
TEACHER_FILE_NAME = "teacher.npz"


class TrainingState:
    """Weights, optimizer, random states and epochs of a training, after its last whole epoch.

    Keras' own BackupAndRestore is not enough here: it does not keep the states of Dropout's random numbers,
    does not tell one model's checkpoint from another's, and a process that dies while it writes leaves a
    torn file. This one is replaced in one step, holds arrays and JSON alone, and says what it belongs to.

    Args:
        split: What is trained.
        directory: Where the checkpoint is, or None.
        arguments: What the run was asked to do, plain values; another run's checkpoint is refused.
        seed: The seed that was given, or None.
        summaries: Where epochs are shown as well.
        keep_best: The phase that ends with the weights of its best epoch by the validation data, in place of the
            last one's; None for no such phase.

    Raises:
        ArgumentError: The checkpoint is of another split or of other arguments, or the directory is a file.
        BundleError: The checkpoint cannot be read.
    """

    def __init__(
        self,
        split: SplitModel,
        directory: str | os.PathLike[str] | None,
        arguments: dict[str, Any],
        seed: int | None,
        *,
        summaries: Summaries,
        keep_best: str | None = None,
    ):
        self._split = split
        self._summaries = summaries
        self._keep_best = keep_best
        self._best: _Best | None = None
        self.start: Mapping[str, float] | None = None  # what the validation data say before the first epoch
        self._path = None if directory is None else _prepared(Path(directory))
        self._arguments = json.loads(json.dumps(arguments | {"seed": seed}, default=str))
        self.epochs: list[Epoch] = []
        self._stopped: set[str] = set()  # by a callback, before all epochs were done
        self._finished: set[str] = set()
        self._optimizer: tuple[str, list[np.ndarray]] | None = None
        self._origin = _weights_digest(split, _values(split.model.variables))
        found = None if self._path is None else _read(self._path)
        self._goes_on = found is not None
        if found is None:
            self.seed = secrets.randbits(31) if seed is None else seed
            _seed_layers(split.model, self.seed)
        else:
            self.seed = self._take_up(*found)
        self._weights = _values(split.model.variables)

    def teach(self, variables: Sequence[Any]) -> None:
        """Keeps a teacher's weights beside the checkpoint, or gives it those of the run that goes on.

        Args:
            variables: Those of the teacher, a copy of head and tail as they are.

        Raises:
            ArgumentError: The run begins, and head and tail are not the original any more.
            BundleError: The run goes on, and its teacher cannot be read.
        """
        path = None if self._path is None else self._path.with_name(TEACHER_FILE_NAME)
        if self._goes_on and path is not None:
            kept = _read(path)
            if kept is None or [array.shape for array in kept[1]] != [tuple(v.shape) for v in variables]:
                raise BundleError(
                    f"'{path}' does not hold the teacher of this run. Delete the directory to start anew."
                )
            _assign(variables, kept[1])
            return
        if self._split.fine_tuned:
            raise ArgumentError(
                "loss='distill' takes head and tail as the original model, but they were fine-tuned already. Give the "
                "original with Distillation(teacher=model), or split it anew."
            )
        if path is not None:
            _write(path, {}, _values(variables))

    def _take_up(self, record: dict[str, Any], arrays: list[np.ndarray]) -> int:
        """Puts the split where the checkpoint is; returns the seed of the run."""
        variables = self._split.model.variables
        weights, optimizer = arrays[: len(variables)], arrays[len(variables) :]
        if record.get("best"):
            optimizer, best = optimizer[: -len(variables)], optimizer[-len(variables) :]
            self._best = _Best(int(record["best"]["epoch"]), tuple(record["best"]["score"]), best)
            self.start = {name: number_or_nan(value) for name, value in record["start"].items()}
        self._refuse_others(record, weights)
        _assign(variables, weights)
        self.epochs = [Epoch.from_json(epoch) for epoch in record["epochs"]]
        self._stopped, self._finished = set(record["stopped"]), set(record["finished"])
        if self.epochs:
            self._optimizer = (self.epochs[-1].phase, optimizer)
        self._origin = record["origin"]
        return int(record["run_seed"])

    def _refuse_others(self, record: dict[str, Any], weights: list[np.ndarray]) -> None:
        where = f"The checkpoint '{self._path}'"
        other = "Give another checkpoint_dir, or delete this one to start anew."
        shapes = [tuple(v.shape) for v in self._split.model.variables]
        if [w.shape for w in weights] != shapes:
            raise ArgumentError(f"{where} is of another split: its weights have other shapes. {other}")
        changed = [
            f"{name}: {record['arguments'].get(name)!r} there, {value!r} here"
            for name, value in self._arguments.items()
            if record["arguments"].get(name) != value
        ]
        if changed:
            raise ArgumentError(f"{where} is of a run with other arguments ({'; '.join(changed)}). {other}")
        # The split as it was when the run began, or, in the same process, as the run left it.
        if self._origin not in (record["origin"], _weights_digest(self._split, weights)):
            raise ArgumentError(
                f"{where} is of another split: head and tail had other weights when that run began. {other}"
            )

    def done(self, phase: str) -> int:
        """Whole epochs of a phase so far."""
        return sum(epoch.phase == phase for epoch in self.epochs)

    def goes_on(self, phase: str, epochs: int) -> bool:
        """Whether a phase of so many epochs still has one to train."""
        return self.done(phase) < epochs and phase not in self._stopped | self._finished

    def restore_optimizer(self, phase: str, optimizer: keras.optimizers.Optimizer) -> None:
        """Gives a built optimizer the state that it had after the last whole epoch of its phase."""
        if self._optimizer is not None and self._optimizer[0] == phase:
            _assign(optimizer.variables, self._optimizer[1])

    def keep(self, epoch: Epoch, optimizer: keras.optimizers.Optimizer | None, *, stopped: bool) -> None:
        """Takes down an epoch that is over, with the weights that it left.

        Args:
            epoch: What it did.
            optimizer: Its optimizer, where it had one.
            stopped: Whether a callback ends the phase with it.

        Raises:
            NumericsError: The weights are not finite.
        """
        weights = _values(self._split.model.variables)
        for variable, value in zip(self._split.model.variables, weights, strict=True):
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise NumericsError(f"The weights of '{variable.path}' became NaN or infinite {_when(epoch)}.")
        self._weights = weights
        if epoch.phase == self._keep_best:
            self._compare(epoch.number, epoch.metrics)
        if self._path is not None:
            self._optimizer = (epoch.phase, _values(optimizer.variables if optimizer else []))
        self.epochs.append(epoch)
        if stopped:
            self._stopped.add(epoch.phase)
        self._summaries.write(epoch)
        self._write()

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights are the best so far, 0 for those before the first; None where none is kept."""
        return None if self._best is None else self._best.epoch

    def keep_start(self, metrics: Mapping[str, float]) -> None:
        """Takes the weights before the first epoch, with what the validation data say, for the best so far."""
        self._weights = _values(self._split.model.variables)
        self.start = dict(metrics)
        self._compare(0, metrics)

    def has_changed(self, phase: str) -> bool:
        """Whether the split has other weights than before a phase: unless it ended with those from before it."""
        return self.done(phase) > 0 and not (phase in self._finished and self.kept_epoch == 0)

    def _compare(self, number: int, metrics: Mapping[str, float]) -> None:
        score = _score(metrics)
        if self._best is None or score > self._best.score:
            self._best = _Best(number, score, self._weights)

    def finish(self, phase: str) -> None:
        """Takes down the end of a phase, with what callbacks did to the weights at its end, or with the best ones."""
        if phase not in self._finished:
            if self._best is not None and phase == self._keep_best:
                _assign(self._split.model.variables, self._best.weights)
            self._weights = _values(self._split.model.variables)
            self._finished.add(phase)
            self._write()

    def roll_back(self) -> None:
        """Gives the split the weights that it had after the last whole epoch, or at the start."""
        _assign(self._split.model.variables, self._weights)

    def _write(self) -> None:
        if self._path is None:
            return
        record = {
            "arguments": self._arguments,
            "origin": self._origin,
            "run_seed": self.seed,
            "epochs": [epoch.to_json() for epoch in self.epochs],
            "stopped": sorted(self._stopped),
            "finished": sorted(self._finished),
            "best": None if self._best is None else {"epoch": self._best.epoch, "score": self._best.score},
            "start": {name: number_or_none(value) for name, value in (self.start or {}).items()},
        }
        optimizer = self._optimizer[1] if self._optimizer else []
        _write(self._path, record, [*self._weights, *optimizer, *(self._best.weights if self._best else [])])


@dataclass(frozen=True)
class _Best:
    """The best weights so far: after which epoch, what was said of them, and they themselves."""

    epoch: int
    score: tuple[float, ...]
    weights: list[np.ndarray]


def _score(metrics: Mapping[str, float]) -> tuple[float, ...]:
    """The more, the better: accuracy on the validation data where it is known, and the loss where that is equal."""
    if not np.isfinite(metrics["val_loss"]):  # outputs that are no numbers have an accuracy as well
        return -1e300, -1e300
    return metrics.get("val_accuracy", 0.0), -metrics["val_loss"]


def _when(epoch: Epoch) -> str:
    return f"in epoch {epoch.number} of phase '{epoch.phase}'"


def _prepared(directory: Path) -> Path:
    if directory.exists() and not directory.is_dir():
        raise ArgumentError(f"checkpoint_dir: '{directory}' is a file. Expected a directory.")
    directory.mkdir(parents=True, exist_ok=True)
    for name in (FILE_NAME, TEACHER_FILE_NAME):
        for torn in directory.glob(f".{name}.*"):  # of a process that died while it wrote
            torn.unlink(missing_ok=True)
    return directory / FILE_NAME


def _values(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copies of variables; types that numpy has not of itself, such as bfloat16, as float32, which holds
    them."""
    arrays = (np.array(variable.numpy()) for variable in variables)
    return [array if array.dtype.kind in "fiub" else array.astype(np.float32) for array in arrays]


def _assign(variables: Iterable[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _random_states(model: keras.Model) -> list[Any]:
    """The states of the random numbers of Dropout and augmentation: variables of a model that are no
    weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights and "int" in v.dtype and tuple(v.shape) == (2,)]


def _seed_layers(model: keras.Model, seed: int) -> None:
    for index, state in enumerate(_random_states(model)):
        state.assign(np.random.SeedSequence([seed, index]).generate_state(2, np.uint32))


def _weights_digest(split: SplitModel, values: list[np.ndarray]) -> str:
    """Tells one trained model from another: head and tail alone, since a bottleneck may start at random."""
    own = {id(v) for half in (split.encoder, split.decoder) if half is not None for v in half.variables}
    own |= {id(v) for v in _random_states(split.model)}
    digest = hashlib.sha256()
    for variable, value in zip(split.model.variables, values, strict=True):
        if id(variable) not in own:
            digest.update(f"{value.dtype.str}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _write(path: Path, record: dict[str, Any], arrays: list[np.ndarray]) -> None:
    """Replaces a checkpoint in one step: a process killed here leaves the old one or the new one."""
    named = {f"a{index:05d}": array for index, array in enumerate(arrays)}
    write_arrays(path, FORMAT_VERSION, record, named, compressed=False)


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    if not path.exists():
        return None
    record, arrays = read_arrays(path, FORMAT_VERSION, fault="cannot be read as a checkpoint of a training")
    return record, [arrays[name] for name in sorted(arrays)]
