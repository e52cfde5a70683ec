"""The jobs of a study: each makes one row of its results, and none depends on how the others were interrupted."""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..importance.statistics import best_position, peak_positions
from ..sweep.store import Store
from .groups import class_groups
from .recipes import Experiment, Study

TUNING_SERIES = "90"
RATE_SERIES = ("fixed", "99")
"""By which predicted accuracy the cuts of the rate-accuracy figure are chosen: the first of these that a study has."""


@dataclass(frozen=True)
class Score:
    """A number for each cut that is to predict accuracies, and what it is measured with.

    Attributes:
        method: As `measure_importance` takes it, or `predict_accuracy`.
        target: `label` or `predicted`.
        part: The images: `validation`; `first_half` and `second_half` of it; `test` for the paper's own variant.
        series: For `predict_accuracy`, the series that it predicts.
        images: Use only so many images; None for all.
    """

    method: str = "grad_cam"
    target: Literal["label", "predicted"] = "label"
    part: str = "validation"
    series: str | None = None
    images: int | None = None

    @property
    def name(self) -> str:
        """Unique among scores."""
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
    Score("layer_integrated_gradients", images=100),  # 32 passes an image
)
"""Other scores, which only compete in the correlations."""

PREDICTED = "predict_accuracy"


@dataclass(frozen=True)
class Rate:
    """One point of the rate-accuracy figure.

    Attributes:
        method: `autoencoder`, both phases; `projection`, untrained; `tuned`, a projection with phase 2; `distilled`,
            a projection whose phase 2 has the original as its teacher.
        bits: Of each element of the latent.
        latent_bytes: Bytes of the latent.
    """

    method: str
    bits: int
    latent_bytes: int

    @property
    def name(self) -> str:
        """Unique among rates."""
        return f"{self.method}/{self.bits}bit/{self.latent_bytes}B"


LINES = (
    ("autoencoder", 8),
    ("projection", 8),
    ("tuned", 8),
    ("distilled", 8),
    ("distilled", 4),
    ("distilled", 2),
)
"""Methods and bits of the rate-accuracy figure."""

CODECS = ("jpeg", "webp", "png")


@dataclass(frozen=True)
class Job:
    """One unit of work.

    Attributes:
        study: Name of the study.
        kind: `original` trains the original; `control` trains it on; `score` measures the cuts; `identity`
            fine-tunes the split without a bottleneck; `tune` tries a learning rate; `split` is the real thing;
            `group` is the same on some classes; `rate` is a point of the rate-accuracy figure; `codec` classifies
            compressed images.
        seed: Of the network and of the data's order.
        cut: Position on the axis of the main cuts.
        series: Name of the series.
        learning_rate: Of phase 2; part of the key of a `tune` job only.
        score: Of a `score` job.
        group: Name of a group of classes, and its classes.
        rate: Of a `rate` job.
        codec: Of a `codec` job: a name in `CODECS`.
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
        """Unique within the study."""
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
    """What these experiments still need of a study, in the order in which it is to be done.

    Some jobs are known only once others are done: the groups of classes follow from curves. So this is asked
    again after the last of them.
    """
    wanted: dict[str, Job] = {}
    rate = chosen_rate(study, store)
    for job in _all_jobs(study, experiments, store):
        trains = job.kind not in ("original", "score", "tune", "codec")
        wanted.setdefault(job.key, replace(job, learning_rate=rate) if trains else job)
    return [job for key, job in wanted.items() if key not in store]


def is_ready(study: Study, store: Store, job: Job) -> bool:
    """Whether what a job needs is there: its original, and the learning rate unless it is the one to find that out."""
    if job.kind == "original":
        return True
    if Job(study.name, "original", job.seed).key not in store:
        return False
    return job.kind in ("score", "tune", "codec") or all(one.key in store for one in _tuning(study))


def _all_jobs(study: Study, experiments: Sequence[Experiment], store: Store) -> Iterator[Job]:
    needed = {name for one in experiments for name in one.series}
    groups = study.groups and any(one.groups for one in experiments)
    rates = bool(study.rates) and any(one.rates for one in experiments)
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
    yield from (Job(study.name, "codec", 0, codec=codec) for codec in CODECS)
    for cut in best_two(study, store):
        for latent_bytes in study.rates:
            for method, bits in LINES:
                yield Job(study.name, "rate", 0, cut=cut, rate=Rate(method, bits, latent_bytes))


def rated_images(study: Study, count: int) -> np.ndarray:
    """Which of so many test images the rate-accuracy figure is made from: int64 `(n,)`, ascending."""
    return np.sort(np.random.default_rng(0).permutation(count)[: study.rate_images])


def best_two(study: Study, store: Store) -> tuple[int, ...]:
    """Where the curve and the accuracy predicted at equal bytes would split; none before both are measured.

    Where both name one cut, the next in predicted accuracy is the second.
    """
    series = min((one.name for one in study.series if one.name in RATE_SERIES), key=RATE_SERIES.index)
    keys = [Job(study.name, "score", 0, score=one).key for one in (Score(), Score(PREDICTED, series=series))]
    if not all(key in store for key in keys):
        return ()
    curve, accuracy = (np.array(store[key]["values"]) for key in keys)
    first = best_position(curve, peak_positions(curve))
    ranked = [int(k) for k in np.argsort(-accuracy[:-1], kind="stable") if k != first]
    return first, ranked[0]


def _competing(study: Study, experiments: Sequence[Experiment]) -> Iterator[Score]:
    if any(one.rivals for one in experiments):
        yield from RIVALS
    if any(one.predicted for one in experiments):
        for series in study.series:
            yield Score(PREDICTED, series=series.name)


def _tuning(study: Study) -> Iterator[Job]:
    rates = study.retraining.learning_rates
    if len(rates) > 1:
        for rate in rates:
            at = study.retraining.tuned_at
            yield Job(study.name, "tune", 0, cut=at, series=TUNING_SERIES, learning_rate=rate)


def _retraining(study: Study, needed: set[str], seed: int) -> Iterator[Job]:
    asked = [one for one in study.series if one.name in needed and seed < one.seeds]
    if asked:
        yield Job(study.name, "control", seed)
        yield Job(study.name, "identity", seed)
    for series in asked:
        yield from (Job(study.name, "split", seed, cut=cut, series=series.name) for cut in points(study))


def _group_jobs(study: Study, store: Store) -> Iterator[Job]:
    key = Job(study.name, "score", 0, score=Score(part="first_half")).key
    if key not in store:
        return
    row = store[key]
    found = class_groups(np.array(row["per_class"], float))
    for name, classes in found.groups.items():
        for cut in found.peaks:
            yield Job(study.name, "group", 0, cut=cut, series=TUNING_SERIES, group=(name, classes))


def points(study: Study) -> tuple[int, ...]:
    """Positions on the axis that are measured; a network of 18 main cuts where the study names none."""
    return study.points if study.points is not None else tuple(range(18))


def chosen_rate(study: Study, store: Store) -> float:
    """The learning rate of phase 2: the one with the highest validation accuracy, the smaller one where equal."""
    rates = study.retraining.learning_rates
    rows = {row["learning_rate"]: row["accuracy"] for row in store.rows(kind="tune")}
    return max(rates, key=lambda rate: (rows.get(rate, -1.0), -rate))


def packed(classes: np.ndarray) -> str:
    """Predicted classes, at most 256 of them, for a row."""
    return base64.b64encode(zlib.compress(classes.astype(np.uint8).tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """int64 `(N,)`: the way back from `packed`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).astype(np.int64)
