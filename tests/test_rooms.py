"""The map of the code in CONTRIBUTING.md: the picture is that of the imports, and the rooms are as few as agreed."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from rooms import House, circles_in, needed_arrows  # noqa: E402

of_the_repository = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="the source archive comes without the documentation"
)


@pytest.fixture(scope="module")
def house():
    """The rooms of this checkout."""
    return House.read(ROOT)


@pytest.fixture
def made(tmp_path):
    """Write a package of three rooms and a script; give a function that reads it with some files changed."""

    def read(**changes: str) -> House:
        files = {
            "isplit_tf/__init__": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .top.work import verb",
            "isplit_tf/ground": "",
            "isplit_tf/middle/__init__": '"""What is between; and more."""',
            "isplit_tf/middle/part": "def verb():\n    from ..ground import noun\n    return noun",
            "isplit_tf/top/__init__": "",
            "isplit_tf/top/work": "import isplit_tf.middle.part\nfrom .. import __version__, ground",
            "benchmarks/inner/step": "import isplit_tf as isplit\nisplit.verb()",
            "benchmarks/whole": "from inner.step import isplit",
        } | {name.replace("__", "/"): text for name, text in changes.items()}
        for name, text in files.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return House.read(tmp_path)

    return read


@of_the_repository
def test_the_picture_is_that_of_the_code(house):
    """Whoever moves a wall makes the picture again: python tools/rooms.py --svg docs/images/rooms.svg"""
    assert (ROOT / "docs/images/rooms.svg").read_text() == house.picture()


def test_rooms_and_floors_are_few(house):
    """With the folders inside of folders 28 rooms at most, besides benchmarks and tools, 9 floors, and no circle."""
    assert len(house.rooms.keys() - {"benchmarks", "tools"}) + house.nested_folders() <= 28
    assert max(house.floors.values()) <= 9
    assert circles_in(house.rooms) == circles_in(house.imports) == []


@of_the_repository
def test_the_map_names_files_that_are_there():
    """Every path in CONTRIBUTING.md is one of the repository or of the package, and names are where it says."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = [path for path in re.findall(r"`([\w./]+(?:/|\.py|\.md))`", text) if "NAME" not in path]
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "isplit_tf" / path).exists(), path
    for name, path in (
        ("METHODS", "importance/kernels.py"),
        ("_CLASSES", "bottlenecks/records.py"),
        ("make_bottleneck", "cli/options.py"),
        ("BUILDERS", "datasets/registration.py"),
        ("EMBEDDED", "datasets/splits.py"),
        ("_RULES", "graph/cost.py"),
        ("write_arrays", "storage/records.py"),
    ):
        assert f"`{name}`" in text
        assert re.search(rf"^(def )?{name}\b", (ROOT / "isplit_tf" / path).read_text(), re.MULTILINE), name


def test_rooms_of_a_small_package(made):
    """Imports in functions, of whole modules, through the public face and between scripts count; a version does not."""
    house = made()
    assert house.rooms == {"benchmarks": {"top"}, "ground": set(), "middle": {"ground"}, "top": {"middle", "ground"}}
    assert house.floors == {"ground": 1, "middle": 2, "top": 3, "benchmarks": 4}
    assert house.imports["benchmarks.whole"] == {"benchmarks.inner.step"}
    assert needed_arrows(house.rooms)["top"] == {"middle"}
    assert circles_in(house.imports) == []


def test_circles_share_a_floor_and_are_told(made):
    """Rooms on a circle stand on one floor; a circle of files inside a room is found too."""
    house = made(isplit_tf__ground="def noun():\n    from .middle import part")
    assert circles_in(house.rooms) == [["ground", "middle"]]
    assert house.floors == {"ground": 1, "middle": 1, "top": 2, "benchmarks": 3}
    assert "circles between rooms  1\n                       ground; middle" in "\n".join(house.figures())
    house = made(isplit_tf__middle__other="from . import part", isplit_tf__middle__part="from . import other")
    assert circles_in(house.rooms) == []
    assert circles_in(house.imports) == [["isplit_tf.middle.other", "isplit_tf.middle.part"]]


def test_lines_and_the_longest_function(made):
    """Empty lines, comments and docstrings are no lines of code."""
    text = '"""About."""\n\n# why\nX = [\n    1,\n]\n\n\ndef long():\n    """Do."""\n    return X  # all'
    figures = "\n".join(made(isplit_tf__ground=text).figures())
    assert "lines of code        13\n" in figures
    assert "longest function     3 lines, isplit_tf.middle.part.verb" in figures


def test_the_picture_of_a_small_package(made):
    """Each room is there with the beginning of its docstring; only the arrows that are needed; the same each time."""
    house = made()
    picture = house.picture()
    assert picture == made().picture()
    assert picture.count("<tspan font-size") == len(house.rooms)
    assert "What is between<" in picture
    assert len(re.findall(r'<path d="M\d+ \d+C', picture)) == sum(map(len, needed_arrows(house.rooms).values())) == 3
