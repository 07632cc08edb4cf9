"""Sessions that nobody closed are closed when the program ends.

The threads of a pool are joined before the interpreter looks at anything else, and take no work
from then on: a result that was read in part could be closed by nobody, and a call on its way would
hold the process until it is answered. So it is done before that.
"""

from __future__ import annotations

# Its callback joins the threads; of such callbacks the one that was registered last runs first.
import concurrent.futures.thread  # noqa: F401
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

__all__ = ["Closable", "close_at_end"]


class Closable(Protocol):
    """What has to be closed."""

    def close_unused(self) -> None:
        """Close it, unless another thread is still at work with it."""


_open: WeakSet[Closable] = WeakSet()


def close_at_end(one: Closable) -> None:
    """Have this closed when the main thread has ended, if it still exists by then."""
    _open.add(one)


def _close_all() -> None:
    for one in list(_open):
        one.close_unused()


# `atexit` comes too late, after the threads were joined. Where an interpreter lacks this function,
# the end is as slow as the last call, and no worse.
_register = getattr(threading, "_register_atexit", None)
if _register is not None:
    with suppress(RuntimeError):  # the main thread has ended already
        _register(_close_all)
