"""The splits of a kit: one copy of the model, whose layers the halves at all cuts share, and fitted bottlenecks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..bottlenecks.closed_form import Images, is_fitted, observe
from ..bottlenecks.coded import put_symbols, symbol_layer
from ..bottlenecks.fit import put
from ..bottlenecks.insertion import build_bottleneck
from ..bottlenecks.projection import Projection
from ..graph.chain import Chain
from ..graph.cuts import Cut, list_cuts, tensor_of
from ..graph.outputs import Logits, compiled_loss, find_logits
from ..graph.program import Program, Ref, read_program
from ..graph.surgery import copy_model, segment
from ..selection.rated_cuts import RatedCut, fit_rated
from ..splitting import SplitModel, split


class SharedSplit(SplitModel):
    """A split whose halves share their layers with those of other cuts; it is neither saved nor trained.

    Args:
        source: What it shares.
        cut: Where, of one tensor.
        bottleneck: What is between, or None.
    """

    def __init__(self, source: "SharedModel", cut: Cut, bottleneck: Any):
        program = source.program
        tensor = tensor_of(program, source.own[cut.index])
        self.model, self.program, self.cut, self.bottleneck = source.model, program, cut, bottleneck
        self.output_kind, self.loss, self.fine_tuned = source.logits.output.kind, None, False
        self.fitted = not isinstance(bottleneck, Projection)
        self._code, self._boundaries, self._programs = None, (), {}
        self.head = segment(program, program.inputs, Ref(tensor), name="head")
        self.tail = segment(program, [tensor], program.output_structure, name="tail", input_names=["features"])
        self.encoder = self.decoder = None
        if bottleneck is not None:
            self.encoder, self.decoder = build_bottleneck(bottleneck, cut)


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A copy of a model, which the splits of a kit share.

    Attributes:
        original: The model, which stays as it is.
        model: The copy.
        program: Of the copy, as `predict` runs it.
        own: Each cut of the original, by its index, as the copy has it.
        logits: Where its class scores are.
        output: Name or index of the output of the original that is kept.
        output_kind: What the user says of it, or None.
    """

    original: keras.Model
    model: keras.Model
    program: Program
    own: dict[int, Cut]
    logits: Logits
    output: str | int | None
    output_kind: str | None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        program: Program,
        cuts: Iterable[Cut],
        *,
        output: str | int | None = None,
        output_kind: str | None = None,
        from_logits: bool | None = None,
    ) -> "SharedModel":
        """Copy a model that was read.

        Args:
            model: The model.
            program: Of it, with one output.
            cuts: All cuts of the program of one tensor.
            output: Name or index of the output that the program keeps.
            output_kind: What the user says of the output, as `find_logits` takes it.
            from_logits: The same.
        """
        whole, _ = copy_model(program, name=model.name)
        copied = read_program(whole, training=False)
        own = {cut.index: mine for cut, mine in zip(cuts, list_cuts(copied), strict=True)}
        loss = compiled_loss(model, output)
        logits = find_logits(copied, loss=loss, output_kind=output_kind, from_logits=from_logits)
        said = output_kind or ("logits" if from_logits else None)
        return cls(model, whole, copied, own, logits, output, said)

    def split(self, cut: Cut, bottleneck: Any) -> SplitModel:
        """Return the split at a cut; with several tensors, it has a copy of the model for itself."""
        if len(cut.shapes) == 1:
            return SharedSplit(self, cut, bottleneck)
        return split(self.original, cut, bottleneck, output=self.output, output_kind=self.output_kind)

    def fit(self, splits: Sequence[SplitModel], x: np.ndarray, *, progress: bool) -> None:
        """Fit the bottlenecks of some splits from images in the model's own space.

        Coded projections are fitted together, from one pass over the images.

        Args:
            splits: The splits.
            x: float32 `(N, *input_shape)`.
            progress: Whether to show bars.
        """
        images = Images((x, None), 32, progress)
        together = [one for one in splits if isinstance(one, SharedSplit) and symbol_layer(one.encoder) is not None]
        together = [one for one in together if isinstance(one.bottleneck, Projection)]
        self._fit_together(together, x, progress)
        for one in splits:
            if not any(one is done for done in together) and one.encoder is not None:
                if is_fitted(one):
                    one.fit_bottleneck((x, None), progress=progress)
                else:
                    observe(one, images)

    def _fit_together(self, splits: Sequence[SplitModel], x: np.ndarray, progress: bool) -> None:
        if not splits:
            return
        how: Projection = splits[0].bottleneck
        rated = [RatedCut.plan(self.program, self.own[one.cut.index], [how]) for one in splits]
        fit_rated(
            self.program,
            Chain(self.program, [cut.place for cut in rated]),
            rated,
            self.logits if how.weighting == "task" else None,
            (x, None),
            fit_images=len(x),
            seed=how.seed,
            batch_size=32,
            progress=progress,
        )
        for one, cut in zip(splits, rated, strict=True):
            ((part,),) = cut.rates
            layer = symbol_layer(one.encoder)
            if one.encoder is None or one.decoder is None or layer is None or part.symbols is None:
                continue  # never: they were chosen so
            put(part.basis.map.found, one.encoder, one.decoder)
            put_symbols(part.symbols, layer, one.decoder)
            one.fitted = True


def bottleneck_state(one: SplitModel) -> dict[str, np.ndarray]:
    """Return the weights of a split's encoder and decoder, by their position."""
    parts = [part for part in (one.encoder, one.decoder) if part is not None]
    return {f"{k}": np.asarray(weight) for k, weight in enumerate(w for part in parts for w in part.weights)}


def restore_bottleneck(one: SplitModel, arrays: dict[str, np.ndarray]) -> None:
    """Give a split's encoder and decoder the weights that `bottleneck_state` returned."""
    parts = [part for part in (one.encoder, one.decoder) if part is not None]
    for k, weight in enumerate(w for part in parts for w in part.weights):
        weight.assign(arrays[f"{k}"])
    one.fitted = True
