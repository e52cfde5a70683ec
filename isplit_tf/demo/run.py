"""The demo on the embedded glyphs: train, measure, split, train, export, serve and query, with one table of results."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from isplit_edge import Client

from ..bottlenecks.projection import Projection
from ..datasets import load
from ..display.page import Section, html_page
from ..display.tables import html_table
from ..evaluation.evaluation import Evaluation, evaluate
from ..export.bundle import Bundle, export_bundle
from ..importance.curve import Curve
from ..importance.measure import measure_importance
from ..plots import curve_and_sizes, save_figure, svg
from ..selection.accuracy_curve import AccuracyCurve
from ..selection.candidates import Candidates, propose
from ..selection.prediction import predict_accuracy
from ..server import Server
from ..splitting import SplitModel, split
from ..training import train
from .report import JPEG_QUALITY, DemoReport

SIZE = 32  # VGG16's five poolings need 32 pixels; the glyphs have 28 and get a black border
_LAYOUT = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))  # VGG16's blocks and their convolutions


@dataclass(frozen=True)
class Scale:
    """The size of the demo: widths of the model, numbers of images, epochs and timed frames."""

    widths: tuple[int, ...]
    train_images: int | None
    epochs: int
    fine_tune_epochs: int
    timed_frames: int
    predicted_images: int


FULL = Scale((24, 48, 96, 128, 128), None, 6, 3, 200, 1000)
QUICK = Scale((8, 16, 32, 64, 64), 4000, 3, 2, 50, 300)
PAYLOAD_BYTES = 64  # per frame, the same at every cut: otherwise the cuts would be compared by their bytes
_LEARNING_RATE = 1e-3
_FINE_TUNE_RATE = 3e-4
_BATCH = 64


def build_classifier(widths: tuple[int, ...], seed: int) -> keras.Model:
    """Build a model in VGG16's layout with narrower layers, for 32x32 grey images from 0 to 255."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(inputs)
    for (block, convolutions), width in zip(_LAYOUT, widths, strict=True):
        for k in range(1, convolutions + 1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{k}",
            )(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(4 * widths[-1], activation="relu", kernel_initializer="he_normal", name="fc1")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    outputs = layers.Dense(10, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, outputs, name="glyph_vgg")


def run_demo(directory: Path, *, quick: bool = False, seed: int = 0) -> DemoReport:
    """Run the demo.

    Args:
        directory: Folder for classifier.keras, curve.npz, accuracy.npz, curve.png, candidates.json, split/, bundle/,
            report.json and report.html; files of an earlier run are replaced.
        quick: Train less; the demo then takes a minute or two.
        seed: Seed of all random numbers; the same seed chooses the same cut again.

    Returns:
        The figures of the demo.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return _Demo(directory, QUICK if quick else FULL, seed).run()


class _Demo:
    """The steps of the demo, in order; each reports itself on standard error and is timed."""

    def __init__(self, directory: Path, scale: Scale, seed: int):
        self.directory, self.scale, self.seed = directory, scale, seed
        self.seconds: dict[str, float] = {}
        splits = load("glyphs")
        self.splits = splits
        part = slice(scale.train_images)
        order = np.random.default_rng(seed).permutation(len(splits.train[1]))[part]
        self.train = _framed(splits.train[0][order]), splits.train[1][order]
        self.validation = _framed(splits.validation[0]), splits.validation[1]
        self.test = _framed(splits.test[0]), splits.test[1]

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Report a step and its time on standard error."""
        sys.stderr.write(f"{text} ...\n")
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        sys.stderr.write(f"  {self.seconds[name]:.1f} s\n")

    def run(self) -> DemoReport:
        """Run all steps, write the files, and return the report."""
        scale, names = self.scale, self.splits.class_names
        with self.step("original", f"Training a classifier on {len(self.train[1]):,} glyphs, {scale.epochs} epochs"):
            model = build_classifier(scale.widths, self.seed)
            _fit(model, self.train, scale.epochs, _LEARNING_RATE, self.seed)
            model.save(self.directory / "classifier.keras")
            original = evaluate(model, self.test, class_names=names, progress=False)
        with self.step("importance", "Measuring the importance of every cut on the validation images"):
            curve = measure_importance(model, self.validation, class_names=names)
            curve.save(self.directory / "curve.npz")
        accuracy = self._predict(model)
        candidates = propose(curve, accuracy=accuracy, rank="accuracy", max_head_macs=_half(curve))
        candidates.save(self.directory / "candidates.json")
        save_figure(_picture(curve, candidates, accuracy), self.directory / "curve.png")
        sys.stderr.write(
            f"  split at '{candidates[0].cut.name}': {candidates[0].reason}; the peak of the curve is at "
            f"'{curve.best.name}'\n"
        )
        with self.step(
            "split", f"Splitting there, fitting the bottleneck, training end to end: {scale.fine_tune_epochs} epochs"
        ):
            halves = split(model, candidates[0].cut, self._bottleneck())
            self._train(halves)
            halves.save(self.directory / "split", overwrite=True)
            split_report = evaluate(halves, self.test, class_names=names, progress=False)
        with self.step("control", f"Training the original on, {scale.fine_tune_epochs} epochs, as a control"):
            control = split(model, candidates[0].cut)
            self._train(control)
            control_report = evaluate(control, self.test, class_names=names, progress=False)
        with self.step("export", "Exporting int8 head and SavedModel tail"):
            bundle = self._export(halves, model)
        with self.step("serve", f"Serving the tail and asking it for {len(self.test[1]):,} images over loopback"):
            exported, latency = self._ask(bundle)
        jpeg, sizes = self._compare_images(model, bundle)
        reports = {
            "original": original,
            "control": control_report,
            "split": split_report,
            "exported": exported,
            "jpeg": jpeg,
        }
        report = DemoReport(
            cut=halves.cut.name,
            n_test=original.n_images,
            accuracy={name: (evaluation.accuracy, *evaluation.interval()) for name, evaluation in reports.items()},
            frame_bytes=sizes,
            head_bytes=(bundle.directory / "edge" / "head.tflite").stat().st_size,
            latency_ms=latency,
            seconds=self.seconds,
        )
        self._write(report, curve, accuracy, candidates, reports)
        return report

    def _predict(self, model: keras.Model) -> AccuracyCurve:
        """Predict the accuracy at each cut with one payload for all, before anything is trained."""
        images = self.scale.predicted_images
        with self.step("prediction", f"Predicting the accuracy that {PAYLOAD_BYTES} bytes a frame keep at every cut"):
            accuracy = predict_accuracy(
                model,
                self.validation,
                payload_bytes=PAYLOAD_BYTES,
                fit_data=self.train,
                fit_images=images,
                max_images=images,
                class_names=self.splits.class_names,
                seed=self.seed,
            )
            accuracy.save(self.directory / "accuracy.npz")
        return accuracy

    def _train(self, halves: SplitModel) -> None:
        train(
            halves,
            self.train,
            validation_data=self.validation,
            fine_tune_epochs=self.scale.fine_tune_epochs,
            keep_best=True,
            optimizer=_optimizer(_FINE_TUNE_RATE, self._steps(self.scale.fine_tune_epochs)),
            batch_size=_BATCH,
            seed=self.seed,
        )

    def _bottleneck(self) -> Projection:
        """Return the bottleneck that the prediction was made with."""
        return Projection(payload_bytes=PAYLOAD_BYTES, fit_images=self.scale.predicted_images, seed=self.seed)

    def _steps(self, epochs: int) -> int:
        return epochs * -(-len(self.train[1]) // _BATCH)

    def _export(self, halves: SplitModel, model: keras.Model) -> Bundle:
        return export_bundle(
            halves,
            self.directory / "bundle",
            representative_data=self.train[0][:300],
            evaluation_data=self.test,
            original=model,
            class_names=list(self.splits.class_names),
            overwrite=True,
        )

    def _ask(self, bundle: Bundle) -> tuple[Evaluation, dict[str, float]]:
        """Classify the test set through edge client and local server, then single images with times."""
        raw = self.test[0].astype(np.uint8)
        with Server(bundle.directory, port=0) as server, Client(bundle.directory, server.url) as client:
            report = evaluate(client, (raw, self.test[1]), class_names=self.splits.class_names)
            images = [raw[k : k + 1] for k in range(self.scale.timed_frames)]
            answers = [client.run(image) for image in images]
            tail = [_seconds(bundle.answer, [client.head.payloads(image)[0]]) for image in images]
        head_s = np.median([answer.timings_s["preprocess"] + answer.timings_s["head"] for answer in answers])
        tail_s = np.median(tail)
        wire_s = max(float(np.median([answer.timings_s["wire"] for answer in answers]) - tail_s), 0.0)
        return report, {"head": 1e3 * float(head_s), "wire": 1e3 * wire_s, "tail": 1e3 * float(tail_s)}

    def _compare_images(self, model: keras.Model, bundle: Bundle) -> tuple[Evaluation, dict[str, float]]:
        """Return the original's evaluation on JPEGs, and the bytes per frame of each way to send an image."""
        glyphs, labels = self.splits.test
        encoded = [tf.io.encode_jpeg(glyph, quality=JPEG_QUALITY).numpy() for glyph in glyphs]
        decoded = np.stack([tf.io.decode_jpeg(data).numpy() for data in encoded])
        manifest = bundle.manifest
        sizes = {
            "payload": manifest.payload_bytes,
            "float_latent": 4 * int(np.prod(manifest.shapes["latent"])),
            "features": 4 * manifest.cut["size"],
            "raw": glyphs[0].size,
            "png": float(np.mean([len(tf.io.encode_png(glyph).numpy()) for glyph in glyphs])),
            "jpeg": float(np.mean([len(data) for data in encoded])),
        }
        names = self.splits.class_names
        return evaluate(model, (_framed(decoded), labels), class_names=names, progress=False), sizes

    def _write(
        self,
        report: DemoReport,
        curve: Curve,
        accuracy: AccuracyCurve,
        candidates: Candidates,
        reports: dict[str, Evaluation],
    ) -> None:
        (self.directory / "report.json").write_text(json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n")
        header, rows = report.rows()
        exported = reports["exported"]
        sections = [
            Section(
                "What a split costs and keeps",
                f"Split at {report.cut}. All accuracies are on {report.n_test:,} test images whose font families "
                "neither trained nor chose anything. The control is the original, trained on as the split was; "
                "of either the best epoch on the validation images is kept. Milliseconds are medians on this machine.",
                html_table(header, rows),
            ),
            Section(
                "Where to split",
                "Importance (CUI) of each cut, from one backward pass an image over the validation set; below it the "
                "elements of each layer, whose drops Cut-Distil-Encode names; and the accuracy that is predicted for "
                f"{PAYLOAD_BYTES} bytes a frame at every cut, before anything is trained. The choice is the cut with "
                "the highest predicted accuracy among those whose head does at most half of the multiply-accumulates. "
                "Vertical lines: the choice (solid) and the curve's peaks (dotted).",
                svg(_picture(curve, candidates, accuracy)),
            ),
            Section("Candidates", "", candidates._repr_html_()),
            Section("Class by class, through the wire", "", exported._repr_html_()),
            Section("Time", "", html_table(["step", "seconds"], [[k, round(v, 1)] for k, v in report.seconds.items()])),
        ]
        lead = "A VGG-style classifier of the letters A to J, split between a device and a server."
        (self.directory / "report.html").write_text(html_page("isplit demo", lead, sections))
        sys.stderr.write(f"See {self.directory / 'report.html'}; the bundle is {self.directory / 'bundle'}.\n")


def _picture(curve: Curve, candidates: Candidates, accuracy: AccuracyCurve) -> Any:
    """Draw importance, sizes and predicted accuracy of the cuts, with the choice and the other peaks marked."""
    positions = {cut.index: k for k, cut in enumerate(curve.cuts)}
    shared = [k for k, cut in enumerate(accuracy.cuts) if cut.index in positions]
    return curve_and_sizes(
        lambda ax: curve.plot(log=True, ax=ax),
        [cut.size for cut in curve.cuts],
        choice=positions[candidates[0].cut.index],
        others=[positions[candidate.cut.index] for candidate in candidates[1:] if candidate.is_peak],
        accuracy=([positions[accuracy.cuts[k].index] for k in shared], accuracy.accuracy[shared], accuracy.original),
    )


def _half(curve: Curve) -> int:
    """Return half of the multiply-accumulates of the whole model."""
    return (curve.cuts[-1].head_macs + curve.cuts[-1].tail_macs) // 2


def _framed(glyphs: np.ndarray) -> np.ndarray:
    """Return uint8 glyphs (N, 28, 28, 1) with a black border, as float32 (N, 32, 32, 1) from 0 to 255."""
    border = (SIZE - glyphs.shape[1]) // 2
    return np.pad(glyphs, ((0, 0), (border, border), (border, border), (0, 0))).astype(np.float32)


def _optimizer(rate: float, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.05))


def _fit(model: keras.Model, data: tuple[np.ndarray, np.ndarray], epochs: int, rate: float, seed: int) -> None:
    """Train with a bar on standard error; the order of the images depends on the seed alone."""
    from ..display.progress import bar

    steps = -(-len(data[1]) // _BATCH)
    keras.utils.set_random_seed(seed)
    model.compile(_optimizer(rate, epochs * steps), "sparse_categorical_crossentropy", metrics=["accuracy"])
    with bar(total=epochs * steps, desc="training", unit="step") as progress_bar:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress_bar.update(1))
        model.fit(*data, batch_size=_BATCH, epochs=epochs, verbose=0, callbacks=[callback])


def _seconds(call: Callable, *args: Any) -> float:
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start
