"""Compatibility of keras.applications and other models: cuts, recomposition, measurement and export.

    python benchmarks/compatibility.py                    all models that have no row yet, then the table
    python benchmarks/compatibility.py VGG16 u_net        these models, again
    python benchmarks/compatibility.py --table            only write docs/compatibility.md from the rows
    python benchmarks/compatibility.py --graphs 5000      random graphs
    python benchmarks/compatibility.py --hub              KerasHub's models that have no row yet; see `make hub-rows`
    python benchmarks/compatibility.py --hub --again ViT  its models whose name begins so, again

Each model runs in its own process. benchmarks/results/compatibility.jsonl has a row per run; a model's last one counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from compatibility_page import GRAPHS, ROWS, read_rows, write_table
from compatibility_row import names, run_model, versions
from hub_models import hub_names

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def run_all(wanted: list[str], timeout_s: int) -> None:
    """Run each model in its own process, and append each row as soon as it is finished."""
    for name in wanted:
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


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--graphs", type=int, help="check this many random graphs")
    parser.add_argument("--hub", action="store_true", help="models of KerasHub, which must be installed")
    parser.add_argument(
        "--again", metavar="NAME", help="with --hub: those whose name begins so, also if they have a row"
    )
    parser.add_argument("--timeout", type=int, default=900, help="seconds for a model")
    given = parser.parse_args()
    if given.one:
        run_model(given.one)
        return
    if given.graphs:
        run_graphs(given.graphs)
    elif given.hub:
        done = read_rows()
        wanted = [name for name in hub_names() if (name.startswith(given.again) if given.again else name not in done)]
        run_all(given.models or wanted, given.timeout)
    elif not given.table:
        done = {} if given.models else read_rows()
        run_all(given.models or [name for name in names() if name not in done], given.timeout)
    write_table()


if __name__ == "__main__":
    main()
