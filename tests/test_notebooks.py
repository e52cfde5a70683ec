"""The notebooks run, are thin, and carry no stale output."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_and_clean(path):
    """No function over five lines, no output, no execution count."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 5


@pytest.fixture
def installed(monkeypatch):
    """The command lines that a cell starts, taken down instead of carried out."""
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    return commands


def install_cell(path):
    """The first code cell of a notebook."""
    return next(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_nothing_outside_of_colab(path, installed):
    """The first cell leaves an environment alone that is the user's own."""
    exec(install_cell(path), {})
    assert installed == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_the_uploaded_wheel_on_colab(path, installed, monkeypatch):
    """In Colab the first cell asks for a wheel and hands it to this interpreter's pip."""
    package, files = ModuleType("google.colab"), ModuleType("google.colab.files")
    files.upload = lambda: {"isplit_tf-0-py3-none-any.whl": b""}
    package.files = files
    monkeypatch.setitem(sys.modules, "google.colab", package)
    exec(install_cell(path), {})
    assert installed == [[sys.executable, "-m", "pip", "install", "--quiet", "isplit_tf-0-py3-none-any.whl"]]


# Of each part the first images alone: what a notebook tells is not asked here.
FEW = """
import dataclasses
import isplit_tf.datasets
whole = isplit_tf.datasets.load("glyphs")
few = {part: tuple(array[:400] for array in getattr(whole, part)) for part in ("train", "validation", "test")}
isplit_tf.datasets.load = lambda name: dataclasses.replace(whole, **few)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    """From the first cell to the last, in a kernel of its own, on few images."""
    client = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FEW))
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    tables = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "text/html" in o.get("data", {})]
    assert tables
