"""Turns: one thread at a time, the others in their order, whatever Ctrl-C breaks off.

A lock may be left taken for ever: Ctrl-C can come between the call that takes it and whatever sees
to it that it is given back. Here who waits stands in a line, and leaves it in any case.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

__all__ = ["Turn"]

# Seconds after which a thread that waits looks whether it still has to.
_LOOK = 0.05


class _Place:
    """Of a thread in the line; `called` is woken when the line moves on."""

    __slots__ = ("called", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.called: SimpleQueue[None] = SimpleQueue()


class Turn:
    """Is taken by one thread at a time, and by that one as often as it likes."""

    def __init__(self) -> None:
        # Whatever is done to it is one call, which no signal and no other thread divides.
        self._line: list[_Place] = []

    @property
    def is_taken(self) -> bool:
        """Whether a thread has it."""
        return bool(self._line)

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread has it."""
        me = threading.get_ident()
        return any(first.thread == me for first in self._line[:1])

    @contextmanager
    def taken(self, give_up: Callable[[], bool]) -> Iterator[bool]:
        """Take the turn for a block.

        Args:
            give_up: is asked while others have it; what it raises ends the wait too.

        Yields:
            Whether it is taken; False where the wait was given up.
        """
        if self.is_mine:
            yield True
            return
        place = _Place()
        try:
            self._line.append(place)
            while (mine := self._line[0] is place) is False and not give_up():
                with suppress(Empty):
                    place.called.get(timeout=_LOOK)
            yield mine
        finally:
            self._line.remove(place)
            for first in self._line[:1]:
                first.called.put(None)
