"""The entry point of `python -m isplit_tf`, which runs the command `isplit`."""

from .cli.main import main

main()
