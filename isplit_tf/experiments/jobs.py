"""The jobs of a study: each makes one row of its results, whenever the others were interrupted."""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from isplit_edge.wire import HEADER_BYTES

from ..importance.statistics import best_position, peak_positions
from ..sweep.store import Store
from .groups import class_groups
from .recipes import Experiment, Study

TUNING_SERIES = "90"
RATE_SERIES = ("fixed", "99")
"""Series whose predicted accuracy chooses the cuts of the rate-accuracy figure: the first of these in the study."""


@dataclass(frozen=True)
class Score:
    """A score of the cuts that shall predict accuracies, and how it is measured.

    Attributes:
        method: A method of `measure_importance`, or `predict_accuracy`.
        target: `label` or `predicted`.
        part: The images: `validation`; its `first_half` or `second_half`; `test` for the paper's own variant.
        series: The series that `predict_accuracy` predicts; None for other methods.
        images: The number of images to use; None for all.
    """

    method: str = "grad_cam"
    target: Literal["label", "predicted"] = "label"
    part: str = "validation"
    series: str | None = None
    images: int | None = None

    @property
    def name(self) -> str:
        """Return the name, unique among scores."""
        return "/".join(part for part in (self.method, self.target, self.part, self.series) if part)


SCORES = (
    Score(),
    Score(target="predicted"),
    Score("gradients"),
    Score(part="first_half"),
    Score(part="second_half"),
    Score(part="test"),
)
"""The scores that the figures need."""

RIVALS = (
    Score("grad_cam++"),
    Score("hires_cam"),
    Score("layer_cam"),
    Score("gradient_x_activation"),
    Score("layer_integrated_gradients", images=100),  # 32 passes per image
)
"""Other scores, used only in the correlations."""

PREDICTED = "predict_accuracy"


@dataclass(frozen=True)
class Rate:
    """One point of the rate-accuracy figure.

    Attributes:
        method: `autoencoder`, both phases; `projection`, untrained; `tuned`, a projection with phase 2; `distilled`,
            a projection whose phase 2 has the original as its teacher; `coded`, an untrained projection with coded
            payloads, measured through an int8 bundle.
        bits: Bits per element of the latent.
        latent_bytes: Size of the latent in bytes; with `coded`, of the whole payload in the mean.
    """

    method: str
    bits: int
    latent_bytes: int

    @property
    def name(self) -> str:
        """Return the name, unique among rates."""
        return f"{self.method}/{self.bits}bit/{self.latent_bytes}B"


LINES = (
    ("autoencoder", 8),
    ("projection", 8),
    ("tuned", 8),
    ("distilled", 8),
    ("distilled", 4),
    ("distilled", 2),
)
"""Methods and bits of the rate-accuracy figure, besides `coded`."""

CODED = "coded"


@dataclass(frozen=True)
class Job:
    """One unit of work.

    Attributes:
        study: Name of the study.
        kind: `original` trains the original; `control` trains it for more epochs; `score` scores the cuts;
            `identity` fine-tunes the split without a bottleneck; `tune` tries a learning rate; `split` trains and
            tests a split with a bottleneck; `group` does the same on some classes; `rate` measures a point of the
            rate-accuracy figure; `codec` classifies compressed images.
        seed: Seed of the network and of the order of the data.
        cut: Position on the axis of the main cuts.
        series: Name of the series.
        learning_rate: Learning rate of phase 2; part of the key of a `tune` job only.
        score: The score that a `score` job measures.
        group: Name of a group of classes, and its classes, for a `group` job.
        rate: The point that a `rate` job measures.
        codec: The codec of a `codec` job.
    """

    study: str
    kind: str
    seed: int
    cut: int | None = None
    series: str | None = None
    learning_rate: float | None = None
    score: Score | None = None
    group: tuple[str, tuple[int, ...]] | None = None
    rate: Rate | None = None
    codec: str | None = None

    @property
    def key(self) -> str:
        """Return the key of the job's row, unique within the study."""
        parts: list[object] = [self.kind, f"seed{self.seed}"]
        if self.series is not None:
            parts.append(self.series)
        if self.cut is not None:
            parts.append(f"cut{self.cut}")
        if self.kind == "tune":
            parts.append(f"rate{self.learning_rate:g}")
        if self.score is not None:
            parts.append(self.score.name)
        if self.group is not None:
            parts.append(self.group[0])
        if self.rate is not None:
            parts.append(self.rate.name)
        if self.codec is not None:
            parts.append(self.codec)
        return " ".join(map(str, parts))


def open_jobs(study: Study, experiments: Sequence[Experiment], store: Store) -> list[Job]:
    """Return the jobs of a study that these experiments still need, in the order in which they shall be done.

    Some jobs are known only after others are done: the groups of classes follow from curves. So the caller asks
    again after the last job.
    """
    by_key: dict[str, Job] = {}
    rate = chosen_rate(study, store)
    for job in _all_jobs(study, experiments, store):
        trains = job.kind not in ("original", "score", "tune", "codec")
        by_key.setdefault(job.key, replace(job, learning_rate=rate) if trains else job)
    return [job for key, job in by_key.items() if key not in store]


def is_ready(study: Study, store: Store, job: Job) -> bool:
    """Check whether a job can start: its original is trained, and the learning rate is chosen if the job needs it."""
    if job.kind == "original":
        return True
    if Job(study.name, "original", job.seed).key not in store:
        return False
    return job.kind in ("score", "tune", "codec") or all(tuning.key in store for tuning in _tuning(study))


