"""A check that a method depends on what the model learned: its maps must change when later weights are shuffled."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from ..batches import Batch, batches, first_images
from ..display.tables import html_table, text_table
from ..errors import ArgumentError, ModelError, checked_integer
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, place_maker, place_of
from ..graph.enclosing import Copier
from ..graph.layer_state import copy_state
from ..graph.outputs import compiled_loss, find_logits
from ..graph.passes import require_runnable
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import Program, Step, read_program
from ..graph.weights import WeightedOperation
from .data_pass import single_labels
from .kernels import title
from .measure import require_choices
from .probe import Probe

# Below this correlation, less than a quarter of the variance of the ranks is shared.
MOST_KEPT = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class SanityCheck:
    """Spearman's rank correlation with the trained model, while layers are shuffled one by one from the output down.

    Attributes:
        model_name: Name of the model.
        method: The method that was checked.
        cuts: The cuts, in topological order.
        layers: The layers with weights, in the order in which they were shuffled.
        behind: For each cut, the number of layers behind it; they are the first ones in `layers`.
        maps: Rank correlation of the maps before the ReLU, float64 `(n_layers, n_cuts)`, mean over images and draws;
            NaN if a map has a single position or takes the same value everywhere.
        curve: Rank correlation of the curve's values, float64 `(n_layers,)`.
        n_images: Number of images whose maps were compared.
        draws: How many times all layers were shuffled.
    """

    model_name: str
    method: str
    cuts: list[Cut]
    layers: list[str]
    behind: list[int]
    maps: np.ndarray
    curve: np.ndarray
    n_images: int
    draws: int

    @property
    def kept(self) -> np.ndarray:
        """Return the rank correlation of the maps when exactly the layers behind their cut are random.

        float64 `(n_cuts,)`; NaN if no layer with weights is behind the cut.
        """
        return np.array([self.maps[n - 1, k] if n else np.nan for k, n in enumerate(self.behind)])

    @property
    def passes(self) -> bool:
        """Return whether the maps keep a rank correlation below 0.5 on average over the cuts; False without maps."""
        return bool(_mean(self.kept) < MOST_KEPT)

    @property
    def verdict(self) -> str:
        """Return one sentence: whether the method passes, and the rank correlations of its maps and of the curve."""
        mean = _mean(self.kept)
        if np.isnan(mean):
            return f"{title(self.method)} cannot be judged on '{self.model_name}': no map has two positions to rank."
        return (
            f"{title(self.method)} {'passes' if self.passes else 'fails'} on '{self.model_name}': once all layers "
            f"behind a cut are random, its maps keep a rank correlation of {mean:.2f} on average (to pass: below "
            f"{MOST_KEPT}), and the curve, with all layers random, keeps {self.curve[-1]:.2f}."
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one record per layer: its name, the mean correlation of maps at cuts before it, and the curve's."""
        before = np.array(self.behind)[None] > np.arange(len(self.layers))[:, None]
        means = [_mean(row[chosen]) for row, chosen in zip(self.maps, before, strict=True)]
        return [
            {"layer": name, "maps": mean, "curve": float(curve)}
            for name, mean, curve in zip(self.layers, means, self.curve, strict=True)
        ]

    def _cells(self) -> tuple[list[str], list[list[Any]]]:
        header = ["random from the output to", "maps at cuts before", "curve"]
        return header, [list(row.values()) for row in self.rows()]

    def table(self) -> str:
        """Return the verdict and a table with one line per layer."""
        return f"{self.verdict}\n{text_table(*self._cells())}"

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.verdict)}</p>{html_table(*self._cells())}"

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the rank correlations of maps and curve, layer by layer.

        Args:
            ax: Matplotlib axes to draw on; new axes by default.

        Returns:
            The axes.
        """
        from ..plots.records import draw_sanity_check

        rows = self.rows()
        return draw_sanity_check(
            self.layers,
            [row["maps"] for row in rows],
            [row["curve"] for row in rows],
            title=f"{self.model_name}: {self.method}, {self.n_images} images",
            ax=ax,
        )


def _mean(values: np.ndarray) -> float:
    """Return the mean of the finite values, or NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def sanity_check(
    model: keras.Model,
    data: Any,
    *,
    method: str = "grad_cam",
    cuts: Literal["main", "all"] | Sequence[Cut | int | str] = "main",
    target: Literal["label", "predicted"] = "label",
    max_images: int = 32,
    draws: int = 3,
    seed: int = 0,
    batch_size: int = 32,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    output: str | int | None = None,
) -> SanityCheck:
    """Shuffle the weights of a copy of the model, layer by layer from its output down, and compare the maps.

    A method that shows what the model learned gives other maps once the layers behind a cut are random. A method that
    only shows the image, as an edge detector would, gives the same maps. Each weight tensor is put into random order:
    this keeps the scale of the weights and removes what was learned. (The reference draws new weights, but
    initializers may be seeded or zero.)

    Args:
        model: A built classifier; it is not changed.
        data: As in `measure_importance`; it should be shuffled, since the first images are used.
        method: As in `measure_importance`, but not "gradients", whose map is the same at every position.
        cuts: As in `measure_importance`.
        target: Score of the "label" or of the "predicted" class.
        max_images: Number of images whose maps are compared, at most.
        draws: How many times all layers are shuffled; correlations are means over the draws.
        seed: Seed of the random orders.
        batch_size: Images per batch, if `data` are arrays.
        from_logits: As in `measure_importance`.
        output_kind: As in `measure_importance`.
        output: As in `measure_importance`.

    Returns:
        The rank correlations of maps and curve, layer by layer. The record prints and plots itself; its `verdict` is
        one sentence.

    Raises:
        ModelError: If the model has no cut or no weights, if a layer cannot be copied, or if its output is not class
            scores.
        ArgumentError: If the method has no map, or if an argument is unknown or out of range.
        CutError, DataError, NumericsError: As in `measure_importance`.

    Example:
        >>> print(sanity_check(model, (images, labels)).verdict)

    Reference:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, cascading randomization.
    """
    require_choices(method=method, target=target)
    if method == "gradients":
        raise ArgumentError("method='gradients' gives every position the same value: there is no map to compare.")
    draws = checked_integer("draws", draws, 1)
    program = read_program(model, output=output, training=False)
    require_runnable(program)
    require_same_as_predict(model, program, lambda: first_images(data))
    chosen = choose_cuts(program, cuts)
    logits = find_logits(program, loss=compiled_loss(model, output), from_logits=from_logits, output_kind=output_kind)
    twins = _Twins(program, logits.operation)
    places = [place_of(program, cut) for cut in chosen]
    probe = Probe(program, places, logits, method=method, target=target, replaced=twins.copies)
    reading: dict[str, Any] = {"n_classes": logits.output.n_classes, "batch_size": batch_size, "max_images": max_images}
    stream = batches(data, multi_label=logits.output.is_multi_label, **reading)
    image_batches = [part for batch in stream for part in single_labels(batch)]
    sizes = np.array([cut.size for cut in chosen])
    correlations = [
        _cascade(probe, image_batches, sizes, twins, np.random.default_rng((seed, k))) for k in range(draws)
    ]
    return SanityCheck(
        model_name=model.name,
        method=method,
        cuts=chosen,
        layers=list(twins.from_the_top),
        behind=[sum(last > place_maker(program, place) for last in twins.last_calls) for place in places],
        maps=np.mean([maps for maps, _ in correlations], axis=0),
        curve=np.mean([curve for _, curve in correlations], axis=0),
        n_images=sum(batch.size for batch in image_batches),
        draws=draws,
    )


