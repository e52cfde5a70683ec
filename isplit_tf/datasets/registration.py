"""The builders become known to TensorFlow Datasets without loading it beforehand.

TensorFlow Datasets knows a builder once its module has been imported, and that module imports TensorFlow Datasets.
So that `import isplit_tf.datasets` stays light, the builders are imported as soon as somebody else imports
`tensorflow_datasets`, or at once where that has happened.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

BUILDERS = ("chest_xray_pneumonia", "notmnist", "tiny_imagenet200")
"""Names of the data sets with a builder here; each is a folder with `<name>_dataset_builder.py`."""

_TFDS = "tensorflow_datasets"


def builder_class(name: str) -> Any:
    """Import the builder of that name and give its class; this loads TensorFlow Datasets."""
    return _import_builder(name).Builder


def register() -> None:
    """Have the builders known to TensorFlow Datasets from its import on."""
    if _TFDS in sys.modules:
        importlib.import_module(_TFDS)  # waits for another thread that is importing it
        _import_builders()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _import_builders() -> None:
    base = sys.modules.get(f"{__package__}.archive_builder")
    if base is not None and not hasattr(base, "ArchiveBuilder"):
        return  # it is being imported, and calls `register` once it is there
    for name in BUILDERS:
        _import_builder(name)


def _import_builder(name: str) -> ModuleType:
    return importlib.import_module(f".{name}.{name}_dataset_builder", __package__)


class _Finder:
    """Finds `tensorflow_datasets` as all others do, and has the builders imported after it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _TFDS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        run_module = loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            loader.exec_module = run_module
            run_module(module)
            if self in sys.meta_path:  # stays where the import failed, for the next try
                sys.meta_path.remove(self)
            _import_builders()

        loader.exec_module = run_and_register
