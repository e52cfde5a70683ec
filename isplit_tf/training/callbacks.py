"""One run of `train`, and what happens around its steps and at the end of each of its epochs."""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..display.progress import bar
from ..errors import NumericsError
from ..splitting import SplitModel
from .checkpoint import Checkpoint, TrainingState, assign, values_of
from .data import Feed
from .history import FINE_TUNE, PHASES, Epoch
from .tensorboard import Summaries


@dataclass(frozen=True)
class Run:
    """The arguments of one training, checked, and how far it has come.

    Attributes:
        epochs: How many each phase has.
        checkpoint: Where the state is written after each epoch, or None.
        summaries: Where the metrics of each epoch are written for TensorBoard.
        state: How far the training has come; changes with each epoch.
    """

    split: SplitModel
    data: Any
    validation_data: Any
    epochs: dict[str, int]
    optimizers: dict[str, keras.optimizers.Optimizer]
    freeze_batch_norm: bool
    callbacks: Sequence[keras.callbacks.Callback]
    batch_size: int
    cache_bytes: int
    keep_best: bool
    progress: bool
    summaries: Summaries
    checkpoint: Checkpoint | None
    state: TrainingState

    def goes_on(self, phase: str) -> bool:
        """Check whether a phase still has an epoch to train."""
        return self.state.done(phase) < self.epochs[phase] and phase not in self.state.stopped | self.state.finished


def fit_phase(
    run: Run, phase: str, model: keras.Model, feed: Any, validation: Any, callbacks: Sequence[Any] = ()
) -> None:
    """Fit a compiled model for those epochs of a phase that are left."""
    model.optimizer.build(model.trainable_variables)
    first = run.state.done(phase)
    if first:
        assign(model.optimizer.variables, run.state.optimizer)
    if isinstance(feed, Feed):
        feed.seed = (run.state.seed, PHASES[1:].index(phase))
    watch = Watch(run, phase, feed)
    try:
        model.fit(
            feed,
            epochs=run.epochs[phase],
            initial_epoch=first,
            validation_data=validation,
            callbacks=[watch, *callbacks, Keep(run, phase)],
            verbose=0,
            shuffle=False,  # the feed has its own order
        )
    finally:
        watch.close()


class Watch(keras.callbacks.Callback):
    """Before the user's callbacks: set the order of the data, show a bar, and stop at a loss that is no number.

    Keras may call batch ends from other threads, and does so as long as each callback with a batch end is
    `async_safe`; the steps then do not wait for Python.
    """

    async_safe = True

    def __init__(self, run: Run, phase: str, feed: Any):
        super().__init__()
        self._phase, self._feed, self._progress = phase, feed, run.progress
        self._epochs, self._epoch = run.epochs[phase], run.state.done(phase)
        self._lock = threading.Lock()
        self._bar: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        steps = self.params.get("steps")
        total = None if not steps else steps * (self._epochs - self._epoch)
        self._bar = bar(total=total, desc=self._phase, enabled=self._progress, unit="step")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        if isinstance(self._feed, Feed):
            self._feed.epoch = epoch
        with self._lock:
            self._bar.set_description(f"{self._phase} {epoch + 1}/{self._epochs}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs or {})
        with self._lock:
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs or {})
        with self._lock:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in (logs or {}).items()}, refresh=False)

    def close(self) -> None:
        """Take the bar away; also after a failure, when Keras calls no end."""
        if self._bar is not None:
            self._bar.close()

    def _check(self, logs: dict[str, Any]) -> None:
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise NumericsError(
                f"The loss became {float(loss)} in epoch {self._epoch + 1} of {self._epochs} of phase '{self._phase}'. "
                "Possible reasons: a learning rate that is too high, or NaN in the images."
            )


class Keep(keras.callbacks.Callback):
    """After the user's callbacks: record the epoch that ends."""

    def __init__(self, run: Run, phase: str):
        super().__init__()
        self._run, self._phase, self._began = run, phase, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        record = Epoch(self._phase, epoch + 1, metrics, time.perf_counter() - self._began)
        end_epoch(self._run, record, self.model.optimizer.variables, stopped=bool(self.model.stop_training))


def end_epoch(run: Run, epoch: Epoch, optimizer: Sequence[Any] = (), *, stopped: bool = False) -> None:
    """Record an epoch that is over: for falling back, as the best one, for TensorBoard and in the checkpoint.

    Args:
        run: Its split has the weights that the epoch left.
        epoch: What it did.
        optimizer: The variables of its optimizer.
        stopped: Whether a callback ends the phase with it.

    Raises:
        NumericsError: The weights are not finite.
    """
    state, variables = run.state, run.split.model.variables
    weights = values_of(variables)
    for variable, value in zip(variables, weights, strict=True):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            where = f"in epoch {epoch.number} of phase '{epoch.phase}'"
            raise NumericsError(f"The weights of '{variable.path}' became NaN or infinite {where}.")
    state.weights = weights
    if run.keep_best and epoch.phase == FINE_TUNE:
        keep_better(state, epoch.number, epoch.metrics)
    state.epochs.append(epoch)
    if stopped:
        state.stopped.add(epoch.phase)
    run.summaries.write(epoch)
    if run.checkpoint is not None:
        state.optimizer = values_of(optimizer)
        run.checkpoint.write(state)


def keep_better(state: TrainingState, number: int, metrics: Mapping[str, float]) -> None:
    """Keep the last weights as the best ones if the validation data say so.

    The accuracy decides where it is known, and the loss where that is equal.
    """
    score = (metrics.get("val_accuracy", 0.0), -metrics["val_loss"])
    if not np.isfinite(metrics["val_loss"]):  # outputs that are no numbers have an accuracy as well
        score = (-1e300, -1e300)
    if score > state.score:
        state.kept_epoch, state.score, state.best = number, score, state.weights


@contextmanager
def falling_back(run: Run) -> Iterator[None]:
    """Leave the split as after its last whole epoch, or at the start, whatever ends a training early."""
    try:
        yield
    except BaseException:
        assign(run.split.model.variables, run.state.weights)
        raise
