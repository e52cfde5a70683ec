"""How many images `confidence=` needs, and how often it finds the best cut and the peaks of all images.

    python benchmarks/settling.py classifier.keras --data validation/

The importance of every image is measured once; the pass is then repeated in many orders of the images.
"""

import argparse
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from isplit_tf.cli.inputs import open_images, open_model
from isplit_tf.graph.cuts import place_of
from isplit_tf.graph.outputs import compiled_loss, find_logits
from isplit_tf.graph.program import read_program
from isplit_tf.importance.data_pass import at_hand, stratified_order
from isplit_tf.importance.measure import choose_cuts
from isplit_tf.importance.probe import Probe
from isplit_tf.importance.settling import TIE, Settling
from isplit_tf.importance.statistics import best_position, peak_positions


def image_scores(model, data, cuts: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the importance per image `(N, n_cuts)`, the labels `(N,)`, and the names of the cuts."""
    program = read_program(model, training=False)
    chosen = choose_cuts(program, cuts)
    logits = find_logits(program, loss=compiled_loss(model))
    probe = Probe(program, [place_of(program, cut) for cut in chosen], logits, method="grad_cam", target="label")
    x, labels, _ = at_hand(data, n_classes=logits.output.n_classes)
    values = [probe(x[k : k + 32], labels[k : k + 32]) for k in range(0, len(labels), 32)]
    return np.concatenate(values) / [cut.size for cut in chosen], labels, [cut.name for cut in chosen]


def replay(values: np.ndarray, labels: np.ndarray, confidence: float, seed: int) -> tuple[int, np.ndarray]:
    """Repeat the pass in a random order; return the number of images used and the resulting curve."""
    order = stratified_order(labels, seed)
    rule = Settling(values.shape[1], int(labels.max()) + 1, confidence)
    for end in range(32, len(order) + 32, 32):
        some = order[end - 32 : end]
        rule.add(labels[some], values[some])
        if rule.settled:
            break
    seen = order[:end]
    return len(seen), values[seen].mean(axis=0)


def apart_by_a_tie(one: list[int], other: list[int], curve: np.ndarray) -> bool:
    """Check whether every peak that is in only one list differs from a neighbouring cut by less than a tie."""
    odd = set(one) ^ set(other)
    return all(min(abs(curve[k] - curve[j]) / max(curve[k], curve[j]) for j in (k - 1, k + 1)) < TIE for k in odd)


def settle(model, data, cuts: str, confidence: float, orders: int) -> dict:
    """Measure over many orders how many images a pass needs, and how often it finds the best cut and peaks of all."""
    values, labels, names = image_scores(model, data, cuts)
    whole = values.mean(axis=0)
    peaks = peak_positions(whole)
    passes = [replay(values, labels, confidence, seed) for seed in range(orders)]
    seen = np.array([n for n, _ in passes])
    found = [peak_positions(curve) for _, curve in passes]
    best = best_position(whole, peaks)
    return {
        "images": len(labels),
        "cuts": len(names),
        "orders": orders,
        "confidence": confidence,
        "seen_median": float(np.median(seen)),
        "seen_90_percent": float(np.quantile(seen, 0.9)),
        "seen_most": int(seen.max()),
        "same_best": float(np.mean([best_position(c, p) == best for (_, c), p in zip(passes, found, strict=True)])),
        "same_peaks": float(np.mean([p == peaks for p in found])),
        "same_peaks_but_for_ties": float(np.mean([apart_by_a_tie(p, peaks, whole) for p in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("--data", required=True, help="labelled images, as isplit importance takes them")
    parser.add_argument("--preprocessing", help="as isplit importance takes it")
    parser.add_argument("--cuts", choices=["main", "all"], default="main")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--output", type=Path, help="also write the result as JSON")
    args = parser.parse_args()
    model = open_model(args.model)
    reading = Namespace(batch_size=32, preprocessing=args.preprocessing)
    data, _ = open_images(args.data, reading, model.inputs[0].shape[1:], split="validation")
    result = {"format_version": 1, "model": Path(args.model).name} | settle(
        model, data, args.cuts, args.confidence, args.orders
    )
    print(json.dumps(result, indent=1))
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
