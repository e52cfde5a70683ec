"""The sanity check of every method as a table, which shows the methods that depend on what a model learned.

python benchmarks/sanity.py classifier.keras --data validation/
"""

import argparse
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from isplit_tf.cli.inputs import open_images, open_model
from isplit_tf.graph.outputs import describe_output
from isplit_tf.importance.data_pass import at_hand, stratified_order
from isplit_tf.importance.kernels import METHODS, title
from isplit_tf.importance.sanity import sanity_check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("--data", required=True, help="labelled images, as isplit importance takes them")
    parser.add_argument("--preprocessing", help="as isplit importance takes it")
    parser.add_argument("--methods", nargs="+", default=[name for name in METHODS if name != "gradients"])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the results as JSON")
    args = parser.parse_args()
    model = open_model(args.model)
    reading = Namespace(batch_size=32, preprocessing=args.preprocessing)
    data, _ = open_images(args.data, reading, model.inputs[0].shape[1:], split="validation")
    x, labels, _ = at_hand(data, n_classes=describe_output(model).n_classes)
    chosen = stratified_order(labels)[: args.images]
    results = []
    print("| method | maps keep | the curve keeps | |\n|---|---|---|---|")
    for name in args.methods:
        found = sanity_check(model, (x[chosen], labels[chosen]), method=name, draws=args.draws)
        kept = float(np.nanmean(found.kept))
        print(f"| {title(name)} | {kept:.2f} | {found.curve[-1]:.2f} | {'passes' if found.passes else 'fails'} |")
        sys.stdout.flush()
        results.append({"method": name, "maps": kept, "curve": float(found.curve[-1]), "passes": found.passes})
        if args.output:  # saved after each method, because the last one takes long
            facts = {"format_version": 1, "model": Path(args.model).name, "images": args.images, "draws": args.draws}
            args.output.write_text(json.dumps(facts | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
