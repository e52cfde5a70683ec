"""Doing one job of a study: train, measure, and make the row."""

import datetime
import hashlib
import os
import platform
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import __version__
from isplit_edge.wire import payload_bytes

from ..bottleneck import Autoencoder
from ..evaluation import Evaluation, evaluate
from ..forecasting import predict_accuracy
from ..graph.axis import main_cuts
from ..graph.cuts import Cut, list_cuts
from ..graph.program import read_program
from ..importance.measure import measure_importance
from ..projection import Projection
from ..splitting import SplitModel, split
from ..sweep.store import Row
from ..training import train
from .codecs import through_codec
from .images import Images, Part, open_images
from .jobs import PREDICTED, Job, Score, packed
from .networks import build_network, preparation
from .recipes import Series, Study

_EVALUATED_AT_ONCE = 64
_CACHE_BYTES = 2**31  # features of 2,000 images at block1 of VGG16 at 64 pixels


class Worker:
    """Does the jobs of one study; the images and the original of a seed are kept for the next job.

    Attributes:
        study: The study.
    """

    def __init__(
        self,
        study: Study,
        work: Path,
        *,
        archives: Path | None = None,
        weights: Path | None = None,
        data_dir: Path | None = None,
    ):
        """Prepare to work; nothing is read yet.

        Args:
            study: The study.
            work: A folder for the originals, which are trained again where it was lost.
            archives: A folder that may hold the data set's archive.
            weights: A file of ImageNet weights of VGG16's base.
            data_dir: Where TensorFlow Datasets keeps what it prepared.
        """
        # Each model is traced anew, as it must be, and TensorFlow warns of that when there are many.
        tf.get_logger().setLevel("ERROR")
        self.study = study
        self._work = work
        self._archives, self._weights, self._data_dir = archives, weights, data_dir
        self._original: tuple[int, keras.Model] | None = None

    def __call__(self, job: Job) -> Row:
        """Do a job, and return its row."""
        doers: dict[str, Callable[[Job], dict[str, Any]]] = {
            "original": self._do_original,
            "control": self._do_control,
            "score": self._do_score,
            "identity": self._do_identity,
            "tune": self._do_tune,
            "split": self._do_split,
            "group": self._do_group,
            "rate": self._do_rate,
            "codec": self._do_codec,
        }
        self.images  # noqa: B018  # reading them is not part of the job's time
        if job.kind != "original":
            self._original_of(job.seed)
        start, cpu = time.perf_counter(), time.process_time()
        fields = doers[job.kind](job)
        return {
            "key": job.key,
            "kind": job.kind,
            "seed": job.seed,
            "cut": job.cut,
            "series": job.series,
            **fields,
            "original": _fingerprint(self._original_of(job.seed)),
            "versions": _versions(),
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "date": datetime.date.today().isoformat(),
        }

    @cached_property
    def images(self) -> Images:
        """The images of the study, read when they are first asked for."""
        return open_images(
            self.study.data, preparation(self.study.model), archives=self._archives, data_dir=self._data_dir
        )

    @cached_property
    def cuts(self) -> list[Cut]:
        """The axis of the main cuts."""
        program = read_program(self._original_of(0))
        return main_cuts(program, list_cuts(program))

    def _original_of(self, seed: int) -> keras.Model:
        if self._original is None or self._original[0] != seed:
            path = self._work / self.study.name / f"original_seed{seed}.keras"
            model = keras.models.load_model(path) if path.exists() else self._train_original(seed, path)
            self._original = (seed, model)
        return self._original[1]

    def _train_original(self, seed: int, path: Path) -> keras.Model:
        recipe = self.study.model
        size = self.study.data.size
        model = build_network(recipe, size, self.images.n_classes, seed=seed, weights=self._weights)
        model.compile(
            keras.optimizers.Adam(recipe.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        self._fit(model, recipe.epochs, seed, self.images.original_train)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}")
        model.save(scratch.with_suffix(".new.keras"))
        scratch.with_suffix(".new.keras").replace(path)
        return keras.models.load_model(path)

    def _fit(self, model: keras.Model, epochs: int, seed: int, part: Part) -> None:
        keras.utils.set_random_seed(seed)
        model.fit(*part, epochs=epochs, batch_size=self.study.retraining.batch_size, verbose=0)

    def _do_original(self, job: Job) -> dict[str, Any]:
        model = self._original_of(job.seed)
        images = self.images
        return self._tested(model) | {
            "images": {
                "original_train": len(images.original_train[1]),
                "train": len(images.train[1]),
                "validation": len(images.validation[1]),
                "test": len(images.test[1]),
            },
            "epochs": self.study.model.epochs,
            "labels": packed(images.test[1]),
            "class_names": list(images.class_names),
            "cuts": [
                {name: getattr(cut, name) for name in ("name", "index", "shape", "size", "head_macs", "tail_macs")}
                for cut in self.cuts
            ],
        }

    def _do_control(self, job: Job) -> dict[str, Any]:
        """The original, trained on for as many epochs as both phases have."""
        retraining = self.study.retraining
        halves = split(self._original_of(job.seed), self.cuts[retraining.tuned_at])
        epochs = retraining.bottleneck_epochs + retraining.fine_tune_epochs
        self._train(halves, job, self.images.train, fine_tune_epochs=epochs)
        return self._tested(halves)

    def _do_identity(self, job: Job) -> dict[str, Any]:
        """The split without a bottleneck: fine-tuned for as many epochs as the others."""
        halves = split(self._original_of(job.seed), self.cuts[self.study.retraining.tuned_at])
        self._train(halves, job, self.images.train)
        return self._tested(halves)

    def _do_tune(self, job: Job) -> dict[str, Any]:
        halves = self._split(job)
        self._train(halves, job, self.images.train)
        report = evaluate(halves, self.images.validation, batch_size=_EVALUATED_AT_ONCE, progress=False)
        return {"learning_rate": job.learning_rate, "accuracy": report.accuracy}

    def _do_split(self, job: Job) -> dict[str, Any]:
        halves = self._split(job)
        history = self._train(halves, job, self.images.train)
        return self._tested(halves) | _described(halves) | {"learning_rate": job.learning_rate, "losses": history}

    def _do_group(self, job: Job) -> dict[str, Any]:
        assert job.group is not None
        name, classes = job.group
        halves = self._split(job)
        self._train(halves, job, _of_classes(self.images.train, classes))
        report = evaluate(halves, _of_classes(self.images.test, classes), batch_size=_EVALUATED_AT_ONCE, progress=False)
        return {
            "group": name,
            "classes": list(classes),
            "accuracy": report.accuracy,
            "predictions": packed(report.predictions),
            "test_images": report.n_images,
        }

    def _do_score(self, job: Job) -> dict[str, Any]:
        assert job.score is not None
        if job.score.method == PREDICTED:
            return self._predict(job.score, job.seed)
        curve = measure_importance(
            self._original_of(job.seed),
            self._part(job.score),
            max_images=job.score.images,
            method=job.score.method,
            target=job.score.target,
            class_names=list(self.images.class_names),
            progress=False,
        )
        return {
            "score": job.score.name,
            "values": curve.values.tolist(),
            "per_class": [[None if np.isnan(v) else float(v) for v in row] for row in curve.per_class],
            "counts": curve.counts.tolist(),
            "image_count": curve.n_images,
        }

    def _do_rate(self, job: Job) -> dict[str, Any]:
        assert job.cut is not None
        assert job.rate is not None
        rate = job.rate
        size, seed = max(1, 8 * rate.latent_bytes // rate.bits), job.seed
        bottleneck: Any = Projection(latent_size=size, latent_bits=rate.bits, seed=seed)
        if rate.method == "autoencoder":
            bottleneck = Autoencoder(latent_size=size, latent_bits=rate.bits, seed=seed)
        halves = split(self._original_of(job.seed), self.cuts[job.cut], bottleneck)
        changes: dict[str, Any] = {}
        if rate.method == "projection":
            changes = {"fine_tune_epochs": 0}
        elif rate.method == "distilled":
            changes = {"loss": "distill"}
        self._train(halves, job, self.images.train, **changes)
        return (
            self._tested(halves)
            | _described(halves)
            | {
                "method": rate.method,
                "bits": rate.bits,
                "payload_bytes": payload_bytes("int8", halves.latent_shape, rate.bits if rate.bits < 8 else None),
                "encoder_macs": bottleneck.plan(self.cuts[job.cut].shape).encoder_macs,
                "head_macs": self.cuts[job.cut].head_macs,
            }
        )

    def _do_codec(self, job: Job) -> dict[str, Any]:
        """The whole original on images that were compressed and opened again."""
        assert job.codec is not None
        prepare = preparation(self.study.model)
        points = []
        for quality in self.study.qualities if job.codec != "png" else (None,):
            pixels, sizes = through_codec(self.images.test_pixels, job.codec, quality)
            data = prepare(pixels.astype(np.float32)), self.images.test[1]
            report = evaluate(self._original_of(job.seed), data, batch_size=_EVALUATED_AT_ONCE, progress=False)
            points.append({"quality": quality, "bytes": float(np.mean(sizes)), "accuracy": report.accuracy})
        return {"codec": job.codec, "points": points}

    def _predict(self, score: Score, seed: int) -> dict[str, Any]:
        """What the frozen tail says behind a projection, fitted on the images that the splits learn from."""
        series = self._series(score.series)
        curve = predict_accuracy(
            self._original_of(seed),
            self._part(score),
            compression=series.compression,
            latent_size=series.elements,
            fit_data=self.images.train,
            seed=seed,
            progress=False,
        )
        return {
            "score": score.name,
            "values": curve.accuracy.tolist(),
            "original_accuracy": curve.original,
            "latent_elements": curve.latent_sizes.tolist(),
            "image_count": curve.n_images,
        }

    def _part(self, score: Score) -> Part:
        images = self.images
        if score.part == "test":
            return images.test
        x, y = images.validation
        half = len(y) // 2
        where = {"validation": slice(None), "first_half": slice(half), "second_half": slice(half, None)}[score.part]
        return x[where], y[where]

    def _split(self, job: Job) -> SplitModel:
        assert job.cut is not None
        series = self._series(job.series)
        return split(self._original_of(job.seed), self.cuts[job.cut], bottleneck_of(series, job.seed))

    def _series(self, name: str | None) -> Series:
        return next(one for one in self.study.series if one.name == name)

    def _train(self, halves: SplitModel, job: Job, part: Part, **changes: Any) -> dict[str, list[float]]:
        assert job.learning_rate is not None
        retraining = self.study.retraining
        settings: dict[str, Any] = {
            "bottleneck_epochs": retraining.bottleneck_epochs,
            "fine_tune_epochs": retraining.fine_tune_epochs,
            "loss": "squared_error",
        } | changes
        history = train(
            halves,
            part,
            optimizer=keras.optimizers.Adam(job.learning_rate),
            batch_size=retraining.batch_size,
            cache_bytes=_CACHE_BYTES,
            seed=job.seed,
            progress=False,
            **settings,
        )
        losses: dict[str, list[float]] = {}
        for epoch in history.epochs:
            value = epoch.metrics.get("loss", next(iter(epoch.metrics.values())))  # a fit in closed form has no loss
            losses.setdefault(epoch.phase, []).append(float(value))
        return losses

    def _tested(self, predictor: Any) -> dict[str, Any]:
        report: Evaluation = evaluate(predictor, self.images.test, batch_size=_EVALUATED_AT_ONCE, progress=False)
        return {
            "accuracy": report.accuracy,
            "balanced_accuracy": report.balanced_accuracy,
            "auc": report.auc,
            "predictions": packed(report.predictions),
        }


def _described(halves: SplitModel) -> dict[str, Any]:
    assert halves.encoder is not None
    elements = int(np.prod(halves.latent_shape))
    return {
        "name": halves.cut.name,
        "latent_elements": elements,
        "compression": 1 - elements / halves.cut.size,
        "encoder_params": halves.encoder.count_params(),
    }


def bottleneck_of(series: Series, seed: int) -> Autoencoder:
    """The bottleneck of a series."""
    if series.elements is not None:
        return Autoencoder(latent_size=series.elements, seed=seed)
    assert series.compression is not None
    return Autoencoder(compression=series.compression, seed=seed)


def _of_classes(part: Part, classes: tuple[int, ...]) -> Part:
    kept = np.isin(part[1], classes)
    return part[0][kept], part[1][kept]


def _fingerprint(model: keras.Model) -> str:
    """Tells originals apart whose recipes are the same, as on machines that round differently."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


def _versions() -> dict[str, str]:
    return {
        "isplit_tf": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {len(tf.config.list_physical_devices('GPU'))} GPUs",
    }
