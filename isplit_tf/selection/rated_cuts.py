"""The cuts of a model at several rates, each with a fitted and coded projection."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from isplit_edge.wire import HEADER_BYTES

from ..batches.sampling import take_part
from ..batches.watched import watched
from ..bottlenecks.base import LatentPlan
from ..bottlenecks.coded import OVERHEAD_BYTES, Symbols, fit_symbols, symbols_of
from ..bottlenecks.fit import fit_all, gather, pass_of_program
from ..bottlenecks.moments import Moments, Sample, collector
from ..bottlenecks.patch_map import PatchMap
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..errors import ArgumentError
from ..graph.chain import Chain
from ..graph.cuts import Cut, place_of
from ..graph.inputs import feed
from ..graph.outputs import Logits
from ..graph.program import Program

# Images of the fit whose latents give step and tables, and the most elements of their latents that are kept.
_CODE_IMAGES, _CODE_ELEMENTS = 64, 2**22
_THREADS = 2


@dataclass(eq=False)
class Basis:
    """The projection of one tensor with one patch, which the rates that plan this patch share.

    Attributes:
        shape: Shape of the tensor without the batch.
        patch: Elements of a patch on each axis.
        number: Latents per patch, of which each rate takes the first.
        map: The projection, once fitted.
        latents: The latents of some images of the fit, until step and tables are chosen from them.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    number: int = 0
    map: Any = None
    latents: list[np.ndarray] = field(default_factory=list)


