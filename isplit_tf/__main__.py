"""`python -m isplit_tf` is `isplit`."""

from .cli import main

main()
