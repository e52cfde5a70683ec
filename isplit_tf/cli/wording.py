"""Messages of the library in the words of the shell: `max_images=8` becomes `--max-images 8`."""

import argparse
import re
from collections.abc import Mapping

Options = Mapping[str, argparse.Action]
# Arguments that the library and an option name differently, and options that share their name with another argument.
_ALSO = {"version": "model_version", "timeout_s": "timeout"}
_OTHERS = frozenset({"output", "json", "help"})
_VALUE = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|\([^)]*\)|\.\.\.|[\w.]*\w(?:\([^()]*\))?"""
# What is no `name=value`: calls of the library, each in the words that a shell has for it.
_PHRASES = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"split\(\.\.\., fit_data=images\), [^:]*, or on the command line ", ""),
        (r"or give custom_objects=\{[^}]*\}; on the command line ", "or give "),
        (r"find_cuts\(model, max_tensors=(\d+)\)", r"isplit cuts --max-tensors \1"),
        (r"Export with version=(\d+)", r"Export with --model-version \1"),
        (r"\bisplit_tf\.(split|train|evaluate|publish)\b(?![.(])", r"isplit \1"),
        (r"\(x, y\)", "labelled images"),
    )
)
# What Python, TensorFlow and the operating system's errors put around their own texts.
_NOISE = re.compile(r"\[Errno -?\d+\] |\{\{[^}]*\}\} ?|\s*\[Op:\w+\](?: name: ?)?")


def in_shell_words(text: str, options: Options) -> str:
    """Return a message with the names of arguments replaced by the options of a command.

    Args:
        text: The message.
        options: The options of the command by the argument that each gives. What has no option stays as it is.
    """
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    text = _NOISE.sub("", text)
    text = re.sub(r"\bKeyError\((['\"])(.*?)\1\)", r"\1\2\1 is missing", text)
    text = re.sub(r"\b[A-Z]\w*Error\((['\"])(.*?)\1\)", r"\2", text)
    names = {name: options[other] for name, other in _ALSO.items() if other in options} | dict(options)
    names = {name: action for name, action in names.items() if name not in _OTHERS}
    if not names:
        return text
    listed = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    text = re.sub(rf"(?<![\w.'\"/-])({listed})=({_VALUE})", lambda found: _typed(names[found[1]], found[2]), text)
    text = re.sub(rf"^({listed})(?=: )", lambda found: _option(names[found[1]]), text)
    bare = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if "_" in name)
    if bare:
        text = re.sub(rf"(?<![\w.'\"/=-])({bare})(?![\w'\"/=(-]|\.\w)", lambda found: _option(names[found[1]]), text)
    return re.sub(r"(--[\w-]+)(?: \S+)?, \1\b", r"\1", text)


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options of a command by the name of the argument that each gives."""
    return {action.dest: action for action in parser._actions if action.option_strings}


def _option(action: argparse.Action) -> str:
    return max(action.option_strings, key=len)


def _typed(action: argparse.Action, value: str) -> str:
    """Return an option with a value as it is typed."""
    name = _option(action)
    if value in ("True", "False", "None"):
        is_given = value != "None" and action.nargs == 0 and bool(action.const) is (value == "True")
        return name if is_given else f"{name} with its default" if value != "False" else f"no {name}"
    if action.nargs == 0:
        return name
    quoted = re.fullmatch(r"""['"](.*)['"]""", value)
    if quoted:
        return f"{name} {quoted[1]}" if " " not in quoted[1] else f"{name} {value}"
    if value[0] in "[(":
        return f"{name} {value[1:-1].replace(', ', ',')}"
    if value[0].isdigit() or re.fullmatch(r"[A-Z]+", value):
        return f"{name} {value}"
    return f"{name} {action.metavar or '...'}"
