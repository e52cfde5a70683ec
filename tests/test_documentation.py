"""The documentation builds without a warning, is whole, and says what the code says."""

import ast
import os
import re
import shlex
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

import isplit_edge
import isplit_edge.__main__
import isplit_tf
from isplit_tf import server
from isplit_tf.cli.main import parse

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the source archive comes without the documentation")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it, but for what the notebooks print."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    """What a package calls public has an entry, made of its docstring, under that very name."""
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    entries = {line.split()[0] for line in inventory.splitlines()}
    public = [
        f"{package.__name__}.{name}"
        for package in (isplit_tf, isplit_tf.datasets, isplit_edge, server)
        for name in package.__all__
    ]
    missing = {name for name in public if not name.endswith("__version__")} - entries - {"isplit_tf.edge"}
    assert not missing, f"add '::: NAME' to a page of docs/reference: {sorted(missing)}"


@pytest.mark.slow
def test_the_site_needs_no_other_host(site):
    """No page loads a font, a script, a style or a picture from elsewhere."""
    loading = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not loading.findall(page.read_text()), page


@pytest.mark.slow
def test_the_search_works_from_files(site):
    """The index is a script, and what browsers need to run it from a file is on the site itself."""
    assert (site / "search" / "search_index.js").read_text().startswith("var __index = {")
    for page in (site / "index.html", site / "reference" / "index.html"):
        script = re.search(r'src="?([^"> ]*iframe-worker\.js)', page.read_text())[1]
        assert (page.parent / script).resolve().is_file()


@pytest.mark.slow
def test_the_site_has_every_notebook_and_every_command(site):
    """Pages that are made while the site is built: one for each notebook, and a section for each command."""
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    page = (site / "reference" / "command_line.html").read_text()
    for name in ("demo", "cuts", "importance", "propose", "split", "train", "evaluate", "export", "serve", "predict"):
        assert f"usage: isplit {name}" in page


@pytest.fixture
def tools(monkeypatch):
    """The modules that make the pages."""
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(ROOT / "tools" / "site")
    import hooks
    import notebook_pages

    return SimpleNamespace(hooks=hooks, notebooks=notebook_pages)


def test_a_page_of_results_is_in_the_navigation_once_it_was_made(tools, tmp_path):
    """The navigation names pages that a command writes; until then they are left out, and nothing else is."""
    wanted = [{"Home": "index.md"}, {"Known": [{"Paper": "reproduction.md"}, {"Typo": "tpyo.md"}]}]
    config = SimpleNamespace(docs_dir=str(tmp_path), nav=wanted)
    assert tools.hooks.on_config(config).nav == [{"Home": "index.md"}, {"Known": [{"Typo": "tpyo.md"}]}]
    (tmp_path / "reproduction.md").touch()
    assert tools.hooks.on_config(SimpleNamespace(docs_dir=str(tmp_path), nav=wanted)).nav == wanted


def test_a_page_shows_what_its_notebook_printed_and_nothing_stale(tools, tmp_path, monkeypatch):
    """Output of the cells as they are now, as text, picture and table; without the cells' own, none."""
    nbformat = pytest.importorskip("nbformat")
    new = nbformat.v4
    outputs = [
        new.new_output("stream", name="stdout", text="printed\n"),
        new.new_output("stream", name="stderr", text="noise\n"),
        new.new_output("display_data", {"image/png": "iVBORw=="}),
        new.new_output("execute_result", {"text/plain": "plain", "text/html": "<table></table>"}),
        new.new_output("execute_result", {"text/plain": "<object at 0x7f>"}),
    ]
    path, kept = tmp_path / "n.ipynb", tmp_path / "kept"
    kept.mkdir()
    nbformat.write(new.new_notebook(cells=[new.new_code_cell("1 + 1")]), path)
    nbformat.write(new.new_notebook(cells=[new.new_code_cell("1 + 1", outputs=outputs)]), kept / "n.ipynb")
    monkeypatch.setattr(tools.notebooks, "EXECUTED", kept)
    page = tools.notebooks.page_of(path)
    body = page.text.split("```python\n1 + 1\n```")[1]
    assert [part for part in ("printed", "noise", "<table>", "object", "plain") if part in body] == [
        "printed",
        "<table>",
    ]
    assert list(page.pictures) == ["n_0_2.png"]
    nbformat.write(new.new_notebook(cells=[new.new_code_cell("1 + 2")]), path)
    assert "printed" not in tools.notebooks.page_of(path).text


def test_the_papers_experiments_begin_with_verdict_picture_and_table():
    """One of each stands open; everything else is folded."""
    start, *parts = (DOCS / "reproduction.md").read_text().split("<details")
    assert start.split("\n\n")[1].startswith("**Here CUI ")
    assert "**What to trust: " in start
    assert (start.count("!["), len(re.findall(r"^\|---", start, re.MULTILINE))) == (1, 1)
    assert len(start.split()) < 400
    behind = [part.split("</details>")[1] for part in parts]
    assert not any("![" in text or "|---" in text for text in behind)


def messages() -> list[str]:
    """The messages that the page on troubleshooting quotes."""
    page = DOCS / "troubleshooting.md"
    blocks = re.findall(r"^```text\n(.*?)^```", page.read_text() if page.exists() else "", re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def texts():
    """Every text in the source, with a NUL where a value is put in."""
    found = set()
    for package in (isplit_tf, isplit_edge):
        for path in Path(package.__file__).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    found.add("".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


@pytest.mark.parametrize("message", messages())
def test_a_message_of_the_page_on_troubleshooting_exists(message, texts):
    """A message is quoted as the code words it, `...` for what is put in or left out."""
    parts = message.split("...")
    assert any(in_order(parts, text) for text in texts)


def in_order(parts: list[str], text: str) -> bool:
    """Whether a text holds all parts, one behind the other."""
    end = 0
    for part in parts:
        start = text.find(part, end)
        if start < 0:
            return False
        end = start + len(part)
    return True


def shell_lines() -> list[str]:
    """Every call of our own commands in a shell block of a page, continued lines joined."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            found += block.replace("\\\n", " ").splitlines()
        found += [line.strip() for line in page.read_text().splitlines() if line.startswith("    isplit ")]
    return [line for line in found if re.match(r"(isplit|python -m isplit_edge) ", line)]


@pytest.mark.parametrize("line", sorted(set(shell_lines())))
def test_a_command_line_of_the_pages_is_understood(line):
    """Names and options of every command that a page shows are those that the parser takes."""
    words = [word for word in shlex.split(line, comments=True) if word != "..."]
    if words[0] == "isplit":
        assert parse(words[1:]).command == words[1]
    else:
        assert isplit_edge.__main__.parse(words[3:])
