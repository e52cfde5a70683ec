"""The page on the reproduction, made from the results alone."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .catalogue import (
    BOX_SETS,
    CURVE_MINUTES,
    CURVE_POINTS,
    EXPERIMENTS,
    GROUP_CLASSES,
    HIGHEST_F1,
    RETRAINING_MINUTES,
    VGG16_BEST,
    VGG16_CDE,
    VGG16_PEAKS,
)
from .correlation_page import SERIES_TITLES, correlation_section, folded, overview, picture
from .rate_page import rate_page
from .verdict import verdict

Found = Mapping[str, Any]
LOSSES = {"squared_error": "squared error (Eq. 4)", "sparse_categorical_crossentropy": "cross-entropy"}


def reproduction_page(found: Mapping[str, Found], scale: str, pictures: str) -> str:
    """Return the page as Markdown.

    Args:
        found: What `write_findings` returned, by experiment.
        scale: The scale at which the experiments were run.
        pictures: The folder of the pictures, relative to the page.

    Returns:
        The page; all its figures come from `found` and the paper.
    """
    first, *others = verdict(found.get("correlation"))
    advice = [line for line in others if line.startswith("**")]
    reasons = [f"- {line}" for line in others if line not in advice]
    sections: list[str] = ["# The paper's experiments", first, *advice]
    if any(left for findings in found.values() for left in findings["jobs_left"].values()):
        sections.append("**The runs are not complete**; what is missing below is not measured yet.")
    sections += overview(found.get("correlation"), pictures)
    if reasons:
        sections.append(folded("What else the comparisons say", "\n".join(reasons)))
    sections.append(folded("How it was made", f"{_how(scale)}\n\n{_what_was_run(found)}"))
    makers = {
        "correlation": correlation_section,
        "projection": _projection,
        "fig3": _axes,
        "fig4": _fig4,
        "fig5": _fig5,
        "fig6": _axes,
        "fig7": _axes,
        "fig8": _fig8,
        "cost": _cost,
    }
    for name, maker in makers.items():
        if name in found:
            title = f"## {EXPERIMENTS[name].title} (`{name}`)"
            body = "\n\n".join(maker(found[name], pictures))
            sections.append(f"{title}\n\n{body if name == 'correlation' else folded('Tables and pictures', body)}")
    sections.append("\n\n".join(_limits(scale)))
    return "\n\n".join(sections) + "\n"


def _how(scale: str) -> str:
    return (
        f"Made by `isplit reproduce all --scale {scale} --page docs/reproduction.md`; every figure below comes from "
        "the rows and JSON files beside the pictures. Every cut gets the same epochs, optimizer, learning rate and "
        "order of images; the rate was chosen once, on validation images at one cut. BatchNormalization of head and "
        "tail runs in inference mode in both phases. The curve, the rate and the choice of a cut saw validation "
        "images only, accuracies test images only. Controls: the original, fine-tuned for as many epochs as both "
        "phases have; and a split without a bottleneck, fine-tuned for as many epochs as the others."
    )


def _what_was_run(found: Mapping[str, Found]) -> str:
    studies: dict[str, tuple[Found, int]] = {}
    for findings in found.values():
        for name, run in findings["runs"].items():
            left = max(findings["jobs_left"][name], studies.get(name, (run, 0))[1])
            studies[name] = (run, left)
    lines = [
        "| study | training images (original, retraining) | validation, test | epochs (original, phase 1, phase 2) "
        "| images per step, loss of phase 2 | seeds | jobs done | jobs left | hours of processor |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (run, left) in studies.items():
        images = run["images"]
        lines.append(
            f"| `{name}` | {images['original_train']:,}, {images['train']:,} "
            f"| {images['validation']:,}, {images['test']:,} "
            f"| {run['original_epochs']}, {run['bottleneck_epochs']}, {run['fine_tune_epochs']} "
            f"| {run['batch_size']}, {LOSSES.get(run['loss'], run['loss'])} "
            f"| {len(run['seeds'])} | {run['rows']} | {left} | {run['cpu_seconds'] / 3600:.1f} |"
        )
    versions = sorted({text for run, _ in studies.values() for text in run["versions"]})
    mixed = [
        f"`{name}` seed {seed}"
        for name, (run, _) in studies.items()
        for seed, prints in run["originals"].items()
        if len(prints) > 1
    ]
    text = "\n".join(lines) + "\n\nVersions: " + "; ".join(versions) + "."
    if mixed:
        text += (
            f" The original of {', '.join(mixed)} was trained again by the same recipe on a machine that rounds "
            "differently; its rows stem from both."
        )
    return text


def _axes(found: Found, pictures: str) -> Iterator[str]:
    for name, study in found["studies"].items():
        yield f"**{study['title']}**"
        yield _axis_table(found["experiment"], study)
        if study["boxes"] is None:
            yield "The accuracies after the split are not measured yet."
            continue
        yield picture(f"{found['experiment']}_{name}", study["title"], pictures)
        yield (
            f"Boxes: {BOX_SETS} test sets of {study['box_images']} of the {study['test_images']:,} test images at "
            "each cut. They show the sampling of the test set, not the noise of training."
        )
        yield _accuracy_table(study)


def _axis_table(experiment: str, one: Found) -> str:
    rows = [
        ("peaks", ", ".join(one["peaks"]) or "none"),
        ("highest peak", one["best"]),
        ("size drops (CDE)", ", ".join(one["size_drops"])),
    ]
    reported: dict[str, str] = {}
    if experiment == "fig3":
        cuts = one["cuts"]
        reported = {
            "peaks": ", ".join(cuts[k] for k in VGG16_PEAKS if k < len(cuts)),
            "highest peak": cuts[VGG16_BEST],
            "size drops (CDE)": ", ".join(cuts[k] for k in VGG16_CDE if k < len(cuts)),
        }
    lines = ["| | here | the paper |", "|---|---|---|"]
    lines += [f"| {title} | {value} | {reported.get(title, 'a plot only')} |" for title, value in rows]
    if reported:
        agree = sorted(set(reported["peaks"].split(", ")) & set(one["peaks"]))
        lines.append(f"| peaks that both name | {', '.join(agree) or 'none'} | |")
        same = "agrees" if reported["highest peak"] == one["best"] else "does not agree"
        lines.append(f"| the highest peak | {same} | |")
    return "\n".join(lines)


def _accuracy_table(one: Found) -> str:
    names = [one["cuts"][k] for k in one["positions"]]
    header, rule = "| cut | accuracy |", "|---|---|"
    columns = [[f"{value:.2%}" for value in one["accuracy"]]]
    if one["auc"] is not None:
        header, rule = "| cut | accuracy | balanced accuracy | AUC |", "|---|---|---|---|"
        columns += [[f"{v:.2%}" for v in one["balanced_accuracy"]], [f"{v:.3f}" for v in one["auc"]]]
    lines = [header, rule]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, *cells in zip(names, *columns, strict=True)]
    for title, value in one["references"].items():
        if value is not None:
            lines.append(f"| *{title}* | {value:.2%} |{' | |' if one['auc'] is not None else ''}")
    return "\n".join(lines)


def _fig4(found: Found, pictures: str) -> Iterator[str]:
    for name, study in found["studies"].items():
        yield picture(f"fig4_{name}", "Grad-CAM and gradients", pictures)
        yield (
            f"Spearman's correlation of the two curves over {len(study['cuts'])} cuts: {study['spearman']:.2f}. "
            "The paper prefers Grad-CAM by the shape of its curve."
        )


def _fig5(found: Found, pictures: str) -> Iterator[str]:
    for name, study in found["studies"].items():
        yield picture(f"fig5_{name}", "F1 before and after", pictures)
        yield (
            f"Split at `{study['cut']}`: {study['classes_that_gained']} classes gained, "
            f"{study['classes_that_lost']} lost. Highest F1 of a class: {study['highest_before']:.0%} before, "
            f"{study['highest_after']:.0%} after; the paper reports {HIGHEST_F1:.0%}, on 200 classes."
        )
    if not found["studies"]:
        yield "Not measured yet."


def _fig8(found: Found, pictures: str) -> Iterator[str]:
    for name, study in found["studies"].items():
        counts = ", ".join(f"{n} at {cut}" for cut, n in study["peaks_of_classes"].items())
        yield f"Highest peak of a class's own curve, on one half of the validation images: {counts}."
        if study["same_peak_on_the_other_half"] is not None:
            yield (
                f"On the other half the same peak comes out for {study['same_peak_on_the_other_half']:.0%} of the "
                "classes: what is not stable between halves cannot be a property of the class."
            )
        if not study["cuts"]:
            yield "All classes peak at one place, so there are no two groups to compare."
            continue
        yield picture(f"fig8_{name}", "Curves of the two groups", pictures)
        if study["accuracy"]:
            yield _group_table(study)
        if study["own_peak"]:
            yield _own_peak(study)
        yield (
            f"The paper: groups of {GROUP_CLASSES} classes whose accuracies follow their curves, without random "
            "groups beside them."
        )


def _group_table(one: Found) -> str:
    first, second = one["cuts"]
    lines = [
        f"| group | split at {first} | split at {second} | difference, points |",
        "|---|---|---|---|",
    ]
    for group, cells in one["accuracy"].items():
        texts = [
            f"{cells[cut]['accuracy']:.2%} ({cells[cut]['low']:.2%} to {cells[cut]['high']:.2%})"
            if cut in cells
            else "not yet"
            for cut in (first, second)
        ]
        both = first in cells and second in cells
        lead = f"{100 * (cells[first]['accuracy'] - cells[second]['accuracy']):+.2f}" if both else ""
        lines.append(f"| {group} | {' | '.join(texts)} | {lead} |")
    return "\n".join(lines)


def _own_peak(one: Found) -> str:
    effect = one["own_peak"]
    first, second = (
        f"{abs(effect[name]):.2f} points {'more' if effect[name] > 0 else 'less'}" for name in ("first", "second")
    )
    here, there = one["cuts"]
    beyond = effect["groups"] > effect["random"]
    return (
        f"Split where its own classes peak instead of where the others' do, the first group keeps {first} ({here}), "
        f"the second {second} ({there}). In what {here} keeps more than {there}, the two groups differ by "
        f"{effect['groups']:+.2f} points, two groups drawn at random by "
        f"{effect['random']:.2f}: "
        + (
            "the groups differ by more than random ones."
            if beyond
            else "that a group follows its own curve does not show here."
        )
    )


def _cost(found: Found, pictures: str) -> Iterator[str]:
    for study in found["studies"].values():
        yield "\n".join(
            [
                "| | here | the paper |",
                "|---|---|---|",
                f"| the curve | {study['curve_seconds']:.1f} s, {study['curve_images']:,} images, 18 points "
                f"| {CURVE_MINUTES} minutes, {CURVE_POINTS} points |",
                f"| retraining | {study['retraining_seconds'] / 60:.0f} minutes, {study['retraining_cuts']} cuts "
                f"| {RETRAINING_MINUTES} minutes |",
                f"| ratio | {study['ratio']:.0f} | {RETRAINING_MINUTES / CURVE_MINUTES:.1f} |",
                f"| ratio of processor time | {study['cpu_ratio']:.0f} | not reported |",
            ]
        )
    if not found["studies"]:
        yield "Not measured yet."


def _projection(found: Found, pictures: str) -> Iterator[str]:
    for name, study in found["studies"].items():
        yield f"**{study['title']}**, {study['original']:.2%} before the split"
        lines = ["| | highest loss of a cut | lowest loss | at |", "|---|---|---|---|"]
        lines += [
            f"| {SERIES_TITLES[key]} | {100 * losses['largest_loss']:.2f} points "
            f"| {100 * losses['smallest_loss']:.2f} points | {losses['best']} |"
            for key, losses in study["series"].items()
        ]
        yield "\n".join(lines)
        yield picture(f"projection_{name}", study["title"], pictures)


def _limits(scale: str) -> Iterator[str]:
    yield "## What this scale cannot show"
    if scale == "cpu":
        yield (
            "Networks see fewer images, for fewer epochs, at lower resolution than in the paper, and Tiny-ImageNet has "
            "40 of its 200 classes. Differences of a few tenths of a point between cuts lie within the intervals. "
            "`--scale paper` is the full setting, for a GPU; it was not run for this page."
        )
    elif scale == "smoke":
        yield "Nothing but that the code runs: small networks on the embedded glyphs, for one epoch."
    yield (
        "The intervals of a study with one seed hold the sampling of test images only, not the noise of training. "
        "The paper does not name the data set of its ResNet-50; notMNIST stands in for it."
    )


def write_page(found: Mapping[str, Found], scale: str, results: Path, page: Path) -> None:
    """Write the page, with pictures named relative to it. `rate_accuracy` alone has a page of its own."""
    page.parent.mkdir(parents=True, exist_ok=True)
    pictures = Path(os.path.relpath(results / scale, page.parent)).as_posix()
    if set(found) == {"rate_accuracy"}:
        text = rate_page(found["rate_accuracy"], scale, pictures)
    else:
        text = reproduction_page(found, scale, pictures)
    page.write_text(text, encoding="utf-8")
