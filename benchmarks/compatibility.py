"""Compatibility of keras.applications and other models: cuts, recomposition, measurement and export.

    python benchmarks/compatibility.py                    all models that have no row yet, then the table
    python benchmarks/compatibility.py VGG16 u_net        these models, again
    python benchmarks/compatibility.py --table            only write docs/compatibility.md from the rows
    python benchmarks/compatibility.py --graphs 5000      random graphs

Each model runs in its own process. benchmarks/results/compatibility.jsonl has a row per run; a model's last one counts.
"""

import argparse
import gc
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ROWS = HERE / "results" / "compatibility.jsonl"
GRAPHS = HERE / "results" / "random_graphs.json"
TABLE = ROOT / "docs" / "compatibility.md"
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
SIDES = (32, 71, 75, 96, 224, 331)
sys.path[:0] = [str(HERE), str(ROOT / "tests")]


def names() -> list[str]:
    """Return the names of all models, those of keras.applications first."""
    import keras
    from models import MODELS

    found = [name for name in dir(keras.applications) if name[0].isupper()]
    return [*sorted(found), *MODELS]


def build(name: str) -> Any:
    """Build a model with random weights, as small as its architecture allows."""
    import keras
    from models import MODELS

    if name in MODELS:
        return MODELS[name]()
    for side in SIDES:
        try:
            return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
        except ValueError as error:
            reason = error
    raise reason


