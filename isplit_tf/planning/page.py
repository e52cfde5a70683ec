"""The page of a plan: one HTML file with the answer, the pictures that decide, and all options."""

from typing import Any

from ..display.page import Section, html_page
from ..display.tables import html_table
from ..errors import PlanError
from ..plots.files import svg
from .link import rate_text


def plan_page(plan: Any) -> str:
    """Return a plan as a page that needs nothing else."""
    sections = plan_sections(plan)
    sections.append(Section("All options", "", html_table(*plan.cells(every=True))))
    sections.append(_origin(plan))
    lead = f"'{plan.model_name}' over {plan.link.text}: on the device, on the server, or split between them."
    return html_page("Is a split worth it?", lead, sections)


def plan_sections(plan: Any) -> list[Section]:
    """Return the answer of a plan and its pictures as sections of a page."""
    return [_answer(plan), *_pictures(plan)]


def _answer(plan: Any) -> Section:
    try:
        best = plan.best()
    except PlanError as error:
        return Section("The answer", str(error))
    changes = [
        f"Below {rate_text(one.rate_bit_s)} the fastest is '{one.below.name}', above it '{one.above.name}'."
        for one in plan.crossovers()
    ]
    text = f"{plan.why(best)}\n\n{' '.join(changes) or 'It is the fastest at every rate of the link.'}"
    return Section(f"The answer: {best.name}", text, html_table(*plan.cells()))


def _pictures(plan: Any) -> list[Section]:
    if all(one.accuracy is None for one in plan.options):
        return []
    texts = {
        "latency": (
            "Which is fastest, by the rate of the link",
            "Options that keep at most one point of accuracy less than the most accurate one. The delay of the link is "
            "that of the plan. Dots: another option takes over.",
        ),
        "accuracy": ("Accuracy against latency", "Every option over this link; no mark lies above the line of steps."),
        "parts": ("Where the time goes", "Medians of the parts, of the fastest options."),
    }
    return [Section(title, text, svg(plan.plot(kind).figure)) for kind, (title, text) in texts.items()]


def _origin(plan: Any) -> Section:
    rows: list[list[Any]] = [
        [f"{where}: {name}", str(value)]
        for where, facts in (("device", plan.device), ("server", plan.server))
        for name, value in facts.items()
    ]
    rows += [["heads", plan.precision], ["model", plan.model_sha256[:16]]]
    if plan.watts is not None:
        rows.append(["watts, as given", ", ".join(f"{name} {value:g}" for name, value in plan.watts.items())])
    return Section("Where the numbers come from", "\n\n".join(plan.notes), html_table(["", ""], rows))
