"""Measures of the cost of choosing a cut, and of the number of images that it needs."""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "results" / "cpu" / "tiny_vgg16.jsonl"

_CHOICE = """
import json, sys, time
start = time.process_time()
import keras, numpy as np
import isplit_tf as isplit
isplit.measure_importance, isplit.propose  # imported when first asked for
imported = time.process_time()
model = keras.models.load_model(sys.argv[1])
data = np.load(sys.argv[2])
data = data["x"], data["y"]
opened = time.process_time()
curve = isplit.measure_importance(model, data, confidence=0.95, progress=False)
isplit.propose(curve)
chosen = time.process_time()
print(json.dumps({"importing": imported - start, "opening": opened - imported, "choosing": chosen - opened}))
"""


def settled(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the number of images until settled, and how often other orders of the images give the same result."""
    if args.archives is None or args.weights is None:
        return _not_measured("needs --archives and --weights")
    from settling import settle

    from isplit_tf.experiments.catalogue import SCALES

    from .originals import original_and_validation

    reached, ok, details = {}, {}, {}
    for name in ("notmnist_vgg16", "xray_vgg16"):
        path, data = original_and_validation(SCALES["cpu"][name], args.archives, args.weights)
        with np.load(data) as arrays:
            found = settle(keras.models.load_model(path), (arrays["x"], arrays["y"]), "main", 0.95, 200)
        reached[name] = (
            f"{found['seen_median']:.0f} of {found['images']}, same best {found['same_best']:.0%}, "
            f"same peaks {found['same_peaks']:.0%} ({found['same_peaks_but_for_ties']:.0%} but for ties)"
        )
        few = found["seen_median"] <= max(64, found["images"] / 50)
        ok[name] = few and min(found["same_best"], found["same_peaks"]) >= 0.95
        details[name] = found
    return {"reached": reached, "ok": ok, "details": details}


def against_retraining(args: argparse.Namespace, cheaper: float) -> dict[str, Any]:
    """Compare a fresh process that loads the model and chooses a cut with the seconds of retraining in the results."""
    from isplit_tf.experiments.catalogue import SCALES
    from isplit_tf.experiments.jobs import points
    from isplit_tf.sweep import Store

    study = SCALES["cpu"]["tiny_vgg16"]
    rows = list(Store(_ROWS).rows(kind="split", series="90", seed=0))
    if args.archives is None or args.weights is None or len(rows) < len(points(study)):
        return _not_measured("needs --archives, --weights and the finished results of tiny_vgg16")
    from .originals import original_and_validation

    model, data = original_and_validation(study, args.archives, args.weights)
    from .timing import seconds

    parts: dict[str, float] = {}

    def choose() -> None:
        done = subprocess.run([sys.executable, "-c", _CHOICE, model, data], stdout=subprocess.PIPE, check=True)
        parts.update(json.loads(done.stdout.splitlines()[-1]))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = seconds(choose)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    each, each_cpu = (sum(row[name] for row in rows) / len(rows) for name in ("seconds", "cpu_seconds"))
    ratio = 18 * each_cpu / cpu
    return {
        "reached": {
            "VGG16 64": f"{ratio:.0f} times in processor time, {18 * each / took:.0f} by the clock",
            "of the choice": ", ".join(f"{name} {share / cpu:.0%}" for name, share in parts.items()),
        },
        "ok": {"VGG16 64": ratio >= cheaper},
        "details": {
            "choice_s": took,
            "choice_cpu_s": cpu,
            "retraining_a_cut_s": each,
            "retraining_a_cut_cpu_s": each_cpu,
            "cuts": 18,
            "measured_cuts": len(rows),
        },
    }


def _not_measured(why: str) -> dict[str, Any]:
    return {"reached": {"not measured": why}, "ok": {}, "details": {}}
