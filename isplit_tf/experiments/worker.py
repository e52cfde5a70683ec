"""The worker that does one job of a study, and the row that each kind of job makes."""

import datetime
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import __version__
from isplit_edge.wire import payload_bytes

from ..bottlenecks.autoencoder import Autoencoder
from ..bottlenecks.projection import Projection
from ..importance.measure import measure_importance
from ..selection.codec import measure_codecs
from ..selection.prediction import predict_accuracy
from ..splitting import SplitModel, split
from ..sweep.store import Row
from .coded import measure_coded
from .images import Part
from .jobs import CODED, PREDICTED, Job, Score, packed
from .originals import Workshop, fingerprint, form_of
from .recipes import Series

Fields = dict[str, Any]


class Worker:
    """A worker that does the jobs of one study.

    Args:
        shop: The images, originals and settings that the jobs share.
    """

    def __init__(self, shop: Workshop):
        self._shop = shop

    def __call__(self, job: Job) -> Row:
        """Do a job, and return its row."""
        shop = self._shop
        shop.images  # noqa: B018  # read them here, so that the job's time does not include it
        if job.kind != "original":
            shop.original_of(job.seed)
        start, cpu = time.perf_counter(), time.process_time()
        fields = DOERS[job.kind](shop, job)
        return {
            "key": job.key,
            "kind": job.kind,
            "seed": job.seed,
            "cut": job.cut,
            "series": job.series,
            **fields,
            "original": fingerprint(shop.original_of(job.seed)),
            "versions": _versions(),
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "date": datetime.date.today().isoformat(),
        }


def _do_original(shop: Workshop, job: Job) -> Fields:
    model = shop.original_of(job.seed)
    images = shop.images
    return shop.tested(model) | {
        "images": {
            "original_train": len(images.original_train[1]),
            "train": len(images.train[1]),
            "validation": len(images.validation[1]),
            "test": len(images.test[1]),
        },
        "epochs": shop.study.model.epochs,
        "labels": packed(images.test[1]),
        "class_names": list(images.class_names),
        "cuts": [
            {name: getattr(cut, name) for name in ("name", "index", "shape", "size", "head_macs", "tail_macs")}
            for cut in shop.cuts
        ],
    }


def _do_control(shop: Workshop, job: Job) -> Fields:
    """Train the original for as many more epochs as both phases have."""
    retraining = shop.study.retraining
    halves = split(shop.original_of(job.seed), shop.cuts[retraining.tuned_at])
    epochs = retraining.bottleneck_epochs + retraining.fine_tune_epochs
    shop.train(halves, job, shop.images.train, fine_tune_epochs=epochs)
    return shop.tested(halves)


def _do_identity(shop: Workshop, job: Job) -> Fields:
    """Fine-tune the split without a bottleneck, for as many epochs as the other splits."""
    halves = split(shop.original_of(job.seed), shop.cuts[shop.study.retraining.tuned_at])
    shop.train(halves, job, shop.images.train)
    return shop.tested(halves)


def _do_tune(shop: Workshop, job: Job) -> Fields:
    halves = _split(shop, job)
    shop.train(halves, job, shop.images.train)
    report = shop.evaluate(halves, shop.images.validation)
    return {"learning_rate": job.learning_rate, "accuracy": report.accuracy}


def _do_split(shop: Workshop, job: Job) -> Fields:
    halves = _split(shop, job)
    history = shop.train(halves, job, shop.images.train)
    return shop.tested(halves) | _described(halves) | {"learning_rate": job.learning_rate, "losses": history}


def _do_group(shop: Workshop, job: Job) -> Fields:
    assert job.group is not None
    name, classes = job.group
    halves = _split(shop, job)
    shop.train(halves, job, _of_classes(shop.images.train, classes))
    report = shop.evaluate(halves, _of_classes(shop.images.test, classes))
    return {
        "group": name,
        "classes": list(classes),
        "accuracy": report.accuracy,
        "predictions": packed(report.predictions),
        "test_images": report.n_images,
    }


def _do_score(shop: Workshop, job: Job) -> Fields:
    assert job.score is not None
    if job.score.method == PREDICTED:
        return _predict(shop, job.score, job.seed)
    curve = measure_importance(
        shop.original_of(job.seed),
        shop.part(job.score.part),
        max_images=job.score.images,
        method=job.score.method,
        target=job.score.target,
        class_names=list(shop.images.class_names),
        progress=False,
    )
    return {
        "score": job.score.name,
        "values": curve.values.tolist(),
        "per_class": [[None if np.isnan(v) else float(v) for v in row] for row in curve.per_class],
        "counts": curve.counts.tolist(),
        "image_count": curve.n_images,
    }


