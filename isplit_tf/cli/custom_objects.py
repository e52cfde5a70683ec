"""The user's own layers and functions, from a Python file that a command line names. Importing it runs its code."""

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ArgumentError

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


@contextlib.contextmanager
def custom_objects(path: str | None) -> Iterator[None]:
    """Let Keras find the classes and functions in a Python file by name until the context ends.

    They enter the registry of the process, since a `keras.saving.custom_object_scope` hides the scope around it.

    Args:
        path: The file, as `read_custom_objects` takes it.
    """
    found = read_custom_objects(path)
    if not found:
        yield
        return
    import keras

    registry = keras.saving.get_custom_objects()
    before = dict(registry)
    registry.update(found)
    try:
        yield
    finally:
        registry.clear()
        registry.update(before)


def read_custom_objects(path: str | None) -> dict[str, Any]:
    """Import a Python file, and return its classes and functions by name, as Keras takes custom objects.

    The file's code runs, as by `python FILE`: its folder is where it imports its neighbours from.

    Args:
        path: The file; None for no custom objects.

    Returns:
        The classes and functions that are not Keras' own.

    Raises:
        ArgumentError: If there is no such file, or if its code ends with an error.
    """
    if path is None:
        return {}
    file = require_module(path)
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"--custom-objects '{path}' cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.get(file.stem)
    sys.modules.setdefault(file.stem, module)  # a file named like an imported package does not replace it
    try:
        spec.loader.exec_module(module)
    except _MISTAKES as error:
        if known is None:
            del sys.modules[file.stem]
        raise ArgumentError(f"--custom-objects '{path}' ends with {type(error).__name__}: {error}") from error
    return {name: value for name, value in vars(module).items() if _is_own(value)}


def require_module(path: str) -> Path:
    """Return the path of a Python file, or raise `ArgumentError`."""
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise ArgumentError(f"--custom-objects '{path}': expected a Python file, MODULE.py, of your own. Found none.")
    return file


def _is_own(value: Any) -> bool:
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return is_code and value.__module__.partition(".")[0] not in ("keras", "tensorflow", "builtins")