@dataclass(eq=False)
class Part:
    """One tensor of a cut at one rate.

    Attributes:
        plan: Sizes and costs.
        basis: The projection.
        is_coded: Whether the latent is coded.
        bytes_asked: Mean bytes per frame of a coded latent; None for a step that loses nothing.
        symbols: Step and tables of a coded latent, once fitted.
    """

    plan: LatentPlan
    basis: Basis
    is_coded: bool
    bytes_asked: int | None
    symbols: Symbols | None = None

    @property
    def number(self) -> int:
        """Return the latents per patch."""
        return self.plan.latent_shape[-1]

    def fit(self) -> None:
        """Choose step and tables of a coded latent."""
        if self.is_coded:
            latents = np.concatenate(self.basis.latents)[..., : self.number]
            self.symbols = fit_symbols(latents.reshape(-1, *self.plan.latent_shape), self.bytes_asked)

    def restore(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the tail gets, `(N, *shape)`, and the bytes that cross, `(N,)`, without a header if not coded.

        Args:
            latents: float32 `(N, positions, basis.number)`.
        """
        latents = latents[..., : self.number]
        if self.symbols is None:
            return self.basis.map.decode(latents), np.full(len(latents), float(self.plan.latent_size))
        code, center, step = self.symbols.code, self.symbols.center, np.float32(self.symbols.step)
        symbols = symbols_of(latents, center, self.symbols.step)
        sent = OVERHEAD_BYTES + code.ideal_bits(symbols.reshape(-1, *self.plan.latent_shape)) / 8
        return self.basis.map.decode(symbols * step + center), sent


@dataclass(frozen=True, eq=False)
class RatedCut:
    """A cut with the tensors that cross it, each with its bases, and at each rate with its part.

    Attributes:
        cut: The cut.
        place: Indices of the tensors.
        rates: For each rate, a part for each tensor.
    """

    cut: Cut
    place: tuple[int, ...]
    rates: list[list[Part]]

    @classmethod
    def plan(cls, program: Program, cut: Cut, projections: Sequence[Projection]) -> "RatedCut":
        """Plan a cut at the rates of some projections.

        Raises:
            ArgumentError: If a projection does not take the shape of a tensor.
        """
        shapes: Any = cut.shapes  # no dimension is None
        bases: dict[tuple[int, tuple[int, ...]], Basis] = {}
        rates = []
        for projection in projections:
            parts = []
            try:
                divided = projection.behind(cut.head_macs).for_parts(shapes)
                for k, (part, shape) in enumerate(zip(divided, shapes, strict=True)):
                    plan = part.plan(shape)
                    basis = bases.setdefault((k, plan.patch), Basis(plan.shape, plan.patch))
                    basis.number = max(basis.number, plan.latent_shape[-1])
                    parts.append(Part(plan, basis, part.is_coded, part.payload_bytes))
            except ArgumentError as error:
                raise ArgumentError(f"Cut '{cut.name}': {error}") from error
            rates.append(parts)
        return cls(cut, place_of(program, cut), rates)

    def bases(self, tensor: int) -> list[Basis]:
        """Return the different bases of a tensor, by its position at the cut."""
        return list({id(parts[tensor].basis): parts[tensor].basis for parts in self.rates}.values())

    def restore(
        self, features: Sequence[np.ndarray], rates: Sequence[int]
    ) -> list[tuple[list[np.ndarray], np.ndarray]]:
        """Return at some rates what the tail gets for each tensor, and the bytes of each frame.

        Args:
            features: The tensors at the cut, float32 `(N, *shape)`.
            rates: Positions of the rates.

        Returns:
            For each rate, the tensors `(N, *shape)` and the bytes `(N,)`, header included.
        """
        latents: dict[int, np.ndarray] = {}
        for rate in rates:
            for part, values in zip(self.rates[rate], features, strict=True):
                if id(part.basis) not in latents:
                    latents[id(part.basis)] = part.basis.map.encode(values)
        found = []
        for rate in rates:
            pairs = [part.restore(latents[id(part.basis)]) for part in self.rates[rate]]
            sent = sum(n_bytes for _, n_bytes in pairs)
            header = 0 if any(part.is_coded for part in self.rates[rate]) else HEADER_BYTES
            found.append(([values for values, _ in pairs], np.asarray(sent + header)))
        return found


class _Several:
    """Moments of one tensor with several patches, which are filled together."""

    def __init__(self, moments: list[Moments | Sample]):
        self.moments = moments

    def add(self, features: np.ndarray, gradients: np.ndarray | None, random: Sequence[np.random.Generator]) -> None:
        """Add a batch to all of them."""
        for moment in self.moments:
            moment.add(features, gradients, random)


def fit_rated(
    program: Program,
    chain: Chain,
    cuts: Sequence[RatedCut],
    logits: Logits | None,
    data: Any,
    *,
    fit_images: int,
    seed: int,
    batch_size: int,
    progress: bool,
) -> int:
    """Fit all projections, with one forward and backward pass for all, then all codes, with one more forward pass.

    Args:
        program: The model.
        chain: Its segments between the cuts.
        cuts: The cuts, which are changed.
        logits: Where the class scores are, for a metric of the task; None for the features' own metric.
        data: Images; labels are not needed.
        fit_images: Images of the first pass. The second takes at most 64 of them.
        seed: Seed of the choice of images and of random numbers.
        batch_size: Images per batch if the data are arrays.
        progress: Whether to show bars.

    Returns:
        The number of images of the first pass.
    """
    bases = [cut.bases(k) for cut in cuts for k in range(len(cut.place))]
    weighted = logits is not None
    source = pass_of_program(program, [cut.place for cut in cuts], logits)
    moments = [[collector(basis.shape, basis.patch, weighted=weighted) for basis in some] for some in bases]
    reading: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    several: Any = [_Several(some) for some in moments]
    n_images = gather(source, several, data, images=fit_images, seed=seed, desc="fit (1 of 5)", **reading)
    flat = [basis for some in bases for basis in some]
    collected = [moment for some in moments for moment in some]
    several.clear()
    moments.clear()
    with bar(total=len(flat), desc="solve (2 of 5)", unit="map", enabled=progress) as progress_bar:
        found = fit_all(collected, [basis.number for basis in flat], done=progress_bar.update)
    for basis, fitted in zip(flat, found, strict=True):
        basis.map = PatchMap(fitted.in_metric(), basis.shape, basis.patch)
    _gather_latents(program, chain, cuts, take_part(data, fit_images, seed=seed), **reading)
    parts = [part for cut in cuts for rate in cut.rates for part in rate]
    with (
        bar(total=len(parts), desc="code (4 of 5)", unit="rate", enabled=progress) as progress_bar,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        for _ in threads.map(Part.fit, parts):
            progress_bar.update()
    for basis in flat:
        basis.latents.clear()
    return n_images


def _gather_latents(
    program: Program, chain: Chain, cuts: Sequence[RatedCut], data: Any, *, batch_size: int, progress: bool
) -> None:
    """Keep the latents of up to 64 images for every basis of a coded latent."""
    at: dict[tuple[int, ...], list[RatedCut]] = {}
    for cut in cuts:
        at.setdefault(cut.place, []).append(cut)
    part = take_part(data, _CODE_IMAGES)
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": _CODE_IMAGES, "labels": False}
    with bar(desc="latents (3 of 5)", unit="image", enabled=progress) as progress_bar:
        for batch in watched(progress_bar, part, **reading):
            rows: list[tf.Tensor] = feed(program, batch.x)
            for index, place in enumerate(chain.places):
                rows = chain.run(index, rows)
                for cut in at[place]:
                    _keep(cut, [to_array(tensor) for tensor in rows])
            progress_bar.update(batch.size)


def _keep(cut: RatedCut, features: Sequence[np.ndarray]) -> None:
    for k, values in enumerate(features):
        for basis in cut.bases(k):
            if sum(kept.size for kept in basis.latents) < _CODE_ELEMENTS:
                basis.latents.append(basis.map.encode(values))


def to_array(tensor: tf.Tensor) -> np.ndarray:
    """Return a tensor as float32."""
    return np.asarray(tf.cast(tensor, tf.float32))
