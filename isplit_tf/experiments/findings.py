"""The findings of each experiment: plain JSON values, and pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import plots
from ..evaluation.metrics import wilson_interval
from .correlation import PRIMARY, correlate, scores_of
from .groups import best_positions, class_groups, own_peak_effect
from .jobs import Score
from .rate_findings import find_projection, find_rate_accuracy
from .results import Found, Measured, Picture
from .statistics import resampled_accuracies, spearman

PAPER_SETS, PAPER_IMAGES = 15, 800


def axis(one: Measured) -> Found:
    """Return the curve, sizes and accuracies after the split along the axis of a study, with its controls."""
    series = one.study.series[0].name
    done = bool(one.seeds(series))
    accuracy = one.right(series).mean(axis=(0, 2)) if done else None
    curve = one.curve(Score())
    return {
        "title": one.study.title,
        "cuts": [cut["name"] for cut in one.cuts],
        "importance": curve.tolist(),
        "importance_sum": (curve * [cut["size"] for cut in one.cuts]).tolist(),
        "sizes": [cut["size"] for cut in one.cuts],
        "size_drops": [b["name"] for a, b in zip(one.cuts, one.cuts[1:], strict=False) if b["size"] < a["size"]],
        "peaks": [one.cuts[k]["name"] for k in one.peaks],
        "best": one.cuts[one.best]["name"],
        "positions": one.points,
        "seeds": len(one.seeds(series)),
        "test_images": len(one.labels),
        "accuracy": None if accuracy is None else accuracy.tolist(),
        "box_images": box_images(one),
        "boxes": None if accuracy is None else _boxes(one, series).tolist(),
        "balanced_accuracy": one.column(series, "balanced_accuracy").tolist() if done else None,
        "auc": one.column(series, "auc").tolist() if done and one.original["auc"] is not None else None,
        "references": references(one),
        "original_auc": one.original["auc"],
        "original_balanced_accuracy": one.original["balanced_accuracy"],
        "images": one.original["images"],
    }


def references(one: Measured) -> dict[str, float | None]:
    """Return the accuracies of the original and of the controls; None for one that is not measured."""
    titles = {
        "original": "original",
        "control": "control: original, fine-tuned for as many epochs",
        "identity": "split without bottleneck",
    }
    accuracies = {title: one.reference(kind) for kind, title in titles.items()}
    return {title: None if np.isnan(value) else value for title, value in accuracies.items()}


def _boxes(one: Measured, series: str) -> np.ndarray:
    seed = one.seeds(series)[0]
    images = box_images(one)
    return np.array([one.evaluation(one.row(series, cut, seed)).resampled(PAPER_SETS, images) for cut in one.points])


def box_images(one: Measured) -> int:
    """Return the number of images in each test set of a box plot.

    It is the paper's number, but at most half of the test images, so that the sets differ.
    """
    return min(PAPER_IMAGES, len(one.labels) // 2)


def _axis_pictures(name: str, one: Measured, found: Found) -> Iterator[Picture]:
    if found["boxes"] is not None:
        measured_references = {title: value for title, value in found["references"].items() if value is not None}
        yield (
            name,
            plots.importance_sizes_accuracy(
                found["cuts"],
                np.array(found["importance"]),
                found["sizes"],
                np.array(found["boxes"]),
                positions=found["positions"],
                peaks=one.peaks,
                references=measured_references,
                title=found["title"],
            ),
        )


def find_fig3(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return importance, sizes and accuracies on Tiny-ImageNet, with plots."""
    return _find_axes("fig3", studies)


