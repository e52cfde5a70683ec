"""Measures of the time until the first result."""

import json
import statistics
import subprocess
import sys
from typing import Any

_FIRST = """
import json, sys, time
import numpy as np, keras, tensorflow as tf
name, size, side = sys.argv[1], int(sys.argv[2]), sys.argv[3]
from isplit_tf import measure_importance
import isplit_tf.importance.measure
model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
x, y = np.random.default_rng(0).normal(size=(64, size, size, 3)).astype("f4"), np.arange(64) % 10
start = time.perf_counter()
if side == "curve":
    measure_importance(model, (x, y), progress=False)
else:
    model.predict(x, verbose=0)
print(json.dumps(time.perf_counter() - start))
"""


def first_curve(goal: float) -> dict[str, Any]:
    """Compare the time of a first curve with that of a first `predict`, each in three fresh processes."""
    from .passes import MODELS

    reached, ok, details = {}, {}, {}
    for name, size in MODELS.items():
        times: dict[str, list[float]] = {"curve": [], "predict": []}
        for _ in range(3):
            for side, found in times.items():
                done = subprocess.run(
                    [sys.executable, "-c", _FIRST, name, str(size), side],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    check=True,
                )
                found.append(json.loads(done.stdout.splitlines()[-1]))
        ratio = statistics.median(times["curve"]) / statistics.median(times["predict"])
        reached[f"{name} {size}"], ok[f"{name} {size}"] = round(ratio, 2), ratio <= goal
        details[name] = times
    return {"reached": reached, "ok": ok, "details": details}


def imports(package_s: float, help_s: float) -> dict[str, Any]:
    """Measure the seconds that a fresh process takes beyond an interpreter that does nothing; minimum of ten runs."""

    def least(*words: str) -> float:
        from .timing import seconds

        return min(
            seconds(lambda: subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True))
            for _ in range(10)
        )

    bare = least("-c", "pass")
    package = least("-c", "import isplit_tf") - bare
    helped = least("-m", "isplit_tf", "--help") - bare
    return {
        "reached": {"import isplit_tf": f"{package:.2f} s", "isplit --help": f"{helped:.2f} s"},
        "ok": {"import isplit_tf": package <= package_s, "isplit --help": helped <= help_s},
        "details": {"interpreter_s": bare, "import_s": package, "help_s": helped},
    }
