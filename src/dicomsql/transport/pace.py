"""How many calls one server gets at a time and a second: cut when it refuses, won back slowly.

A server's quota is shared with programs that this one knows nothing of, so the right pace cannot be
computed, only felt: additive increase, multiplicative decrease, as TCP does it. `Throttle` is that
logic without a clock or a lock; `Pace` puts threads before it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dicomsql.errors import CancelledError

# How far back the rate is measured that a refusal cuts in half, in seconds.
_WINDOW = 10.0
# The slowest rate that refusals can lead to, in calls a second; waits before repeated calls, which
# grow beyond it, do the rest.
_SLOWEST = 1.0
# What a second without a refusal wins back, as a part of the rate that was refused.
_RECOVERY = 0.05
# A refused rate's multiple at which the limit is dropped altogether.
_RECOVERED = 2.0
# How long a waiting thread sleeps at most before it looks whether it was cancelled, in seconds.
_LOOK = 0.1


class Throttle:
    """The pace of calls to one server. Every method takes the time, in seconds.

    Attributes:
        parallel: calls at a time while nothing was refused.
        limit: calls at a time now.
        rate: calls a second now; None while there is no need for a limit.
    """

    def __init__(self, parallel: int) -> None:
        self.parallel = max(1, parallel)
        self.limit = float(self.parallel)
        self.rate: float | None = None
        self.running = 0
        self._refused_rate = 0.0
        self._last_cut = float("-inf")
        self._last_gain = 0.0
        self._next_start = float("-inf")
        self._starts: deque[float] = deque()

    def delay(self, now: float) -> float | None:
        """Seconds until a call may start; None where it has to wait for another one to end."""
        if self.running >= int(self.limit):
            return None
        self._gain(now)
        return 0.0 if self.rate is None else max(0.0, self._next_start - now)

    def start(self, now: float) -> None:
        """A call starts."""
        self.running += 1
        self._starts.append(now)
        while self._starts[0] < now - _WINDOW:
            self._starts.popleft()
        if self.rate is not None:
            self._next_start = max(now, self._next_start) + 1.0 / self.rate

    def end(self) -> None:
        """A call ended, whatever came of it."""
        self.running -= 1

    def resize(self, parallel: int) -> None:
        """So many calls may be made at a time from now on; what was cut is still won back."""
        parallel = max(1, parallel)
        self.limit = max(1.0, self.limit * parallel / self.parallel)
        self.parallel = parallel

    def refuse(self, started: float, now: float) -> None:
        """The server refused a call that had started at `started`: half the pace.

        Calls that were under way when the pace was last cut say nothing of the pace since.
        """
        if started < self._last_cut:
            return
        if self.rate is None:
            since = max(1.0, now - self._starts[0]) if self._starts else 1.0
            # A few calls are no measure: a lone call that is refused must not crawl from then on.
            self.rate = max(float(self.parallel), len(self._starts) / since)
        self._refused_rate = self.rate
        self.rate = max(_SLOWEST, self.rate / 2)
        self.limit = max(1.0, self.limit / 2)
        self._next_start = now + 1.0 / self.rate
        self._last_cut = self._last_gain = now

    def _gain(self, now: float) -> None:
        """Win back what the time since the last look is worth."""
        if self.rate is None:
            return
        seconds = now - self._last_gain
        self._last_gain = now
        self.rate += seconds * _RECOVERY * self._refused_rate
        self.limit = min(float(self.parallel), self.limit + seconds * _RECOVERY * self.parallel)
        if self.rate >= _RECOVERED * self._refused_rate and self.limit >= self.parallel:
            self.rate = None


class Slot:
    """A call's place in the pace."""

    def __init__(self, pace: Pace, started: float) -> None:
        self._pace = pace
        self.started = started

    def refused(self) -> None:
        """Tell the pace that the server refused this call (429)."""
        self._pace._refuse(self.started)


class Pace:
    """A throttle that threads share.

    Parameters:
        parallel: calls at a time.
        clock: gives the time in seconds.
    """

    def __init__(self, parallel: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.throttle = Throttle(parallel)
        self._clock = clock
        self._changed = threading.Condition()

    @contextmanager
    def slot(self, cancel: threading.Event) -> Iterator[Slot]:
        """Wait for a place, hold it for the length of the block.

        Raises:
            CancelledError: `cancel` was set before there was one.
        """
        started = self._enter(cancel)
        try:
            yield Slot(self, started)
        finally:
            with self._changed:
                self.throttle.end()
                self._changed.notify()

    def resize(self, parallel: int) -> None:
        """So many calls may be made at a time from now on."""
        with self._changed:
            self.throttle.resize(parallel)
            self._changed.notify_all()

    def _enter(self, cancel: threading.Event) -> float:
        with self._changed:
            while True:
                if cancel.is_set():
                    raise CancelledError("The statement was cancelled.")
                now = self._clock()
                delay = self.throttle.delay(now)
                if delay == 0:
                    self.throttle.start(now)
                    return now
                self._changed.wait(_LOOK if delay is None else min(delay, _LOOK))

    def _refuse(self, started: float) -> None:
        with self._changed:
            self.throttle.refuse(started, self._clock())
