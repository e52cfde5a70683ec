"""Progress bars on standard error, since standard output is for results."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm  # not tqdm.auto, which warns in notebooks without ipywidgets

_DELAY_S = 1.0


class Bar(tqdm):
    """A bar that ends at its total: a number of steps that was an upper bound becomes that of the steps taken."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and not self.disable:
            self.total = self.n
        super().__exit__(kind, error, traceback)


def bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    desc: str = "",
    enabled: bool = True,
    unit: str = "it",
    delay_s: float | None = None,
) -> Any:
    """Return a progress bar that appears only after the work has taken a second.

    Args:
        iterable: The items to iterate over; None for a bar that is advanced with `update(n)`.
        total: Number of steps, if known.
        desc: Description of the work.
        enabled: False for a bar that never appears.
        unit: Name of one step.
        delay_s: Seconds after which it appears; 1 by default.

    Returns:
        A `Bar`; its `total` may be set later.
    """
    return Bar(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        disable=not enabled,
        delay=_DELAY_S if delay_s is None else delay_s,
        file=sys.stderr,
        leave=False,
        dynamic_ncols=True,
    )
