"""The page of the demo: should I split, and what the answer rests on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..display.page import Section, html_page
from ..display.tables import html_table
from ..evaluation.evaluation import Evaluation
from ..selection.candidates import Candidate, Candidates
from .pictures import Pictures
from .report import DemoReport
from .stopwatch import announce


def write_page(
    path: Path,
    report: DemoReport,
    candidates: Candidates,
    exported: Evaluation,
    machine: str,
    plan: Sequence[Section],
    pictures: Pictures,
) -> None:
    """Write the page.

    Args:
        path: The file.
        report: The figures of the demo.
        candidates: What it chose from.
        exported: What the exported pair answered over the wire.
        machine: What the plan says of this machine, in a sentence.
        plan: Sections on what to run where.
        pictures: The pictures of the demo.
    """
    shown = pictures.shown
    sections = [
        Section("Should I split?", "\n\n".join([machine, *report.answer()]), shown["bytes.png"]),
        *plan,
        Section("What each way sends and keeps", _ways(report), html_table(*report.rows())),
        Section(
            "Where to split",
            "From top to bottom: the importance of each cut (CUI), the size of each layer, and the accuracy that each "
            "cut keeps with an untrained bottleneck, in the same bytes per frame at every cut. The demo takes the cut "
            "with the highest predicted accuracy among those whose head does at most half of the work (solid line). "
            f"Dotted lines are the peaks of the importance.\n\n{_cheapest(candidates)}",
            shown["curve.png"],
        ),
        Section("Candidates", "", html_table(*_candidates(candidates))),
        Section("Class by class, through the wire", "", exported._repr_html_()),
        Section("Time", _TIME, html_table(*_times(report))),
    ]
    lead = "A classifier of the letters A to J in VGG16's layout, split between a device and a server."
    path.write_text(html_page("isplit demo", lead, sections))
    announce(path)


_TIME = "The first row is the start of Python and the import of TensorFlow. Processor time counts all cores."


def _ways(report: DemoReport) -> str:
    trained = (
        "The control is the original, fine-tuned for as many epochs as the split; of either, the best epoch on the "
        "validation images is kept."
        if "control" in report.accuracy
        else "Nothing was trained here: the classifier ships with the package, and the bottleneck is fitted in closed "
        "form. isplit demo --train trains both, and a control."
    )
    return (
        f"All accuracies are of {report.n_test:,} test images, whose font families neither trained nor chose anything. "
        f"Milliseconds are medians on this machine. {trained}"
    )


def _cheapest(candidates: Candidates) -> str:
    """Return which cut has the cheapest head within a point of the best predicted accuracy."""
    best = candidates[0]
    near = [c for c in candidates if (c.predicted_accuracy or 0) >= (best.predicted_accuracy or 0) - 0.01]
    cheapest = min(near, key=lambda c: c.cut.head_macs)
    if cheapest is best:
        return "No cut within a point of it has a cheaper head."
    name, share = cheapest.cut.name, _share(cheapest)
    return f"Within a point of it, {name} has the cheapest head, with {share} of the work, its encoder included."


def _share(candidate: Candidate) -> str:
    """Return the work of head and encoder as a share of the whole model's."""
    cut = candidate.cut
    return f"{(cut.head_macs + (candidate.encoder_macs or 0)) / (cut.head_macs + cut.tail_macs):.0%}"


def _candidates(candidates: Candidates) -> tuple[list[str], list[list[Any]]]:
    header = ["cut", "shape", "work on the device", "predicted accuracy", "bytes per frame", "importance", "peak"]
    return header, [
        [
            c.cut.name,
            "x".join(map(str, c.cut.shape)),
            _share(c),
            f"{c.predicted_accuracy:.1%}" if c.predicted_accuracy is not None else None,
            c.payload_bytes,
            f"{c.importance:.2e}",
            "peak" if c.is_peak else "",
        ]
        for c in candidates
    ]


def _times(report: DemoReport) -> tuple[list[str], list[list[Any]]]:
    def cells(name: str) -> list[Any]:
        clock, used = report.seconds.get(name), report.processor_seconds[name]
        return [name, None if clock is None else f"{clock:.1f}", f"{used:.1f}"]

    total = sum(report.seconds.values()), sum(report.processor_seconds.values())
    rows = [*map(cells, report.processor_seconds), ["all steps", f"{total[0]:.1f}", f"{total[1]:.1f}"]]
    return ["step", "seconds", "seconds of processor time"], rows