def _do_rate(shop: Workshop, job: Job) -> Fields:
    assert job.cut is not None
    assert job.rate is not None
    rate = job.rate
    if rate.method == CODED:
        return measure_coded(shop, job)
    size, seed = max(1, 8 * rate.latent_bytes // rate.bits), job.seed
    bottleneck: Any = Projection(latent_size=size, latent_bits=rate.bits, seed=seed)
    if rate.method == "autoencoder":
        bottleneck = Autoencoder(latent_size=size, latent_bits=rate.bits, seed=seed)
    halves = split(shop.original_of(job.seed), shop.cuts[job.cut], bottleneck)
    changes: dict[str, Any] = {}
    if rate.method == "projection":
        changes = {"fine_tune_epochs": 0}
    elif rate.method == "distilled":
        changes = {"loss": "distill"}
    shop.train(halves, job, shop.images.train, **changes)
    return (
        shop.tested(halves, shop.rated)
        | _described(halves)
        | {
            "method": rate.method,
            "bits": rate.bits,
            "payload_bytes": payload_bytes("int8", halves.latent_shape, rate.bits if rate.bits < 8 else None),
            "encoder_macs": bottleneck.plan(shop.cuts[job.cut].shape).encoder_macs,
            "head_macs": shop.cuts[job.cut].head_macs,
        }
    )


def _do_codec(shop: Workshop, job: Job) -> Fields:
    """Classify images that were compressed and decoded, with the whole original."""
    assert job.codec is not None
    where = shop.rated
    curve = measure_codecs(
        shop.original_of(job.seed),
        shop.images.test_pixels[where],
        shop.images.test[1][where],
        codecs=(job.codec,),
        qualities=shop.study.qualities,
        sizes=shop.study.codec_sizes or None,
        preprocessing=form_of(shop.study.model),
        progress=False,
    )
    points = [
        {"quality": row["quality"], "bytes": row["mean_bytes"], "accuracy": row["accuracy"], "size": row["size"]}
        for row in curve.rows()
    ]
    return {"codec": job.codec, "points": points, "test_images": len(where)}


def _predict(shop: Workshop, score: Score, seed: int) -> Fields:
    """Measure the accuracy of the frozen tail behind a projection that is fitted on the splits' training images.

    On validation images it is a prediction; on test images it is the accuracy of a split without any training. One
    call measures both, because the fit takes most of the time.
    """
    series = shop.series(score.series)
    (x, y), (test_x, test_y) = shop.images.validation, shop.images.test
    curve = predict_accuracy(
        shop.original_of(seed),
        (np.concatenate([x, test_x]), np.concatenate([y, test_y])),
        compression=series.compression,
        latent_size=series.elements,
        fit_data=shop.images.train,
        seed=seed,
        progress=False,
    )
    right = curve.predictions == curve.labels[:, None]
    return {
        "score": score.name,
        "values": right[: len(y)].mean(axis=0).tolist(),
        "test_values": right[len(y) :].mean(axis=0).tolist(),
        "latent_elements": curve.latent_sizes.tolist(),
        "image_count": len(y),
    }


def _split(shop: Workshop, job: Job) -> SplitModel:
    assert job.cut is not None
    return split(shop.original_of(job.seed), shop.cuts[job.cut], _bottleneck(shop.series(job.series), job.seed))


def _described(halves: SplitModel) -> dict[str, Any]:
    assert halves.encoder is not None
    elements = int(np.prod(halves.latent_shape))
    return {
        "name": halves.cut.name,
        "latent_elements": elements,
        "compression": 1 - elements / halves.cut.size,
        "encoder_params": halves.encoder.count_params(),
    }


def _bottleneck(series: Series, seed: int) -> Autoencoder:
    """Return the bottleneck of a series."""
    if series.elements is not None:
        return Autoencoder(latent_size=series.elements, seed=seed)
    assert series.compression is not None
    return Autoencoder(compression=series.compression, seed=seed)


def _of_classes(part: Part, classes: tuple[int, ...]) -> Part:
    is_chosen = np.isin(part[1], classes)
    return part[0][is_chosen], part[1][is_chosen]


def _versions() -> dict[str, str]:
    return {
        "isplit_tf": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {len(tf.config.list_physical_devices('GPU'))} GPUs",
    }


DOERS: dict[str, Callable[[Workshop, Job], Fields]] = {
    "original": _do_original,
    "control": _do_control,
    "score": _do_score,
    "identity": _do_identity,
    "tune": _do_tune,
    "split": _do_split,
    "group": _do_group,
    "rate": _do_rate,
    "codec": _do_codec,
}
