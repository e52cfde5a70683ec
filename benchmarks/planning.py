"""Plans on trial: predicted latencies beside those of real processes over a shaped link, into docs/planning.md.

    python benchmarks/planning.py --weights LITE1.keras --photos ZIP    what has no row yet, then the page
    python benchmarks/planning.py --networks glyph_vgg                  one network, which needs no files
    python benchmarks/planning.py --page-only                           only the page

It needs root, `ip`, `tc` and two cores that do nothing else. benchmarks/results/planning.jsonl has a row a scenario.
"""

import argparse
import datetime
import functools
import json
import os
from pathlib import Path

from deployment import networks, page, trial

HERE = Path(__file__).resolve().parent

ROWS = HERE / "results" / "planning.jsonl"
PAGE = HERE.parent / "docs" / "planning.md"
PICTURE = HERE.parent / "docs" / "images" / "planning_trial.png"
WORK = HERE.parent / "build" / "planning"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(page.NETWORKS), default=list(page.NETWORKS))
    parser.add_argument("--weights", type=Path, help="EfficientNet-Lite1 with its weights, a .keras file")
    parser.add_argument("--photos", type=Path, help="an archive of photos named by their class, 000 to 999")
    parser.add_argument("--prepare-only", action="store_true", help="only the kits and their accuracies")
    parser.add_argument("--page-only", action="store_true", help="only write the page")
    given = parser.parse_args()
    makers = {"lite1": functools.partial(networks.lite1, given.weights, given.photos), "glyph_vgg": networks.glyph_vgg}
    if not given.page_only:
        for name in given.networks:
            networks.prepare(makers[name], WORK / name)
    if not given.page_only and not given.prepare_only:
        done = {trial.of_record(row) for row in read_rows()}
        for scenario in trial.scenarios(given.networks):
            if scenario in done:
                continue
            row = trial.run_scenario(WORK / scenario.network, scenario) | {"facts": facts()}
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{scenario}: median error {abs(page.errors([row])).mean():.1%}", flush=True)
    rows = read_rows()
    if rows and not given.prepare_only:
        PAGE.write_text(page.page(rows, rows[-1]["facts"]))
        page.draw(rows, str(PICTURE))


def read_rows() -> list[dict]:
    """Read the rows that are there."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def facts() -> dict:
    """Return what the page says of the machine and the data."""
    from isplit_edge.profiling import describe_machine

    images = {}
    for name in page.NETWORKS:
        path = WORK / name / "accuracy.json"
        images[name] = json.loads(path.read_text())["n"] if path.exists() else 0
    machine = describe_machine()
    today = datetime.date.today().isoformat()
    return {"processor": machine["processor"], "cores": os.cpu_count(), "date": today, "images": images}


if __name__ == "__main__":
    main()
