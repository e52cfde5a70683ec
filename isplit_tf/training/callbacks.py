"""The record of one run of `train`, and the Keras callbacks that watch and record its epochs."""

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
    """The checked arguments of one training, and its progress.

    Attributes:
        epochs: Number of epochs per phase.
        checkpoint: File to which the state is written after each epoch, or None.
        summaries: Writer of the metrics of each epoch for TensorBoard.
        state: Progress of the training; changes with each epoch.
    """

    split: SplitModel
    data: Any
    validation_data: Any
    epochs: dict[str, int]
    optimizers: dict[str, keras.optimizers.Optimizer]
    freeze_batch_norm: bool
    rate_weight: float
    callbacks: Sequence[keras.callbacks.Callback]
    batch_size: int
    cache_bytes: int
    keep_best: bool
    progress: bool
    summaries: Summaries
    checkpoint: Checkpoint | None
    state: TrainingState

    def goes_on(self, phase: str) -> bool:
        """Check whether a phase has epochs left to train."""
        return self.state.done(phase) < self.epochs[phase] and phase not in self.state.stopped | self.state.finished


def fit_phase(
    run: Run, phase: str, model: keras.Model, feed: Any, validation: Any, callbacks: Sequence[Any] = ()
) -> None:
    """Fit a compiled model for the remaining epochs of a phase."""
    model.optimizer.build(model.trainable_variables)
    n_done = run.state.done(phase)
    if n_done:
        assign(model.optimizer.variables, run.state.optimizer)
    if isinstance(feed, Feed):
        feed.seed = (run.state.seed, PHASES[1:].index(phase))
    watch = Watch(run, phase, feed)
    try:
        model.fit(
            feed,
            epochs=run.epochs[phase],
            initial_epoch=n_done,
            validation_data=validation,
            callbacks=[watch, *callbacks, Keep(run, phase)],
            verbose=0,
            shuffle=False,  # the feed has its own order
        )
    finally:
        watch.close()


class Watch(keras.callbacks.Callback):
    """The callback before the user's: it sets the order of the data, shows a bar and stops if the loss is not finite.

    Keras calls the methods for the end of a batch from other threads if every callback with such a method is
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
        """Remove the bar. Called after a failure too, when Keras does not call `on_train_end`."""
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
    """The callback after the user's: it records each epoch at its end."""

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
    """Record a finished epoch in the state of the run, for TensorBoard and in the checkpoint.

    Args:
        run: The run, whose split has the weights after the epoch.
        epoch: Record of the epoch.
        optimizer: Variables of the optimizer.
        stopped: Whether a callback ends the phase after this epoch.

    Raises:
        NumericsError: If a weight is NaN or infinite.
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
    """Keep the latest weights as the best ones if they score better on the validation data.

    The accuracy decides; the loss decides if the accuracy is equal or not known.
    """
    score = (metrics.get("val_accuracy", 0.0), -metrics["val_loss"])
    if not np.isfinite(metrics["val_loss"]):  # outputs of NaN have an accuracy, too
        score = (-1e300, -1e300)
    if score > state.score:
        state.kept_epoch, state.score, state.best = number, score, state.weights


@contextmanager
def falling_back(run: Run) -> Iterator[None]:
    """Reset the split to its weights after the last whole epoch, or at the start, if an exception ends the training."""
    try:
        yield
    except BaseException:
        assign(run.split.model.variables, run.state.weights)
        raise
