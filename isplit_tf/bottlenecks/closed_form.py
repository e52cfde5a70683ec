"""Bottlenecks with weights in closed form, and the ranges, steps and tables of their latents, from some images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from ..batches import batches, count_images, predict_rows
from ..batches.sampling import take_part
from ..display.progress import bar
from ..errors import ArgumentError, NumericsError
from ..graph.cuts import Cut
from ..graph.keras_layers import all_layers
from ..graph.output_kinds import Output
from ..graph.program import Program
from .base import LatentPlan, for_parts
from .coded import fit_symbols, put_symbols, refit_code, symbol_layer
from .embedding import embed, hidden_numbers
from .fit import Halves, error_of, fit_all, gather, pass_of_halves, put
from .layers import Patches, build_halves
from .linear_map import Fitted
from .moments import collector
from .projection import Projection
from .quantizer import forget, is_observed, set_ranges


class Split(Protocol):
    """The parts of a split model that a fit reads."""

    cut: Cut
    bottleneck: Any
    head: keras.Model
    tail: keras.Model
    encoder: keras.Model | None
    decoder: keras.Model | None
    fitted: bool

    @property
    def output(self) -> Output | None:
        """Return what the output is; None if it is not class scores."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Return the shape of the latent without the batch."""

    def read(self, part: keras.Model) -> Program:
        """Return the program of a part."""


@dataclass(frozen=True)
class Images:
    """The images of a fit: data as `batches` takes it, images per batch of arrays, and whether bars are shown."""

    data: Any
    batch_size: int = 32
    progress: bool = True


def is_fitted(split: Split) -> bool:
    """Return whether the bottleneck of a split gets weights in closed form, either final or initial ones."""
    return is_final(split) or getattr(split.bottleneck, "init", None) == "projection"


def is_final(split: Split) -> bool:
    """Return whether these weights are final, so that no phase of training is needed before the split is of use."""
    return isinstance(split.bottleneck, Projection)


def fit_split(split: Split, images: Images) -> dict[str, float]:
    """Fit the weights, ranges and tables of a split's bottleneck, and return the metrics of the fit.

    Raises:
        ArgumentError: If the bottleneck is not one that is fitted.
    """
    if not is_fitted(split):
        raise ArgumentError(
            f"Only a Projection, or Autoencoder(init='projection'), is fitted. Received: {split.bottleneck!r}. "
            "isplit_tf.train trains it."
        )
    metrics = fit_weights(split, images)
    observe(split, images)
    return metrics


def fit_weights(split: Split, images: Images) -> dict[str, float]:
    """Fit encoder and decoder of a split in closed form, and return the metrics of the fit."""
    if split.encoder is None or split.decoder is None:
        return {}
    forget(split.encoder, split.decoder)
    fitting = _Fitting(split, images, (split.encoder, split.decoder))
    metrics = fitting.projection() if is_final(split) else fitting.autoencoder()
    split.fitted = True
    return metrics


class _Fitting:
    """The steps of a fit in closed form, all of which read the same images."""

    def __init__(self, split: Split, images: Images, halves: Halves):
        self._split, self._images, self._halves = split, images, halves
        self._shapes = [tuple(int(n or 0) for n in shape) for shape in split.cut.shapes]
        self._suffixes = [f"_{k}" for k in range(len(self._shapes))] if len(self._shapes) > 1 else [""]
        self._n_images = 0

    def projection(self) -> dict[str, float]:
        """Fit a projection for each tensor at the cut, and return the metrics of the fit."""
        bottleneck: Projection = self._split.bottleneck
        plans = self._plans()
        fits = self._fitted(bottleneck, plans, [plan.latent_shape[-1] for plan in plans])
        for fit, suffix in zip(fits, self._suffixes, strict=True):
            put(fit.in_metric() if symbol_layer(self._halves[0]) else fit, *self._halves, suffix)
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
        bottleneck = self._split.bottleneck
        if isinstance(bottleneck, Projection):
            bottleneck = bottleneck.behind(self._split.cut.head_macs)
        parts = for_parts(bottleneck, self._shapes)
        return [part.plan(shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _fitted(
        self, how: Projection, patches: Sequence[Any], numbers: Sequence[int], through: Sequence[Halves] | None = None
    ) -> list[Fitted]:
        """Fit a linear map for each tensor at the cut or, with `through`, for the output of its encoder."""
        weighted = how.weighting == "task"
        images, split = self._images, self._split
        head, tail = split.read(split.head), split.read(split.tail)
        source = pass_of_halves(head, tail, split.cut, weighted=weighted, output=split.output, through=through)
        moments = [collector(layout.shape, layout.patch, weighted=weighted) for layout in patches]
        reading: dict[str, Any] = {"batch_size": images.batch_size, "progress": images.progress}
        self._n_images = gather(source, moments, images.data, images=how.fit_images, seed=how.seed, **reading)
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


def observe(split: Split, images: Images) -> None:
    """Set the ranges of a latent with `latent_bits`, or the step and tables of a coded one, from the encoder's outputs.

    Nothing is done if they are set already.
    """
    encoder, decoder = split.encoder, split.decoder
    if encoder is None or decoder is None or is_observed(encoder):
        return
    latents = latents_of(split, images)
    if (layer := symbol_layer(encoder)) is None:
        set_ranges(encoder, decoder, latents)
    else:
        put_symbols(fit_symbols(latents, split.bottleneck.payload_bytes), layer, decoder)


def observe_again(split: Split, images: Images) -> None:
    """Fit the tables of a coded latent anew, after its encoder was trained; its step stays."""
    if (layer := symbol_layer(split.encoder)) is not None:
        refit_code(layer, latents_of(split, images))


def latents_of(split: Split, images: Images) -> np.ndarray:
    """Return the encoder's outputs for up to 512 images, spread over the data, float32 `(N, *latent_shape)`.

    Raises:
        NumericsError: If a value is NaN or infinite.
    """
    n_images = max(1, min(_IMAGES, _MOST_BYTES // (4 * math.prod(split.latent_shape))))
    sample = take_part(images.data, n_images, seed=0)
    latents: list[np.ndarray] = []
    total = count_images(sample, n_images)
    with bar(total=total, desc="latents", enabled=images.progress, unit="image") as progress_bar:
        for batch in batches(sample, batch_size=images.batch_size, max_images=n_images, labels=False):
            latents.append(predict_rows(split.encoder, predict_rows(split.head, batch.x)).astype(np.float32))
            progress_bar.update(batch.size)
    values = np.concatenate(latents)
    if not np.isfinite(values).all():
        raise NumericsError("The latent holds NaN or infinity: look at the images and the weights.")
    return values
