"""Correlations of scores with the accuracy after the split, with intervals and p-values."""

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
"""Series and score of the one test that was chosen before anything was measured."""

DEPTH, SIZE, PREDICTED = "depth", "layer size", "predicted accuracy"
SERIES = ("90", "99", "fixed")
_RANDOM_SEED = 12345


def scores_of(measured: Measured, series: str) -> dict[str, np.ndarray]:
    """Return the scores `(n_points,)` that compete in a series, by name; the scores of the curve come first."""
    positions = measured.points
    sizes = np.array([cut["size"] for cut in measured.cuts], float)
    scores: dict[str, np.ndarray] = {}
    for title, score, factor in (
        ("CUI, mean, label", Score(), 1.0),
        ("CUI, sum, label", Score(), sizes),
        ("CUI, mean, predicted", Score(target="predicted"), 1.0),
        ("CUI, sum, predicted", Score(target="predicted"), sizes),
        ("gradients, mean, label", Score("gradients"), 1.0),
        ("CUI, mean, label, on the test images", Score(part="test"), 1.0),
    ):
        if measured.has(score):
            scores[title] = (measured.curve(score) * factor)[positions]
    for score in RIVALS:
        if measured.has(score):
            scores[f"{method_title(score.method)}, mean, label"] = measured.curve(score)[positions]
    predicted = Score(PREDICTED_METHOD, series=series)
    if measured.has(predicted):
        scores[PREDICTED] = measured.curve(predicted)[positions]
    scores[DEPTH] = np.array(positions, float)
    scores[SIZE] = sizes[positions]
    scores["MACs of the head"] = np.array([measured.cuts[k]["head_macs"] for k in positions], float)
    scores["log of the latent's elements"] = np.log(measured.column(series, "latent_elements"))
    scores["random"] = np.random.default_rng(_RANDOM_SEED).permutation(len(positions)).astype(float)
    return scores


def correlate(studies: Sequence[Measured]) -> dict[str, Any]:
    """Correlate the scores with the accuracies, in every series with a complete seed.

    Args:
        studies: The studies with their results.

    Returns:
        Plain JSON values: `primary`, the one test chosen beforehand, over all studies together; `tests_corrected`,
        the number of the other tests; `studies`, by name and series: the noise ceiling, each score's correlations
        with intervals and corrected p-values, and each peak compared with its neighbours.
    """
    studies = [measured for measured in studies if measured.is_there]
    results = {
        measured.study.name: {series: _series(measured, series) for series in SERIES if measured.seeds(series)}
        for measured in studies
    }
    tests = {
        f"{study}|{series}|{score}": figures["p"]
        for study, by_series in results.items()
        for series, result in by_series.items()
        for score, figures in result["scores"].items()
        if (series, score) != PRIMARY
    }
    for key, p in holm(tests).items():
        study, series, score = key.split("|")
        results[study][series]["scores"][score]["p_holm"] = p
    return {"primary": _primary(studies), "tests_corrected": len(tests), "studies": results}


def _primary(studies: Sequence[Measured]) -> dict[str, Any] | None:
    series, score = PRIMARY
    complete = [measured for measured in studies if measured.seeds(series)]
    if not complete:
        return None
    scores = [scores_of(measured, series)[score] for measured in complete]
    accuracies = [measured.right(series).mean(axis=(0, 2)) for measured in complete]
    return {
        "series": series,
        "score": score,
        "studies": [measured.study.name for measured in complete],
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
    """Compare untrained projections with the trained splits, on the test images.

    The result holds for each score its correlation with the projections' accuracies, and the accuracy of the
    projection at the cut that the score would choose. None if no accuracy was predicted for the series.
    """
    score = Score(PREDICTED_METHOD, series=series)
    if not measured.has(score):
        return None
    rows = list(measured.store.rows(kind="score", score=score.name))
    untrained = np.mean([row["test_values"] for row in rows], axis=0)[measured.points]
    return {
        "accuracy": untrained.tolist(),
        "as_good_at": int(np.sum(untrained >= accuracy)),
        "mean_lead": float(np.mean(untrained - accuracy)),
        "spread": float(np.ptp(untrained)),
        "scores": {
            name: {
                "spearman": spearman(values, untrained),
                "accuracy": _at_highest(values, untrained, _choices(measured)),
            }
            for name, values in scores.items()
        },
    }


def _choices(measured: Measured) -> int:
    """Return how many points can be chosen: all but the end of the axis, where the head is the whole network."""
    return len([k for k in measured.points if k < len(measured.cuts) - 1])


def _at_highest(score: np.ndarray, accuracy: np.ndarray, choices: int) -> float:
    return float(accuracy[int(np.argmax(score[:choices]))])


def _score(
    name: str, scores: dict[str, np.ndarray], accuracy: np.ndarray, draws: np.ndarray, choices: int
) -> dict[str, Any]:
    score = scores[name]
    correlations = spearman_each(score, draws)
    figures: dict[str, Any] = {
        "values": score.tolist(),
        "spearman": asdict(bootstrapped(spearman(score, accuracy), correlations)),
        "kendall": kendall(score, accuracy),
        "p": permutation_p([score], [accuracy]),
        "accuracy_at_highest": _at_highest(score, accuracy, choices) - float(accuracy.max()),
    }
    for rival in (DEPTH, SIZE):
        if name != rival:
            value = spearman(score, accuracy) - spearman(scores[rival], accuracy)
            figures[f"minus_{rival.split()[-1]}"] = asdict(
                bootstrapped(value, correlations - spearman_each(scores[rival], draws))
            )
    if name != DEPTH:
        partial = partial_spearman(score, accuracy, scores[DEPTH])
        figures["given_depth"] = None if np.isnan(partial) else partial
    return figures


def _peaks(measured: Measured, accuracy: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    """Compare each peak of the curve with the mean of its two neighbours, if all three are measured."""
    index = {position: k for k, position in enumerate(measured.points)}
    peaks = [k for k in measured.peaks if {k - 1, k, k + 1} <= set(index)]

    def lead(values: np.ndarray, k: int) -> np.ndarray:
        return values[..., index[k]] - (values[..., index[k - 1]] + values[..., index[k + 1]]) / 2

    single = [
        {"name": measured.cuts[k]["name"], "position": k}
        | asdict(bootstrapped(float(lead(accuracy, k)), lead(draws, k)))
        for k in peaks
    ]
    mean = None
    if peaks:
        mean = asdict(
            bootstrapped(
                float(np.mean([lead(accuracy, k) for k in peaks])), np.mean([lead(draws, k) for k in peaks], axis=0)
            )
        )
    return {"measured": single, "mean": mean, "all_peaks": [measured.cuts[k]["name"] for k in measured.peaks]}
