"""Accuracy at a number of bytes: of projections without training, and of the rate-accuracy figure."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .. import plots
from ..evaluation.metrics import wilson_interval
from .advantage import compared, envelope
from .jobs import CODED, PREDICTED, Score, rated_images, unpacked
from .results import Found, Measured, Picture


def find_projection(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return the accuracy on the test images of the frozen tail behind an untrained projection, at every cut."""
    findings: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, measured in studies.items():
        original = measured.original["accuracy"]
        by_series: dict[str, Found] = {}
        for series in measured.study.series:
            score = Score(PREDICTED, series=series.name)
            if measured.has(score):
                row = next(measured.store.rows(kind="score", score=score.name, seed=0))
                values = np.array(row["test_values"])
                by_series[series.name] = {
                    "accuracy": values.tolist(),
                    "latent_elements": row["latent_elements"],
                    "largest_loss": float(original - values.min()),
                    "smallest_loss": float(original - values.max()),
                    "best": measured.cuts[int(values.argmax())]["name"],
                    "cpu_seconds": row["cpu_seconds"],
                }
        if by_series:
            names = [cut["name"] for cut in measured.cuts]
            findings[study] = {"title": measured.study.title, "cuts": names, "original": original, "series": by_series}
            lines = {measured.series_title(name): result["accuracy"] for name, result in by_series.items()}
            pictures.append((f"projection_{study}", plots.accuracies(names, lines, references={"original": original})))
    return {"studies": findings}, pictures


def find_rate_accuracy(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Return accuracy over bytes per frame, of splits at two cuts and of compressed images with the whole model."""
    findings: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, measured in studies.items():
        lines: dict[str, dict[str, list[Found]]] = {}
        labels = measured.labels[rated_images(measured.study, len(measured.labels))]
        for row in measured.store.rows(kind="rate"):
            if row.get("test_images", len(labels)) != len(labels):
                continue  # the row belongs to a recipe with other images
            label = METHOD_TITLES[row["method"]] + ("" if row["method"] == CODED else f", {row['bits']} bits")
            right = round(row["accuracy"] * len(labels))
            low, high = wilson_interval(right, len(labels), 0.95)
            point = {name: row[name] for name in _POINT if name in row}
            lines.setdefault(measured.cuts[row["cut"]]["name"], {}).setdefault(label, []).append(
                point | {"low": low, "high": high}
            )
        codecs = {
            row["codec"]: row["points"]
            for row in measured.store.rows(kind="codec")
            if row.get("test_images", len(labels)) == len(labels)
        }
        if not lines or not codecs:
            continue
        raw = float(np.prod(measured.study.data.size**2 * 3))
        findings[study] = {
            "title": measured.study.title,
            "original": _original(measured),
            "original_auc": measured.original["auc"],
            "test_images": len(labels),
            "raw_bytes": raw,
            "cuts": lines,
            "codecs": codecs,
            "model_macs": measured.cuts[-1]["head_macs"] + measured.cuts[-1]["tail_macs"],
            "head_macs": {cut: next(c["head_macs"] for c in measured.cuts if c["name"] == cut) for cut in lines},
        }
        findings[study]["compares"] = bool(measured.study.rate_cuts)
        pictures.extend(_pictures(study, findings[study]))
    return {"studies": findings}, pictures


_POINT = (
    "payload_bytes",
    "p95_bytes",
    "most_bytes",
    "accuracy",
    "auc",
    "encoder_macs",
    "encoder_params",
    "patch",
    "excess",
)


def _pictures(study: str, one: Found) -> Iterator[Picture]:
    """Yield a picture for each cut, or one of all cuts for a study of coded payloads alone."""
    codecs = {codec.upper(): envelope(_points(points, "bytes")) for codec, points in one["codecs"].items()}
    references = {"whole model on the device, or raw images": one["original"]}
    if one["compares"]:
        shares = {row["cut"]: row["share"] for row in sorted(compared(one), key=lambda row: row["share"])}
        lines = {
            f"split behind {share:.0%} of the model": _points(points, "payload_bytes")
            for cut, share in shares.items()
            for points in one["cuts"][cut].values()
        }
        title = f"{one['title']}, untrained"
        yield f"rate_accuracy_{study}", plots.rate_and_accuracy(lines, codecs, references=references, title=title)
        return
    for cut, by_label in one["cuts"].items():
        splits = {label: _points(points, "payload_bytes") for label, points in by_label.items()}
        title = f"{one['title']}, split at {cut}"
        figure = plots.rate_and_accuracy(splits, codecs, references=references, title=title)
        yield f"rate_accuracy_{study}_{cut.replace('/', '.')}", figure


def _original(one: Measured) -> float:
    """Return the original's accuracy on the images of the figure."""
    where = rated_images(one.study, len(one.labels))
    return float(np.mean((unpacked(one.original["predictions"]) == one.labels)[where]))


METHOD_TITLES = {
    "autoencoder": "autoencoder, both phases",
    "projection": "projection, untrained",
    "tuned": "projection, fine-tuned",
    "distilled": "projection, distilled",
    CODED: "projection, untrained, coded",
}


def _points(points: Sequence[Found], size: str) -> list[tuple[float, float]]:
    return sorted((point[size], point["accuracy"]) for point in points)
