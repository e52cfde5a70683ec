"""The microcontroller kit in export/microcontroller, compiled and started as a user would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

KIT = Path(__file__).resolve().parents[2] / "export" / "microcontroller"
DEBIAN = "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib qemu-system-arm"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


def need_cross_tools() -> None:
    """Skips the test where the Arm compiler or QEMU is not installed."""
    missing = [name for name in ("arm-none-eabi-g++", "qemu-system-arm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed. On Debian: apt install {DEBIAN}")


def compile_c(folder: Path, sources: Sequence[Path], *include: Path) -> Path:
    """A program of C99 sources for this machine."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    program = folder / "program"
    flags = ["-std=c99", *STRICT, "-I", str(KIT / "src"), *(flag for path in include for flag in ("-I", str(path)))]
    subprocess.run(["gcc", *flags, *map(str, sources), "-o", str(program)], check=True, timeout=60)
    return program


@contextmanager
def gateway(*arguments: str) -> Iterator[subprocess.Popen]:
    """The gateway in a process of its own, listening; its attribute `where` is what it listens on."""
    command = [sys.executable, str(KIT / "gateway.py"), *arguments]
    path = os.pathsep.join([str(KIT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"listening on (?:UDP )?(\S+) for", line)
        try:
            assert found, line + process.stderr.read()
            process.where = found.group(1)
            yield process
        finally:
            process.terminate()
            process.said = line + process.stderr.read()
            process.wait(10)
