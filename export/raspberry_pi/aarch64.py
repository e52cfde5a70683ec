"""Makes an aarch64 Python with LiteRT in a directory of its own, and runs it under QEMU; part of `emulate.py`.

Nothing of the system is changed: apt works on a state of its own inside the directory, and packages are unpacked,
not installed. What is finished is kept, so that a later run needs no network, and one that broke off goes on.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

# Older ones crash in XNNPACK.
LEAST_QEMU = 10
DEVICE_PACKAGES = ("ai-edge-litert", "numpy")
# pip does not infer the older tags from the newest: wheels of some packages carry only one of them.
WHEEL_PLATFORMS = (
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class UnavailableError(Exception):
    """The emulation cannot be prepared on this machine; the message says what is missing."""


class Emulation:
    """An aarch64 Python under QEMU.

    Args:
        cache: Where everything goes, about 250 MB; made where it does not exist.

    Raises:
        UnavailableError: If something is missing and cannot be fetched.
    """

    def __init__(self, cache: Path):
        self.cache = cache.resolve()
        self.cache.mkdir(parents=True, exist_ok=True)
        with self._locked():
            qemu = _installed_qemu()
            if qemu is None:
                self._stage("qemu", self._fetch_qemu)
                qemu = str(self.cache / "qemu" / "usr" / "bin" / "qemu-aarch64")
            self._qemu = qemu
            self._stage("root", self._fetch_root)
            self.python = _only(self.cache.glob("root/usr/bin/python3.*[0-9]"), "a Python in the unpacked packages")
            self.site = self.cache / self._site_name()
            self._stage(self.site.name, self._fetch_site)

    def run(self, arguments: Sequence[str | os.PathLike[str]], path: Path) -> subprocess.CompletedProcess[str]:
        """Run the aarch64 Python.

        Args:
            arguments: What follows `python`.
            path: A directory that the device's Python finds modules in, besides the site packages.

        Returns:
            The finished process, its output captured; its exit status is not checked.
        """
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{path}{os.pathsep}{self.site}",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        }
        # A Cortex-A72 is the processor of a Raspberry Pi 4.
        command = [self._qemu, "-cpu", "cortex-a72", "-L", str(self.cache / "root"), str(self.python)]
        return subprocess.run(
            [*command, *(os.fspath(one) for one in arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.cache / ".lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _stage(self, name: str, make: Callable[[Path], None]) -> None:
        """Make a directory of the cache, unless an earlier run has finished it."""
        target, partial = self.cache / name, self.cache / f"{name}.partial"
        if target.exists():
            return
        sys.stderr.write(f"Preparing {name} in {self.cache} ...\n")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        make(partial)
        partial.rename(target)

    def _fetch_qemu(self, target: Path) -> None:
        archives = self._download("host", ["qemu-user"])
        for archive in archives:
            if archive.name.startswith("qemu-user_"):
                # One emulator of the forty in the package, which is 370 MB unpacked.
                files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE)
                _run(["tar", "-x", "-C", str(target), "./usr/bin/qemu-aarch64"], stdin=files.stdout)
                files.wait()
        self._clean_archives()
        found = _qemu_version(target / "usr" / "bin" / "qemu-aarch64")
        if found < LEAST_QEMU:
            raise UnavailableError(
                f"QEMU {LEAST_QEMU} or newer is needed. This Debian has {found}, backports included."
            )

    def _fetch_root(self, target: Path) -> None:
        for archive in self._download("arm64", ["python3", "libstdc++6"]):
            _run(["dpkg-deb", "-x", str(archive), str(target)])
        if not (target / "lib").exists():
            (target / "lib").symlink_to("usr/lib")  # a Debian whose packages know /usr/lib only
        self._clean_archives()

    def _fetch_site(self, target: Path) -> None:
        platforms = [word for name in WHEEL_PLATFORMS for word in ("--platform", name)]
        wanted = [f"{name}=={version(name)}" for name in DEVICE_PACKAGES]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        python = self.python.name.removeprefix("python")
        # pip compiles for the Python that runs it, which need not be the device's.
        pip.append("--compile" if python == f"{sys.version_info[0]}.{sys.version_info[1]}" else "--no-compile")
        fixed = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
        _run([*pip, *fixed, *platforms, "--target", str(target), *wanted])

    def _site_name(self) -> str:
        # Another LiteRT on this machine gets another directory: the same versions are compared.
        return "site-" + "-".join(f"{name}-{version(name)}" for name in (*DEVICE_PACKAGES,))

    def _download(self, architecture: str, packages: Sequence[str]) -> list[Path]:
        """Download Debian packages and their dependencies."""
        options = self._apt_options(_host_architecture() if architecture == "host" else architecture)
        self._clean_archives()
        _run(["apt-get", *options, "-qq", "-o", "APT::Update::Error-Mode=any", "update"])
        _run(["apt-get", *options, "-qq", "--yes", "--download-only", "install", *packages])
        return sorted((self.cache / "apt" / "archives").glob("*.deb"))

    def _clean_archives(self) -> None:
        for archive in (self.cache / "apt" / "archives").glob("*.deb"):
            archive.unlink()

    def _apt_options(self, architecture: str) -> list[str]:
        """Return the options that give apt a state of its own: no package installed, no list of the system's."""
        root = self.cache / "apt"
        for folder in ("lists/partial", "archives/partial", "etc"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        sources, codename = _debian_archive()
        suites = [codename, f"{codename}-backports"] if architecture == _host_architecture() else [codename]
        lines = [f"deb [signed-by={KEYRING}] {sources} {suite} main\n" for suite in suites]
        (root / "etc" / "sources.list").write_text("".join(lines))
        settings = {
            "Dir::State": root,
            "Dir::State::status": root / "status",
            "Dir::State::lists": root / "lists",
            "Dir::Cache": root,
            "Dir::Cache::archives": root / "archives",
            "Dir::Etc::sourcelist": root / "etc" / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-",
            "Dir::Etc::preferencesparts": "-",
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "APT::Default-Release": suites[-1],
            "APT::Install-Recommends": "0",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _installed_qemu() -> str | None:
    found = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    return found if found is not None and _qemu_version(Path(found)) >= LEAST_QEMU else None


def _qemu_version(path: Path) -> int:
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(f"{path} does not run: {error}") from error
    match = re.search(r"version (\d+)", text)
    return 0 if match is None else int(match[1])


def _host_architecture() -> str:
    return _run(["dpkg", "--print-architecture"]).strip()


def _debian_archive() -> tuple[str, str]:
    """Return the address of the Debian archive that this machine uses, and the name of its release."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    if release.get("ID", "").strip('"') != "debian" or not KEYRING.exists():
        raise UnavailableError("The packages of the emulated machine come from Debian, and this machine is no Debian.")
    codename = release["VERSION_CODENAME"].strip('"')
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
    for uri, suite in (line.rsplit(" ", 1) for line in listed.splitlines()):
        if suite == codename:
            return uri, codename
    raise UnavailableError(f"apt is set up with no archive of Debian {codename}.")


def _run(command: Sequence[str], **options) -> str:
    try:
        return subprocess.run(command, check=True, text=True, capture_output=True, timeout=600, **options).stdout
    except FileNotFoundError as error:
        raise UnavailableError(f"{command[0]} is not installed.") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
        raise UnavailableError(f"'{' '.join(command[:2])} ...' failed: {said.strip()[-600:]}") from error


def _only(paths: Iterator[Path], what: str) -> Path:
    found = sorted(paths, key=lambda path: len(path.name))
    if not found:
        raise UnavailableError(f"There is not {what}; remove the cache directory and try again.")
    return found[0]
