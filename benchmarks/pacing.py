"""The pace of `Client(deadline_s=...)` against an oracle that knows the link, as tables in docs/links.md.

    python benchmarks/pacing.py simulate BUNDLE [BUNDLE ...]      a minute or two each; reads manifest.json alone
    python benchmarks/pacing.py real BUNDLE --images frames.npz   two real runs in network namespaces; as root
    python benchmarks/pacing.py page                              writes docs/links.md from the results

Results are kept in benchmarks/results/pacing.json. A bundle has coded payloads, and rates in its manifest.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from links.pacing_study import World, load, study  # noqa: E402
from links.traces import TRACES  # noqa: E402

RESULTS = HERE / "results" / "pacing.json"
PAGE = HERE.parent / "docs" / "links.md"
SEEDS = range(3)
# So that the largest payload fits about half of the time: the link's rate for each byte of the mean payload.
RATE_PER_BYTE = 6e-4
REAL_DEADLINE_S, REAL_SCALE, REAL_DURATION_S, DOWN = 0.25, 0.3, 40.0, 4.0


def simulate(bundles: Sequence[str]) -> list[dict[str, Any]]:
    """Run all traces for each bundle: without a whole model, and with one that takes 60 ms."""
    found = []
    for bundle in bundles:
        manifest = load(bundle)
        scale = RATE_PER_BYTE * manifest.payload_bytes
        best = max(row["accuracy"] for row in manifest.rates)
        for local_s in (None, 0.06):
            world = World(local_s=local_s, local_accuracy=best)
            rows = study(manifest, world, SEEDS, scale)
            name, size = manifest.cut["name"], manifest.payload_bytes
            found.append({"cut": name, "payload_bytes": size, "scale": scale, "local_s": local_s, "traces": rows})
            print(f"{name}, {size} bytes, local {local_s}", flush=True)
    return found


def measure(bundle: str, images: str, scheme: str) -> dict[str, Any]:
    """Play one trace to a real client twice: with the pace, and with the deadline alone."""
    from links.real_run import run

    manifest = load(bundle)
    scale = REAL_SCALE * RATE_PER_BYTE * manifest.payload_bytes
    trace = TRACES["walk"](0, scale, REAL_DURATION_S)
    limits = {"pace": {"deadline_s": REAL_DEADLINE_S}, "fixed": {"timeout_s": REAL_DEADLINE_S, "retries": 0}}
    rows = {name: run(bundle, images, trace, options, down=DOWN, scheme=scheme) for name, options in limits.items()}
    fixed = {"scheme": scheme, "deadline_s": REAL_DEADLINE_S, "duration_s": REAL_DURATION_S, "trace": trace.name}
    return fixed | {"cut": manifest.cut["name"], "scale": scale, "runs": rows}


def page(results: dict[str, Any]) -> str:
    """Return docs/links.md: its text, and a table for each part of the results."""
    text = (HERE / "links" / "page.md").read_text()
    return text.replace("{simulated}", _simulated(results["simulated"])).replace("{real}", _real(results.get("real")))


def _simulated(parts: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| payloads | whole model here | trace | in time: client | oracle | fixed | accuracy of these: client "
        "| oracle, of as many | regret | right in time: client | oracle | fixed | regret |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        here = "no" if part["local_s"] is None else f"{1000 * part['local_s']:.0f} ms"
        for name, rows in part["traces"].items():
            pace, oracle, fixed = rows["pace"], rows["oracle"], rows["fixed"]
            as_many = oracle["accuracy_of_as_many"]
            regret = 1 - pace["accuracy_in_time"] / as_many
            whole = 1 - pace["right_in_time"] / oracle["right_in_time"]
            lines.append(
                f"| {part['payload_bytes']} B | {here} | {name} | {pace['in_time']:.1%} | {oracle['in_time']:.1%} "
                f"| {fixed['in_time']:.1%} | {pace['accuracy_in_time']:.1%} | {as_many:.1%} | {regret:.1%} "
                f"| {pace['right_in_time']:.1%} | {oracle['right_in_time']:.1%} | {fixed['right_in_time']:.1%} "
                f"| {whole:.1%} |"
            )
    return "\n".join(lines)


def _real(part: dict[str, Any] | None) -> str:
    if part is None:
        return "`python benchmarks/pacing.py real` makes it, as root; no figures were kept yet."
    lines = [
        f"Trace {part['trace']}, {part['duration_s']:.0f} s, {part['scheme']}, a deadline of "
        f"{1000 * part['deadline_s']:.0f} ms, `isplit serve`, cut {part['cut']}:",
        "",
        "| | frames | in time | told as answered or failed | bytes, median | call, median | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in part["runs"].items():
        sizes = sorted(row["bytes"])
        took = row["took_s"]
        lines.append(
            f"| {name} | {row['frames']} | {row['in_time']:.1%} | {row['told']:.1%} | {sizes[len(sizes) // 2]} "
            f"| {1000 * took['median']:.0f} ms | {1000 * took['p95']:.0f} ms |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulate", "real", "page"))
    parser.add_argument("bundles", nargs="*")
    parser.add_argument("--images", help="an .npz with x, raw images for `real`")
    parser.add_argument("--scheme", default="grpc", choices=("grpc", "http"))
    args = parser.parse_args(argv)
    new: dict[str, Any] = {}
    if args.what == "simulate":
        new["simulated"] = simulate(args.bundles)
    elif args.what == "real":
        new["real"] = measure(args.bundles[0], args.images, args.scheme)
    results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | new
    results["machine"] = {"system": platform.platform(), "python": platform.python_version()}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if "simulated" in results:
        PAGE.write_text(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
