"""Completion of commands, options and files in bash and zsh, of the parser itself."""

import argparse
import os


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, if a shell asked what may follow; else do nothing.

    `eval "$(register-python-argcomplete isplit)"` in the shell's start file makes it ask.
    """
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
