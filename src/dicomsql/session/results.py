"""A result that is read while its session may already be asked for the next statement."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dicomsql.errors import Error, InterfaceError
from dicomsql.result import Result


@contextmanager
def only_thread(busy: threading.RLock) -> Iterator[None]:
    """Refuse what another thread does at the same time: the engine has one result open at a time.

    Raises:
        InterfaceError: another thread is at it.
    """
    if not busy.acquire(blocking=False):
        raise InterfaceError(
            "A connection is used by one thread at a time; open one for each thread."
        )
    try:
        yield
    finally:
        busy.release()


class OpenResult:
    """A result that may still be read when the next statement begins."""

    def __init__(self, result: Result, busy: threading.RLock) -> None:
        self._result = result
        self._busy = busy
        self._source: Iterator[Any] = result.batches()
        self._kept: deque[Any] = deque()
        self._error: Exception | None = None

    def batches(self) -> Iterator[Any]:
        """The rows, from the source or from what was kept of it."""
        while True:
            if self._kept:
                yield self._kept.popleft()
            elif self._error is not None:
                raise self._error
            else:
                with only_thread(self._busy):
                    batch = next(self._source, None)
                if batch is None:
                    return
                yield batch

    def spool(self) -> None:
        """Keep the rest of the rows; an error among them is that of who reads them."""
        try:
            self._kept.extend(self._source)
        except Error as error:
            self._error = error

    def close(self) -> None:
        """Stop what still runs for the result."""
        self._kept.clear()
        self._source = iter(())
        self._result.close()
