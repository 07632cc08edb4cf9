"""What is to be fetched, handed out to threads so that none is idle while something is left."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from dicomsql.errors import CancelledError
from dicomsql.waiting import wait_for

if TYPE_CHECKING:
    from dicomsql.copying.fetching import Key, Unit, Wanted
    from dicomsql.copying.wanted import Group
    from dicomsql.execution.run import Run

__all__ = ["Strays", "Work", "Worker", "run_threads"]

# Instances that a stream must have left for another thread to take one of them.
_WORTH_TAKING = 4
# How often a series is streamed of which each time something came, and how many must be left for
# another time: fewer are asked for one by one.
_STREAMS = 4
_MANY = 8
# Seconds for which what is on its way may go on once another thread has failed.
_GRACE = 5.0

T = TypeVar("T")


@dataclass(slots=True)
class Strays:
    """Counts what came without having been asked for."""

    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self) -> None:
        """One more."""
        with self._lock:
            self.count += 1

    def tell(self, run: Run) -> None:
        """Tell the user of them, if there are any."""
        if self.count:
            run.note(
                f"The server gave {self.count:,} file{'s' * (self.count != 1)} that had not been "
                f"asked for, or that are no instances; they were left out."
            )


class Worker(Protocol[T]):
    """Does what one thread is given."""

    def begin(self, group: Group) -> None:
        """Find out what a study's rows mean, and put it in the work."""

    def stream(self, unit: Unit[T]) -> bool:
        """Fetch a whole unit; see `Fetcher.stream`."""

    def one(self, wanted: Wanted[T]) -> None:
        """Fetch one instance."""

    def pause(self) -> None:
        """Finish what is held back, before waiting."""


Job = Callable[[Worker[T]], None]


class Work(Generic[T]):
    """The units that are left; safe for many threads.

    Parameters:
        groups: the studies, read one at a time, when nothing else is left.

    Attributes:
        stopped: nothing more is handed out.
    """

    def __init__(self, groups: Iterator[Group]) -> None:
        self.stopped = False
        self.strays = Strays()
        self._groups: Iterator[Group] | None = groups
        self._state = threading.Condition()
        self._reading = False
        self._active = 0
        self._whole: deque[Unit[T]] = deque()
        self._single: deque[Unit[T]] = deque()
        self._streamed: list[Unit[T]] = []

    def put(self, unit: Unit[T], *, whole: bool) -> None:
        """Add a unit: to be fetched by one request, or one by one."""
        with self._state:
            (self._whole if whole else self._single).append(unit)
            self._state.notify_all()

    def claim(self, unit: Unit[T], key: Key) -> Wanted[T] | None:
        """Take an instance that is about to come; None where it is not free any more."""
        with self._state:
            return unit.free.pop(key, None)

    def give_back(self, unit: Unit[T], wanted: Wanted[T]) -> None:
        """An instance did not come to its end."""
        with self._state:
            unit.free[wanted.key] = wanted
            self._state.notify_all()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._state:
            self.stopped = True
            self._state.notify_all()

    def do(self, worker: Worker[T]) -> None:
        """Give a thread's worker what there is to do, until nothing is left."""
        while True:
            job = self._next(wait=False)
            if job is None:
                worker.pause()
                job = self._next(wait=True)
            if job is None:
                return
            try:
                job(worker)
            finally:
                with self._state:
                    self._active -= 1
                    self._state.notify_all()

    def _next(self, *, wait: bool) -> Job[T] | None:
        """The next job, which counts as active until it is done; None where there is none."""
        with self._state:
            while not self.stopped:
                job = self._found()
                if job is not None:
                    self._active += 1
                    return job
                if not wait or not self._active:
                    # What is active may still make work for others.
                    return None
                self._state.wait()
            return None

    def _found(self) -> Job[T] | None:
        while self._single:
            unit = self._single[0]
            if unit.free:
                return _one(unit.free.pop(next(iter(unit.free))))
            self._single.popleft()
        if self._whole:
            unit = self._whole.popleft()
            self._streamed.append(unit)
            return lambda worker: self._stream(worker, unit)
        if self._groups is not None and not self._reading:
            self._reading = True
            return self._begin
        for unit in self._streamed:
            if len(unit.free) >= _WORTH_TAKING:
                return _one(unit.free.popitem()[1])
        return None

    def _begin(self, worker: Worker[T]) -> None:
        """Read the next study and find out what is wanted of it."""
        assert self._groups is not None
        group = None
        try:
            group = next(self._groups, None)
        finally:
            with self._state:
                self._reading = False
                if group is None:
                    self._groups = None
                self._state.notify_all()
        if group is not None:
            worker.begin(group)

    def _stream(self, worker: Worker[T], unit: Unit[T]) -> None:
        unit.streams += 1
        again = False
        try:
            again = worker.stream(unit)
        finally:
            with self._state:
                self._streamed.remove(unit)
                if unit.free:
                    worthwhile = again and unit.streams < _STREAMS and len(unit.free) > _MANY
                    (self._whole if worthwhile else self._single).append(unit)
                self._state.notify_all()


def _one(wanted: Wanted[T]) -> Job[T]:
    return lambda worker: worker.one(wanted)


def run_threads(run: Run, width: int, work: Work[T], make: Callable[[], Worker[T]]) -> None:
    """Do the work in so many threads; the first failure ends all of them.

    Raises: that failure.
    """
    pool = run.pool(width, "fetch")
    futures = [pool.submit(lambda: work.do(make())) for _ in range(width)]
    try:
        wait_for(futures, return_when=FIRST_EXCEPTION)
        work.stop()
        # What is on its way notices the end at its next piece, unless it waits for the server.
        if wait_for(futures, _GRACE)[1]:
            _break_off(run)
    except BaseException:
        work.stop()
        _break_off(run)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    _raise_first(futures)


def _break_off(run: Run) -> None:
    run.cancel.set()
    if run.abort is not None:
        run.abort()
    # The query may still compute, without asking anybody.
    run.engine.interrupt()


def _raise_first(futures: list[Future[None]]) -> None:
    """Raise what ended the threads: those that were only told to end say that they were."""
    errors = [error for f in futures if not f.cancelled() and (error := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, CancelledError)):
        raise error
