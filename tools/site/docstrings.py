"""An extension with which mkdocstrings reads the docstrings of this project.

The docstrings use `Example:`, like Keras and as the tests of the examples expect; the parser shows only `Examples:` as
code.
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """A Griffe extension that shows the sections `Example:` as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
