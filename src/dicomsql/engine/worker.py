"""The engine's one thread, which Ctrl-C in another thread cannot leave stuck.

The semaphores and conditions of Python's executors and futures are taken in Python code: Ctrl-C
may come after a lock was taken and before the block begins that gives it back, and whoever wants it
next waits for ever. So a thread in which signals are raised touches none of them while the worker
runs; it waits at a bare lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar, cast

__all__ = ["Task", "Worker"]

T = TypeVar("T")


class Task(Generic[T]):
    """Work that is done by the worker, and waited for by who asked for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._value: T | None = None
        self._error: BaseException | None = None
        self._finished = False
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Do it, unless it was given up before."""
        work, self._work = self._work, None
        try:
            if work is not None:
                self._value = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the work is waited for
            self._error = error
        finally:
            self._finished = True
            self._done.release()

    def is_done(self, seconds: float) -> bool:
        """Whether it is done, for which this waits at most so long."""
        # Ctrl-C may come between the taking of the lock and its being told.
        return self._finished or self._done.acquire(timeout=seconds)

    def result(self) -> T:
        """What the work gave, once it is done.

        Raises:
            BaseException: what the work raised.
        """
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error
        return cast(T, self._value)

    def give_up(self) -> None:
        """Do not begin it any more."""
        self._work = None


class Worker:
    """A thread that does one task after the other.

    Parameters:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._executor = _OneThread(1, thread_name_prefix=name)

    def begin(self, work: Callable[[], T]) -> Task[T]:
        """Have this done after what was asked for before.

        Raises:
            RuntimeError: the worker has ended, or the program is ending.
        """
        task = Task(work)
        self._executor.submit(task.run)
        return task

    def end(self, *, wait: bool = True) -> None:
        """End it once all is done."""
        self._executor.shutdown(wait)


class _OneThread(ThreadPoolExecutor):
    """An executor that starts its thread and never looks whether it is idle."""

    def _adjust_thread_count(self) -> None:
        if not self._threads:
            super()._adjust_thread_count()
