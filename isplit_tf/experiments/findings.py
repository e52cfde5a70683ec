"""What each experiment found: plain JSON values, and pictures."""

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
    """Curve, sizes and accuracies after the split along the axis of a study, with its controls."""
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
    """Accuracy of the original and of the controls."""
    titles = {"original": "original", "control": "original, trained on", "identity": "split without bottleneck"}
    found = {title: one.reference(kind) for kind, title in titles.items()}
    return {title: None if np.isnan(value) else value for title, value in found.items()}


def _boxes(one: Measured, series: str) -> np.ndarray:
    seed = one.seeds(series)[0]
    images = box_images(one)
    return np.array([one.evaluation(one.row(series, cut, seed)).resampled(PAPER_SETS, images) for cut in one.points])


def box_images(one: Measured) -> int:
    """Images of each test set of a box plot: the paper's number, or half of what there is, so that the sets differ."""
    return min(PAPER_IMAGES, len(one.labels) // 2)


def _axis_pictures(name: str, one: Measured, found: Found) -> Iterator[Picture]:
    if found["boxes"] is not None:
        known = {title: value for title, value in found["references"].items() if value is not None}
        yield (
            name,
            plots.importance_sizes_accuracy(
                found["cuts"],
                np.array(found["importance"]),
                found["sizes"],
                np.array(found["boxes"]),
                positions=found["positions"],
                peaks=one.peaks,
                references=known,
                title=found["title"],
            ),
        )


def find_fig3(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Importance, sizes and accuracies on Tiny-ImageNet; also the curves of single classes."""
    return _find_axes("fig3", studies)


def find_fig6(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """The same on notMNIST and Chest X-Ray."""
    return _find_axes("fig6", studies)


def find_fig7(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """The same of ResNet-50."""
    return _find_axes("fig7", studies)


def _find_axes(name: str, studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    found = {study: axis(one) for study, one in studies.items()}
    pictures = [
        picture for study, one in studies.items() for picture in _axis_pictures(f"{name}_{study}", one, found[study])
    ]
    return {"studies": found}, pictures


def find_fig4(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Grad-CAM's curve against that of gradients alone."""
    found: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, one in studies.items():
        lines = {"Grad-CAM": one.curve(Score()), "gradients": one.curve(Score("gradients"))}
        found[study] = {
            "cuts": [cut["name"] for cut in one.cuts],
            "grad_cam": lines["Grad-CAM"].tolist(),
            "gradients": lines["gradients"].tolist(),
            "spearman": spearman(*lines.values()),
        }
        pictures.append((f"fig4_{study}", plots.curves(found[study]["cuts"], lines, log=True)))
    return {"studies": found}, pictures


def find_fig5(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """F1 of each class before and after the split at the measured point nearest to the highest peak."""
    found: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, one in studies.items():
        series = one.study.series[0].name
        if not one.seeds(series):
            continue
        place = one.nearest_point(one.best)
        before = one.evaluation(one.original)
        after = one.evaluation(one.row(series, place, one.seeds(series)[0]))
        change = after.f1 - before.f1
        found[study] = {
            "cut": one.cuts[place]["name"],
            "class_names": one.original["class_names"],
            "before": np.nan_to_num(before.f1).tolist(),
            "after": np.nan_to_num(after.f1).tolist(),
            "highest_before": float(np.nanmax(before.f1)),
            "highest_after": float(np.nanmax(after.f1)),
            "classes_that_gained": int((change > 0).sum()),
            "classes_that_lost": int((change < 0).sum()),
        }
        title = f"{one.study.title}, split at {one.cuts[place]['name']}"
        names = before.class_names or tuple(map(str, range(before.n_classes)))
        pictures.append((f"fig5_{study}", plots.f1_before_and_after(before.f1, after.f1, names=names, title=title)))
    return {"studies": found}, pictures


def find_fig8(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Groups of classes by their own peak, each split at both peaks, with random groups beside."""
    found: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, one in studies.items():
        first, second = one.per_class(Score(part="first_half")), one.per_class(Score(part="second_half"))
        groups = class_groups(first)
        again = best_positions(second)
        names = [cut["name"] for cut in one.cuts]
        same = [a == b for a, b in zip(best_positions(first), again, strict=True) if a is not None and b is not None]
        accuracy = _group_accuracies(one, names)
        cuts = [names[k] for k in groups.peaks]
        found[study] = {
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
    return {"studies": found}, pictures


def _group_accuracies(one: Measured, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for row in one.store.rows(kind="group"):
        right = round(row["accuracy"] * row["test_images"])
        low, high = wilson_interval(right, row["test_images"], 0.95)
        cell = {"accuracy": row["accuracy"], "low": low, "high": high, "images": row["test_images"]}
        table.setdefault(row["group"], {})[names[row["cut"]]] = cell
    return table


def find_correlation(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Which score predicts the accuracy after the split."""
    found = correlate(list(studies.values()))
    pictures = []
    for study, one in studies.items():
        for series, result in found["studies"].get(study, {}).items():
            draws = resampled_accuracies(one.right(series), draws=500)
            pictures.append(
                (
                    f"correlation_{study}_{series}",
                    plots.score_against_accuracy(
                        scores_of(one, series)[PRIMARY[1]],
                        result["accuracy"],
                        names=result["points"],
                        label=PRIMARY[1],
                        intervals=np.percentile(draws, [2.5, 97.5], axis=0),
                        references={k: v for k, v in references(one).items() if v is not None},
                        title=f"{one.study.title}, {one.series_title(series)}",
                    ),
                )
            )
    return found, pictures


def find_cost(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Seconds for the curve against seconds for retraining at every measured cut, by the clock and of the processor."""
    found = {}
    for study, one in studies.items():
        series = one.study.series[0].name
        if not one.seeds(series):
            continue
        curve = next(one.store.rows(kind="score", score=Score().name, seed=0))
        seed = one.seeds(series)[0]
        rows = [one.row(series, cut, seed) for cut in one.points]
        total, cpu_total = (sum(row[key] for row in rows) for key in ("seconds", "cpu_seconds"))
        found[study] = {
            "curve_seconds": curve["seconds"],
            "curve_images": curve["image_count"],
            "retraining_seconds": total,
            "retraining_cuts": len(rows),
            "ratio": total / curve["seconds"],
            "curve_cpu_seconds": curve["cpu_seconds"],
            "retraining_cpu_seconds": cpu_total,
            "cpu_ratio": cpu_total / curve["cpu_seconds"],
        }
    return {"studies": found}, []


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
