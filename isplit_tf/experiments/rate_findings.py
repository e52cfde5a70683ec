"""What a number of bytes keeps: projections without training, and accuracy over bytes a frame."""

from collections.abc import Mapping, Sequence

import numpy as np

from .. import plots
from ..evaluation.metrics import wilson_interval
from .jobs import PREDICTED, Score, rated_images, unpacked
from .results import Found, Measured, Picture


def find_projection(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Accuracy on the test images of the frozen tail behind a projection, untrained, at every cut."""
    found: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, one in studies.items():
        original = one.original["accuracy"]
        series: dict[str, Found] = {}
        for each in one.study.series:
            score = Score(PREDICTED, series=each.name)
            if one.has(score):
                row = next(one.store.rows(kind="score", score=score.name, seed=0))
                values = np.array(row["test_values"])
                series[each.name] = {
                    "accuracy": values.tolist(),
                    "latent_elements": row["latent_elements"],
                    "largest_loss": float(original - values.min()),
                    "smallest_loss": float(original - values.max()),
                    "best": one.cuts[int(values.argmax())]["name"],
                    "cpu_seconds": row["cpu_seconds"],
                }
        if series:
            names = [cut["name"] for cut in one.cuts]
            found[study] = {"title": one.study.title, "cuts": names, "original": original, "series": series}
            lines = {one.series_title(name): result["accuracy"] for name, result in series.items()}
            pictures.append((f"projection_{study}", plots.accuracies(names, lines, references={"original": original})))
    return {"studies": found}, pictures


def find_rate_accuracy(studies: Mapping[str, Measured]) -> tuple[Found, list[Picture]]:
    """Accuracy over bytes a frame: splits at two cuts, compressed images with the whole model on a server."""
    found: dict[str, Found] = {}
    pictures: list[Picture] = []
    for study, one in studies.items():
        lines: dict[str, dict[str, list[Found]]] = {}
        labels = one.labels[rated_images(one.study, len(one.labels))]
        for row in one.store.rows(kind="rate"):
            if row.get("test_images", len(labels)) != len(labels):
                continue  # of a recipe with other images
            label = f"{METHOD_TITLES[row['method']]}, {row['bits']} bits"
            right = round(row["accuracy"] * len(labels))
            low, high = wilson_interval(right, len(labels), 0.95)
            point = {name: row[name] for name in ("payload_bytes", "accuracy", "auc", "encoder_macs", "encoder_params")}
            lines.setdefault(one.cuts[row["cut"]]["name"], {}).setdefault(label, []).append(
                point | {"low": low, "high": high}
            )
        codecs = {
            row["codec"]: row["points"]
            for row in one.store.rows(kind="codec")
            if row.get("test_images", len(labels)) == len(labels)
        }
        if not lines or not codecs:
            continue
        raw = float(np.prod(one.study.data.size**2 * 3))
        found[study] = {
            "title": one.study.title,
            "original": _original(one),
            "original_auc": one.original["auc"],
            "test_images": len(labels),
            "raw_bytes": raw,
            "cuts": lines,
            "codecs": codecs,
            "model_macs": one.cuts[-1]["head_macs"] + one.cuts[-1]["tail_macs"],
            "head_macs": {cut: next(c["head_macs"] for c in one.cuts if c["name"] == cut) for cut in lines},
        }
        pictures.extend(
            (
                f"rate_accuracy_{study}_{cut.replace('/', '.')}",
                plots.rate_and_accuracy(
                    {label: _points(points, "payload_bytes") for label, points in by_label.items()},
                    {codec.upper(): _points(points, "bytes") for codec, points in codecs.items()},
                    references={"whole model on the device, or raw images": found[study]["original"]},
                    title=f"{one.study.title}, split at {cut}",
                ),
            )
            for cut, by_label in lines.items()
        )
    return {"studies": found}, pictures


def _original(one: Measured) -> float:
    """The original's accuracy on the images of the figure."""
    where = rated_images(one.study, len(one.labels))
    return float(np.mean((unpacked(one.original["predictions"]) == one.labels)[where]))


METHOD_TITLES = {
    "autoencoder": "autoencoder, both phases",
    "projection": "projection, untrained",
    "tuned": "projection, fine-tuned",
    "distilled": "projection, distilled",
}


def _points(points: Sequence[Found], size: str) -> list[tuple[float, float]]:
    return sorted((point[size], point["accuracy"]) for point in points)
