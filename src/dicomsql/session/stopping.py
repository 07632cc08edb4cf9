"""Stopping one statement from another thread, whether it still begins or its rows are read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Stop"]


class Stop:
    """Stops the statement that it was given to; safe from any thread and from signal handlers.

    Attributes:
        flag: set once it is to stop.
    """

    def __init__(self) -> None:
        self.flag = threading.Event()
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()
        self._wakes: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the statement was told to stop."""
        return self.flag.is_set()

    def cancel(self) -> None:
        """Stop the statement; what waits for a server or computes is woken."""
        with self._lock:
            self.flag.set()
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    def when_cancelled(self, wake: Callable[[], None]) -> None:
        """Call this, too, when the statement is to stop; at once where it is already."""
        with self._lock:
            self._wakes.append(wake)
            late = self.flag.is_set()
        if late:
            wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """Call this no more: there is nothing left to wake."""
        with self._lock, suppress(ValueError):
            self._wakes.remove(wake)
