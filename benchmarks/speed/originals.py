"""The original model of a study, trained as in the experiments, and a file of its validation images."""

import tempfile
from pathlib import Path

import numpy as np

from isplit_tf.experiments.originals import Workshop
from isplit_tf.experiments.recipes import Study

_WORK = Path(tempfile.gettempdir()) / "isplit_tf_benchmarks"


def original_and_validation(study: Study, archives: Path, weights: Path) -> tuple[str, str]:
    """Save the model and its validation images, and return their paths; both are kept for the next measure."""
    shop = Workshop(study, _WORK, archives=archives, weights=weights)
    folder = _WORK / study.name
    model, data = folder / "model.keras", folder / "validation.npz"
    shop.original_of(0).save(model)
    x, y = shop.images.validation
    np.savez(data, x=x, y=y)
    return str(model), str(data)
