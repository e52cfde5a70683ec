"""Completion as a shell asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
eval "$(register-python-argcomplete isplit)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
COMP_WORDS=($1); [ "${1: -1}" = " " ] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete isplit
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Asks bash what may follow a line."""
    pytest.importorskip("argcomplete")
    folder = tmp_path_factory.mktemp("shell")
    (folder / "model.keras").touch()
    scripts = folder / "bin"
    scripts.mkdir()
    for name, code in (
        ("isplit", "from isplit_tf.cli.main import main; main()"),
        ("register-python-argcomplete", "from argcomplete.scripts.register_python_argcomplete import main; main()"),
    ):
        (scripts / name).write_text(f"#!{sys.executable}\n{code}\n")
        (scripts / name).chmod(0o755)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(root)}

    def ask(line):
        command = ["bash", "-c", ASK, "bash", line]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=True)
        return {word.strip() for word in done.stdout.split("\n")} - {""}

    return ask


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "among"),
    [
        ("isplit ev", {"evaluate"}),
        ("isplit demo --", {"--train", "--output", "--overwrite"}),
        ("isplit split model.keras --bottleneck ", {"autoencoder", "projection"}),
        ("isplit cuts mod", {"model.keras"}),
    ],
)
def test_what_may_follow(complete, line, among):
    """Commands, options, what an option takes, and files."""
    assert among <= complete(line)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_takes_the_same_line(complete):
    """The registration is read by zsh without an error."""
    line = 'autoload -Uz compinit; compinit -u; eval "$(register-python-argcomplete isplit)"; print $_comps[isplit]'
    done = subprocess.run(["zsh", "-fc", line], capture_output=True, text=True)
    assert "argcomplete" in done.stdout, done.stderr
