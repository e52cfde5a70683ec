"""Whether the paper's claim holds, in words that follow from the figures."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .correlation import DEPTH, PREDICTED, PRIMARY

_CUI = PRIMARY[1]
# What cannot be known before the test images are seen, or that says nothing, is no advice.
_NO_ADVICE = ("CUI, mean, label, on the test images", "random")


def verdict(found: Mapping[str, Any] | None) -> Iterator[str]:
    """The first paragraph: whether CUI beat depth and size, and which score to trust.

    Args:
        found: What `correlate` found; None where it was not run.
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
    return sum(one["low"] > 0 for one in estimates), sum(one["high"] < 0 for one in estimates)


def _peaks(results: list[Any]) -> Iterator[str]:
    means = [result["peaks"]["mean"] for result in results if result["peaks"]["mean"]]
    if means:
        above, below = sum(one["low"] > 0 for one in means), sum(one["high"] < 0 for one in means)
        yield (
            f"A peak of the curve kept more accuracy than the mean of its two neighbours in {above} of {len(means)} "
            f"comparisons, less in {below}; the rest are undecided."
        )


def _advice(results: list[Any]) -> Iterator[str]:
    names = set.intersection(*(set(result["scores"]) for result in results)) - set(_NO_ADVICE)
    means = {name: float(np.mean([r["scores"][name]["spearman"]["value"] for r in results])) for name in names}
    ranked = sorted(means, key=lambda name: (-means[name], name))
    listed = ", ".join(f"{name} {means[name]:+.2f}" for name in ranked[:4])
    yield (
        f"The score to trust, by mean rank correlation over all comparisons: **{ranked[0]}** (highest: {listed}; "
        f"{_CUI} {means[_CUI]:+.2f})."
    )
    if means[ranked[0]] < _WEAK:
        yield f"With a mean below {_WEAK:.1f} even that is weak advice: train two or three candidates and compare them."


def _untrained(results: list[Any]) -> Iterator[str]:
    known = [result for result in results if result.get("untrained")]
    if known:
        cuts = sum(len(result["accuracy"]) for result in known)
        as_good = sum(result["untrained"]["as_good_at"] for result in known)
        lead = 100 * float(np.mean([result["untrained"]["mean_lead"] for result in known]))
        yield (
            f"A projection without any training kept at least as much accuracy as the paper's autoencoder after both "
            f"phases at {as_good} of {cuts} cuts, {lead:+.2f} points in the mean: behind a projection, "
            "`predict_accuracy` is no forecast but a measurement on validation images."
        )


def _what_to_do(results: list[Any]) -> Iterator[str]:
    """The score whose choice keeps the most behind a projection, beside what the paper's way keeps."""
    known = [result for result in results if result.get("untrained")]
    if not known:
        return
    names = set.intersection(*(set(result["scores"]) for result in known)) - set(_NO_ADVICE)

    def projected(name: str) -> float:
        return float(np.mean([result["untrained"]["scores"][name]["accuracy"] for result in known]))

    lost = [result["scores"][_CUI]["accuracy_at_highest"] for result in known]
    papers = float(np.mean([max(result["accuracy"]) + points for result, points in zip(known, lost, strict=True)]))
    best = max(sorted(names), key=projected)
    text = (
        f"What to do, then: split with a projection, at the cut that **{best}** names. That keeps "
        f"{projected(best):.2%} in the mean of {len(known)} comparisons, untrained, where the paper's autoencoder at "
        f"CUI's cut keeps {papers:.2%} after training"
    )
    others = [f"{name} {projected(name):.2%}" for name in (PREDICTED, _CUI, DEPTH) if name in names - {best}]
    yield f"{text} (projections at other cuts: {', '.join(others)})." if others else f"{text}."


_WEAK = 0.5  # under half of a perfect order
