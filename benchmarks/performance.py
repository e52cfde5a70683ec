"""All measures of performance, mostly ratios within one run, and the page that reports them.

    python benchmarks/performance.py                      all measures; about half an hour on 2 idle cores
    python benchmarks/performance.py --only main_cuts     one measure
    python benchmarks/performance.py --page               only write docs/performance.md, without measuring

Every measure runs in its own process; its result is saved in benchmarks/results/performance.json at once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
RESULTS = HERE / "results" / "performance.json"
PAGE = HERE.parent / "docs" / "performance.md"


def main() -> None:
    """Run the command line."""
    from speed.measures import MEASURES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES), metavar="MEASURE")
    parser.add_argument("--archives", type=Path, help="a folder with the archives of the real data sets")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of VGG16 without its top")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        found = MEASURES[args.only[0]].run(args)
        sys.stdout.write("\n" + json.dumps(found) + "\n")
        return
    if not args.page:
        for name in args.only:
            _measure(name)
    from speed.page import write_page

    write_page(_read(), PAGE)
    print(f"wrote {PAGE}")


def _measure(name: str) -> None:
    print(f"{name} ...", flush=True)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, *sys.argv[1:]]
    if "--only" in command:
        start = command.index("--only")
        end = next((k for k in range(start + 1, len(command)) if command[k].startswith("--")), len(command))
        del command[start:end]
    done = subprocess.run([*command, "--here", "--only", name], env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"  failed with exit code {done.returncode}")
        return
    results = _read()
    machine = _machine()
    results["machine"] = results["machine"] or machine
    found = json.loads(done.stdout.strip().splitlines()[-1])
    results["measures"][name] = found | {"processor": machine["processor"]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(f"  {json.dumps(results['measures'][name]['reached'])}", flush=True)


def _read() -> dict:
    if RESULTS.exists():
        return json.loads(RESULTS.read_text())
    return {"format_version": 1, "machine": {}, "measures": {}}


def _machine() -> dict:
    from importlib.metadata import version

    names = ("isplit-tf", "tensorflow", "keras", "ai-edge-litert", "numpy")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":", 1)[1].strip() for line in flags.splitlines() if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "bfloat16": [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags],
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
    }


if __name__ == "__main__":
    main()
