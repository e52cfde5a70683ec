"""Which score predicts the accuracy after the split, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..importance.kernels import title as method_title
from .jobs import PREDICTED as PREDICTED_METHOD
from .jobs import RIVALS, Score
from .results import Measured
from .statistics import (
    bootstrapped,
    holm,
    kendall,
    noise_ceiling,
    partial_spearman,
    permutation_p,
    resampled_accuracies,
    spearman,
    spearman_each,
)

PRIMARY = ("90", "CUI, mean, label")
"""The one test that was named before anything was measured: series and score."""

DEPTH, SIZE, PREDICTED = "depth", "layer size", "predicted accuracy"
SERIES = ("90", "99", "fixed")
_RANDOM_SEED = 12345


def scores_of(measured: Measured, series: str) -> dict[str, np.ndarray]:
    """The scores `(n_points,)` that compete in a series, by name; those of the curve first."""
    at = measured.points
    sizes = np.array([cut["size"] for cut in measured.cuts], float)
    found: dict[str, np.ndarray] = {}
    for title, score, factor in (
        ("CUI, mean, label", Score(), 1.0),
        ("CUI, sum, label", Score(), sizes),
        ("CUI, mean, predicted", Score(target="predicted"), 1.0),
        ("CUI, sum, predicted", Score(target="predicted"), sizes),
        ("gradients, mean, label", Score("gradients"), 1.0),
        ("CUI, mean, label, on the test images", Score(part="test"), 1.0),
    ):
        if measured.has(score):
            found[title] = (measured.curve(score) * factor)[at]
    for score in RIVALS:
        if measured.has(score):
            found[f"{method_title(score.method)}, mean, label"] = measured.curve(score)[at]
    predicted = Score(PREDICTED_METHOD, series=series)
    if measured.has(predicted):
        found[PREDICTED] = measured.curve(predicted)[at]
    found[DEPTH] = np.array(at, float)
    found[SIZE] = sizes[at]
    found["MACs of the head"] = np.array([measured.cuts[k]["head_macs"] for k in at], float)
    found["log of the latent's elements"] = np.log(measured.column(series, "latent_elements"))
    found["random"] = np.random.default_rng(_RANDOM_SEED).permutation(len(at)).astype(float)
    return found


def correlate(studies: Sequence[Measured]) -> dict[str, Any]:
    """All correlations of all studies that have a whole seed.

    Args:
        studies: The studies with their results.

    Returns:
        Plain JSON values: `primary`, the one test named beforehand, over all studies together; `studies`, by name and
        series: the noise ceiling, each score's correlations with intervals and corrected p-values, and each peak
        against its neighbours.
    """
    studies = [one for one in studies if one.is_there]
    found = {
        one.study.name: {series: _series(one, series) for series in SERIES if one.seeds(series)} for one in studies
    }
    tests = {
        f"{study}|{series}|{score}": figures["p"]
        for study, by_series in found.items()
        for series, result in by_series.items()
        for score, figures in result["scores"].items()
        if (series, score) != PRIMARY
    }
    for key, p in holm(tests).items():
        study, series, score = key.split("|")
        found[study][series]["scores"][score]["p_holm"] = p
    return {"primary": _primary(studies), "tests_corrected": len(tests), "studies": found}


def _primary(studies: Sequence[Measured]) -> dict[str, Any] | None:
    series, score = PRIMARY
    ready = [one for one in studies if one.seeds(series)]
    if not ready:
        return None
    scores = [scores_of(one, series)[score] for one in ready]
    accuracies = [one.right(series).mean(axis=(0, 2)) for one in ready]
    return {
        "series": series,
        "score": score,
        "studies": [one.study.name for one in ready],
        "mean_spearman": float(np.mean([spearman(x, y) for x, y in zip(scores, accuracies, strict=True)])),
        "p": permutation_p(scores, accuracies),
    }


def _series(measured: Measured, series: str) -> dict[str, Any]:
    right = measured.right(series)
    accuracy = right.mean(axis=(0, 2))
    draws = resampled_accuracies(right)
    scores = scores_of(measured, series)
    return {
        "seeds": len(right),
        "images": right.shape[2],
        "points": [measured.cuts[k]["name"] for k in measured.points],
        "positions": measured.points,
        "accuracy": accuracy.tolist(),
        "accuracy_by_seed": right.mean(axis=2).tolist(),
        "original": measured.reference("original"),
        "without_bottleneck": _number(measured.reference("identity")),
        "latent_elements": measured.column(series, "latent_elements").tolist(),
        "noise_ceiling": noise_ceiling(right.mean(axis=2)),
        "scores": {name: _score(name, scores, accuracy, draws, _choices(measured)) for name in scores},
        "peaks": _peaks(measured, accuracy, draws),
        "untrained": _untrained(measured, series, scores, accuracy),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _untrained(
    measured: Measured, series: str, scores: dict[str, np.ndarray], accuracy: np.ndarray
) -> dict[str, Any] | None:
    """What projections keep on the test images without any training, beside the splits that were trained.

    And what each score says about that: its correlation, and the accuracy at the cut that it would choose.
    """
    score = Score(PREDICTED_METHOD, series=series)
    if not measured.has(score):
        return None
    rows = list(measured.store.rows(kind="score", score=score.name))
    kept = np.mean([row["test_values"] for row in rows], axis=0)[measured.points]
    return {
        "accuracy": kept.tolist(),
        "as_good_at": int(np.sum(kept >= accuracy)),
        "mean_lead": float(np.mean(kept - accuracy)),
        "spread": float(np.ptp(kept)),
        "scores": {
            name: {"spearman": spearman(one, kept), "accuracy": _at_highest(one, kept, _choices(measured))}
            for name, one in scores.items()
        },
    }


def _choices(measured: Measured) -> int:
    """How many of the points can be chosen: all but the end of the axis, where the head is the whole network."""
    return len([k for k in measured.points if k < len(measured.cuts) - 1])


def _at_highest(score: np.ndarray, accuracy: np.ndarray, choices: int) -> float:
    return float(accuracy[int(np.argmax(score[:choices]))])


def _score(
    name: str, scores: dict[str, np.ndarray], accuracy: np.ndarray, draws: np.ndarray, choices: int
) -> dict[str, Any]:
    score = scores[name]
    each = spearman_each(score, draws)
    figures: dict[str, Any] = {
        "values": score.tolist(),
        "spearman": asdict(bootstrapped(spearman(score, accuracy), each)),
        "kendall": kendall(score, accuracy),
        "p": permutation_p([score], [accuracy]),
        "accuracy_at_highest": _at_highest(score, accuracy, choices) - float(accuracy.max()),
    }
    for other in (DEPTH, SIZE):
        if name != other:
            value = spearman(score, accuracy) - spearman(scores[other], accuracy)
            figures[f"minus_{other.split()[-1]}"] = asdict(
                bootstrapped(value, each - spearman_each(scores[other], draws))
            )
    if name != DEPTH:
        partial = partial_spearman(score, accuracy, scores[DEPTH])
        figures["given_depth"] = None if np.isnan(partial) else partial
    return figures


def _peaks(measured: Measured, accuracy: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """Each peak of the curve against the mean of its two neighbours, where all three are measured."""
    place = {position: k for k, position in enumerate(measured.points)}
    at = [k for k in measured.peaks if {k - 1, k, k + 1} <= set(place)]

    def lead(values: np.ndarray, k: int) -> np.ndarray:
        return values[..., place[k]] - (values[..., place[k - 1]] + values[..., place[k + 1]]) / 2

    single = [
        {"name": measured.cuts[k]["name"], "position": k}
        | asdict(bootstrapped(float(lead(accuracy, k)), lead(draws, k)))
        for k in at
    ]
    mean = None
    if at:
        mean = asdict(
            bootstrapped(float(np.mean([lead(accuracy, k) for k in at])), np.mean([lead(draws, k) for k in at], axis=0))
        )
    return {"measured": single, "mean": mean, "all_peaks": [measured.cuts[k]["name"] for k in measured.peaks]}
