"""Files that a command line names, as far as they can be looked at without TensorFlow."""

import difflib
import json
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ModelError

_MODEL_STARTS = (b"PK", b"\x89HDF")


def near(path: str) -> str:
    """Return a sentence that names the most similar entry beside a path that is not there; "" if there is none."""
    folder = Path(path).parent
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    similar = difflib.get_close_matches(Path(path).name, names, n=1, cutoff=0.75)
    return f" Did you mean '{folder / similar[0]}'?" if similar else ""


def require_model(path: str) -> None:
    """Raise `ModelError` unless there is a file of this name that may be one of Keras."""
    if not Path(path).is_file():
        raise ModelError(
            f"There is no file '{path}'. A model saved by Keras is needed: model.save('classifier.keras')." + near(path)
        )
    with open(path, "rb") as file:
        if not file.read(4).startswith(_MODEL_STARTS):
            raise ModelError(
                f"'{path}' cannot be loaded as a Keras model: it is neither a .keras nor an .h5 file. Save one with "
                "model.save('classifier.keras')."
            )


def read_preprocessing(text: str | None) -> str | dict[str, Any] | None:
    """Return the name of a preprocessing, or the record in a JSON file."""
    if text is None or not text.endswith(".json"):
        return text
    try:
        return json.loads(Path(text).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError(f"--preprocessing '{text}' cannot be read as JSON: {error}") from error
