"""The installation that `make` starts mends what was left of an earlier one, and touches nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import install


def works(python):
    return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0


def test_a_half_made_environment_is_mended(tmp_path):
    """A folder that was begun, one whose Python is gone, and one whose packages are half unpacked are made anew."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    (folder / "bin/python").symlink_to(tmp_path / "gone")
    python = install.make_environment(folder)
    assert works(python)
    kept = folder / "lib/kept"
    kept.touch()
    assert install.make_environment(folder) == python
    assert kept.exists()
    (folder / install._MARK).touch()
    assert works(install.make_environment(folder))
    assert not kept.exists()
    assert not (folder / install._MARK).exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path):
    """What is no environment is not cleared."""
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SystemExit, match="no environment of Python"):
        install.make_environment(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_progress_is_read_from_what_pip_prints(tmp_path, capsys):
    """Large packages by name, then how many there are and their size; of a failure, pip's last lines."""
    said = [
        "Collecting tensorflow",
        "  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (572.4 MB)",
        "  Using cached six-1.17.0-py2.py3-none-any.whl (11 kB)",
        "Installing collected packages: six, tensorflow",
    ]
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said))
    fake.chmod(0o755)
    install.install(fake, ".")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["  tensorflow 2.21.0, 572 MB", "  2 packages, 572 MB, are there; unpacking them ..."]
    fake.write_text("#!/bin/sh\necho 'ERROR: No matching distribution'; exit 1\n")
    with pytest.raises(SystemExit, match="No matching distribution"):
        install.install(fake, ".")


def test_another_python_is_said(monkeypatch):
    """With a Python that is too old or too new, and no other on the path, it ends with what is needed."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 to 3\.13\. Found"):
        install.start_another_python()
