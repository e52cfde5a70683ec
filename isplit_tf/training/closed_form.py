"""The fit in closed form as an epoch of a training, and the ranges, steps and tables of the latent around phase 2."""

import time

from ..bottlenecks.closed_form import Images, fit_weights
from .callbacks import Run, end_epoch
from .history import FIT, Epoch


def images_of(run: Run) -> Images:
    """Return the images of a run for a fit."""
    return Images(run.data, run.batch_size, run.progress)


def fit_closed_form(run: Run) -> None:
    """Fit encoder and decoder in closed form, as one epoch, if the bottleneck of the split is of that kind."""
    if run.goes_on(FIT) and run.split.encoder is not None:
        began = time.perf_counter()
        metrics = fit_weights(run.split, images_of(run))
        end_epoch(run, Epoch(FIT, 1, metrics, time.perf_counter() - began))
