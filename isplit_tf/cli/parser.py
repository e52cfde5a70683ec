"""A parser of command lines that suggests what was meant."""

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from .help import ColouredParser


class Parser(ColouredParser):
    """An `argparse.ArgumentParser` whose errors are two lines, and name the nearest command, option or choice."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the known arguments; an option that is unknown ends the program, before missing ones are told of."""
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:  # the options of a command are its own parser's
            self._refuse_unknown(words)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the options are explained, and exit with the status 2."""
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help explains what is possible.\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a message, and let the error pass if it cannot be written, which argparse hides."""
        stream = file or sys.stderr
        if message and stream is not None:
            stream.write(message)

    def _refuse_unknown(self, words: Iterable[str]) -> None:
        known = list(self._option_string_actions)
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            if not name.startswith("--") or " " in name or any(option.startswith(name) for option in known):
                continue
            self.error(f"there is no option {name!r}.{suggestion(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        named = str(action.metavar or "").lower() if action.dest == "command" else argparse._get_action_name(action)
        choices = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(
            None, f"there is no {named} {value!r}.{suggestion(str(value), choices)} Possible: {', '.join(choices)}."
        )


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a sentence that asks whether the most similar of the known words was meant; "" if none is similar."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
