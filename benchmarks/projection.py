"""What fitting a projection at every cut costs, beside one epoch of training the network.

    python benchmarks/projection.py --model VGG16 --size 32 --images 7000

The fit reads 2,000 images for all cuts at once, and takes the matrices of each cut apart. The epoch is worked out from
steps that are timed before the fit and after it, so that what else the machine does falls on both. Seconds are those of
the processor, over all of its cores, besides those of the clock.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import isplit_tf as isplit

_BATCH = 32


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - processor, time.perf_counter() - clock


def step_seconds(model: keras.Model, x: np.ndarray, y: np.ndarray, steps: int) -> tuple[float, float]:
    """Medians for one step of training."""
    model.train_on_batch(x, y)  # traces
    times = [timed(lambda: model.train_on_batch(x, y)) for _ in range(steps)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def measure(name: str, size: int, images: int, compression: float, steps: int) -> dict:
    """The fit, the epoch, and their ratios."""
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)
    trained = keras.models.clone_model(model)
    trained.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, size, size, 3)).astype(np.float32)
    y = rng.integers(0, 10, 2000)
    sides = [step_seconds(trained, x[:_BATCH], y[:_BATCH], steps)]
    curve = None

    def fit() -> None:
        nonlocal curve
        curve = isplit.predict_accuracy(
            model, (x[:1], y[:1]), fit_data=x, compression=compression, batch_size=_BATCH, progress=False
        )

    fitted = timed(fit)
    sides.append(step_seconds(trained, x[:_BATCH], y[:_BATCH], steps))
    epoch = [statistics.mean(side[k] for side in sides) * images / _BATCH for k in (0, 1)]
    return {
        "model": name,
        "input": [size, size, 3],
        "cuts": len(curve.cuts),
        "compression": compression,
        "fit_images": 2000,
        "epoch_images": images,
        "fit_processor_s": round(fitted[0], 1),
        "fit_clock_s": round(fitted[1], 1),
        "epoch_processor_s": round(epoch[0], 1),
        "epoch_clock_s": round(epoch[1], 1),
        "ratio_processor": round(fitted[0] / epoch[0], 3),
        "ratio_clock": round(fitted[1] / epoch[1], 3),
    }


def main() -> None:
    """Measure, and print one line of JSON for each compression."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="VGG16", help="of keras.applications (default: VGG16)")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side (default: 32)")
    parser.add_argument("--images", type=int, default=7000, help="of an epoch (default: 7000)")
    parser.add_argument("--compression", type=float, nargs="+", default=[0.9, 0.99])
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed on either side (default: 20)")
    parser.add_argument("-o", "--output", type=Path, help="also write the lines to a file")
    args = parser.parse_args()
    machine = {"python": platform.python_version(), "tensorflow": tf.__version__, "processor": platform.machine()}
    lines = []
    for compression in args.compression:
        found = measure(args.model, args.size, args.images, compression, args.steps) | machine
        lines.append(json.dumps(found))
        print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