class _Twins:
    """Copies of the layers of a program that have weights.

    Attributes:
        copies: The copies by `id` of the original.
        from_the_top: The copies by the name of their last call, from the output down.
        last_calls: Index of the step of the last call, in the same order.
    """

    def __init__(self, program: Program, operation: Callable[[Step], Any]):
        steps = {id(operation(step)): step for step in program.steps}
        originals = {id(layer): layer for layer in map(operation, program.steps) if getattr(layer, "weights", None)}
        if not originals:
            raise ModelError(f"Model '{program.name}' has no weights to shuffle.")
        copier = Copier()
        self.copies = {key: _copy(layer, steps[key], copier) for key, layer in originals.items()}
        zeros = {}
        for tensor in program.inputs:
            spec = program.tensors[tensor]
            zeros[tensor] = tf.zeros([1, *(size or 1 for size in spec.sample_shape)], spec.dtype)
        # The first call creates the weights.
        program.run(zeros, None, lambda step: self.copies.get(id(operation(step)), operation(step)))
        for key, layer in originals.items():
            copy_state(layer, self.copies[key])
        self.from_the_top: dict[str, keras.layers.Layer] = {}
        self.last_calls: list[int] = []
        for index, step in reversed(list(enumerate(program.steps))):
            copy = self.copies.get(id(operation(step)))
            if copy is not None and all(copy is not layer for layer in self.from_the_top.values()):
                self.from_the_top[step.name] = copy
                self.last_calls.append(index)


def _copy(layer: keras.layers.Layer, step: Step, copier: Copier) -> keras.layers.Layer:
    if isinstance(layer, WeightedOperation):
        return layer.with_weights_as("float32")
    return copier.copy(layer, layer.name, step.around)


def _cascade(
    probe: Probe, seen: Sequence[Batch], sizes: np.ndarray, twins: _Twins, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the layers one after the other and return the rank correlations with the trained model after each.

    Returns:
        The correlation of the maps, `(n_layers, n_cuts)`, and of the curve, `(n_layers,)`.
    """
    learned = [(weight, weight.numpy()) for layer in twins.from_the_top.values() for weight in layer.weights]
    maps, curve = _look(probe, seen, sizes)
    correlations = []
    for layer in twins.from_the_top.values():
        for weight in layer.weights:
            if "float" in weight.dtype:
                weight.assign(rng.permutation(weight.numpy().ravel()).reshape(weight.shape))
        random_maps, random_curve = _look(probe, seen, sizes)
        of_maps = [mean_rank_correlation(a, b) for a, b in zip(maps, random_maps, strict=True)]
        correlations.append((of_maps, mean_rank_correlation(curve[None], random_curve[None])))
    for weight, value in learned:
        weight.assign(value)
    return np.array([of_maps for of_maps, _ in correlations]), np.array([of_curve for _, of_curve in correlations])


def _look(probe: Probe, seen: Sequence[Batch], sizes: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the map of each image at each cut, and the curve."""
    results = [probe.maps(batch.x, np.asarray(batch.labels)) for batch in seen]
    maps = [np.concatenate(cut_maps) for cut_maps in zip(*(maps for maps, _ in results), strict=True)]
    return maps, np.concatenate([values for _, values in results]).mean(axis=0) / sizes


def mean_rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays, row by row, as the mean over rows.

    Rows in which all values are equal have no correlation and are left out.

    Args:
        a: `(N, P)`.
        b: The same shape.

    Returns:
        From -1 to 1; NaN if every row is left out.
    """
    ranks = [stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (a, b)]
    norms = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    valid = norms > 0
    return float(((ranks[0] * ranks[1]).sum(axis=1)[valid] / norms[valid]).mean()) if valid.any() else math.nan
