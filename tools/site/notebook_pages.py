"""Pages made of the notebooks, with their output.

python tools/site/notebook_pages.py build/notebooks      # runs all notebooks, and saves them there with their output
"""

import base64
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "notebooks"
EXECUTED = ROOT / "build" / "notebooks"


@dataclass
class Page:
    """A notebook in Markdown, and its images by file name."""

    text: str
    pictures: dict[str, bytes] = field(default_factory=dict)


def execute(folder: Path) -> None:
    """Run every notebook in its own empty folder, and write it with its output."""
    from tempfile import TemporaryDirectory

    from nbclient import NotebookClient

    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with TemporaryDirectory() as place:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": place}}).execute()
        nbformat.write(notebook, folder / path.name)
        sys.stderr.write(f"ran {path.name}\n")


def newest(path: Path) -> Any:
    """Return a notebook with its output if its present version was run, else without output."""
    notebook = nbformat.read(path, as_version=4)
    if (EXECUTED / path.name).exists():
        executed = nbformat.read(EXECUTED / path.name, as_version=4)
        if [cell.source for cell in executed.cells] == [cell.source for cell in notebook.cells]:
            return executed
    return notebook


def page_of(path: Path) -> Page:
    """Return the page of a notebook, without the standard error output of its cells."""
    page = Page("")
    parts = []
    for number, cell in enumerate(newest(path).cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")
        parts.append(f"```text\n{printed.rstrip()}\n```" if printed else "")
        for k, output in enumerate(cell.outputs):
            parts.append(_shown(output, f"{path.stem}_{number}_{k}.png", page))
    where = f"*The notebook is `notebooks/{path.name}` in the repository.*"
    wide = "---\nhide: [toc]\n---"
    page.text = "\n\n".join([wide, *(part for part in parts if part), where]) + "\n"
    return page


def _shown(output: Any, picture: str, page: Page) -> str:
    """Return the output of a cell as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        page.pictures[picture] = base64.b64decode(data["image/png"])
        return f"![output]({picture})"
    if "text/html" in data:
        return f'<div class="output">{data["text/html"]}</div>'
    text = data.get("text/plain", "")
    return "" if not text or text.startswith("<") else f"```text\n{text}\n```"


if __name__ == "__main__":
    execute(Path(sys.argv[1]))
