"""Writing of docs/performance.md from the results."""

from pathlib import Path
from typing import Any

from .measures import MEASURES


def write_page(results: dict[str, Any], page: Path) -> None:
    """Write the page, and the plot of how cost grows."""
    measures = results["measures"]
    machine = results["machine"]
    lines = [
        "# Performance",
        "",
        "Made by `python benchmarks/performance.py`. Each figure compares two things that were measured in the same "
        "run, taking turns, on a machine that did nothing else.",
        "",
    ]
    if machine:
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        extra = f", with {', '.join(machine['bfloat16'])}" if machine["bfloat16"] else ", without bfloat16 units"
        lines += [f"Machine: {machine['processor']}, {machine['cores']} cores{extra}; {versions}.", ""]
    lines += ["| measure | against | to reach | reached | |", "|---|---|---|---|---|"]
    for name, measure in MEASURES.items():
        reached = _reached(measures.get(name), machine)
        lines.append(f"| {measure.what} | {measure.against} | {measure.goal} | {reached} |")
    lines += _missed(measures)
    if "growth" in measures:
        lines += ["", *_growth(measures["growth"]["details"], page)]
    page.write_text("\n".join(lines) + "\n")


def _missed(measures: dict[str, Any]) -> list[str]:
    """Explain why some goals are not reached."""
    missed = [
        measure
        for name, measure in MEASURES.items()
        if measure.why and name in measures and not all(measures[name]["ok"].values())
    ]
    return (
        ["", "## What is not reached, and why", "", *(f"- **{one.what}**: {one.why}" for one in missed)]
        if missed
        else []
    )


def _reached(found: dict[str, Any] | None, machine: dict[str, Any]) -> str:
    if found is None:
        return "not measured |"
    reached = "<br>".join(f"{label}: {value}" for label, value in found["reached"].items())
    processor = found.get("processor")
    if processor and processor != machine["processor"]:
        reached += f"<br>(on {processor})"
    if not found["ok"]:
        return f"{reached} |"
    return f"{reached} | {'yes' if all(found['ok'].values()) else 'no' if not any(found['ok'].values()) else 'in part'}"


def _growth(details: dict[str, Any], page: Path) -> list[str]:
    picture = page.parent / "images" / "growth.svg"
    _draw(details, picture)
    lines = [
        "## How cost grows",
        "",
        f"![Time and memory against images, classes and cuts](images/{picture.name})",
        "",
        "MobileNetV2 at 96x96, the passes over the images without tracing, in a process of its own each.",
        "",
        "| | amount | seconds | added memory, MiB |",
        "|---|---|---|---|",
    ]
    for kind, points in details.items():
        for point in points:
            lines.append(f"| {kind} | {point['amount']} | {point['seconds']:.2f} | {point['added_mib']:.0f} |")
    return lines


def _draw(details: dict[str, Any], picture: Path) -> None:
    import matplotlib.pyplot as plt

    from isplit_tf.plots import svg

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for ax, (kind, points) in zip(axes, details.items(), strict=True):
        amounts = [point["amount"] for point in points]
        ax.plot(amounts, [point["seconds"] for point in points], "-o", color="#0072B2", label="time (s)")
        ax.set_xscale("log")
        ax.set_xlabel(kind)
        ax.set_ylim(bottom=0)
        ax.set_ylabel("time (s)")
        other = ax.twinx()
        other.plot(amounts, [point["added_mib"] for point in points], "--s", color="0.4", label="memory (MiB)")
        other.set_ylim(bottom=0)
        other.set_ylabel("added memory (MiB)")
        ax.grid(alpha=0.3)
    picture.write_text(svg(figure))
