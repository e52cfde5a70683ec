"""The section of the page on the correlation of scores with accuracies."""

from collections.abc import Iterator, Mapping
from typing import Any

from .catalogue import SCALES
from .correlation import DEPTH, PREDICTED, PRIMARY, SIZE

Found = Mapping[str, Any]
_ENOUGH = 0.9
SERIES_TITLES = {"90": "90 % compression", "99": "99 % compression", "fixed": "a fixed number of elements"}


def correlation_section(found: Found, pictures: str) -> Iterator[str]:
    """Yield the paragraphs, tables and pictures of the section."""
    series, score = PRIMARY
    if found["primary"]:
        primary = found["primary"]
        yield (
            f"The one test named beforehand: Spearman's correlation of '{score}' with the accuracy at "
            f"{SERIES_TITLES[series]}, mean over {len(primary['studies'])} studies, cuts permuted within each study: "
            f"{primary['mean_spearman']:+.2f}, p = {primary['p']:.4f}. All other p-values are corrected by Holm for "
            f"{found['tests_corrected']} tests. Intervals: bootstrap over seeds and test images, 95 %. 'Noise ceiling' "
            "is the correlation of one seed's accuracies with another's: no score can be expected to do better."
        )
    if any(found["studies"].values()):
        twins = (
            "LayerCAM and gradient times activation are one score where features come out of a ReLU: both then add up "
            "the positive products of gradient and activation."
        )
        yield folded("All scores, over all comparisons", f"{_summary_table(found)}\n\n{twins}")
        trial = list(on_trial(found))
        if trial:
            yield folded("The predicted accuracy on trial", "\n\n".join(trial))
    for name, by_series in found["studies"].items():
        for key, result in by_series.items():
            title = next(study.title for study in SCALES[found["scale"]].values() if study.name == name)
            parts = [_correlation_table(result), _peak_text(result)]
            if result["untrained"]:
                parts.append(_untrained_table(result))
            parts.append(picture(f"correlation_{name}_{key}", f"{title}, {SERIES_TITLES[key]}", pictures))
            yield folded(f"{title}, {SERIES_TITLES[key]}", "\n\n".join(parts))


def folded(title: str, body: str) -> str:
    """Return a part of the page that opens on a click, on the site and where Markdown is shown by itself."""
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{body}\n\n</details>'


def overview(found: Found | None, pictures: str) -> Iterator[str]:
    """Yield the one picture and the one table that the verdict is seen in; nothing if no study is complete."""
    results = [(name, by[PRIMARY[0]]) for name, by in ((found or {}).get("studies") or {}).items() if PRIMARY[0] in by]
    if found is None or not results:
        return
    name, _ = max(results, key=lambda pair: (pair[1]["seeds"], len(pair[1]["points"])))
    title = next(study.title for study in SCALES[found["scale"]].values() if study.name == name)
    yield picture(f"correlation_{name}_{PRIMARY[0]}", f"{title}, {SERIES_TITLES[PRIMARY[0]]}", pictures)
    yield (
        f"{title}: every point is a cut, with its importance (CUI) and the accuracy of the split after training. If "
        "importance predicted accuracy, the points would rise to the right."
    )
    yield _summary_table(found, (PREDICTED, PRIMARY[1], DEPTH, SIZE))


