"""Several calls' pages on their way at a time, given out in the order of the calls.

One thread, the one that reads, decides everything: what is asked for next, what a page means. The
threads of the pool only fetch. Calls and pages share the pool: the call that is read asks ahead
first, then the calls after it ask for a page or two each, so that both one search of many pages
and many searches of one page keep all connections busy. What has come and waits is bounded in
bytes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from dicomsql.errors import CancelledError, Error, InternalError
from dicomsql.execution.calls import Page, single
from dicomsql.execution.offsets import OffsetWalk
from dicomsql.execution.paging import Ask, Walk

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from dicomsql.execution.run import Run

# Bytes of pages that are on their way or wait to be read.
_BYTES_AHEAD = 32_000_000
# Pages of a call that is not being read yet.
_PAGES_EACH = 2
# Seconds after which a blocked thread looks whether it is still wanted.
_POLL = 0.05

T = TypeVar("T")
A = TypeVar("A")


@dataclass(slots=True, eq=False)
class Lane(Generic[T]):
    """A call on its way.

    Attributes:
        call: what it was added as.
        delivered: pages that were given out.
        overlap: of the first rows of the page that was given out last, those that the page before
            it ended with.
    """

    call: T
    walk: Walk
    delivered: int = 0
    overlap: int = 0
    open: deque[Ask] = field(default_factory=deque)
    arrived: dict[int, Page | Exception] = field(default_factory=dict)
    ready: deque[tuple[Ask, Page]] = field(default_factory=deque)
    reading: tuple[Ask, Page] | None = None
    error: Exception | None = None
    sized: bool = False

    @property
    def is_idle(self) -> bool:
        return not self.open and not self.ready and self.reading is None

    @property
    def is_over(self) -> bool:
        return self.error is not None or (self.walk.done and not self.ready)


class Lanes(Generic[T]):
    """The calls of a scan.

    Parameters:
        start: makes a call's walk.
        size: tells the number of rows of a call of many pages, or None; called in a
            thread of the pool. None where nothing can tell it.
        early: the scan may end before its calls do, so few are made ahead.
    """

    def __init__(
        self,
        run: Run,
        calls: Iterable[T],
        start: Callable[[T], Walk],
        size: Callable[[T], int | None] | None,
        *,
        early: bool,
        what: str,
    ) -> None:
        self._run = run
        self._todo: deque[T] = deque(calls)
        self._start = start
        self._size = size
        self._early = early
        self._what = what
        self._lanes: deque[Lane[T]] = deque()
        self._finished = 0
        self._out = 0
        self._page_bytes = 0
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None

    def head(self) -> Lane[T] | None:
        """The call to read now; None where all have been read."""
        self._fill()
        return self._lanes[0] if self._lanes else None

    def page(self, lane: Lane[T]) -> Page | None:
        """The next page of the head; None at its end.

        After each page `learn` has to be called. Raises: what ended the call.
        """
        while True:
            if lane.ready:
                self._out -= 1
                ask, page = lane.ready.popleft()
                self._fill_ahead()
                return self._given(lane, ask, page)
            if lane.error is not None:
                raise lane.error
            if lane.walk.done:
                self._end(lane)
                return None
            if lane.open and id(lane.open[0]) in lane.arrived:
                self._take(lane, reading=True)
                if lane.reading is not None:
                    self._fill_ahead()
                    return self._given(lane, *lane.reading)
                continue
            self._fill()
            if lane.open or lane.walk.done or lane.ready:
                if lane.open and id(lane.open[0]) not in lane.arrived:
                    self._wait()
                continue
            raise InternalError(f"Reading {self._what} came to a standstill.")

    def _given(self, lane: Lane[T], ask: Ask, page: Page) -> Page:
        lane.delivered += 1
        lane.overlap = ask.overlap
        return page

    def learn(self, lane: Lane[T], rows: int) -> None:
        """Tell how many rows the head's last page had."""
        if lane.reading is None:
            return
        (ask, page), lane.reading = lane.reading, None
        lane.walk.learn(ask, page, rows)
        self._after(lane)

    def end(self, lane: Lane[T]) -> None:
        """Leave the rest of the head."""
        self._end(lane)

    def insert(self, calls: Iterable[T]) -> None:
        """Read these calls next, before all that have not begun."""
        self._todo.extendleft(reversed(list(calls)))

    def close(self) -> None:
        """Stop fetching. Threads that are in a call end with it, or with the run."""
        self._stop.set()

    @property
    def is_closed(self) -> bool:
        return self._stop.is_set()

    # -- asking ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Ask for what may be asked for now."""
        room = self._room()
        for number, lane in enumerate(self._lanes):
            while not lane.walk.done and lane.error is None:
                if self._out >= room and not (number == 0 and lane.is_idle):
                    return
                if number and len(lane.open) + len(lane.ready) >= _PAGES_EACH:
                    break
                ask = lane.walk.ask()
                if ask is None:
                    break
                self._submit(lane, ask)
        while (
            self._todo
            and len(self._lanes) < self._width()
            and (self._out < room or not self._lanes)
        ):
            call = self._todo.popleft()
            lane = Lane(call, self._start(call))
            self._lanes.append(lane)
            ask = lane.walk.ask()
            if ask is not None:
                self._submit(lane, ask)

    def _fill_ahead(self) -> None:
        """The same, before what is on its way has been read."""
        # A scan that may end early asks for a page only when the one before was not enough.
        if not self._early:
            self._fill()

    def _room(self) -> int:
        """Pages that may be on their way or wait."""
        parallel = self._run.limits.parallel
        if not self._page_bytes:
            return parallel
        return max(2, min(2 * parallel, _BYTES_AHEAD // self._page_bytes))

    def _width(self) -> int:
        """Calls that may have begun."""
        parallel = self._run.limits.parallel
        return min(parallel, max(1, self._finished // 2)) if self._early else 2 * parallel

    def _submit(self, lane: Lane[T], ask: Ask) -> None:
        lane.open.append(ask)
        self._out += 1
        self._in_pool(lambda: single(self._run, ask.request), lambda a: self._came(lane, ask, a))

    def _in_pool(self, work: Callable[[], A], then: Callable[[A | Exception], None]) -> None:
        """Do something in a thread of the pool, and take its outcome in the reading thread."""
        if self._pool is None:
            self._pool = self._run.pool(self._run.limits.parallel, "fetch")

        def run() -> None:
            found: A | Exception
            try:
                if self._stop.is_set():
                    raise CancelledError("The statement has ended.")
                found = work()
            except Error as error:
                found = error
            except Exception as error:  # noqa: BLE001 - it is raised again in the reading thread
                found = InternalError(f"Fetching {self._what} failed: {type(error).__name__}")
                found.__cause__ = error
            self._news.put(lambda: then(found))

        self._pool.submit(run)

    # -- what came -------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Take in what came, or wait for it."""
        self._run.check()
        if self.is_closed:
            raise CancelledError("The statement has ended.")
        with suppress(queue.Empty):
            self._news.get(timeout=_POLL)()
            while True:
                self._news.get_nowait()()

    def _came(self, lane: Lane[T], ask: Ask, answer: Page | Exception) -> None:
        if isinstance(answer, Page):
            self._page_bytes = max(len(answer.body), self._page_bytes * 9 // 10, 1)
        if not any(ask is one for one in lane.open):
            return  # the walk let go of it
        lane.arrived[id(ask)] = answer
        if self._lanes and lane is not self._lanes[0]:
            while lane.open and id(lane.open[0]) in lane.arrived and lane.error is None:
                self._take(lane, reading=False)

    def _take(self, lane: Lane[T], *, reading: bool) -> None:
        """Take in the oldest page of a call.

        Args:
            reading: the call is the head: the number of the page's rows is known once it is read.
        """
        ask = lane.open[0]
        answer = lane.arrived.pop(id(ask))
        counts = lane.walk.counts(ask)
        lane.open.popleft()
        if isinstance(answer, Exception) and (counts or not _is_refusal(answer)):
            self._out -= 1
            lane.error = answer
            return
        page = answer if isinstance(answer, Page) else None
        if reading and counts and page is not None and isinstance(lane.walk, OffsetWalk):
            self._out -= 1
            lane.reading = ask, page
            return
        try:
            delivers = lane.walk.learn(ask, page)
        except Error as error:
            self._out -= 1
            lane.error = error
            return
        if delivers and page is not None:
            lane.ready.append((ask, page))
        else:
            self._out -= 1
        self._after(lane)

    def _after(self, lane: Lane[T]) -> None:
        """What follows once a walk has learned something."""
        walk, size = lane.walk, self._size
        if isinstance(walk, OffsetWalk) and not walk.done:
            if walk.is_beyond_reach():
                walk.end_beyond()
            elif walk.is_long and size is not None and not lane.sized:
                lane.sized = True
                self._in_pool(lambda: size(lane.call), lambda n: self._sized(lane, n))
        if walk.done:
            self._drop(lane)
        self._fill_ahead()

    def _sized(self, lane: Lane[T], rows: int | Exception | None) -> None:
        walk = lane.walk
        if not isinstance(rows, int) or not isinstance(walk, OffsetWalk) or walk.done:
            return  # metrics only guide; what stopped them will stop the pages as well
        walk.total = rows
        if lane.reading is None:
            self._after(lane)

    def _drop(self, lane: Lane[T]) -> None:
        self._out -= len(lane.open)
        lane.open.clear()
        lane.arrived.clear()

    def _end(self, lane: Lane[T]) -> None:
        self._drop(lane)
        self._out -= len(lane.ready)
        lane.ready.clear()
        with suppress(ValueError):
            self._lanes.remove(lane)
        self._finished += 1


def _is_refusal(error: Exception) -> bool:
    """Whether a server may answer so to an offset beyond the end."""
    from dicomsql.errors import ApiError, QuotaError

    return isinstance(error, ApiError) and not isinstance(error, QuotaError)
