"""A study's original, trained as the experiments train it, and its validation images as a file."""

import tempfile
from pathlib import Path

import numpy as np

from isplit_tf.experiments.jobs import Job
from isplit_tf.experiments.recipes import Study
from isplit_tf.experiments.work import Worker

_WORK = Path(tempfile.gettempdir()) / "isplit_tf_benchmarks"


def original_and_validation(study: Study, archives: Path, weights: Path) -> tuple[str, str]:
    """Paths of the model and of its validation images; kept for the next measure."""
    worker = Worker(study, _WORK, archives=archives, weights=weights)
    path = _WORK / study.name / "original_seed0.keras"
    if not path.exists():
        worker(Job(study.name, "original", 0))
    data = path.with_name("validation.npz")
    if not data.exists():
        x, y = worker.images.validation
        np.savez(data, x=x, y=y)
    return str(path), str(data)
