"""Install isplit-tf into an environment of its own, say what is done, and go on after an interruption.

python3 tools/install.py .venv           # what `make demo` does
python3 tools/install.py .venv test,litert    # with the packages of extras

It needs nothing but Python, and finds one of 3.11 to 3.13 itself. An environment whose installation was interrupted is
made anew; what pip had downloaded is in its cache.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
# Of a fresh environment on Linux, x86-64: packages, megabytes to download, megabytes on the disk.
SIZES = {"": (65, 680, 2700), "docs": (120, 720, 2850), "test,litert": (160, 1030, 3800)}
_MARK = "installing"
_BIG_MB = 20
_UNITS = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}
_FETCHED = re.compile(r"^\s*(?:Downloading|Using cached) (\S+?)-(\d\S*?)-\S+\.whl \(([\d.]+) (kB|MB|GB)\)")
_UNPACKING = re.compile(r"^Installing collected packages: (.*)")


def main(folder: str, extra: str = "") -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        start_another_python()
    start = time.monotonic()
    target = Path(folder)
    python = make_environment(target)
    packages, download, disk = SIZES[extra]
    what = "isplit-tf" + (f" with the packages of {extra}" if extra else "")
    print(
        f"Installing {what} into {folder}/: about {packages} packages, {download:,} MB to download, {disk:,} MB on the "
        "disk. This takes one to five minutes, as the network is; it can be interrupted and started again.",
        flush=True,
    )
    mark = target / _MARK
    mark.touch()
    install(python, f"{ROOT}[{extra}]" if extra else str(ROOT))
    mark.unlink()
    print(f"Installed in {time.monotonic() - start:.0f} s. The command is {folder}/bin/isplit.", flush=True)


def start_another_python() -> None:
    """Start this script again with a Python that isplit-tf can run on, or end with what is missing."""
    found = sys.version.split()[0]
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path:
            print(f"python3 is {found}; taking {path}.", flush=True)
            os.execv(path, [path, *sys.argv])
    sys.exit(f"isplit-tf needs Python 3.11 to 3.13. Found: {found}. Try: make PYTHON=/path/to/python3.12")


def make_environment(folder: Path) -> Path:
    """Return the Python of an environment; make it where there is none, or none that works."""
    python = folder / "bin" / "python"
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(folder.iterdir()):
        sys.exit(f"'{folder}' exists and is no environment of Python. Try: make VENV=another_folder")
    if (folder / _MARK).exists():
        print("The last installation did not end. Making the environment anew; pip kept what it had downloaded.")
    elif works(python, "import pip"):
        return python
    elif folder.exists():
        print(f"The environment in {folder}/ does not work. Making it anew.")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"'{sys.executable} -m venv {folder}' failed:\n{made.stdout}{made.stderr}")
    return python


def works(python: Path, code: str) -> bool:
    """Check whether a Python runs a line of code."""
    return python.exists() and subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def install(python: Path, what: str) -> None:
    """Install the project with pip, and name the large packages, the number of all and their size as they come."""
    command = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_QUIET": "0"}
    lines, fetched = [], 0.0
    with subprocess.Popen(
        [*command, "--editable", what],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as pip:
        for line in pip.stdout or ():
            lines.append(line)
            package, unpacking = _FETCHED.match(line), _UNPACKING.match(line)
            if package:
                name, version, amount, unit = package.groups()
                size = float(amount) * _UNITS[unit]
                fetched += size
                if size >= _BIG_MB:
                    print(f"  {name} {version}, {size:,.0f} MB", flush=True)
            elif unpacking:
                count = len(unpacking[1].split(","))
                print(f"  {count} packages, {fetched:,.0f} MB, are there; unpacking them ...", flush=True)
    if pip.returncode:
        sys.exit(f"pip failed:\n{''.join(lines[-30:])}\nTry again: what was downloaded is kept.")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("Interrupted. Started again, it goes on with what was downloaded.")
