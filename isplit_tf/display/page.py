"""Self-contained HTML pages: one file each, without network access."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
caption { text-align: left; padding: .3rem 0; color: #777; }
figure { margin: 1rem 0; background: #fff; padding: .5rem; border-radius: 6px; }
svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; width: fit-content; min-width: 100%; max-width: min(100vw - 3rem, 50vw + 28rem); }
figure.scroll { box-sizing: border-box; max-width: 100%; }
"""


@dataclass(frozen=True)
class Section:
    """A section of a page: a heading, paragraphs, and HTML (a table or an SVG) that needs no escaping."""

    title: str
    text: str = ""
    body: str = ""


def html_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML page.

    Args:
        title: Title of the page.
        lead: The first paragraph.
        sections: The sections in order; titles and texts are escaped, bodies are not.
    """
    parts = [f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>"]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts.extend(f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text.split("\n\n") if paragraph)
        if section.body:
            tag = "figure" if section.body.startswith("<svg") else "div"
            parts.append(f'<{tag} class="scroll">{section.body}</{tag}>')
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
