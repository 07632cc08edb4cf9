"""Waits in which Ctrl-C is heard.

Python hears a signal where the system breaks off a wait for it. Libraries that install a handler of
their own, as polars does when it is imported, may have the system go on waiting instead; then it is
heard when the wait is over. So no wait of the main thread is a long one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ALL_COMPLETED, Future
from concurrent.futures import wait as wait_once
from typing import TypeVar

__all__ = ["result_of", "wait_for", "wait_until"]

# Seconds between two looks.
_LOOK = 0.2

T = TypeVar("T")


def wait_for(
    futures: Iterable[Future[T]],
    timeout: float | None = None,
    return_when: str = ALL_COMPLETED,
) -> tuple[set[Future[T]], set[Future[T]]]:
    """As `concurrent.futures.wait`: the futures that are done, and those that are not."""
    waited = set(futures)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _LOOK if end is None else min(_LOOK, max(0.0, end - time.monotonic()))
        done, undone = wait_once(waited, left, return_when)
        failed = any(not f.cancelled() and f.exception() is not None for f in done)
        over = {"FIRST_COMPLETED": bool(done), "FIRST_EXCEPTION": failed}.get(return_when, False)
        if not undone or over or (end is not None and time.monotonic() >= end):
            return done, undone


def result_of(future: Future[T]) -> T:
    """As `Future.result`."""
    wait_for([future])
    return future.result()


def wait_until(condition: threading.Condition, holds: Callable[[], bool], timeout: float) -> bool:
    """As `Condition.wait_for`; the caller holds the condition."""
    end = time.monotonic() + timeout
    while not (found := holds()) and (left := end - time.monotonic()) > 0:
        condition.wait(min(_LOOK, left))
    return found
