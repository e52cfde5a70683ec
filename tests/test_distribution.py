"""What a user installs: the wheel and the source archive hold what they must, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Wheel and sdist, built as `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.mark.slow
def test_the_wheel_holds_both_packages_and_the_glyphs(archives):
    """Code, types, embedded data with its NOTICE, licence and entry point; no tests, no tools."""
    names = zipfile.ZipFile(archives[0]).namelist()
    for wanted in (
        "isplit_tf/cli/main.py",
        "isplit_tf/py.typed",
        "isplit_tf/datasets/glyphs/glyphs.npz",
        "isplit_tf/datasets/glyphs/NOTICE",
        "isplit_tf/demo/glyphs.keras",
        "isplit_edge/client.py",
        "isplit_edge/py.typed",
    ):
        assert wanted in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"isplit_tf", "isplit_edge"}
    assert not [name for name in names if "/build/" in name or "test" in name.lower().split("/")[-1].split("_")]
    info = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"isplit = isplit_tf.cli.main:main" in zipfile.ZipFile(archives[0]).read(info)
    assert any(name.endswith("LICENSE") for name in names)


@pytest.mark.slow
def test_the_source_archive_can_build_the_device_package(archives):
    """The sdist holds the device package's own pyproject, the tests and the papers of the project."""
    with tarfile.open(archives[1]) as archive:
        names = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    for wanted in (
        "isplit_edge/pyproject.toml",
        "isplit_edge/LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "tests/support/former_files/0.1.0.json",
        "tests/support/former_files/0.1.0.zip",
        "tests/support/zoo.py",
        "tools/glyphs/classifier.json",
        "tools/install.py",
        "tools/rooms.py",
    ):
        assert wanted in names


def test_every_document_that_the_readme_links_to_exists():
    """No dead link in the README, which has at most 150 lines."""
    import re

    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link:
            assert (ROOT / link).exists(), link
