"""What must not be shared between processes begins anew in a process that is forked from this one.

A connection that parent and child both use gives each the other's answers, a lock that another thread held while
the process was forked stays locked for ever, and the threads of a library do not exist in the child.
"""

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object that holds connections, locks or threads."""

    def renew(self) -> None:
        """Let go of all that belongs to the process from which this one was forked, without telling the other end."""


_renewed: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_children(owner: Renewable) -> None:
    """Call `owner.renew()` in every process that is forked from this one, before anything else runs there."""
    _renewed.add(owner)


def _renew_all() -> None:
    for owner in list(_renewed):
        owner.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
