"""Progress bars, on standard error so that standard output stays for results."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

_DELAY_S = 1.0


def bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    desc: str = "",
    enabled: bool = True,
    unit: str = "it",
) -> Any:
    """A progress bar that shows itself only once the work has taken a second.

    Args:
        iterable: What to go through; None for a bar that is moved on with `update(n)`.
        total: Number of steps, where it is known.
        desc: What is being done.
        enabled: False for a bar that never shows.
        unit: Name of one step.

    Returns:
        A `tqdm` bar.
    """
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        disable=not enabled,
        delay=_DELAY_S,
        file=sys.stderr,
        leave=False,
        dynamic_ncols=True,
    )
