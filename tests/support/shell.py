"""The command `isplit` in this process."""

from isplit_tf.cli.main import parse, run


def isplit(*argv) -> int:
    """The exit status of a command line."""
    return run(parse([str(part) for part in argv]))
