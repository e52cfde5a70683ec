"""The search for another cut whose head fits into a microcontroller."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...display.progress import bar
from ...errors import ExportError, ModelError, checked_integer
from ...graph.axis import main_cuts
from ...graph.cuts import Cut, list_cuts, tensor_of
from ...graph.program import Program, Ref, read_program
from ...graph.surgery import layer_name, segment
from ...importance.curve import Curve
from ...selection.accuracy_curve import AccuracyCurve
from ...selection.candidates import propose
from ...splitting import SplitModel
from ..litert.converter import convert
from ..litert.representative import LEAST_IMAGES
from .head import Needs, measure_needs
from .head import flash_bytes as flash_of

Ranking = Curve | AccuracyCurve
"""What may rank the cuts."""

MOST_TRIED = 8
_WEIGHT_BYTES = {"int8": 1, "int16x8": 1, "float32": 4}
_ACTIVATION_BYTES = {"int8": 1, "int16x8": 2, "float32": 4}


@dataclass(frozen=True)
class Budget:
    """The memory of a microcontroller for a head, in bytes; None for no limit.

    Attributes:
        flash_bytes: For the array (and the pixel table); TensorFlow Lite Micro's own code is not counted.
        ram_bytes: For the arena and the payload's frame; stack and the firmware's own variables are not counted.
    """

    flash_bytes: int | None = None
    ram_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("flash_bytes", "ram_bytes"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checked_integer(name, getattr(self, name), 1))

    def holds_flash(self, needed_bytes: int) -> bool:
        """Check whether the flash is enough."""
        return self.flash_bytes is None or needed_bytes <= self.flash_bytes

    def holds(self, needs: Needs) -> bool:
        """Check whether flash and RAM are enough."""
        return self.holds_flash(needs.flash_bytes) and (self.ram_bytes is None or needs.ram_bytes <= self.ram_bytes)

    def __str__(self) -> str:
        return ", ".join(
            f"{name}={size:,} bytes" for name, size in (("flash", self.flash_bytes), ("RAM", self.ram_bytes)) if size
        )


@dataclass(frozen=True)
class Search:
    """The result of a search among the other cuts.

    Attributes:
        cut: The best that fits, or None.
        needs: What its head needs, measured with a bottleneck that is not trained, which needs the same.
        tried: How many heads were converted and measured.
        estimated: How many cuts were left out, as their weights alone outgrow the flash, or two maps in a row the RAM.
        untried: How many that rank behind were not looked at any more.
    """

    cut: Cut | None
    needs: Needs | None
    tried: int
    estimated: int
    untried: int


def search(
    split: SplitModel,
    budget: Budget,
    *,
    precision: str,
    representative: np.ndarray | None,
    curve: Ranking | None = None,
    progress: bool = True,
) -> Search:
    """Find the best other cut whose head fits; see `require_fit`."""
    program = read_program(split.without_bottleneck())
    cuts = list_cuts(program)
    main = main_cuts(program, cuts)
    ranked = [cut for cut in _ranked(cuts, main, split, curve) if layer_name(cut.name) != layer_name(split.cut.name)]
    estimate = _Estimate(main, split, precision)
    promising = [cut for cut in ranked if estimate.allows(cut, budget)]
    n_tried = 0
    images = None if representative is None else representative[:LEAST_IMAGES]
    for cut in bar(promising[:MOST_TRIED], desc="looking for a cut that fits", enabled=progress, unit="cut"):
        n_tried += 1
        needs = _measured(program, cut, split, precision=precision, images=images)
        if needs is not None and budget.holds(needs):
            return Search(cut, needs, n_tried, len(ranked) - len(promising), len(promising) - n_tried)
    return Search(None, None, n_tried, len(ranked) - len(promising), len(promising) - n_tried)


def _ranked(cuts: Sequence[Cut], main: Sequence[Cut], split: SplitModel, curve: Ranking | None) -> list[Cut]:
    """Return the cuts of the network, the best first; those of a curve are found by name."""
    if curve is None:
        return list(reversed(main))
    if isinstance(curve, AccuracyCurve):
        positions = sorted(
            range(len(curve.cuts)), key=lambda position: -np.nan_to_num(curve.accuracy[position], nan=-1)
        )
        return _of_the_network(cuts, [curve.cuts[position] for position in positions])
    proposed = [candidate.cut for candidate in propose(curve, bottleneck=split.bottleneck)]
    by_importance = sorted(range(len(curve.cuts)), key=lambda position: -curve.values[position])
    return _of_the_network(cuts, [*proposed, *(curve.cuts[k] for k in by_importance)])


def _of_the_network(cuts: Sequence[Cut], ranked: Sequence[Cut]) -> list[Cut]:
    """Return the network's own cuts in the order of those of a curve, which has the same layers."""
    order = dict.fromkeys(layer_name(cut.name) for cut in ranked)
    known = {layer_name(cut.name): cut for cut in cuts}
    return [known[name] for name in order if name in known]


class _Estimate:
    """A lower bound of the memory that a head needs, computed quickly to leave out cuts that cannot fit."""

    def __init__(self, main: Sequence[Cut], split: SplitModel, precision: str):
        self._main, self._bottleneck, self._precision = main, split.bottleneck, precision
        self._input_shape = tuple(int(axis) for axis in split.head.inputs[0].shape[1:])

    def allows(self, cut: Cut, budget: Budget) -> bool:
        """Check whether the head at a cut may fit."""
        arena_fits = budget.ram_bytes is None or self._arena_bytes(cut) <= budget.ram_bytes
        return arena_fits and budget.holds_flash(self._flash_bytes(cut))

    def _flash_bytes(self, cut: Cut) -> int:
        """Return the bytes of the weights of head and encoder; the file is larger."""
        weights = cut.head_params
        if hasattr(self._bottleneck, "plan"):
            weights += sum(self._bottleneck.plan(shape).encoder_params for shape in cut.shapes)
        return flash_of(weights * _WEIGHT_BYTES[self._precision], self._input_shape, self._precision)

    def _arena_bytes(self, cut: Cut) -> int:
        """Return the largest sum of the feature maps that a layer reads and writes, in bytes."""
        sizes = [math.prod(self._input_shape), *(earlier.size for earlier in self._main if earlier.index <= cut.index)]
        return max(map(sum, pairwise(sizes)), default=0) * _ACTIVATION_BYTES[self._precision]


def _measured(
    program: Program, cut: Cut, split: SplitModel, *, precision: str, images: np.ndarray | None
) -> Needs | None:
    """Measure the memory that the head at a cut needs; None if that head cannot be made."""
    head = segment(program, program.inputs, Ref(tensor_of(program, cut)), name="head")
    try:
        encoder = None if split.bottleneck is None else split.bottleneck.build(cut.shape)[0]
        converted = convert(head, encoder, precision=precision, representative=images, progress=False)
        return measure_needs(converted, split.latent_bits)
    except (ExportError, ModelError):
        return None
