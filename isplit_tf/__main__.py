"""`python -m isplit_tf` is `isplit`."""

from .cli.main import main

main()
