"""Before phase 1, or in its place: bottlenecks whose weights are found in closed form."""

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
    """Whether the weights of a split's bottleneck are found in closed form, at least those it starts with."""
    return is_final(split) or getattr(split.bottleneck, "init", None) == "projection"


def is_final(split: SplitModel) -> bool:
    """Whether nothing is left for phase 1 then."""
    return isinstance(split.bottleneck, Projection)


def fit_closed_form(run: Run) -> None:
    """Find the weights of a split's encoder and decoder in closed form, where its bottleneck begins so; one epoch."""
    encoder, decoder = run.split.encoder, run.split.decoder
    if not run.goes_on(FIT) or encoder is None or decoder is None:
        return
    began = time.perf_counter()
    forget(encoder, decoder)
    fitting = _Fitting(run, (encoder, decoder))
    metrics = fitting.projection() if is_final(run.split) else fitting.autoencoder()
    end_epoch(run, Epoch(FIT, 1, metrics, time.perf_counter() - began))


class _Fitting:
    """The steps of a fit, which read the same images."""

    def __init__(self, run: Run, halves: Halves):
        self._run, self._split, self._halves = run, run.split, halves
        self._shapes = [tuple(int(n or 0) for n in shape) for shape in run.split.cut.shapes]
        self._suffixes = [f"_{k}" for k in range(len(self._shapes))] if len(self._shapes) > 1 else [""]
        self._n_images = 0

    def projection(self) -> dict[str, float]:
        """The weights of a projection for each tensor that crosses."""
        wanted: Projection = self._split.bottleneck
        plans = self._plans()
        found = self._fitted(wanted, plans, [plan.latent_shape[-1] for plan in plans])
        for one, suffix in zip(found, self._suffixes, strict=True):
            put(one, *self._halves, suffix)
        positions = [math.prod(plan.latent_shape[:-1]) for plan in plans]
        return {"relative_error": error_of(found, positions), "fit_images": float(self._n_images)}

    def autoencoder(self) -> dict[str, float]:
        """The weights of two projections for each tensor that crosses, one behind the other."""
        plans = self._plans()
        whole = Projection()
        outer = [Patches(shape, _patch(shape)) for shape in self._shapes]
        widths = [hidden_numbers(plan.filters, one.size) for plan, one in zip(plans, outer, strict=True)]
        first = self._fitted(whole, outer, widths)
        through = [build_halves(one, k) for one, k in zip(outer, widths, strict=True)]
        for one, halves in zip(first, through, strict=True):
            put(one, *halves)
        hidden = [tuple(encoder.output_shape[1:]) for encoder, _ in through]
        inner = [Patches(shape, _patch(shape)) for shape in hidden]
        latents = [min(plan.latent_shape[-1], one.size) for plan, one in zip(plans, inner, strict=True)]
        second = self._fitted(whole, inner, latents, through)
        for k, suffix in enumerate(self._suffixes):
            pair = (first[k], second[k])
            spaces = [self._shapes[k][:-1], hidden[k][:-1]]
            embed(self._layers(suffix), spaces, [one.map for one in pair], [one.mean for one in pair])
        return {"fit_images": float(self._n_images)}

    def _plans(self) -> list[LatentPlan]:
        parts = for_parts(self._split.bottleneck, self._shapes)
        return [part.plan(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _fitted(
        self, how: Projection, patches: Sequence[Any], numbers: Sequence[int], through: Sequence[Halves] | None = None
    ) -> list[Fitted]:
        """A linear map for each tensor, or for what `through` makes of it."""
        weighted = how.weighting == "task"
        run, split = self._run, self._split
        head, tail = split.read(split.head), split.read(split.tail)
        source = pass_of_halves(head, tail, split.cut, weighted=weighted, loss=split.loss, through=through)
        moments = [collector(one.shape, one.patch, weighted=weighted) for one in patches]
        reading: dict[str, Any] = {"batch_size": run.batch_size, "progress": run.progress}
        self._n_images = gather(source, moments, run.data, images=how.fit_images, seed=how.seed, **reading)
        return fit_all(moments, numbers)

    def _layers(self, suffix: str) -> list[keras.layers.Layer]:
        """The layers with weights of the autoencoder of one tensor, in order."""
        every = [layer for half in self._halves for layer in all_layers(half)]
        return [layer for layer in every if hasattr(layer, "kernel") and layer.name.endswith(suffix)]


def _patch(shape: Sequence[int]) -> tuple[int, ...]:
    """What two taps of stride 2 see; one of an axis of a single element."""
    return tuple(min(2, n) for n in shape[:-1])


# Enough for a range of each channel: at 2x2 positions these are 2,048 values.
_IMAGES = 512
# Of the latents that are kept at once; more images than fill it are left out.
_MOST_BYTES = 2**28


def observe(run: Run) -> None:
    """Set the ranges of a split's latent from what its encoder gives, if it has bits and no ranges yet."""
    split = run.split
    encoder, decoder = split.encoder, split.decoder
    if encoder is None or decoder is None or is_observed(encoder):
        return
    most = max(1, min(_IMAGES, _MOST_BYTES // (4 * int(np.prod(split.latent_shape)))))
    chosen = take_part(run.data, most, seed=0)
    latents: list[np.ndarray] = []
    with bar(total=count_images(chosen, most), desc="latent's range", enabled=run.progress, unit="image") as shown:
        for batch in batches(chosen, batch_size=run.batch_size, max_images=most, labels=False):
            latents.append(predict_rows(encoder, predict_rows(split.head, batch.x)).astype(np.float32))
            shown.update(batch.size)
    values = np.concatenate(latents)
    if not np.isfinite(values).all():
        raise NumericsError("The latent holds NaN or infinity: look at the images and the weights.")
    set_ranges(encoder, decoder, values)
