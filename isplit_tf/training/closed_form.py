"""Bottlenecks with weights in closed form, fitted before phase 1 or instead of it, and the ranges of their latents."""

import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..batches import batches, count_images, predict_rows, take_part
from ..bottlenecks.base import LatentPlan, for_parts
from ..bottlenecks.embedding import embed, hidden_numbers
from ..bottlenecks.fit import Halves, error_of, fit_all, gather, pass_of_halves, put
from ..bottlenecks.layers import Patches, build_halves
from ..bottlenecks.linear_map import Fitted
from ..bottlenecks.moments import collector
from ..bottlenecks.projection import Projection
from ..bottlenecks.quantizer import forget, is_observed, set_ranges
from ..display.progress import bar
from ..errors import NumericsError
from ..graph.keras_layers import all_layers
from ..splitting import SplitModel
from .callbacks import Run, end_epoch
from .history import FIT, Epoch


def is_fitted(split: SplitModel) -> bool:
    """Return whether the bottleneck of a split gets weights in closed form, either final or initial ones."""
    return is_final(split) or getattr(split.bottleneck, "init", None) == "projection"


def is_final(split: SplitModel) -> bool:
    """Return whether these weights are final, so that phase 1 is left out."""
    return isinstance(split.bottleneck, Projection)


def fit_closed_form(run: Run) -> None:
    """Fit encoder and decoder in closed form, as one epoch, if the bottleneck of the split is of that kind."""
    encoder, decoder = run.split.encoder, run.split.decoder
    if not run.goes_on(FIT) or encoder is None or decoder is None:
        return
    began = time.perf_counter()
    forget(encoder, decoder)
    fitting = _Fitting(run, (encoder, decoder))
    metrics = fitting.projection() if is_final(run.split) else fitting.autoencoder()
    end_epoch(run, Epoch(FIT, 1, metrics, time.perf_counter() - began))


class _Fitting:
    """The steps of a fit in closed form, all of which read the same images."""

    def __init__(self, run: Run, halves: Halves):
        self._run, self._split, self._halves = run, run.split, halves
        self._shapes = [tuple(int(n or 0) for n in shape) for shape in run.split.cut.shapes]
        self._suffixes = [f"_{k}" for k in range(len(self._shapes))] if len(self._shapes) > 1 else [""]
        self._n_images = 0

    def projection(self) -> dict[str, float]:
        """Fit a projection for each tensor at the cut, and return the metrics of the fit."""
        bottleneck: Projection = self._split.bottleneck
        plans = self._plans()
        fits = self._fitted(bottleneck, plans, [plan.latent_shape[-1] for plan in plans])
        for fit, suffix in zip(fits, self._suffixes, strict=True):
            put(fit, *self._halves, suffix)
        positions = [math.prod(plan.latent_shape[:-1]) for plan in plans]
        return {"relative_error": error_of(fits, positions), "fit_images": float(self._n_images)}

    def autoencoder(self) -> dict[str, float]:
        """Fit two projections in a row for each tensor at the cut, and return the metrics of the fit."""
        plans = self._plans()
        projection = Projection()
        outer = [Patches(shape, _patch(shape)) for shape in self._shapes]
        widths = [hidden_numbers(plan.filters, patches.size) for plan, patches in zip(plans, outer, strict=True)]
        outer_fits = self._fitted(projection, outer, widths)
        outer_halves = [build_halves(patches, width) for patches, width in zip(outer, widths, strict=True)]
        for fit, halves in zip(outer_fits, outer_halves, strict=True):
            put(fit, *halves)
        hidden_shapes = [tuple(encoder.output_shape[1:]) for encoder, _ in outer_halves]
        inner = [Patches(shape, _patch(shape)) for shape in hidden_shapes]
        latents = [min(plan.latent_shape[-1], patches.size) for plan, patches in zip(plans, inner, strict=True)]
        inner_fits = self._fitted(projection, inner, latents, outer_halves)
        for k, suffix in enumerate(self._suffixes):
            fits = (outer_fits[k], inner_fits[k])
            spaces = [self._shapes[k][:-1], hidden_shapes[k][:-1]]
            embed(self._layers(suffix), spaces, [fit.map for fit in fits], [fit.mean for fit in fits])
        return {"fit_images": float(self._n_images)}

    def _plans(self) -> list[LatentPlan]:
        parts = for_parts(self._split.bottleneck, self._shapes)
        return [part.plan(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _fitted(
        self, how: Projection, patches: Sequence[Any], numbers: Sequence[int], through: Sequence[Halves] | None = None
    ) -> list[Fitted]:
        """Fit a linear map for each tensor at the cut or, with `through`, for the output of its encoder."""
        weighted = how.weighting == "task"
        run, split = self._run, self._split
        head, tail = split.read(split.head), split.read(split.tail)
        source = pass_of_halves(head, tail, split.cut, weighted=weighted, output=split.output, through=through)
        moments = [collector(layout.shape, layout.patch, weighted=weighted) for layout in patches]
        reading: dict[str, Any] = {"batch_size": run.batch_size, "progress": run.progress}
        self._n_images = gather(source, moments, run.data, images=how.fit_images, seed=how.seed, **reading)
        return fit_all(moments, numbers)

    def _layers(self, suffix: str) -> list[keras.layers.Layer]:
        """Return the layers with weights in the autoencoder of one tensor, in order."""
        layers = [layer for half in self._halves for layer in all_layers(half)]
        return [layer for layer in layers if hasattr(layer, "kernel") and layer.name.endswith(suffix)]


def _patch(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the patch of two elements per axis, or of one element on an axis of length 1."""
    return tuple(min(2, n) for n in shape[:-1])


# Enough images for the range of each channel: with 2x2 positions they give 2,048 values.
_IMAGES = 512
# Memory for the latents; images whose latents do not fit are left out.
_MOST_BYTES = 2**28


def observe(run: Run) -> None:
    """Set the ranges of a latent with `latent_bits` from outputs of the encoder, unless they are set already."""
    split = run.split
    encoder, decoder = split.encoder, split.decoder
    if encoder is None or decoder is None or is_observed(encoder):
        return
    n_images = max(1, min(_IMAGES, _MOST_BYTES // (4 * int(np.prod(split.latent_shape)))))
    sample = take_part(run.data, n_images, seed=0)
    latents: list[np.ndarray] = []
    total = count_images(sample, n_images)
    with bar(total=total, desc="latent's range", enabled=run.progress, unit="image") as progress_bar:
        for batch in batches(sample, batch_size=run.batch_size, max_images=n_images, labels=False):
            latents.append(predict_rows(encoder, predict_rows(split.head, batch.x)).astype(np.float32))
            progress_bar.update(batch.size)
    values = np.concatenate(latents)
    if not np.isfinite(values).all():
        raise NumericsError("The latent holds NaN or infinity: look at the images and the weights.")
    set_ranges(encoder, decoder, values)