def _summary_table(found: Found, wanted: tuple[str, ...] | None = None) -> str:
    """Return a table of each score over all comparisons: correlations, wins over depth and size, accuracy lost."""
    results = [result for by_series in found["studies"].values() for result in by_series.values()]
    names = [name for name in results[0]["scores"] if all(name in result["scores"] for result in results)]
    names = [name for name in names if wanted is None or name in wanted]
    lines = [
        f"All {len(results)} comparisons together; better and worse as far as the 95 % intervals tell:",
        "",
        "| score | mean Spearman | better, worse than depth | better, worse than size | accuracy lost by its choice "
        "| untrained projections: mean Spearman | lost by its choice |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    for name in names:
        scores = [result["scores"][name] for result in results]
        mean = sum(figures["spearman"]["value"] for figures in scores) / len(scores)
        lost = -100 * sum(figures["accuracy_at_highest"] for figures in scores) / len(scores)
        beaten = [_decided([figures.get(f"minus_{rival}") for figures in scores]) for rival in ("depth", "size")]
        untrained = " | ".join(_behind_projections(results, name))
        rows.append((mean, f"| {name} | {mean:+.2f} | {beaten[0]} | {beaten[1]} | {lost:.2f} points | {untrained} |"))
    return "\n".join([*lines, *(row for _, row in sorted(rows, key=lambda row: -row[0]))])


def _behind_projections(results: list[Found], name: str) -> tuple[str, str]:
    """Return a score's mean correlation with untrained projections, and the points that its choice loses."""
    untrained = [result["untrained"] for result in results if result["untrained"]]
    if not untrained:
        return "", ""
    mean = sum(fields["scores"][name]["spearman"] for fields in untrained) / len(untrained)
    lost = sum(max(fields["accuracy"]) - fields["scores"][name]["accuracy"] for fields in untrained) / len(untrained)
    return f"{mean:+.2f}", f"{100 * lost:.2f} points"


def _decided(estimates: list[Found | None]) -> str:
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return ""
    return f"{sum(estimate['low'] > 0 for estimate in known)}, {sum(estimate['high'] < 0 for estimate in known)}"


def on_trial(found: Found) -> Iterator[str]:
    """Yield a table and text on whether the predicted accuracy reaches the noise ceiling and beats depth and size."""
    shares: list[float] = []
    lost, above, tried = 0, [], 0
    lines = ["| | Spearman | noise ceiling | share of it | minus depth | minus size |", "|---|---|---|---|---|---|"]
    for name, by_series in found["studies"].items():
        for key, result in by_series.items():
            figures = result["scores"].get(PREDICTED)
            if figures is None:
                continue
            tried += 1
            ceiling, value = result["noise_ceiling"], figures["spearman"]["value"]
            share = ""
            if ceiling is not None and ceiling > 0:
                shares.append(value / ceiling)
                share = f"{shares[-1]:.2f}"
            lost += ceiling is not None and ceiling <= 0
            if all((figures.get(rival) or {"low": 0})["low"] > 0 for rival in ("minus_depth", "minus_size")):
                above.append(f"`{name}` at {SERIES_TITLES[key]}")
            ceiling_text = "one seed" if ceiling is None else f"{ceiling:+.2f}"
            lines.append(
                f"| `{name}`, {SERIES_TITLES[key]} | {value:+.2f} | {ceiling_text} "
                f"| {share} | {_difference(figures.get('minus_depth'))} | {_difference(figures.get('minus_size'))} |"
            )
    if len(lines) > 2:
        yield "`predict_accuracy` on trial, beside what one seed's training says about another's:"
        yield "\n".join(lines)
        reached = sum(share >= _ENOUGH for share in shares)
        yield (
            f"It is above both depth and size, with intervals beyond zero, in {len(above)} of {tried} comparisons"
            f"{': ' + ', '.join(above) if above else ''}. It reaches {_ENOUGH} of the noise ceiling in {reached} of "
            f"the {len(shares)} where that is known and positive. In {lost} more the ceiling is not positive: there, "
            "one seed's accuracies do not even order the cuts as another's do."
        )


def _correlation_table(result: Found) -> str:
    ceiling = "not known from one seed" if result["noise_ceiling"] is None else f"{result['noise_ceiling']:.2f}"
    lines = [
        f"{result['seeds']} seed(s), {len(result['points'])} cuts, {result['images']:,} test images; noise ceiling: "
        f"{ceiling}.",
        "",
        "| score | Spearman | 95 % | Kendall | p, corrected | minus depth | minus size | given depth "
        "| accuracy lost by its choice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in result["scores"].items():
        p = figures.get("p_holm")
        lines.append(
            f"| {name} | {figures['spearman']['value']:+.2f} | {_between(figures['spearman'])} "
            f"| {figures['kendall']:+.2f} | {'primary' if p is None else f'{p:.3f}'} "
            f"| {_difference(figures.get('minus_depth'))} | {_difference(figures.get('minus_size'))} "
            f"| {'' if figures.get('given_depth') is None else format(figures['given_depth'], '+.2f')} "
            f"| {-100 * figures['accuracy_at_highest']:.2f} points |"
        )
    return "\n".join(lines)


def _between(estimate: Found) -> str:
    return f"{estimate['low']:+.2f} to {estimate['high']:+.2f}"


def _difference(estimate: Found | None) -> str:
    return "" if estimate is None else f"{estimate['value']:+.2f} ({_between(estimate)})"


def _peak_text(result: Found) -> str:
    peaks = result["peaks"]
    if not peaks["measured"]:
        return "No peak was measured together with both of its neighbours."
    parts = [
        f"`{peak['name']}` {100 * peak['value']:+.2f} ({100 * peak['low']:+.2f} to {100 * peak['high']:+.2f})"
        for peak in peaks["measured"]
    ]
    mean = peaks["mean"]
    return (
        "Accuracy at a peak minus the mean of its two neighbours, in points: "
        + ", ".join(parts)
        + f"; mean {100 * mean['value']:+.2f} ({100 * mean['low']:+.2f} to {100 * mean['high']:+.2f})."
    )


def _untrained_table(result: Found) -> str:
    projections = result["untrained"]
    lines = [
        "| cut | autoencoder, both phases | projection, untrained | elements |",
        "|---|---|---|---|",
        *(
            f"| {name} | {trained:.2%} | {untrained:.2%} | {elements:,.0f} |"
            for name, trained, untrained, elements in zip(
                result["points"], result["accuracy"], projections["accuracy"], result["latent_elements"], strict=True
            )
        ),
    ]
    return "\n".join(lines) + (
        f"\n\nThe untrained projections lie within {100 * projections['spread']:.2f} points of each other. Spearman's "
        "correlation of the predicted accuracy, on validation images, with theirs on test images: "
        f"{projections['scores'][PREDICTED]['spearman']:+.2f}."
    )


def picture(name: str, title: str, pictures: str) -> str:
    """Return the Markdown of a picture of the results."""
    return f"![{title}]({pictures}/{name}.svg)"
