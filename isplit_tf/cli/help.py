"""The help of the commands, with colours on a terminal."""

import argparse
import re
import sys
from typing import IO, Any

from ..display.colour import has_colours, styled

_STYLES = {"heading": "bold", "option": "cyan"}
_PARTS = re.compile(
    r"^(?P<heading>[a-z][a-z ]*:)|^ {2,4}(?P<option>-[^\s,]+(?: [A-Z][^\s,]*)?(?:, --[\w-]+)?)", re.MULTILINE
)


class ColouredParser(argparse.ArgumentParser):
    """A parser whose help has headings and options in colours, where a terminal shows it."""

    def print_help(self, file: Any = None) -> None:
        """Write the help to a file, by default to standard output."""
        file = sys.stdout if file is None else file
        text = self.format_help()
        file.write(_coloured(text, file) if has_colours(file) and "\x1b" not in text else text)


def _coloured(text: str, file: IO[str]) -> str:
    def styled_part(match: re.Match[str]) -> str:
        name = match.lastgroup or ""
        return match[0].replace(match[name], styled(match[name], _STYLES[name], file))

    return _PARTS.sub(styled_part, text)
