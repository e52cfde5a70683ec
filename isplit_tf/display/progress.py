"""Progress bars on standard error, since standard output is for results."""

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
    """Return a progress bar that appears only after the work has taken a second.

    Args:
        iterable: The items to iterate over; None for a bar that is advanced with `update(n)`.
        total: Number of steps, if known.
        desc: Description of the work.
        enabled: False for a bar that never appears.
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