def find_fig6(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return importance, sizes and accuracies on notMNIST and Chest X-Ray, with plots."""
    return _find_axes("fig6", studies)


def find_fig7(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return importance, sizes and accuracies of ResNet-50, with plots."""
    return _find_axes("fig7", studies)


def _find_axes(name: str, studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    axes = {study: axis(measured) for study, measured in studies.items()}
    pictures = [
        picture
        for study, measured in studies.items()
        for picture in _axis_pictures(f"{name}_{study}", measured, axes[study])
    ]
    return {"studies": axes}, pictures


def find_fig4(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return the curve of Grad-CAM and that of gradients alone, their correlation, and a plot."""
    findings: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, measured in studies.items():
        lines = {"Grad-CAM": measured.curve(Score()), "gradients": measured.curve(Score("gradients"))}
        findings[study] = {
            "cuts": [cut["name"] for cut in measured.cuts],
            "grad_cam": lines["Grad-CAM"].tolist(),
            "gradients": lines["gradients"].tolist(),
            "spearman": spearman(*lines.values()),
        }
        pictures.append((f"fig4_{study}", plots.curves(findings[study]["cuts"], lines, log=True)))
    return {"studies": findings}, pictures


def find_fig5(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return F1 of each class before and after the split at the measured point nearest to the highest peak."""
    findings: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, measured in studies.items():
        series = measured.study.series[0].name
        if not measured.seeds(series):
            continue
        position = measured.nearest_point(measured.best)
        before = measured.evaluation(measured.original)
        after = measured.evaluation(measured.row(series, position, measured.seeds(series)[0]))
        change = after.f1 - before.f1
        findings[study] = {
            "cut": measured.cuts[position]["name"],
            "class_names": measured.original["class_names"],
            "before": np.nan_to_num(before.f1).tolist(),
            "after": np.nan_to_num(after.f1).tolist(),
            "highest_before": float(np.nanmax(before.f1)),
            "highest_after": float(np.nanmax(after.f1)),
            "classes_that_gained": int((change > 0).sum()),
            "classes_that_lost": int((change < 0).sum()),
        }
        title = f"{measured.study.title}, split at {measured.cuts[position]['name']}"
        names = before.class_names or tuple(map(str, range(before.n_classes)))
        pictures.append((f"fig5_{study}", plots.f1_before_and_after(before.f1, after.f1, names=names, title=title)))
    return {"studies": findings}, pictures


def find_fig8(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return the groups of classes by their own peak and their accuracies at both peaks, beside random groups."""
    findings: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, measured in studies.items():
        first, second = measured.per_class(Score(part="first_half")), measured.per_class(Score(part="second_half"))
        groups = class_groups(first)
        second_peaks = best_positions(second)
        names = [cut["name"] for cut in measured.cuts]
        same = [
            a == b for a, b in zip(best_positions(first), second_peaks, strict=True) if a is not None and b is not None
        ]
        accuracy = _group_accuracies(measured, names)
        cuts = [names[k] for k in groups.peaks]
        findings[study] = {
            "peaks_of_classes": {names[k]: n for k, n in sorted(groups.counts.items())},
            "cuts": cuts,
            "groups": {name: list(classes) for name, classes in groups.groups.items()},
            "same_peak_on_the_other_half": float(np.mean(same)) if same else None,
            "accuracy": accuracy,
            "own_peak": own_peak_effect(accuracy, cuts) if cuts else {},
        }
        lines = {
            f"{name} group": np.nanmean(first[list(groups.groups[name])], axis=0)
            for name in ("first", "second")
            if name in groups.groups
        }
        if lines:
            pictures.append((f"fig8_{study}", plots.curves(names, lines, log=True)))
    return {"studies": findings}, pictures


def _group_accuracies(one: Measured, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for row in one.store.rows(kind="group"):
        right = round(row["accuracy"] * row["test_images"])
        low, high = wilson_interval(right, row["test_images"], 0.95)
        cell = {"accuracy": row["accuracy"], "low": low, "high": high, "images": row["test_images"]}
        table.setdefault(row["group"], {})[names[row["cut"]]] = cell
    return table


def find_correlation(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return the correlations of scores with the accuracy after the split, with a plot of each comparison."""
    findings = correlate(list(studies.values()))
    pictures = []
    for study, measured in studies.items():
        for series, result in findings["studies"].get(study, {}).items():
            draws = resampled_accuracies(measured.right(series), draws=500)
            pictures.append(
                (
                    f"correlation_{study}_{series}",
                    plots.score_against_accuracy(
                        scores_of(measured, series)[PRIMARY[1]],
                        result["accuracy"],
                        names=result["points"],
                        label=PRIMARY[1],
                        intervals=np.percentile(draws, [2.5, 97.5], axis=0),
                        references={k: v for k, v in references(measured).items() if v is not None},
                        title=f"{measured.study.title}, {measured.series_title(series)}",
                    ),
                )
            )
    return findings, pictures


def find_cost(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return the seconds for the curve and for retraining at every measured cut, on the clock and of the processor."""
    findings = {}
    for study, measured in studies.items():
        series = measured.study.series[0].name
        if not measured.seeds(series):
            continue
        curve = next(measured.store.rows(kind="score", score=Score().name, seed=0))
        seed = measured.seeds(series)[0]
        rows = [measured.row(series, cut, seed) for cut in measured.points]
        total, cpu_total = (sum(row[key] for row in rows) for key in ("seconds", "cpu_seconds"))
        findings[study] = {
            "curve_seconds": curve["seconds"],
            "curve_images": curve["image_count"],
            "retraining_seconds": total,
            "retraining_cuts": len(rows),
            "ratio": total / curve["seconds"],
            "curve_cpu_seconds": curve["cpu_seconds"],
            "retraining_cpu_seconds": cpu_total,
            "cpu_ratio": cpu_total / curve["cpu_seconds"],
        }
    return {"studies": findings}, []


FINDERS: dict[str, Callable[[Mapping[str, Measured]], tuple[Found, list[Picture]]]] = {
    "fig3": find_fig3,
    "fig4": find_fig4,
    "fig5": find_fig5,
    "fig6": find_fig6,
    "fig7": find_fig7,
    "fig8": find_fig8,
    "correlation": find_correlation,
    "cost": find_cost,
    "projection": find_projection,
    "rate_accuracy": find_rate_accuracy,
}
"""The experiments' finders by name."""
