"""What a forked process does with DuckDB objects of the process that it came from: nothing.

Their threads and locks are not there: to close one waits for ever, or ends the process. So they are
never freed there, not even when it ends; who uses an engine gets an error (`Engine`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

__all__ = ["Owner", "keep_from_children"]


class Owner(Protocol):
    """Has objects of DuckDB."""

    def owned(self) -> Iterable[object]:
        """Those that it has now."""


_owners: WeakSet[Owner] = WeakSet()


def keep_from_children(owner: Owner) -> None:
    """In processes that are forked from now on, what it owns is left alone."""
    _owners.add(owner)


def _leave_alone() -> None:
    if not _owners:
        return
    import ctypes

    for owner in list(_owners):
        for owned in owner.owned():
            # One reference that nobody gives back.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(owned))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_alone)
