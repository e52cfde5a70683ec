"""Who may import whom: lower rows never import upper ones."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import isplit_edge
import isplit_tf

ROWS = [
    {"errors", "progress", "records", "tables", "arguments", "atomic", "quiet", "models_config"},
    {"graph", "datasets", "batches"},
    {"importance", "bottleneck", "latent", "metrics", "accuracy", "projection", "quantizer"},
    {"candidates", "splitting", "training", "evaluation", "predictions", "fitting", "forecasting", "sampling", "costs"},
    {"export", "server", "plots", "report", "demo_report", "sweep"},
    {"demo", "experiments"},
    {"cli", "options", "commands", "opening", "doctor", "candidate_training", "__main__"},
]
TOP = Path(isplit_tf.__file__).parent
FILES = sorted(TOP.rglob("*.py"))
# Lazy names only.
EXEMPT = {"__init__", "edge"}


def room_of(path: Path) -> str:
    return path.relative_to(TOP).parts[0].removesuffix(".py")


def row_of(room: str) -> int:
    return next(k for k, rooms in enumerate(ROWS) if room in rooms)


def imported_rooms(path: Path) -> set[str]:
    """Rooms of isplit_tf that a file imports, inside functions too."""
    package = ["isplit_tf", *path.relative_to(TOP).parts[:-1]]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = [*base, *(node.module or "").split(".")] if node.module else base
            names = [[*full, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        rooms.update(name[1] for name in names if name[0] == "isplit_tf" and len(name) > 1)
    known = set().union(*ROWS)
    return rooms & known


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_a_room_imports_only_lower_rooms(path):
    """Every room is on a row, and imports from lower rows, its own row's plain modules, or itself."""
    room = room_of(path)
    if room in EXEMPT:
        return
    row = row_of(room)
    for other in imported_rooms(path) - {room}:
        assert row_of(other) <= row, f"{room} (row {row}) imports {other} (row {row_of(other)})"
        if row_of(other) == row:
            assert not (TOP / other).is_dir(), f"{room} imports the folder {other} of its own row"


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
        "AccuracyCurve Autoencoder Bundle Candidate Candidates Curve Cut Distillation Evaluation History "
        "ISplitError Projection SanityCheck SplitModel __version__ datasets edge evaluate export_bundle find_cuts "
        "measure_importance predict_accuracy propose sanity_check split train".split()
    )
    for name in isplit_tf.__all__:
        assert getattr(isplit_tf, name).__doc__


def test_no_verb_is_replaced_by_a_module():
    """Importing a module of the name of a verb would put the module in its place."""
    for name in isplit_tf.__all__:
        assert not (TOP / f"{name}.py").exists() or name == "edge"