def _all_jobs(study: Study, experiments: Sequence[Experiment], store: Store) -> Iterator[Job]:
    needed = {name for experiment in experiments for name in experiment.series}
    groups = study.groups and any(experiment.groups for experiment in experiments)
    rates = bool(study.rates) and any(experiment.rates for experiment in experiments)
    if study.rate_cuts:
        yield Job(study.name, "original", 0)
        yield from _rate_jobs(study, store)
        return
    for seed in range(study.seeds if needed else 1):
        yield Job(study.name, "original", seed)
        if seed == 0:
            yield from (Job(study.name, "score", 0, score=score) for score in SCORES)
            if needed or groups or rates:
                yield from _tuning(study)
        yield from (Job(study.name, "score", seed, score=score) for score in _competing(study, experiments))
        yield from _retraining(study, needed, seed)
        if seed == 0 and groups:
            yield from _group_jobs(study, store)
        elif seed and needed:
            yield from (Job(study.name, "score", seed, score=score) for score in SCORES)
        if seed == 0 and rates:
            yield from _rate_jobs(study, store)


def _rate_jobs(study: Study, store: Store) -> Iterator[Job]:
    def job(cut: int, *rate: Any) -> Job:
        return Job(study.name, "rate", 0, cut=cut, rate=Rate(*rate))

    if study.rate_cuts:
        cuts = _named_cuts(study, store)
        yield from (job(cut, CODED, 8, size) for size in study.rates for cut in cuts)
    yield from (Job(study.name, "codec", 0, codec=codec) for codec in study.codecs)
    if study.rate_cuts:
        return
    for cut in best_two(study, store):
        for latent_bytes in study.rates:
            yield from (job(cut, method, bits, latent_bytes) for method, bits in LINES)
            yield job(cut, CODED, 8, latent_bytes + HEADER_BYTES)


def _named_cuts(study: Study, store: Store) -> list[int]:
    """Return the positions of the study's cuts on the axis; none before the original is there."""
    for row in store.rows(kind="original", seed=0):
        names = [cut["name"] for cut in row["cuts"]]
        return [names.index(name) for name in study.rate_cuts]
    return []


def rated_images(study: Study, count: int) -> np.ndarray:
    """Return the positions of the test images that the rate-accuracy figure uses: int64 `(n,)`, ascending."""
    return np.sort(np.random.default_rng(0).permutation(count)[: study.rate_images])


def best_two(study: Study, store: Store) -> tuple[int, ...]:
    """Return the best cut of the curve and the cut with the highest accuracy predicted at equal bytes.

    If both are the same cut, the second is the next in predicted accuracy. Empty until both are measured.
    """
    series = min((each.name for each in study.series if each.name in RATE_SERIES), key=RATE_SERIES.index)
    keys = [Job(study.name, "score", 0, score=score).key for score in (Score(), Score(PREDICTED, series=series))]
    if not all(key in store for key in keys):
        return ()
    curve, accuracy = (np.array(store[key]["values"]) for key in keys)
    first = best_position(curve, peak_positions(curve))
    ranked = [int(k) for k in np.argsort(-accuracy[:-1], kind="stable") if k != first]
    return first, ranked[0]


def _competing(study: Study, experiments: Sequence[Experiment]) -> Iterator[Score]:
    if any(experiment.rivals for experiment in experiments):
        yield from RIVALS
    if any(experiment.predicted for experiment in experiments):
        for series in study.series:
            yield Score(PREDICTED, series=series.name)


def _tuning(study: Study) -> Iterator[Job]:
    rates = study.retraining.learning_rates
    if len(rates) > 1:
        for rate in rates:
            at = study.retraining.tuned_at
            yield Job(study.name, "tune", 0, cut=at, series=TUNING_SERIES, learning_rate=rate)


def _retraining(study: Study, needed: set[str], seed: int) -> Iterator[Job]:
    needed_series = [series for series in study.series if series.name in needed and seed < series.seeds]
    if needed_series:
        yield Job(study.name, "control", seed)
        yield Job(study.name, "identity", seed)
    for series in needed_series:
        yield from (Job(study.name, "split", seed, cut=cut, series=series.name) for cut in points(study))


def _group_jobs(study: Study, store: Store) -> Iterator[Job]:
    key = Job(study.name, "score", 0, score=Score(part="first_half")).key
    if key not in store:
        return
    row = store[key]
    grouping = class_groups(np.array(row["per_class"], float))
    for name, classes in grouping.groups.items():
        for cut in grouping.peaks:
            yield Job(study.name, "group", 0, cut=cut, series=TUNING_SERIES, group=(name, classes))


def points(study: Study) -> tuple[int, ...]:
    """Return the positions on the axis that are measured; all of 18 main cuts if the study names none."""
    return study.points if study.points is not None else tuple(range(18))


def chosen_rate(study: Study, store: Store) -> float:
    """Return the learning rate of phase 2 with the highest validation accuracy; of equal ones the smallest."""
    rates = study.retraining.learning_rates
    rows = {row["learning_rate"]: row["accuracy"] for row in store.rows(kind="tune")}
    return max(rates, key=lambda rate: (rows.get(rate, -1.0), -rate))


def packed(classes: np.ndarray) -> str:
    """Encode classes as text for a row: in a byte each, or in two, with a colon before, if there are more than 256."""
    is_wide = bool(np.any(classes > 255))
    content = classes.astype("<u2" if is_wide else np.uint8).tobytes()
    return ":" * is_wide + base64.b64encode(zlib.compress(content, 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """Decode the text of `packed` to int64 `(N,)`."""
    content = zlib.decompress(base64.b64decode(text.removeprefix(":")))
    return np.frombuffer(content, "<u2" if text.startswith(":") else np.uint8).astype(np.int64)
