"""Blocking work in threads, awaited: a task that is cancelled stops its work and sees it end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from dicomsql.errors import CancelledError, InterfaceError

__all__ = ["Workers"]

T = TypeVar("T")

# Statements of one connection that may be under way at once; what comes beyond waits for a thread.
_THREADS = 64

# Seconds between two attempts to stop work: one that comes before the work has begun to listen
# stops nothing.
_SOONEST, _LATEST = 0.02, 1.0


class Workers:
    """The threads of one connection. They begin as they are needed and end with `finish`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="dicomsql-aio")
        self._under_way: set[Future[Any]] = set()
        self._over: asyncio.Event | None = None

    @property
    def finished(self) -> bool:
        """Whether it takes no more work."""
        return self._over is not None

    async def run(self, work: Callable[[], T], stop: Callable[[], object]) -> T:
        """Await what a blocking function returns.

        Args:
            work: runs in a thread, in the context of the task.
            stop: makes `work` end soon; it is called in the loop's thread, and may not block.

        Raises:
            asyncio.CancelledError: the task was cancelled; `work` has ended, or never began. What
                it failed with, if anything, is the cause.
            InterfaceError: the connection is closed.
        """
        if self.finished:
            raise InterfaceError("The connection is closed.")
        future = self._pool.submit(copy_context().run, work)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        cancelled = await _ended(future, None)
        if cancelled is None:
            return future.result()
        if not future.cancel():
            await _ended(future, stop)
            failure = future.exception()
            if failure is not None and not isinstance(failure, CancelledError):
                raise cancelled from failure
        raise cancelled

    async def finish(self, work: Callable[[], object], stop: Callable[[], object]) -> None:
        """Run the last function, which ends all others, and then end the threads.

        May be called again, to wait for the end. A task that is cancelled meanwhile is so once the
        threads have ended.

        Args:
            work: frees what the others use.
            stop: as that of `run`, for all of them.
        """
        if self._over is not None:
            await self._over.wait()
            return
        self._over = asyncio.Event()
        try:
            others = tuple(self._under_way)
            last = self._pool.submit(copy_context().run, work)
            cancelled = [await _ended(last, stop if others else _nothing)]
            cancelled += [await _ended(future, stop) for future in others]
            # None has anything left to do, so that this does not block.
            self._pool.shutdown(wait=True)
        finally:
            self._over.set()
        for error in cancelled:
            if error is not None:
                raise error
        last.result()


def _nothing() -> None:
    """Stops nothing."""


async def _ended(
    future: Future[Any], stop: Callable[[], object] | None
) -> asyncio.CancelledError | None:
    """Wait until work has ended; gives the task's cancellation, if there was one meanwhile.

    Args:
        stop: makes the work end; None where the wait ends with the task's cancellation instead.
    """
    ending = asyncio.wrap_future(future)
    # Who began the work looks at its failure.
    ending.add_done_callback(lambda f: f.cancelled() or f.exception())
    pause = _SOONEST
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        if stop is not None:
            stop()
        try:
            await asyncio.wait((ending,), timeout=None if stop in {None, _nothing} else pause)
        except asyncio.CancelledError as error:
            cancelled = error
            if stop is None:
                break
        pause = min(2 * pause, _LATEST)
    return cancelled
