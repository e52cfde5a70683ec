"""Registration of the builders with TensorFlow Datasets, without importing it.

A builder is registered when its module is imported, and that module imports TensorFlow Datasets. To keep
`import isplit_tf.datasets` fast, the builders are imported right after `tensorflow_datasets`, or at once if
`tensorflow_datasets` has been imported already.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

BUILDERS = ("chest_xray_pneumonia", "notmnist", "tiny_imagenet200")
"""Names of the data sets with a builder; each has a folder here with a module `<name>_dataset_builder`."""

_TFDS = "tensorflow_datasets"


def builder_class(name: str) -> Any:
    """Import the builder of this name and return its class; this loads TensorFlow Datasets."""
    return _import_builder(name).Builder


def register() -> None:
    """Import the builders as soon as TensorFlow Datasets is imported."""
    if _TFDS in sys.modules:
        importlib.import_module(_TFDS)  # waits for another thread that is importing it
        _import_builders()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _import_builders() -> None:
    base = sys.modules.get(f"{__package__}.archive_builder")
    if base is not None and not hasattr(base, "ArchiveBuilder"):
        return  # that module is still being imported and calls `register` at its end
    for name in BUILDERS:
        _import_builder(name)


def _import_builder(name: str) -> ModuleType:
    return importlib.import_module(f".{name}.{name}_dataset_builder", __package__)


class _Finder:
    """An import finder that finds `tensorflow_datasets` as usual and has the builders imported after it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _TFDS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((candidate for candidate in specs if candidate is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        run_module = loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            loader.exec_module = run_module
            run_module(module)
            if self in sys.meta_path:  # after a failed import, the finder stays for the next attempt
                sys.meta_path.remove(self)
            _import_builders()

        loader.exec_module = run_and_register
