"""Measures of memory and time, and of their growth."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent.parent

_SIDE = """
import json, re, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
import keras, numpy as np, tensorflow as tf
from speed.passes import build, images
from importance import bare_pass
side, count, classes, cuts = {side!r}, {count}, {classes}, {cuts!r}
name, size = {name!r}, {size}
if classes == 200:
    model = build(name)
else:
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=classes)
x, y = images(size, count)
y = y % classes
# Of this process alone: getrusage starts from the peak of the one that began it.
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
def once(count=count):
    if side == "importance":
        from isplit_tf import measure_importance
        measure_importance(model, (x[:count], y[:count]), cuts=cuts, progress=False)
    elif side == "bare":
        call = bare_pass(model)
        for k in range(0, count, 32):
            call(tf.constant(x[k:k + 32]), tf.constant(y[k:k + 32])).numpy()
    else:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.train_on_batch(x[:32], y[:32])
once()
times = []
for some in (32, count):
    start = time.perf_counter()
    once(some)
    times.append(time.perf_counter() - start)
# Each call traces anew; the difference is the passes alone.
print(json.dumps([peak() - before, (times[1] - times[0]) * count / max(count - 32, 1), peak()]))
"""


def _side(
    side: str, name: str, size: int, *, count: int = 64, classes: int = 200, cuts: str | list[int] = "main"
) -> tuple[float, float, float]:
    """Run one side in its own process; return the bytes that it adds, the seconds of its passes, and the peak bytes."""
    script = _SIDE.format(here=str(_HERE), side=side, count=count, classes=classes, cuts=cuts, name=name, size=size)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    added, seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return added, seconds, peak


def added(goal: float) -> dict[str, Any]:
    """Compare the bytes that each side adds at its peak, each in its own process."""
    from .passes import MODELS

    reached, ok, details = {}, {}, {}
    for name, size in MODELS.items():
        bare = _side("bare", name, size)[0]
        step = _side("step", name, size)[0]
        main, whole = (_side("importance", name, size, cuts=cuts)[0] for cuts in ("main", "all"))
        many = _side("importance", name, size, count=512)
        few = _side("importance", name, size, count=64)
        image_bytes = (512 - 64) * size * size * 3 * 4
        flat = (many[2] - few[2] - 2 * image_bytes) / few[0]
        label = f"{name} {size}"
        reached[label] = f"main {main / bare:.2f}, all {whole / step:.2f} of a step, 8 times the images {flat:+.0%}"
        ok[label] = main / bare <= goal and whole < step and flat < 0.1
        details[name] = {"bare": bare, "step": step, "main": main, "all": whole, "flat": flat}
    return {"reached": reached, "ok": ok, "details": details}


def growth() -> dict[str, Any]:
    """Measure time and memory of MobileNetV2 for increasing numbers of images, classes and cuts."""
    name, size = "MobileNetV2", 96
    found: dict[str, list[dict[str, float]]] = {"images": [], "classes": [], "cuts": []}
    for count in (64, 128, 256, 512):
        found["images"].append(_point(count, *_side("importance", name, size, count=count)))
    for classes in (2, 10, 100, 1000):
        found["classes"].append(_point(classes, *_typical("importance", name, size, classes)))
    few, many = (_typical("bare", name, size, classes)[1] for classes in (2, 1000))
    for cuts in (1, 5, 20, 70):
        chosen = [round(k * 72 / cuts) for k in range(cuts)]
        found["cuts"].append(_point(cuts, *_side("importance", name, size, count=128, cuts=chosen)))
    times = {key: points[-1]["seconds"] / points[0]["seconds"] for key, points in found.items()}
    ours = times["classes"] / (many / few)
    return {
        "reached": {
            "8 times the images": f"{times['images']:.2f} times the time",
            "500 times the classes": f"{times['classes']:.2f} times the time, a bare pass {many / few:.2f}",
            "70 times the cuts": f"{times['cuts']:.2f} times the time",
        },
        "ok": {"500 times the classes": ours <= 1.1, "8 times the images": times["images"] <= 8.8},
        "details": found,
    }


def _typical(side: str, name: str, size: int, classes: int) -> tuple[float, float, float]:
    """Run three processes, and return the result of the one with the median time."""
    turns = [_side(side, name, size, count=256, classes=classes) for _ in range(3)]
    return sorted(turns, key=lambda turn: turn[1])[1]


def _point(amount: int, added_bytes: float, seconds: float, peak: float) -> dict[str, float]:
    return {"amount": amount, "seconds": seconds, "added_mib": added_bytes / 2**20, "peak_mib": peak / 2**20}
