"""In place of phase 1: bottlenecks that are fitted, not trained."""

import time
from typing import Any

from ..fitting import fit_split
from ..projection import Projection
from ..quantizer import forget
from ..splitting import SplitModel
from .history import Epoch
from .state import TrainingState

PHASE = "fit"


def is_fitted(split: SplitModel) -> bool:
    """Whether the bottleneck of a split is fitted in closed form."""
    return isinstance(split.bottleneck, Projection)


def fit_bottleneck(split: SplitModel, data: Any, state: TrainingState, *, batch_size: int, progress: bool) -> None:
    """Fits encoder and decoder, and takes it down as one epoch."""
    began = time.perf_counter()
    if split.encoder is not None and split.decoder is not None:
        forget(split.encoder, split.decoder)
    metrics = fit_split(split, data, batch_size=batch_size, progress=progress)
    state.keep(Epoch(PHASE, 1, metrics, time.perf_counter() - began), None, stopped=False)
