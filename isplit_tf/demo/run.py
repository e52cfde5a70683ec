"""The demo on the embedded glyphs: each step of the tool once, from the trained classifier to the page of results."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np

from isplit_edge import Client

from ..bottlenecks.projection import Projection
from ..datasets import load
from ..display.quiet import quiet
from ..errors import ExistsError
from ..evaluation.evaluation import Evaluation, evaluate
from ..export.bundle import Bundle, export_bundle
from ..importance.curve import Curve
from ..importance.measure import measure_importance
from ..planning.plan import Plan
from ..selection.accuracy_curve import AccuracyCurve
from ..selection.candidates import Candidate, Candidates, propose
from ..selection.codec import measure_codecs
from ..selection.codec_curve import CodecCurve
from ..selection.prediction import predict_accuracy
from ..server import Server
from ..splitting import SplitModel, split
from ..training import train as train_split
from .classifier import (
    BATCH,
    EPOCHS,
    build_classifier,
    decaying,
    framed,
    load_classifier,
    shipped_file,
    train_classifier,
)
from .machine_plan import machine_answer, machine_sections, plan_machine
from .page import write_page
from .pictures import Pictures, draw_bytes, draw_choice, draw_importance
from .report import DemoReport, smallest_images
from .stopwatch import Stopwatch, announce, say

PAYLOAD_BYTES = 64  # per frame, the same at every cut: otherwise the cuts would be compared by their bytes
_FIT_IMAGES = 1000
_PREDICTED_IMAGES = 500
_CALIBRATION_IMAGES = 300
_MANIFEST_IMAGES = 300
_KIT_IMAGES = 64
_TIMED_FRAMES = 100
_QUALITIES = (1, 10)
_FINE_TUNE_EPOCHS = 3
_FINE_TUNE_RATE = 3e-4
_BATCH = 256  # images that are classified at once


def run_demo(directory: Path, *, train: bool = False, seed: int = 0, overwrite: bool = False) -> DemoReport:
    """Run the demo.

    Args:
        directory: Folder for what the steps leave: classifier.keras, curve.npz, accuracy.npz, codecs.npz,
            candidates.json, kit/, device.json, server.json, plan.json, split/, bundle/, the pictures, report.json and
            report.html.
        train: Whether to train the classifier here instead of taking the one that ships with the package, to train the
            split end to end, and to train the classifier for as many epochs more, as a control.
        seed: Seed of all random numbers; the same seed chooses the same cut again.
        overwrite: Whether to replace what an earlier run left in the folder.

    Returns:
        The figures of the demo.

    Raises:
        ExistsError: If the folder is not empty, and `overwrite` is not given.
    """
    if not overwrite and directory.exists() and not (directory.is_dir() and next(directory.iterdir(), None) is None):
        raise ExistsError(f"'{directory}' exists. Give --overwrite, or another place with -o.")
    directory.mkdir(parents=True, exist_ok=True)
    with quiet():  # what TensorFlow's C++ code prints; the steps report on sys.stderr
        return _Demo(directory, train, seed).run()


class _Demo:
    """The steps of the demo. Each reports itself on standard error, is timed, and names the files that it writes."""

    def __init__(self, directory: Path, train: bool, seed: int):
        self.directory, self.is_training, self.seed = directory, train, seed
        self.watch = Stopwatch()
        self.pictures = Pictures(directory)
        self.splits = load("glyphs")
        self.names = self.splits.class_names
        self.train, self.validation, self.test = (
            (framed(images), labels) for images, labels in (self.splits.train, self.splits.validation, self.splits.test)
        )

    def run(self) -> DemoReport:
        """Run all steps, write the files, and return the report."""
        reports: dict[str, Evaluation] = {}
        model = self._classifier(reports)
        curve = self._importance(model)
        accuracy = self._prediction(model)
        candidates = self._choice(curve, accuracy)
        codecs = self._image_formats(model)
        plan = self._plan(model, accuracy, codecs)
        halves = self._split(model, candidates, reports)
        if self.is_training:
            self._control(model, candidates, reports)
        bundle = self._export(halves, model)
        reports["exported"], latency = self._ask(bundle)
        payload_bytes = bundle.manifest.payload_bytes
        self.pictures.add("bytes.png", draw_bytes(payload_bytes, reports["exported"], codecs))
        report = self._report(candidates[0], bundle, codecs, reports, latency)
        record = self.directory / "report.json"
        record.write_text(json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n")
        announce(record)
        write_page(
            self.directory / "report.html",
            report,
            candidates,
            reports["exported"],
            machine_answer(plan),
            machine_sections(plan),
            self.pictures,
        )
        return report

    def _classifier(self, reports: dict[str, Evaluation]) -> keras.Model:
        path = self.directory / "classifier.keras"
        if self.is_training:
            n_images = len(self.train[1])
            with self.watch.step("classifier", f"Training a classifier on {n_images:,} glyphs, {EPOCHS} epochs"):
                model = build_classifier(seed=self.seed)
                train_classifier(model, *self.splits.train, seed=self.seed)
                model.save(path)
                reports["original"] = self._evaluate(model)
        else:
            with self.watch.step("classifier", "Opening the trained classifier that ships with the package"):
                shutil.copyfile(shipped_file(), path)
                model = load_classifier()
                reports["original"] = self._evaluate(model)
        announce(path)
        return model

    def _importance(self, model: keras.Model) -> Curve:
        """Measure the importance of every cut, on as many validation images as it takes."""
        with self.watch.step("importance", "Measuring the importance of every cut, until more images change nothing"):
            curve = measure_importance(model, self.validation, class_names=self.names, confidence=0.95)
            curve.save(self.directory / "curve.npz")
            announce(self.directory / "curve.npz")
            self.pictures.add("importance.png", draw_importance(curve))
        return curve

    def _prediction(self, model: keras.Model) -> AccuracyCurve:
        """Predict the accuracy at each cut in so many bytes, without any training."""
        text = f"Predicting the accuracy that each cut keeps in {PAYLOAD_BYTES} bytes per frame"
        with self.watch.step("prediction", text):
            accuracy = predict_accuracy(
                model,
                self.validation,
                payload_bytes=PAYLOAD_BYTES,
                fit_data=self.train,
                fit_images=_FIT_IMAGES,
                max_images=_PREDICTED_IMAGES,
                class_names=self.names,
                seed=self.seed,
            )
            accuracy.save(self.directory / "accuracy.npz")
            announce(self.directory / "accuracy.npz")
        return accuracy

    def _plan(self, model: keras.Model, accuracy: AccuracyCurve, codecs: CodecCurve) -> Plan:
        """Measure this machine with a small kit, and plan what to run where."""
        with self.watch.step("plan", "Measuring this machine as device and as server, and planning what to run where"):
            plan = plan_machine(self.directory, model, accuracy, self.train[0][:_KIT_IMAGES], codecs)
            for name in ("device.json", "server.json", "plan.json"):
                announce(self.directory / name)
        return plan

    def _choice(self, curve: Curve, accuracy: AccuracyCurve) -> Candidates:
        """Choose the cut: the highest predicted accuracy with at most half of the work in the head."""
        candidates = propose(curve, accuracy=accuracy, rank="accuracy", max_head_share=0.5)
        candidates.save(self.directory / "candidates.json")
        best = candidates[0]
        say(
            f"  split at '{best.cut.name}': {best.predicted_accuracy:.1%} predicted, with "
            f"{best.head_share:.0%} of the work in the head; the peak of the curve is at '{curve.best.name}'"
        )
        announce(self.directory / "candidates.json")
        self.pictures.add("curve.png", draw_choice(curve, candidates, accuracy))
        return candidates

    def _image_formats(self, model: keras.Model) -> CodecCurve:
        """Measure what the alternative to any split sends and keeps: a compressed image, and the whole model."""
        with self.watch.step("image formats", "Measuring the classifier on JPEG, WebP and PNG images"):
            codecs = measure_codecs(
                model,
                self.test[0].astype(np.uint8),
                self.test[1],
                codecs=("JPEG", "WEBP", "PNG"),
                qualities=_QUALITIES,
                class_names=self.names,
                batch_size=_BATCH,
            )
            codecs.save(self.directory / "codecs.npz")
            announce(self.directory / "codecs.npz")
        return codecs

    def _split(self, model: keras.Model, candidates: Candidates, reports: dict[str, Evaluation]) -> SplitModel:
        bottleneck = Projection(payload_bytes=PAYLOAD_BYTES, fit_images=_FIT_IMAGES, seed=self.seed)
        with self.watch.step("split", "Splitting there, with a bottleneck that is fitted and needs no training"):
            halves = split(model, candidates[0].cut, bottleneck, fit_data=self.train)
            reports["split"] = self._evaluate(halves)
        if self.is_training:
            with self.watch.step("training", f"Training the split end to end, {_FINE_TUNE_EPOCHS} epochs"):
                self._fine_tune(halves)
                reports["split"] = self._evaluate(halves)
        halves.save(self.directory / "split", overwrite=True)
        announce(self.directory / "split")
        return halves

    def _control(self, model: keras.Model, candidates: Candidates, reports: dict[str, Evaluation]) -> None:
        """Train the original for as many epochs as the split, since more training alone may raise its accuracy."""
        with self.watch.step("control", f"Fine-tuning the original, {_FINE_TUNE_EPOCHS} epochs, as a control"):
            control = split(model, candidates[0].cut)
            self._fine_tune(control)
            reports["control"] = self._evaluate(control)

    def _fine_tune(self, halves: SplitModel) -> None:
        train_split(
            halves,
            self.train,
            validation_data=self.validation,
            fine_tune_epochs=_FINE_TUNE_EPOCHS,
            keep_best=True,
            optimizer=decaying(_FINE_TUNE_RATE, _FINE_TUNE_EPOCHS * -(-len(self.train[1]) // BATCH)),
            batch_size=BATCH,
            seed=self.seed,
        )

    def _export(self, halves: SplitModel, model: keras.Model) -> Bundle:
        with self.watch.step("export", "Exporting an int8 head for the device and a SavedModel for the server"):
            bundle = export_bundle(
                halves,
                self.directory / "bundle",
                representative_data=self.train[0][:_CALIBRATION_IMAGES],
                evaluation_data=self.test,
                max_evaluation_images=_MANIFEST_IMAGES,
                original=model,
                class_names=list(self.names),
                overwrite=True,
            )
        announce(self.directory / "bundle")
        return bundle

    def _ask(self, bundle: Bundle) -> tuple[Evaluation, dict[str, float]]:
        """Classify the test set through edge client and local server, then single images with times."""
        raw, labels = self.test[0].astype(np.uint8), self.test[1]
        with (
            self.watch.step("serve", f"Serving the tail, and asking it for {len(labels):,} images over loopback"),
            Server(bundle.directory, port=0) as server,
            Client(bundle.directory, server.url) as client,
        ):
            report = evaluate(client, (raw, labels), class_names=self.names, batch_size=_BATCH)
            images = [raw[k : k + 1] for k in range(_TIMED_FRAMES)]
            answers = [client.run(image) for image in images]
            tail = [_seconds(bundle.answer, [client.head.payloads(image)[0]]) for image in images]
        head_s = np.median([answer.timings_s["preprocess"] + answer.timings_s["head"] for answer in answers])
        tail_s = np.median(tail)
        wire_s = max(float(np.median([answer.timings_s["wire"] for answer in answers]) - tail_s), 0.0)
        return report, {"head": 1e3 * float(head_s), "wire": 1e3 * wire_s, "tail": 1e3 * float(tail_s)}

    def _evaluate(self, predictor: Any) -> Evaluation:
        return evaluate(predictor, self.test, class_names=self.names, batch_size=_BATCH)

    def _report(
        self,
        chosen: Candidate,
        bundle: Bundle,
        codecs: CodecCurve,
        reports: dict[str, Evaluation],
        latency: dict[str, float],
    ) -> DemoReport:
        manifest = bundle.manifest
        images = smallest_images(codecs)
        cut = chosen.cut
        return DemoReport(
            cut=cut.name,
            n_test=reports["original"].n_images,
            accuracy={name: (found.accuracy, *found.interval()) for name, found in reports.items()}
            | {name: image.accuracy for name, image in images.items()},
            frame_bytes={
                "payload": manifest.payload_bytes,
                "float_latent": 4 * int(np.prod(manifest.shapes["latent"])),
                "features": 4 * cut.size,
                "raw": int(np.prod(self.test[0].shape[1:])),
            }
            | {name: image.mean_bytes for name, image in images.items()},
            qualities={name: image.quality for name, image in images.items()},
            head_bytes=(bundle.directory / "edge" / "head.tflite").stat().st_size,
            head_macs=cut.head_macs + (chosen.encoder_macs or 0),
            model_macs=cut.head_macs + cut.tail_macs,
            latency_ms=latency,
            seconds=self.watch.seconds,
            processor_seconds=self.watch.processor_seconds,
        )


def _seconds(call: Callable, *args: Any) -> float:
    start = perf_counter()
    call(*args)
    return perf_counter() - start
