"""Download of font packages from the registries; they are unpacked into a folder and never installed."""

import csv
import hashlib
import logging
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("glyphs")
_BATCH = 25  # packages per call of the registry's client


class PackageError(RuntimeError):
    """A package cannot be downloaded, or differs from the reviewed one."""


@dataclass(frozen=True)
class Package:
    """A reviewed package, with the hash of the licence file that was read in the review."""

    registry: str
    package: str
    version: str
    licence: str
    licence_file: str
    licence_sha256: str

    @property
    def folder(self) -> str:
        """Return the name of the package's folder in the cache."""
        return f"{self.package.replace('/', '__')}@{self.version.replace(':', '_')}"


def read_packages(path: Path) -> list[Package]:
    """Read the reviewed packages of `packages.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Package(**row) for row in csv.DictReader(file)]


def fetch(packages: Iterable[Package], cache: Path) -> dict[str, Path]:
    """Download and unpack the packages that are not in the cache yet.

    Args:
        packages: The packages, of the registries "debian" (through apt-get) and "npm" (through npm).
        cache: Folder for archives and unpacked packages.

    Returns:
        For each package name, the folder of the unpacked package.

    Raises:
        PackageError: If the client is missing or fails, or a licence file differs from the reviewed one.
    """
    packages = list(packages)
    folders = {package.package: cache / package.folder for package in packages}
    wanted = [package for package in packages if not folders[package.package].is_dir()]
    for registry, download in (("debian", _download_debian), ("npm", _download_npm)):
        rows = [package for package in wanted if package.registry == registry]
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            log.info("%s: fetching %d of %d packages", registry, start + len(batch), len(rows))
            download(batch, cache)
    for package in packages:
        _check_licence(package, folders[package.package])
    return folders


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in lowercase hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_licence(package: Package, folder: Path) -> None:
    licence = folder / package.licence_file
    if not licence.is_file():
        raise PackageError(f"{package.package} {package.version} has no licence file {package.licence_file}.")
    if (found := sha256(licence)) != package.licence_sha256:
        raise PackageError(
            f"{package.package} {package.version}: {package.licence_file} is not the text that was read "
            f"(SHA-256 {found}, reviewed {package.licence_sha256}). Read it and update packages.csv."
        )


def _download_debian(packages: list[Package], cache: Path) -> None:
    archives = cache / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", *(f"{p.package}={p.version}" for p in packages)], archives)
    for package in packages:
        version = package.version.replace(":", "%3a")  # an epoch, as apt-get writes it into a file's name
        archive = next(archives.glob(f"{package.package}_{version}_*.deb"))
        _unpack(package, cache, lambda part, deb=archive: _run(["dpkg-deb", "-x", str(deb), str(part)], cache))


def _download_npm(packages: list[Package], cache: Path) -> None:
    archives = cache / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    names = [f"{p.package}@{p.version}" for p in packages]
    _run(["npm", "pack", "--silent", "--ignore-scripts", *names], archives)
    for package in packages:
        name = package.package.lstrip("@").replace("/", "-")
        archive = archives / f"{name}-{package.version}.tgz"
        _unpack(package, cache, lambda part, tgz=archive: _extract(tgz, part))


def _extract(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")


def _unpack(package: Package, cache: Path, unpack: Callable[[Path], None]) -> None:
    """Unpack beside the final folder and rename it, so that a killed run leaves no partial package."""
    part = cache / f"{package.folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    unpack(part)
    part.rename(cache / package.folder)


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise PackageError(f"{command[0]} is not installed; it is needed to fetch the font packages.")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-800:]}")
