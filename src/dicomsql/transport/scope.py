"""What calls of one statement share: the flag that stops them, what they wait on, who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomsql.transport.client import OnResponse, OnWait


class Waits:
    """What the calls of a statement wait on, so that their threads can be woken.

    A transport puts a connection here before it checks the flag for the last time, and takes it
    away before anybody else may use it: whoever stops the statement stops no other's calls.
    """

    def __init__(self) -> None:
        self._stops: dict[object, Callable[[], None]] = {}
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()

    def add(self, waited: object, stop: Callable[[], None]) -> None:
        """A call waits on this from now on; `stop` makes it fail at once."""
        with self._lock:
            self._stops[waited] = stop

    def discard(self, waited: object) -> None:
        """No call waits on it any more; may be called again."""
        with self._lock:
            self._stops.pop(waited, None)

    def interrupt(self) -> None:
        """Wake every thread that waits."""
        with self._lock:
            for stop in list(self._stops.values()):
                with suppress(OSError):
                    stop()


@dataclass(slots=True, eq=False)
class Scope:
    """The statement that a call belongs to, as far as transports need to know of it.

    Attributes:
        cancel: stops waits and further calls once it is set, but for those that are `finishing`.
        on_response: is told of each attempt.
        on_wait: is told before a wait for another one: the status of the last one (0 where there
            was no answer), and seconds.
        waits: what its calls wait on now.
    """

    cancel: threading.Event = field(default_factory=threading.Event)
    on_response: OnResponse | None = None
    on_wait: OnWait | None = None
    waits: Waits = field(default_factory=Waits)

    def abort(self) -> None:
        """Stop its calls: set the flag and wake who waits. Safe from a signal handler."""
        self.cancel.set()
        self.waits.interrupt()
