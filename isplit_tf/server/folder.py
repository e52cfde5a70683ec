"""A folder of models as `isplit publish` writes it, read again when its list of models changes."""

import logging
import os
import threading
from pathlib import Path, PurePosixPath

from ..errors import BundleError
from .batching import Batching
from .model import Catalogue, ServedModel
from .models_config import MODELS_CONFIG, MODELS_FOLDER, ModelEntry, ModelsConfig

_LOG = logging.getLogger(__name__)


class ModelsFolder:
    """A catalogue of the versions in a folder's `models.config`, kept up to date with that file.

    Args:
        directory: The folder.
        batching: How requests are joined.

    Raises:
        BundleError: If `models.config` cannot be read, or a model in it cannot be loaded.
    """

    def __init__(self, directory: str | os.PathLike[str], *, batching: Batching | None = None):
        self._root = Path(directory)
        self._batching = batching
        self._text = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.catalogue = Catalogue([])
        self.reload()

    def reload(self) -> bool:
        """Load the models that are new in the list, then drop those that are no longer in it.

        Returns:
            Whether the list had changed.

        Raises:
            BundleError: If the list cannot be read or a model cannot be loaded; the old models stay in service.
        """
        path = self._root / MODELS_CONFIG
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from error
        if text == self._text:
            return False
        entries = ModelsConfig.parse(text).models
        old = self.catalogue.models
        new = {}
        for entry in entries:
            folder = self._folder(entry)
            for version in self._versions(entry):
                key = entry.name, version
                new[key] = old.get(key) or ServedModel(folder / str(version), *key, batching=self._batching)
        self.catalogue.replace(list(new.values()), {entry.name: entry.labels for entry in entries})
        self._text = text
        for key, model in old.items():
            if key not in new:
                model.close()
        return True

    def watch(self, every_s: float) -> None:
        """Reload the list every `every_s` seconds in a separate thread; errors are logged."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, args=(every_s,), name="isplit-models", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop watching the list."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            try:
                self.reload()
            except BundleError as error:
                _LOG.error("The models stay as they are: %s", error)

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
