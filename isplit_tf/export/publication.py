"""Publishing a tail beside those that are served already, so that a fleet of devices can be updated step by step."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from isplit_edge.files import check_file, write_atomic
from isplit_edge.manifest import MANIFEST_FILE, Manifest

from ..errors import ArgumentError, BundleError, ExistsError
from ..server.models_config import MODELS_CONFIG, ModelsConfig
from ..storage.directories import locked, replacing
from .serving.config_files import BATCHING_CONFIG

RECORD_FILE = f"assets.extra/{MANIFEST_FILE}"
"""In the folder of a published version: the manifest of the bundle that it came from."""

_SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True)
class Publication:
    """The models that are served after a bundle was published.

    Attributes:
        models_dir: The folder that a server mounts.
        model_name: Of the model.
        version: That was added.
        bundle_id: Of the bundle that it came from.
        versions: All versions of this model that are served, with the bundle_id of each, or None where it is not known.
        labels: Versions by label.
    """

    models_dir: Path
    model_name: str
    version: int
    bundle_id: str
    versions: dict[int, str | None]
    labels: dict[str, int]

    def __repr__(self) -> str:
        names = {
            version: [label for label, target in self.labels.items() if target == version] for version in self.versions
        }
        lines = [f"Publication: version {self.version} of '{self.model_name}' in {self.models_dir}; served are"]
        for version, identity in self.versions.items():
            bundle = "unknown bundle" if identity is None else f"bundle {identity[:16]}"
            lines.append("  ".join([f"  version {version}", bundle, *names[version]]))
        return "\n".join(lines)


def publish(
    bundle: str | os.PathLike[str], models_dir: str | os.PathLike[str], *, labels: Iterable[str] = ()
) -> Publication:
    """Add a bundle's tail to a folder of models, beside the versions that are there.

    The folder is laid out as a bundle's `serving/`: `<model_name>/<version>/`, `models.config` for all of them, and
    `batching.config`. If the process is killed, either the old or the new `models.config` is there, and every version
    that it names is complete; the same call again finishes the work. Only one process at a time publishes into a
    folder.

    Args:
        bundle: What `export_bundle` wrote; its `serving/` is compared with the manifest first.
        models_dir: The folder; created if it does not exist.
        labels: Labels such as "stable" that point to this version from now on. For a bundle that is published already,
            only the labels change.

    Returns:
        The models that are served now.

    Raises:
        BundleError: If the bundle is incomplete or was changed, or `models.config` there cannot be read.
        ExistsError: If this version of the model is in use already.
        ArgumentError: If the folder cannot be written to, or its `models.config` chooses versions by another policy.

    Example:
        >>> publish("bundle2/", "models/", labels=["canary"])
    """
    source = Path(getattr(bundle, "directory", bundle))
    manifest = Manifest.load(source, check=("serving",))
    name, version = manifest.model_name, manifest.version
    new_labels = dict.fromkeys(_label_names(labels), version)
    root = _made(models_dir)
    with locked(root):
        for leftover in root.glob(f".{MODELS_CONFIG}.*"):  # by a killed run
            leftover.unlink()
        old_config = _read_config(root)
        _refuse_used(root, old_config, manifest, again=bool(new_labels))
        new_config = old_config.with_version(name, *_unlisted(root, old_config, name), version, labels=new_labels)
        place = root / name / str(version)
        if not place.exists():
            _copy(source, manifest, place)
        if not (root / BATCHING_CONFIG).exists():
            write_atomic(root / BATCHING_CONFIG, (source / "serving" / BATCHING_CONFIG).read_bytes())
        write_atomic(root / MODELS_CONFIG, str(new_config).encode())
    entry = new_config.find(name)
    served = () if entry is None or entry.versions is None else entry.versions
    return Publication(
        models_dir=root,
        model_name=name,
        version=version,
        bundle_id=manifest.bundle_id,
        versions={number: published_bundle_id(root / name / str(number)) for number in served},
        labels={} if entry is None else dict(entry.labels),
    )


def published_bundle_id(directory: str | os.PathLike[str]) -> str | None:
    """Return the bundle_id of a published version; None if its folder has no readable record."""
    try:
        record = json.loads((Path(directory) / RECORD_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    identity = record.get("bundle_id") if isinstance(record, dict) else None
    return identity if isinstance(identity, str) else None


def _label_names(labels: Iterable[str]) -> list[str]:
    names = [labels] if isinstance(labels, str) else list(labels)
    for name in names:
        # It becomes a part of the REST API's paths.
        if not isinstance(name, str) or not name or not name.isascii() or not name.replace("-", "_").isidentifier():
            raise ArgumentError(f"A label is of letters, digits, '-' and '_', such as 'stable'. Received: {name!r}.")
    return names


def _made(models_dir: str | os.PathLike[str]) -> Path:
    root = Path(models_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"'{root}' is no folder and cannot be made: {error}") from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise ArgumentError(f"'{root}' cannot be written to.")
    return root


def _read_config(root: Path) -> ModelsConfig:
    try:
        return ModelsConfig.parse((root / MODELS_CONFIG).read_text())
    except FileNotFoundError:
        return ModelsConfig()
    except (OSError, UnicodeDecodeError, BundleError) as error:
        raise BundleError(f"'{root}' is no folder to publish into: {error}") from error


def _unlisted(root: Path, config: ModelsConfig, name: str) -> list[int]:
    """Return the versions that a server serves without `models.config`; they must stay in the new one."""
    if config.find(name) is not None or not (root / name).is_dir():
        return []
    if (root / MODELS_CONFIG).exists():
        return []
    folders = [folder for folder in (root / name).iterdir() if folder.name.isascii() and folder.name.isdigit()]
    return [int(folder.name) for folder in folders if (folder / _SAVED_MODEL).is_file()]


def _refuse_used(root: Path, config: ModelsConfig, manifest: Manifest, *, again: bool) -> None:
    entry = config.find(manifest.model_name)
    used_versions = set(() if entry is None else entry.versions or ())
    place = root / manifest.model_name / str(manifest.version)
    published_id = published_bundle_id(place)
    is_same = published_id == manifest.bundle_id
    if (manifest.version not in used_versions and (is_same or not place.exists())) or (is_same and again):
        return
    origin = "of this very bundle" if is_same else f"of bundle {published_id[:16]}" if published_id else "unknown"
    numbers = [int(folder.name) for folder in place.parent.glob("*") if folder.name.isascii() and folder.name.isdigit()]
    free = 1 + max([*used_versions, *numbers, manifest.version])
    raise ExistsError(
        f"Version {manifest.version} of '{manifest.model_name}' is in use in '{root}' ({origin}): a version never "
        f"changes under the devices that ask for it. Export with version={free} and publish that."
    )


def _copy(source: Path, manifest: Manifest, place: Path) -> None:
    """Copy the SavedModel, and compare the copy with the manifest before it gets its final name."""
    folder = f"serving/{manifest.model_name}/{manifest.version}/"
    with replacing(place) as scratch:
        shutil.copytree(source / folder, scratch, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for name, entry in manifest.files.items():
            if name.startswith(folder):
                check_file(scratch, name.removeprefix(folder), **entry)
        (scratch / RECORD_FILE).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / MANIFEST_FILE, scratch / RECORD_FILE)
