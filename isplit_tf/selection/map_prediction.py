"""The accuracy of all cuts at all rates: one sweep through the model carries every restored tensor to the output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ..batches import batches, count_images
from ..batches.watched import expect
from ..bottlenecks.projection import Projection
from ..display.progress import bar
from ..graph.chain import Chain
from ..graph.cuts import Cut
from ..graph.inputs import feed
from ..graph.output_kinds import Output, to_probabilities
from ..graph.outputs import Logits
from ..graph.program import Program
from .accuracy_curve import UNSEEN
from .accuracy_map import AccuracyMap
from .elimination import Elimination
from .label_sets import LabelSets
from .rated_cuts import RatedCut, fit_rated, to_array

# Elements of all rows that are on their way at a place: 512 MB.
_ON_THE_WAY = 2**27


def predict_rates(
    program: Program,
    cuts: Sequence[Cut],
    projections: Sequence[Projection],
    logits: Logits,
    data: tuple[Any, Any],
    racing: dict[str, Any],
    loop_options: dict[str, Any],
) -> AccuracyMap:
    """Return the map of some cuts, still without the names of model and classes.

    Args:
        program: The model.
        cuts: The cuts.
        projections: A projection for each rate, which differ in the amount alone.
        logits: Where the class scores are.
        data: Images of the fit, and labelled images to classify.
        racing: The arguments `race`, `max_loss` and `max_images` of `classify_rated`.
        loop_options: The arguments `batch_size` and `progress`.
    """
    rated = [RatedCut.plan(program, cut, projections) for cut in cuts]
    chain = Chain(program, [cut.place for cut in rated])
    how = projections[0]
    n_fit = fit_rated(
        program,
        chain,
        rated,
        logits if how.weighting == "task" else None,
        data[0],
        fit_images=how.fit_images,
        seed=how.seed,
        **loop_options,
    )
    answers = classify_rated(program, chain, rated, logits.output, data[1], **racing, **loop_options)

    def sums(name: str) -> np.ndarray:
        plans = [[[getattr(part.plan, name) for part in parts] for parts in cut.rates] for cut in rated]
        return np.array([[sum(values) for values in of_cut] for of_cut in plans], np.int64)

    return AccuracyMap(
        cuts=list(cuts),
        payload_bytes=np.array([projection.payload_bytes or 0 for projection in projections], np.int64),
        labels=answers.labels,
        predictions=answers.predictions,
        sent_bytes=answers.sent_bytes,
        original_predictions=answers.whole,
        latent_sizes=sums("latent_size"),
        encoder_params=sums("encoder_params"),
        encoder_macs=sums("encoder_macs"),
        relative_errors=answers.relative_errors,
        class_names=None,
        model_name="",
        settings={"coding": how.coding, "encoder_share": how.encoder_share, "fit_images": n_fit},
    )


@dataclass(eq=False)
class Answers:
    """The answers for some images.

    Attributes:
        labels: int64 `(N,)`.
        whole: int64 `(N,)`, the whole model's classes.
        predictions: int64 `(n_cuts, n_rates, N)`, `UNSEEN` where a cut did not take part.
        sent_bytes: float64 `(n_cuts, n_rates, N)`, NaN likewise.
        relative_errors: float64 `(n_cuts, n_rates)`, of the features, NaN likewise.
    """

    labels: np.ndarray
    whole: np.ndarray
    predictions: np.ndarray
    sent_bytes: np.ndarray
    relative_errors: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """Return the answers for the images of all parts, with the errors of the first."""
        names = ("labels", "whole", "predictions", "sent_bytes")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names}
        return cls(**arrays, relative_errors=parts[0].relative_errors)


def classify_rated(
    program: Program,
    chain: Chain,
    cuts: Sequence[RatedCut],
    output: Output,
    data: Any,
    *,
    race: bool,
    max_loss: float,
    max_images: int | None,
    batch_size: int,
    progress: bool,
) -> Answers:
    """Return the answers of the whole model and of the tail behind every cut, at every rate.

    Args:
        program: The model.
        chain: Its segments between the cuts.
        cuts: The cuts, fitted.
        output: The kind of the model's output.
        data: Labelled images.
        race: Whether cuts may drop out; see `elimination`.
        max_loss: Share of the images by which a cut may fall behind the whole model in a race.
        max_images: Images at most.
        batch_size: Images per batch if the data are arrays.
        progress: Whether to show a bar.
    """
    total = count_images(data, max_images)
    n_rates = len(cuts[0].rates)
    head_macs = np.array([cut.cut.head_macs for cut in cuts])
    standing = Elimination(head_macs, n_rates, max_loss=max_loss, images=total)
    parts: list[Answers] = []
    seen, sets = 0, LabelSets()
    reading: dict[str, Any] = {"batch_size": batch_size, "max_images": max_images, "multi_label": output.is_multi_label}
    with bar(desc="accuracy (5 of 5)", unit="image", enabled=progress) as progress_bar:
        for batch in batches(data, n_classes=output.n_classes, **reading):
            expect(progress_bar, data, batch.size, max_images)
            inputs, start = feed(program, batch.x), 0
            while start < batch.size:
                room = standing.next_look - seen if race else batch.size
                count = min(room, batch.size - start, _images_at_once(chain, cuts, standing.alive))
                piece = [tensor[start : start + count] for tensor in inputs]
                labels = np.asarray(batch.labels)[start : start + count]
                parts.append(_sweep(chain, cuts, output, piece, labels, standing.alive, sets))
                start, seen = start + count, seen + count
                if race and seen == standing.next_look:
                    parts = [Answers.joined(parts)]
                    found = parts[0]
                    standing.look(found.whole == found.labels, found.predictions == found.labels)
                progress_bar.update(count)
    return Answers.joined(parts)


def _images_at_once(chain: Chain, cuts: Sequence[RatedCut], alive: np.ndarray) -> int:
    """Return the number of images whose rows fit into memory at every place, at least 1."""
    rows, most = 1, 1
    for place in chain.places:
        rows += sum(int(alive[k].sum()) for k, cut in enumerate(cuts) if cut.place == place)
        most = max(most, rows * chain.elements(place))
    return max(1, _ON_THE_WAY // most)


def _sweep(
    chain: Chain,
    cuts: Sequence[RatedCut],
    output: Output,
    inputs: list[tf.Tensor],
    labels: np.ndarray,
    alive: np.ndarray,
    sets: LabelSets,
) -> Answers:
    """Return the answers for some images: at each cut, the rows that begin there join those that are on their way.

    Where an image may have several labels, each set of labels has a number in `sets`.
    """
    count = len(labels)
    predictions = np.full((*alive.shape, count), UNSEEN, np.int64)
    sent_bytes = np.full(predictions.shape, np.nan)
    errors = np.full(alive.shape, np.nan)
    owners: list[tuple[int, int]] = []
    rows = list(inputs)
    for index, place in enumerate(chain.places):
        rows = chain.run(index, rows)
        joining = [rows]
        for k in [k for k, cut in enumerate(cuts) if cut.place == place and alive[k].any()]:
            features = [to_array(tensor[:count]) for tensor in rows]
            rates = np.flatnonzero(alive[k]).tolist()
            for rate, (values, n_bytes) in zip(rates, cuts[k].restore(features, rates), strict=True):
                sent_bytes[k, rate], errors[k, rate] = n_bytes, _relative_error(features, values)
                joining.append([tf.cast(one, tensor.dtype) for one, tensor in zip(values, rows, strict=True)])
                owners.append((k, rate))
        if len(joining) > 1:
            rows = [tf.concat(tensors, axis=0) for tensors in zip(*joining, strict=True)]
    (scores,) = chain.run(len(chain.places), rows)
    probabilities, several = to_probabilities(scores.numpy(), output), labels.ndim == 2
    answers = sets.numbers(probabilities > 0.5) if several else probabilities.argmax(axis=1)
    classes, labels = answers.reshape(-1, count), sets.numbers(labels) if several else labels
    for owner, found in zip(owners, classes[1:], strict=True):
        predictions[owner] = found
    return Answers(np.asarray(labels, np.int64), classes[0], predictions, sent_bytes, errors)


def _relative_error(features: Sequence[np.ndarray], restored: Sequence[np.ndarray]) -> float:
    """Return the sum of ||F - restored||^2 over the sum of ||F||^2."""
    pairs = list(zip(features, restored, strict=True))
    energy = sum(float(np.vdot(one, one)) for one, _ in pairs)
    lost = sum(float(np.square(one - other).sum(dtype=np.float64)) for one, other in pairs)
    return lost / energy if energy > 0 else 0.0
