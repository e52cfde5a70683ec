"""All tests under faults, load and abuse with full counts, as one table in docs/faults.md.

    python benchmarks/faults.py                  everything, about three quarters of an hour on 2 cores
    python benchmarks/faults.py --scale 0.01     a hundredth of the counts; writes no table
    python benchmarks/faults.py payloads rest    only these parts; writes no table
    python benchmarks/faults.py --update forks   only these parts, whose rows in the table are replaced or added

The full counts are those of the table. The exit status is 1 if any part finds an error.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "docs" / "faults.md"
sys.path.insert(0, str(HERE))

from trouble import abuse, crash, crowds, failing, link, load, mutation, sharing, tamper  # noqa: E402
from trouble.place import Place, Row, ServerProcess, make_place  # noqa: E402

HEAD = """# Faults, load and abuse

Made by `python benchmarks/faults.py`: a real bundle (int8), the real client, and `isplit serve` on the loopback over
REST and gRPC (the failing link is between REST client and server). The same parts run short in the tests
(`tests/faults`). "Right" means equal to what both halves answer in one process, to 1e-5. TensorFlow Serving itself was
not run.

How to read it: a mutated request, over REST or gRPC, that is still valid is answered normally (HTTP 200, OK). gRPC
answers INTERNAL to bytes that are no message. "closed" counts connections on which nothing was sent.

- **The server is down, or does not serve a device's version at that moment**: images are reported as failed ("told as
  failed"), each with its reason.
- **No failure is allowed** for the 64 clients, for devices whose version stays, for clients that several processes or
  threads share, and for clients beside a crowd.
- **A request whose end is not clear** must get exactly one answer, an error.
- **A mutated file** must be read, or refused with an error of the project.
- **A write that fails** must be reported, and the old content must be whole. "done in spite of it": what failed was not
  needed, or the call was made again.

"""


def parts(scale: float, directory: Path) -> dict[str, Callable[[], Row]]:
    """Return the parts by name, in the order of the table."""

    def n(count: int) -> int:
        return max(1, int(count * scale))

    place = make_place(directory / "bundle")
    other = make_place(directory / "second", seed=1, version=2)
    coded = make_place(directory / "coded", coded=True)
    code, sent = "malformed coded payloads", "coded requests"

    def served(part: Callable[[ServerProcess], Row], at: Place = place) -> Callable[[], Row]:
        def run() -> Row:
            with ServerProcess(at.bundle) as server:
                row = part(server)
                if server.process.poll() is not None or "Traceback" in server.said:
                    row.fail(f"the server ended, or said: {server.said[-500:]}")
                return row

        return run

    return {
        "payloads": served(lambda s: abuse.malformed_payloads(place, (s.url, s.grpc_url), n(100_000))),
        "coded": served(lambda s: abuse.malformed_payloads(coded, (s.url, s.grpc_url), n(100_000), what=code), coded),
        "coded_link": served(lambda s: link.over_a_bad_link(coded, s.url, n(10_000), what=sent), coded),
        "rest": served(lambda s: abuse.malformed_rest(place, s.url, n(70_000))),
        "grpc": served(lambda s: abuse.malformed_grpc(place, s.grpc_url, n(30_000))),
        "link": served(lambda s: link.over_a_bad_link(place, s.url, n(10_000))),
        "restarts": lambda: load.killed_servers(place, n(10)),
        "versions": lambda: load.changing_versions((place, other), directory / "models", n(40)),
        "clients": served(lambda s: load.many_clients(place, (s.url, s.grpc_url), 64, n(200))),
        "memory": served(lambda s: load.flat_memory(place, s, n(100_000))),
        "tampered": lambda: tamper.tampered(place, directory, n(2_000)),
        "exports": lambda: crash.killed_exports(place.bundle, directory / "exports", n(200)),
        "forks": served(lambda s: sharing.forks(place, s.url, n(6_000))),
        "threads": served(lambda s: sharing.threads(place, (s.url, s.grpc_url), n(10_000))),
        "interim": served(lambda s: sharing.interim(place, s.url, n(10_000))),
        "crowds": served(lambda s: crowds.crowds(place, s.url, 10 * max(scale, 0.1))),
        "calls": served(lambda s: crowds.silent_calls(place, s.grpc_url, 512, n(2_000))),
        "claims": served(lambda s: crowds.claims(place, s.url, n(5_000))),
        "ends": served(lambda s: mutation.unclear_ends(s.url, n(5_000))),
        "files": lambda: mutation.mutated_files(place, directory / "mutated", n(30_000)),
        "storage": lambda: failing.failing_storage(directory / "storage", step=max(1, int(0.5 / scale))),
    }


def table(rows: list[Row]) -> Iterator[str]:
    """Return the rows as a Markdown table."""
    yield "| what | times | what came of it | wrong | seconds |"
    yield "|---|---:|---|---:|---:|"
    for row in rows:
        counts = ((name, number) for name, number in sorted(row.outcome.items()) if name != "WRONG")
        came = ", ".join(f"{name}: {number:,}" for name, number in counts)
        yield f"| {row.what} | {row.count:,} | {came} | {row.outcome['WRONG']} | {row.seconds:.0f} |"


def merged(old: list[str], new: list[str]) -> list[str]:
    """Return the lines of the old table, with the rows of the new one in the place of theirs, or behind them."""
    rows = {line.split(" | ")[0]: line for line in [*old, *new] if line.startswith("| ") and line != new[0]}
    return [*new[:2], *rows.values()]


def main() -> int:
    """Run the parts and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help="all by default")
    parser.add_argument("--update", action="store_true", help="replace or add the rows of these parts in the table")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts (default: 1)")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        known = parts(args.scale, Path(directory))
        unknown = [name for name in args.parts if name not in known]
        if unknown:
            parser.error(f"no such part: {', '.join(unknown)}. Possible: {', '.join(known)}")
        for name in args.parts or known:
            print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
            row = known[name]()
            rows.append(row)
            for text in row.wrong:
                print(f"  WRONG: {text}", file=sys.stderr, flush=True)
    lines = list(table(rows))
    print("\n".join(lines))
    if args.update:
        lines = merged(TABLE.read_text().splitlines(), lines)
    if args.update or (not args.parts and args.scale == 1.0):
        TABLE.write_text("\n".join([*HEAD.splitlines(), *lines, "", _machine(), ""]))
    return 1 if any(row.wrong for row in rows) else 0


def _machine() -> str:
    import tensorflow as tf

    return (
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores that other work shared."
    )


if __name__ == "__main__":
    sys.exit(main())
