"""The page docs/compatibility.md, made from the rows."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compatibility_row import names
from hub_models import hub_names

HERE = Path(__file__).resolve().parent
ROWS = HERE / "results" / "compatibility.jsonl"
GRAPHS = HERE / "results" / "random_graphs.json"
TABLE = HERE.parent / "docs" / "compatibility.md"


def read_rows() -> dict[str, dict[str, Any]]:
    """Read the last row of each model."""
    lines = ROWS.read_text().splitlines() if ROWS.exists() else []
    return {row["model"]: row for row in map(json.loads, lines)}


def write_table() -> None:
    """Write docs/compatibility.md from the rows."""
    rows = read_rows()
    order = [name for name in names() if name in rows]
    others = [rows[name] for name in order if not name[0].isupper()]
    applications = [rows[name] for name in order if name[0].isupper()]
    hub = [rows[name] for name in hub_names() if name in rows]
    order += [row["model"] for row in hub]
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
        "compiles (G). It does not see into loops, and may miss the shapes behind a compiled convolution inside a "
        "layer: nothing is compared there.",
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
        *_hub_text(hub),
    ]
    text += _failures_text(rows.values())
    text += _graphs_text()
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(text) + "\n")


def _hub_text(rows: list[dict[str, Any]]) -> list[str]:
    """Describe the rows of KerasHub; those with a preprocessor have a table of their own."""
    if not rows:
        return []
    bare = [row for row in rows if not row["model"].endswith("preprocessor")]
    whole = [row for row in rows if row["model"].endswith("preprocessor")]
    version = max(row["keras_hub"] for row in rows if "keras_hub" in row)
    said = [
        f"| {row['model'].partition(' ')[0]} | {_shapes(row)} | {row.get('predict_difference', '-'):.2g} | "
        + " | ".join(_said(row.get("said", {}).get(verb, "-")) for verb in ("measure_importance", "split"))
        + " |"
        for row in whole
        if "said" in row
    ]
    return [
        "",
        f"## KerasHub {version}",
        "",
        "Made by `make hub-rows`, in an environment of its own. Each architecture as its classifier, and as a backbone "
        "for images of any size inside a model of fixed size (MiT, Swin, ViT and DeiT: of one size).",
        "",
        *_table(bare),
        "",
        "With their preprocessor, classifiers do more in `predict` than when they are called: the largest difference "
        "of the two on images of noise, and what is said of such a model.",
        "",
        "| Classifier | Input | Difference | `measure_importance` | `split` |",
        "|---|---|---|---|---|",
        *said,
    ]


def _said(text: str) -> str:
    kind, _, rest = text.partition(": ")
    return f"{kind}: {rest.split('. ')[0][:200]}".replace("|", "/") if rest else text


def _shapes(row: dict[str, Any]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in row.get("inputs", []))


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
    finite = row.get("curve_finite")
    cells = [
        row["model"],
        _shapes(row),
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
    if "grouped convolution" in by_hand and row["macs"] > 1.2 * total:
        return "shapes unknown G"
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
