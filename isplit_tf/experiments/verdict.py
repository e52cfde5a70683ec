"""The verdict on the paper's claim, in words that follow from the figures."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .correlation import DEPTH, PREDICTED, PRIMARY

_CUI = PRIMARY[1]
# Scores that give no advice: one needs the test images, the other is random.
_NO_ADVICE = ("CUI, mean, label, on the test images", "random")


def verdict(found: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the first paragraph: whether CUI beat depth and size, and which score to trust.

    Args:
        found: What `correlate` returned; None if it was not run.
    """
    results = [result for by_series in ((found or {}).get("studies") or {}).values() for result in by_series.values()]
    if not results:
        yield "No study is complete yet, so there is nothing to say."
        return
    parts = []
    beaten = []
    for rival in ("depth", "size"):
        better, worse = _decided(results, f"minus_{rival}")
        beaten.append(better > len(results) / 2 and worse == 0)
        parts.append(f"better than {rival} in {better}, worse in {worse}")
    claim = {
        (True, True): "Here CUI beat both depth and layer size as a predictor of the accuracy after the split",
        (True, False): "Here CUI beat depth, but not layer size, as a predictor of the accuracy after the split",
        (False, True): "Here CUI beat layer size, but not depth, as a predictor of the accuracy after the split",
        (False, False): "Here CUI beat neither depth nor layer size as a predictor of the accuracy after the split",
    }[beaten[0], beaten[1]]
    yield (
        f"**{claim}.** Of {len(results)} comparisons (a study at a number of elements), its rank correlation was "
        f"{'; '.join(parts)}, as far as the 95 % intervals of the differences tell; the rest are undecided."
    )
    yield from _peaks(results)
    yield from _advice(results)
    yield from _untrained(results)
    yield from _what_to_do(results)


def _decided(results: list[Any], field: str) -> tuple[int, int]:
    estimates = [result["scores"][_CUI][field] for result in results]
    return sum(estimate["low"] > 0 for estimate in estimates), sum(estimate["high"] < 0 for estimate in estimates)


def _peaks(results: list[Any]) -> Iterator[str]:
    means = [result["peaks"]["mean"] for result in results if result["peaks"]["mean"]]
    if means:
        above, below = sum(mean["low"] > 0 for mean in means), sum(mean["high"] < 0 for mean in means)
        yield (
            f"A peak of the curve kept more accuracy than the mean of its two neighbours in {above} of {len(means)} "
            f"comparisons, less in {below}; the rest are undecided."
        )


def _advice(results: list[Any]) -> Iterator[str]:
    names = set.intersection(*(set(result["scores"]) for result in results)) - set(_NO_ADVICE)
    means = {name: float(np.mean([r["scores"][name]["spearman"]["value"] for r in results])) for name in names}
    ranked = sorted(means, key=lambda name: (-means[name], name))
    others = [name for name in ranked[1:4] if name != _CUI] + [_CUI] * (ranked[0] != _CUI)
    listed = ", ".join(f"{name} {means[name]:+.2f}" for name in others)
    yield (
        f"Behind the paper's autoencoder the highest mean rank correlation with the accuracy has **{ranked[0]}**, "
        f"{means[ranked[0]]:+.2f} (others: {listed})."
    )
    if means[ranked[0]] < _WEAK:
        yield f"With a mean below {_WEAK:.1f} that is weak advice: train two or three candidates and compare them."


def _untrained(results: list[Any]) -> Iterator[str]:
    predicted = [result for result in results if result.get("untrained")]
    if not predicted:
        return
    cuts = sum(len(result["accuracy"]) for result in predicted)
    as_good = sum(result["untrained"]["as_good_at"] for result in predicted)
    lead = 100 * float(np.mean([result["untrained"]["mean_lead"] for result in predicted]))
    yield (
        f"A projection without any training kept at least as much accuracy as the paper's autoencoder after both "
        f"phases at {as_good} of {cuts} cuts, {lead:+.2f} points in the mean."
    )
    costs = [r["original"] - r["without_bottleneck"] for r in predicted if r["without_bottleneck"] is not None]
    if costs:
        yield (
            "Some of that is what so short a training costs by itself: without a bottleneck the same fine-tuning lost "
            f"{100 * min(costs):.2f} to {100 * max(costs):.2f} points."
        )
    worst = max(result["original"] - min(result["untrained"]["accuracy"]) for result in predicted)
    yield f"Nor is a projection good everywhere: at the worst cut it lost {100 * worst:.2f} points."


def _what_to_do(results: list[Any]) -> Iterator[str]:
    """Yield the score to trust behind a projection: prediction, CUI or depth, by the accuracy at their choices."""
    predicted = [result for result in results if result.get("untrained")]
    if not predicted:
        return
    names = set.intersection(*(set(result["scores"]) for result in predicted)) - set(_NO_ADVICE)
    means = {
        name: float(np.mean([result["untrained"]["scores"][name]["accuracy"] for result in predicted]))
        for name in names
    }
    ranked = sorted(means, key=lambda name: (-means[name], name))
    trusted = max((name for name in (PREDICTED, _CUI, DEPTH) if name in means), key=lambda name: means[name])
    losses = [result["scores"][_CUI]["accuracy_at_highest"] for result in predicted]
    papers = float(
        np.mean([max(result["accuracy"]) + points for result, points in zip(predicted, losses, strict=True)])
    )
    yield (
        f"**What to trust: {trusted}, with a projection at the cut that it names.** That keeps {means[trusted]:.2%} in "
        f"the mean of {len(predicted)} comparisons, untrained; a projection at the cut of CUI {means[_CUI]:.2%}; "
        f"choosing by the score that happened to do best ({ranked[0]}) {means[ranked[0]]:.2%}; the paper's autoencoder "
        f"at the cut of CUI, trained, {papers:.2%}."
    )
    if trusted == PREDICTED:
        yield (
            "Behind a projection the predicted accuracy is a measurement, on validation images; where cuts differ by "
            "less than its interval, their order is chance."
        )


_WEAK = 0.5  # under half of a perfect order
