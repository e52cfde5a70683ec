"""MkDocs hooks of this site: they add generated pages, and leave missing pages out of the navigation."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from notebook_pages import FOLDER, page_of

# Each of these pages is made from results by a separate command.
MADE_ELSEWHERE = ("reproduction.md", "performance.md", "rate_accuracy.md")
# Their tables need the room that the table of contents takes.
WIDE = ("compatibility.md", "performance.md", "rate_accuracy.md")


def on_config(config: Any) -> Any:
    """Remove pages that do not exist yet from the navigation."""
    missing = [name for name in MADE_ELSEWHERE if not (Path(config.docs_dir) / name).exists()]
    config.nav = _without(config.nav, missing)
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "reference/command_line.md", content=command_line()))
    for path in sorted(FOLDER.glob("*.ipynb")):
        page = page_of(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page.text))
        for name, picture in page.pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Leave the table of contents out beside wide tables."""
    if page.file.src_uri in WIDE:
        page.meta.setdefault("hide", ["toc"])
    return markdown


def command_line() -> str:
    """Return the page on `isplit` and `python -m isplit_edge`, made of their `--help` texts."""
    from isplit_edge.__main__ import parse as parse_edge
    from isplit_tf.cli.main import EXIT_STATUS, parse

    overview = _help(parse, [])
    commands = [line.split()[0] for line in overview.splitlines() if line.startswith("    ") and line[4] != " "]
    status = "\n".join(f"| {code} | {text} |" for code, text in EXIT_STATUS.items())
    parts = ["# Command line", f"## Exit status\n\n| status | meaning |\n|---|---|\n{status}"]
    parts += [f"## isplit\n\n```text\n{overview}```"]
    parts += [f"## isplit {name}\n\n```text\n{_help(parse, [name])}```" for name in commands]
    parts.append(f"## python -m isplit_edge\n\n```text\n{_help(parse_edge, [])}```")
    parts.append(f"## python -m isplit_edge profile\n\n```text\n{_help(parse_edge, ['profile'])}```")
    return "\n\n".join(parts) + "\n"


def _help(parse: Any, arguments: list[str]) -> str:
    """Return the help text of a command line, in lines that fit the page."""
    os.environ["COLUMNS"] = "88"
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        parse([*arguments, "--help"])
    return printed.getvalue()


def _without(nav: list[Any], missing: list[str]) -> list[Any]:
    kept = []
    for entry in nav:
        if isinstance(entry, dict):
            (title, inner), *_ = entry.items()
            if isinstance(inner, list):
                entry = {title: _without(inner, missing)}
            elif inner in missing:
                continue
        kept.append(entry)
    return kept