class Row:
    """The results for one model, printed after each stage, so that a killed process leaves the finished stages."""

    def __init__(self, name: str):
        self.start = time.monotonic()
        self.values: dict[str, Any] = {"model": name, "failures": {}}

    def stage(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        """Run one stage; an error is recorded in the row."""
        gc.collect()  # models are part of reference cycles, and the largest need the memory
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            self.values |= run()
        except Exception as error:  # every error belongs into the table
            traceback.print_exc()
            self.values["failures"][name] = f"{type(error).__name__}: {error}"[:600]
        self.values["seconds"] = round(time.monotonic() - self.start, 1)
        print(json.dumps(self.values), flush=True)


def run_model(name: str) -> None:
    """Run all stages for one model in this process."""
    import keras
    import numpy as np
    from models import MODELS

    from isplit_tf.graph.axis import main_cuts
    from isplit_tf.graph.cuts import list_cuts
    from isplit_tf.graph.program import read_program
    from support.zoo import random_input

    row = Row(name)
    keras.utils.set_random_seed(0)
    row.values |= versions()
    model = build(name)
    scale = 1.0 if name in MODELS else pixels(model)
    settle(model, random_input(model, 32, scale=scale))
    x = random_input(model, 2, scale=scale)
    program = read_program(model)
    cuts = list_cuts(program)
    main = main_cuts(program, cuts)
    row.values |= {
        "inputs": [list(program.tensors[tensor].sample_shape) for tensor in program.inputs],
        "parameters": model.count_params(),
        "cuts": len(cuts),
        "main_cuts": len(main),
    }
    row.stage("recompose", lambda: recomposed(model, x))
    row.stage("cost", lambda: cost(model))
    row.stage("importance", lambda: importance(model, random_input(model, 8, scale=scale)))
    best = row.values.get("best")
    chosen = sorted({0, len(cuts) // 2, len(cuts) - 1, *([best["index"]] if best else [])})
    row.stage("split", lambda: splits(model, x, [cuts[k] for k in chosen if 0 <= k < len(cuts)]))
    if best and len(program.inputs) == 1:
        images = np.asarray(random_input(model, 24, scale=scale))
        row.stage("float32 head", lambda: head(model, cuts[best["index"]], images, "float32"))
        row.stage("int8 head", lambda: head(model, cuts[best["index"]], images, "int8"))


def pixels(model: Any) -> float:
    """Return the scale of random inputs: that of pixels if the model rescales its input itself."""
    import keras

    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return 64.0 if any(isinstance(layer, kinds) for layer in model._flatten_layers()) else 1.0


def settle(model: Any, x: Any) -> None:
    """Set the statistics of BatchNormalization from a batch; with a fresh model's, deep feature maps shrink to zero."""
    import keras

    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(x, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def versions() -> dict[str, Any]:
    """Return the versions of the software that made the row."""
    import keras
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__, "date": time.strftime("%Y-%m-%d", time.gmtime())}


def recomposed(model: Any, x: Any) -> dict[str, Any]:
    """Cut the model at every cut, and run the parts as a chain in which each part sees only the previous output."""
    from support.recompose import recompose

    found = recompose(model, x)
    return {
        "recomposed": found.cuts if found.exact else 0,
        "difference": found.difference,
        "repeat": found.repeat,
        "largest": found.largest,
    }


def splits(model: Any, x: Any, cuts: list[Any]) -> dict[str, Any]:
    """Test `split`, head and tail at some cuts through the public interface."""
    from isplit_tf import split
    from support.recompose import difference

    expected = model(x, training=False)
    worst = 0.0
    for cut in cuts:
        halves = split(model, cut)
        worst = max(worst, difference(halves.tail(halves.head(x, training=False), training=False), expected))
    return {"split_at": [cut.name for cut in cuts], "split_difference": worst}


def importance(model: Any, x: Any) -> dict[str, Any]:
    """Measure the importance of the main cuts on random images."""
    import warnings

    import numpy as np

    from isplit_tf import measure_importance
    from isplit_tf.graph.outputs import describe_output

    labels = np.arange(8) % describe_output(model).n_classes
    curve = measure_importance(model, (x, labels), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        best = curve.best
    return {
        "curve_finite": bool(np.isfinite(curve.values).all()),
        "best": {"index": best.index, "name": best.name, "shape": list(best.shape)},
    }


def cost(model: Any) -> dict[str, Any]:
    """Count multiply-accumulate operations, and compare with TensorFlow's profiler."""
    from isplit_tf.graph.cost import count_macs
    from support.profiler import profiled_macs

    counted, by_hand = profiled_macs(model)
    kinds: dict[str, int] = {}
    for name, macs in by_hand.items():
        kind = "Einsum" if "einsum" in name.lower() else "grouped convolution"
        kinds[kind] = kinds.get(kind, 0) + macs
    return {"macs": count_macs(model), "profiler_macs": counted, "profiler_by_hand": kinds}


def head(model: Any, cut: Any, images: Any, precision: str) -> dict[str, Any]:
    """Convert the head at the best cut to `.tflite`, and compare it with Keras on the same images."""
    from isplit_tf import split
    from isplit_tf.export.litert.converter import convert

    found = convert(
        split(model, cut).head,
        precision=precision,
        representative=images.astype("float32"),
        progress=False,
    )
    return {precision: {"error": found.relative_error, "size_bytes": len(found.content)}}


def run_all(wanted: list[str], timeout_s: int) -> None:
    """Run each model in its own process, and append each row as soon as it is finished."""
    done = {} if wanted else read_rows()
    for name in wanted or names():
        if name in done:
            continue
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        start = time.monotonic()
        command = [sys.executable, str(Path(__file__).resolve()), "--one", name]
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
        try:
            output, errors = process.communicate(timeout=timeout_s)
            reason = "" if process.returncode == 0 else (errors.strip().splitlines() or [""])[-1]
            if process.returncode < 0:
                reason = f"ended by signal {-process.returncode} in stage {reason}"
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            reason = f"stopped after {timeout_s} s"
        lines = [line for line in output.splitlines() if line.startswith('{"model"')]
        row = json.loads(lines[-1]) if lines else {"model": name, "failures": {}}
        row["seconds"] = round(time.monotonic() - start, 1)
        if reason:
            row["failures"]["process"] = reason[:600]
        ROWS.parent.mkdir(exist_ok=True)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for stage, text in row["failures"].items():
            print(f"    {stage}: {text[:200]}", flush=True)


def read_rows() -> dict[str, dict[str, Any]]:
    """Read the last row of each model."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["model"]: row for row in map(json.loads, lines)}


def write_table() -> None:
    """Write docs/compatibility.md from the rows."""
    rows = read_rows()
    order = [name for name in names() if name in rows]
    applications = [rows[name] for name in order if name[0].isupper()]
    others = [rows[name] for name in order if not name[0].isupper()]
    first = rows[order[0]]
    date = max(row.get("date", "") for row in rows.values())
    cuts = sum(row.get("cuts", 0) for row in rows.values())
    exact = sum(row.get("recomposed", 0) for row in rows.values())
    text = [
        "# Compatibility",
        "",
        "Made by `python benchmarks/compatibility.py`; do not edit. "
        f"TensorFlow {first['tensorflow']}, Keras {first['keras']}, {date}; weights at random.",
        "",
        f"{len(order)} models, {cuts:,} cuts, {exact:,} recomposed exactly.",
        "",
        "- **Cuts**: places where one tensor alone carries everything; main: those on the importance curve.",
        "- **Exact**: cuts at which `tail(head(x))` equals the model: to the bit where the model repeats itself to the "
        "bit, else within 1e-5 max(1, max |y|). **Largest difference** over all of them.",
        "- **Curve**: the importance of all main cuts on random images is finite.",
        "- **MACs**: multiply-accumulates for one image in millions, and how far they are from TensorFlow's profiler, "
        "whose count is completed by hand where it does not look: Einsum (E), and grouped convolutions that Keras "
        "compiles (G). It does not see into loops: nothing is compared for recurrent layers.",
        "- **int8 head**: head and nothing else, at the best cut of the curve, all integer from input to output, with "
        "the relative error against Keras; or the operators that would stay in float. **float32 head**: the same cut. "
        "Weights and images are noise here: through tens of layers, small differences grow as they do not in a trained "
        "net on real images.",
        "- **s**: seconds for the row, one thread.",
        "",
        "## keras.applications",
        "",
        *_table(applications),
        "",
        "## Other graphs",
        "",
        *_table(others),
    ]
    text += _failures_text(rows.values())
    text += _graphs_text()
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(text) + "\n")


def _failures_text(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Describe failures, grouped by reason; heads that stay in float are in the table already."""
    models: dict[str, list[str]] = {}
    for row in rows:
        for stage, why in row["failures"].items():
            if stage != "int8 head":
                models.setdefault(f"{stage}: {why}", []).append(row["model"])
    if not models:
        return []
    return ["", "## What failed", "", *(f"- {', '.join(names)}. {why}" for why, names in models.items())]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = (
        "Model | Input | Cuts | Main | Exact | Largest difference | Curve | MACs (M) | Profiler | Best cut | "
        "float32 head | int8 head | s"
    )
    return [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1), *(_line(row) for row in rows)]


def _line(row: dict[str, Any]) -> str:
    failures = row["failures"]
    shapes = ", ".join("x".join(map(str, shape)) for shape in row.get("inputs", []))
    finite = row.get("curve_finite")
    cells = [
        row["model"],
        shapes,
        row.get("cuts", "?"),
        row.get("main_cuts", "?"),
        row.get("recomposed", "failed"),
        f"{row['difference']:.1e}" if row.get("difference") else row.get("difference", "-"),
        "failed" if finite is None else "finite" if finite else "NOT FINITE",
        f"{row['macs'] / 1e6:,.1f}" if "macs" in row else "?",
        _profiler(row),
        f"`{row['best']['name']}`" if "best" in row else "-",
        _head(row, "float32", failures),
        _head(row, "int8", failures),
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _profiler(row: dict[str, Any]) -> str:
    if "profiler_macs" not in row:
        return "-"
    if row["model"] in ("lstm", "masked_text"):
        return "loops"
    by_hand = row["profiler_by_hand"]
    total = row["profiler_macs"] + sum(by_hand.values())
    marks = "".join({"Einsum": " E", "grouped convolution": " G"}[kind] for kind in sorted(by_hand))
    return f"{row['macs'] / total - 1:+.2%}{marks}" if total else "-"


def _head(row: dict[str, Any], precision: str, failures: dict[str, str]) -> str:
    if precision in row:
        return f"{row[precision]['error']:.1e}"
    if len(row.get("inputs", [])) > 1:
        return "several inputs"
    text = failures.get(f"{precision} head", "-")
    if "stay in float" in text:
        return "float: " + text.split("float: ")[-1].split(". ")[0].removesuffix(".")
    missing = re.search(r"no built-in operator for (.*?)\. Flex", text)
    if missing:
        return "no " + ", ".join(dict.fromkeys(re.findall(r"(\w+) \(", missing[1] + " (")))
    return text[:100].replace("|", "/")


def run_graphs(count: int) -> None:
    """Test random graphs: compare the cuts with a brute-force search, and recompose the models."""
    from support.random_graphs import check_graph

    start, wrong, cuts, steps = time.monotonic(), [], 0, 0
    for seed in range(count):
        found = check_graph(seed)
        cuts, steps = cuts + found.cuts, steps + found.steps
        if found.problem:
            wrong.append({"seed": seed, "problem": found.problem})
        if seed % 100 == 99:
            import keras

            keras.backend.clear_session()
            print(f"{seed + 1} graphs, {cuts} cuts, {len(wrong)} wrong", flush=True)
    seconds = round(time.monotonic() - start, 1)
    result = {"graphs": count, "steps": steps, "cuts": cuts, "wrong": wrong, "seconds": seconds} | versions()
    GRAPHS.write_text(json.dumps(result, indent=1) + "\n")


def _graphs_text() -> list[str]:
    if not GRAPHS.exists():
        return []
    found = json.loads(GRAPHS.read_text())
    return [
        "",
        "## Random graphs",
        "",
        f"{found['graphs']:,} random graphs of layers (branches, merges, shared layers, nested models) with "
        f"{found['steps']:,} calls: the {found['cuts']:,} cuts found are those found by removing each tensor in turn, "
        f"and every graph is recomposed exactly, except {len(found['wrong'])}. {found['seconds']:.0f} s.",
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--graphs", type=int, help="check this many random graphs")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for a model")
    given = parser.parse_args()
    if given.one:
        run_model(given.one)
        return
    if given.graphs:
        run_graphs(given.graphs)
    elif not given.table:
        run_all(given.models, given.timeout)
    write_table()


if __name__ == "__main__":
    main()
