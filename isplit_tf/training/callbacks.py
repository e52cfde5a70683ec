"""What happens around the steps of `fit`: order of the data, a look at the loss, a bar, and taking down
each epoch."""

import math
import threading
import time
from typing import Any

import keras

from ..display.progress import bar
from ..errors import NumericsError
from .checkpoint import TrainingState
from .data import Feed
from .history import Epoch


class Watch(keras.callbacks.Callback):
    """Before the user's callbacks: sets the order of the data, shows a bar, and stops at a loss that is no
    number.

    Keras may call batch ends from other threads, and does so as long as each callback with a batch end is
    `async_safe`; the steps then do not wait for Python.
    """

    async_safe = True

    def __init__(self, phase: str, feed: Any, *, epochs: int, first_epoch: int, progress: bool):
        super().__init__()
        self._phase = phase
        self._feed = feed if isinstance(feed, Feed) else None
        self._epochs = epochs
        self._first_epoch = first_epoch
        self._progress = progress
        self._lock = threading.Lock()
        self._epoch = first_epoch
        self._bar: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        steps = self.params.get("steps")
        total = None if not steps else steps * (self._epochs - self._first_epoch)
        self._bar = bar(total=total, desc=self._phase, enabled=self._progress, unit="step")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        if self._feed is not None:
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
        """Takes the bar away; also after a failure, when Keras calls no end."""
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
    """After the user's callbacks: takes down what an epoch did, and writes the checkpoint."""

    def __init__(self, phase: str, state: TrainingState):
        super().__init__()
        self._phase = phase
        self._state = state
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        record = Epoch(self._phase, epoch + 1, metrics, time.perf_counter() - self._began)
        self._state.keep(record, self.model.optimizer, stopped=bool(self.model.stop_training))
