"""A folder of models as `isplit publish` writes it, read again when its list of models changes."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from isplit_edge.files import read_limited

from ..errors import BundleError
from .batching import Batching
from .model import Catalogue, ServedModel
from .models_config import MODELS_CONFIG, MODELS_FOLDER, ModelEntry, ModelsConfig

_MOST_LIST_BYTES = 4 << 20
_PATIENCE_S = 10.0
Key = tuple[str, int]
Files = tuple[tuple[str, int, int], ...]
_LOG = logging.getLogger(__name__)


class ModelsFolder:
    """A catalogue of the versions in a folder's `models.config`, kept up to date with that file.

    Args:
        directory: The folder.
        batching: How requests are joined.

    Raises:
        BundleError: If `models.config` cannot be read, or no model in it can be loaded.
    """

    def __init__(self, directory: str | os.PathLike[str], *, batching: Batching | None = None):
        self._root = Path(directory)
        self._batching = batching
        self._text = ""
        self._failed: dict[Path, Files] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.catalogue = Catalogue([])
        try:
            self.reload()
        except BundleError as error:
            if not self.catalogue.models:
                raise
            _LOG.error("Of the models in %s these are not served: %s", self._root, error)

    def reload(self) -> bool:
        """Load the models that are new in the list, then drop those that are no longer in it.

        A version that does not load is told, and tried again when its files change. Until it loads, the versions of
        its model that were served stay, and so do their labels; other models are not concerned.

        Returns:
            Whether anything had changed.

        Raises:
            BundleError: If the list cannot be read, where all stays as it was; or if versions cannot be loaded.
        """
        path = self._root / MODELS_CONFIG
        try:
            text = read_limited(path, _MOST_LIST_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error
        if text == self._text and all(_files(folder) == files for folder, files in self._failed.items()):
            return False
        entries = ModelsConfig.parse(text).models
        wanted = {
            (entry.name, version): self._folder(entry) / str(version)
            for entry in entries
            for version in self._versions(entry)
        }
        self._text, self._failed = text, {}
        old = self.catalogue.models
        new, errors = self._load(wanted, old)
        behind = {name for name, version in wanted.keys() - new.keys()}
        new |= {key: model for key, model in old.items() if key[0] in behind}
        labels = {entry.name: self._labels_of(entry, new, behind=entry.name in behind) for entry in entries}
        self.catalogue.replace(list(new.values()), labels)
        for key, model in old.items():
            if key not in new:
                model.close()
        if errors:
            raise BundleError("; ".join(errors))
        return True

    def _load(
        self, wanted: Mapping[Key, Path], old: Mapping[Key, ServedModel]
    ) -> tuple[dict[Key, ServedModel], list[str]]:
        loaded, errors = {}, []
        for key, folder in wanted.items():
            files = _files(folder)
            try:
                loaded[key] = old.get(key) or ServedModel(folder, *key, batching=self._batching)
            except BundleError as error:
                self._failed[folder] = files
                errors.append(str(error))
        return loaded, errors

    def _labels_of(self, entry: ModelEntry, models: Mapping[Key, ServedModel], *, behind: bool) -> dict[str, int]:
        labels = self.catalogue.labels(entry.name) if behind else {}
        labels |= {label: version for label, version in entry.labels.items() if (entry.name, version) in models}
        return labels

    def watch(self, every_s: float) -> None:
        """Reload the list every `every_s` seconds in a separate thread; errors are logged."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, args=(every_s,), name="isplit-models", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop watching the list."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)  # a version may be loading, for as long as that takes

    def _follow(self, every_s: float) -> None:
        said = ""
        while not self._stop.wait(every_s):
            try:
                if self.reload():
                    said = ""
            except BundleError as error:
                if str(error) != said:
                    _LOG.error("The models stay as they are: %s", error)
                said = str(error)

    def _versions(self, entry: ModelEntry) -> tuple[int, ...]:
        if entry.versions is None:
            raise BundleError(
                f"{self._root / MODELS_CONFIG}: the versions of '{entry.name}' must be a list, "
                "model_version_policy { specific { ... } }."
            )
        return entry.versions

    def _folder(self, entry: ModelEntry) -> Path:
        path = PurePosixPath(entry.base_path)
        if not path.is_relative_to(MODELS_FOLDER) or ".." in path.parts:
            raise BundleError(
                f"{self._root / MODELS_CONFIG}: the base_path of '{entry.name}' must be below {MODELS_FOLDER}, where "
                f"this folder is mounted. Found: '{entry.base_path}'."
            )
        return self._root / path.relative_to(MODELS_FOLDER)


def _files(folder: Path) -> Files:
    """Return name, size and time of change of all files below a folder; nothing if it cannot be listed."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((path, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
