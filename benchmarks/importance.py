"""Cost of measuring the importance of every cut, compared with one bare forward and backward pass.

    python benchmarks/importance.py --models VGG16 --size 64

Both sides run the same batch in alternation, so that other load on the machine affects both. The bare pass is the
model's own forward pass and the gradient of the class score with respect to the input.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from isplit_tf.graph.cuts import place_of
from isplit_tf.graph.outputs import find_logits
from isplit_tf.graph.program import read_program
from isplit_tf.importance.measure import choose_cuts
from isplit_tf.importance.probe import Probe


def bare_pass(model: keras.Model):
    """Return a graph function for one forward and backward pass to the input."""

    @tf.function
    def run(x, labels):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = tf.reduce_sum(tf.gather(model(x, training=False), labels, batch_dims=1))
        return tape.gradient(score, x)

    return run


def measure(name: str, size: int, batch: int, repeats: int, cuts: str) -> dict:
    """Return the median seconds of both sides, and the median of the ratios of the pairs."""
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=200)
    program = read_program(model)
    chosen = choose_cuts(program, cuts)
    places = [place_of(program, cut) for cut in chosen]
    probe = Probe(program, places, find_logits(program), method="grad_cam", target="label")
    bare = bare_pass(model)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(batch, size, size, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 200, batch))
    times: dict[str, list[float]] = {"bare": [], "importance": []}
    for turn in range(repeats + 2):
        for side, call in (("bare", lambda: bare(x, labels).numpy()), ("importance", lambda: probe(x, labels))):
            start = time.perf_counter()
            call()
            if turn >= 2:  # the first turns are for tracing and warming up
                times[side].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(times["bare"], times["importance"], strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "model": name,
        "size": size,
        "batch": batch,
        "cuts": cuts,
        "n_cuts": len(chosen),
        "bare_s": statistics.median(times["bare"]),
        "importance_s": statistics.median(times["importance"]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [quartiles[0], quartiles[2]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["VGG16"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cuts", choices=["main", "all"], default="main")
    parser.add_argument("--output", type=Path, help="also write the results as JSON")
    args = parser.parse_args()
    results = []
    for name in args.models:
        found = measure(name, args.size, args.batch, args.repeats, args.cuts)
        low, high = found["ratio_quartiles"]
        print(
            f"{name} {args.size}x{args.size}, {found['n_cuts']} {args.cuts} cuts, batch {args.batch}: "
            f"importance / bare = {found['ratio']:.3f} (quartiles {low:.3f} to {high:.3f}), "
            f"{1e3 * found['importance_s'] / args.batch:.2f} ms per image"
        )
        results.append(found)
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    record = {"format_version": 1, "machine": platform.machine(), "versions": versions, "results": results}
    if args.output:
        args.output.write_text(json.dumps(record, indent=1) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
