"""Who may import whom: lower rows never import upper ones, and no imports run in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import isplit_edge
import isplit_tf

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from rooms import find_modules, module_of, read_imports

ROWS = [
    {"errors", "display"},
    {"graph", "datasets", "batches", "storage", "plots", "sweep", "server"},
    {"importance", "bottlenecks", "evaluation"},
    {"splitting", "selection", "planning"},
    {"training", "export"},
    {"experiments", "demo"},
    {"cli"},
    {"__main__"},
]
TOP = Path(isplit_tf.__file__).parent
FILES = sorted(TOP.rglob("*.py"))
# Lazy names only.
EXEMPT = {"__init__", "edge"}


def room_of(path: Path) -> str:
    return path.relative_to(TOP).parts[0].removesuffix(".py")


def row_of(room: str) -> int:
    return next(k for k, rooms in enumerate(ROWS) if room in rooms)


def imports_of(top: Path) -> dict[str, set[str]]:
    """What each module of a package imports of the package itself."""
    return read_imports(find_modules(top))


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """A circle of imports, its first module repeated at the end; empty where there is none."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in sorted(imports[name]):
                if circle := follow(other, [*way, name]):
                    return circle
            done.add(name)
        return []

    return next((circle for name in sorted(imports) if (circle := follow(name, []))), [])


IMPORTS = imports_of(TOP)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_a_room_imports_only_lower_rooms(path):
    """Every room is on a row, and imports from lower rows, its own row's plain modules, or itself."""
    room = room_of(path)
    if room in EXEMPT:
        return
    row = row_of(room)
    others = {name.split(".")[1] for name in IMPORTS[module_of(path, TOP)] if "." in name}
    for other in others - {room}:
        assert row_of(other) <= row, f"{room} (row {row}) imports {other} (row {row_of(other)})"
        if row_of(other) == row:
            assert not (TOP / other).is_dir(), f"{room} imports the folder {other} of its own row"


@pytest.mark.parametrize("package", [isplit_tf, isplit_edge], ids=lambda package: package.__name__)
def test_no_imports_run_in_a_circle(package):
    """From no file do imports lead back to it, those inside functions included."""
    assert circle_in(imports_of(Path(package.__file__).parent)) == []


def test_a_circle_is_found(tmp_path):
    """A circle through a function, a package's own file and a name for types alone is named."""
    top = tmp_path / "made"
    (top / "inner").mkdir(parents=True)
    (top / "__init__.py").write_text("")
    (top / "first.py").write_text("def verb():\n    from .inner import record\n")
    (top / "inner/__init__.py").write_text("from .second import record\n")
    second = top / "inner/second.py"
    second.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import first\n")
    (top / "aside.py").write_text("import made.first\nfrom made import inner\n")
    assert circle_in(imports_of(top)) == ["made.first", "made.inner", "made.inner.second", "made.first"]
    second.write_text("from .. import __version__\n")
    assert circle_in(imports_of(top)) == []
    assert imports_of(top)["made.aside"] == {"made.first", "made.inner"}


def test_no_room_imports_the_device_packages_inner_rooms_backwards():
    """isplit_edge imports nothing of isplit_tf."""
    for path in Path(isplit_edge.__file__).parent.rglob("*.py"):
        assert "isplit_tf" not in {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }


@pytest.mark.parametrize("package", ["isplit_tf", "isplit_edge"])
def test_importing_loads_no_tensorflow(package):
    """A fresh interpreter that imports the package has neither TensorFlow nor Keras."""
    code = f"import {package}, sys; print(sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names():
    """The names of the contract, and nothing that is only there by accident."""
    assert sorted(isplit_tf.__all__) == sorted(
        "AccuracyCurve AccuracyMap Autoencoder Bundle Candidate Candidates CodecCurve Curve Cut DeviceProfile "
        "Distillation Evaluation History ISplitError Kit Projection SanityCheck SplitModel __version__ build_kit "
        "datasets edge evaluate export_bundle find_cuts include_preprocessor measure_codecs measure_importance "
        "estimate_device measure_server predict_accuracy propose sanity_check ServerProfile split train".split()
    )
    for name in isplit_tf.__all__:
        assert getattr(isplit_tf, name).__doc__


def test_no_verb_is_replaced_by_a_module():
    """Importing a module of the name of a verb would put the module in its place."""
    for name in isplit_tf.__all__:
        assert not (TOP / f"{name}.py").exists() or name == "edge"
