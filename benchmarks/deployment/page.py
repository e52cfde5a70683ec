"""docs/planning.md, from the results of the trial."""

from collections.abc import Iterable
from typing import Any

import numpy as np

TIE = 0.05
NETWORKS = {"lite1": "EfficientNet-Lite1", "glyph_vgg": "narrow VGG"}


def errors(rows: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return the relative error of each predicted median, positive where the plan said too long."""
    return np.array([one["predicted_s"] / one["measured_s"] - 1 for row in rows for one in row["options"]])


def regret(row: dict[str, Any]) -> float:
    """Return by how much the advised option is slower than the fastest of at least its accuracy, as measured."""
    found = {_key(one): one for one in row["options"]}
    advised = found.get(_key(row["advised"]))
    if advised is None:
        return float("nan")
    best = min(one["measured_s"] for one in row["options"] if one["accuracy"] >= advised["accuracy"] - 1e-9)
    return advised["measured_s"] / best - 1


def wrongly_split(row: dict[str, Any]) -> bool:
    """Return whether a split was advised although local or remote was faster, as measured, at its accuracy."""
    if row["advised"]["kind"] != "split":
        return False
    advised = next(one for one in row["options"] if _key(one) == _key(row["advised"]))
    others = (one for one in row["options"] if one["kind"] != "split" and one["accuracy"] >= advised["accuracy"] - 1e-9)
    return any(one["measured_s"] < advised["measured_s"] for one in others)


def speed_up(row: dict[str, Any], kind: str, codec: str | None) -> float:
    """Return how many times faster the advised option is than another one, as measured; NaN where it is not there."""
    advised = next((one for one in row["options"] if _key(one) == _key(row["advised"])), None)
    other = next((one for one in row["options"] if (one["kind"], one["codec"]) == (kind, codec)), None)
    return float("nan") if advised is None or other is None else other["measured_s"] / advised["measured_s"]


def _key(option: dict[str, Any]) -> tuple[Any, ...]:
    return option["kind"], option["codec"], option["quality"], option["cut"]


def name_of(option: dict[str, Any]) -> str:
    """Return an option in words."""
    if option["kind"] == "local":
        return "whole model on the device"
    if option["kind"] == "remote":
        return f"{option['codec']} {option['quality'] or ''}".strip()
    return f"split at `{option['cut']}`"


def page(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Return the page."""
    found = errors(rows)
    absolute = np.abs(found)
    late = np.array([one["predicted_p95_s"] / one["measured_p95_s"] - 1 for row in rows for one in row["options"]])
    regrets = np.array([regret(row) for row in rows])
    png = np.array([speed_up(row, "remote", "PNG") for row in rows])
    local = np.array([speed_up(row, "local", None) for row in rows])
    wrong = sum(map(wrongly_split, rows))
    kinds = {kind: sum(row["advised"]["kind"] == kind for row in rows) for kind in ("local", "remote", "split")}
    lines = [
        "# Plans on trial",
        "",
        "Made by `python benchmarks/planning.py`; do not edit. "
        f"{facts['processor']}, {facts['cores']} cores, {facts['date']}.",
        "",
        f"A plan predicts the latency of each option from profiles. Here {absolute.size} predictions in {len(rows)} "
        "scenarios stand beside what real processes took, end to end, from the image to the answer:",
        "",
        "| | found | asked for |",
        "|---|---|---|",
        f"| error of the predicted median, median | {np.median(absolute):.1%} | 5 % |",
        f"| error of the predicted median, 90th percentile | {np.quantile(absolute, 0.9):.1%} | 15 % |",
        f"| 95th percentile of latency within 25 % | {np.mean(np.abs(late) <= 0.25):.0%} of the pairs | all |",
        f"| advised option slower than the best measured one of its accuracy | {np.nanmax(regrets):.1%} at most, "
        f"{np.nanmean(regrets):.1%} in the mean | 5 % |",
        f"| a split advised where local or remote was faster at its accuracy | {wrong} of {len(rows)} | never |",
        f"| speed-up of the advised option over sending PNG | {_mean(png)} | |",
        f"| speed-up over the whole model on the device | {_mean(local)} | |",
        "",
        f"Advised: the whole model on the device {kinds['local']} times, a compressed image {kinds['remote']}, a split "
        f"{kinds['split']}. Neurosurgeon (Kang et al., ASPLOS 2017) reports a mean speed-up of 3.1 over sending the "
        "input, on other networks, devices and links.",
        "",
        "**How.** The device is a process on one core, with one thread of LiteRT, without TensorFlow"
        + ("; half of a thread is a quota of its control group" if any("half" in row["device"] for row in rows) else "")
        + ". The server is the local one on the other core, over REST. Between them lie "
        "two network namespaces, a link shaped by `tbf`, and a proxy that delays. The link is measured by `python -m "
        "isplit_edge profile kit/ --url`, as a user does. Each option classifies 8 to 24 frames, in two rounds. Heads "
        "and the whole model on the device are int8; accuracies are measured through the same files, on "
        f"{facts['images']['lite1']} photos and {facts['images']['glyph_vgg']} glyphs.",
        "",
        "All devices here are cores of a server, on which the whole model is fast: that a split is advised where it "
        "pays was not on trial. Nor were a device of another architecture (emulation has no speed of its own), "
        "TensorFlow's C loader as the server, energy.",
        "",
        "![predicted and measured latency of every option](images/planning_trial.png)",
        "",
        "## Every scenario",
        "",
        "| network | device | link | advised | measured | best measured of its accuracy | error, median | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return (
        f"{np.mean(known):.1f} in the mean, {np.exp(np.mean(np.log(known))):.1f} geometric, {known.max():.0f} at most"
    )


def _row(row: dict[str, Any]) -> str:
    advised = next((one for one in row["options"] if _key(one) == _key(row["advised"])), None)
    link = f"{row['rate_bit_s'] / 1e6:g} Mbit/s, {1000 * row['rtt_s']:g} ms"
    start = f"| {NETWORKS[row['network']]} | {row['device']} | {link} | {name_of(row['advised'])} |"
    why = row["why"].split("\n")[0].replace("|", "\\|")
    if advised is None:
        return f"{start} - | - | - | {why} |"
    best = min(
        (one for one in row["options"] if one["accuracy"] >= advised["accuracy"] - 1e-9),
        key=lambda one: one["measured_s"],
    )
    error = np.median(np.abs(errors([row])))
    return (
        f"{start} {1000 * advised['measured_s']:.0f} ms | {name_of(best)}, {1000 * best['measured_s']:.0f} ms | "
        f"{error:.1%} | {why} |"
    )


def draw(rows: list[dict[str, Any]], path: str) -> None:
    """Draw predicted over measured medians, a mark for each option and scenario."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    colours = {"local": "#0072b2", "remote": "#e69f00", "split": "#009e73"}
    names = {"local": "whole model on the device", "remote": "compressed image", "split": "split"}
    figure, axes = pyplot.subplots(figsize=(5.6, 5.0), layout="constrained")
    for kind, colour in colours.items():
        pairs = [(o["measured_s"], o["predicted_s"]) for row in rows for o in row["options"] if o["kind"] == kind]
        x, y = 1000 * np.array(pairs).T
        axes.loglog(x, y, "o", ms=4, alpha=0.6, color=colour, label=names[kind])
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color="#555555", lw=1, zorder=0)
    axes.set(xlabel="measured median latency (ms)", ylabel="predicted median latency (ms)", aspect="equal")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
