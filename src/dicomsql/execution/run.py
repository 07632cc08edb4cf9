"""What one statement's execution shares: transport, budget, threads, statistics, cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicomsql.errors import BudgetError, CancelledError
from dicomsql.progress import Standing
from dicomsql.result import ScanStatistics, Statistics
from dicomsql.transport.base import Request, Response, Transport, Wait

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine
    from dicomsql.planning.read_plan import Scan
    from dicomsql.transport.gate import Gate


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may use.

    Attributes:
        calls: HTTP calls, attempts aside.
        bytes: bytes of answers, decoded; None for any number.
        pages: pages of one list or search; None for all of them.
        parallel: calls at a time.
        on_page_bound: `error` or `warn` where `pages` cuts a list short.
        on_error: `fail`, or `skip` for members of a fan-out that may not be read.
    """

    calls: int = 100_000
    bytes: int | None = None
    pages: int | None = None
    parallel: int = 8
    on_page_bound: str = "error"
    on_error: str = "fail"


@dataclass(slots=True)
class Run:
    """One statement on its way.

    Attributes:
        engine_of: gives the engine, which a statement that needs none does not start.
        gate: what people may see.
        cancel: set to stop it.
        abort: sets `cancel` and wakes the threads that wait for a server.
        progress: takes how far the statement is while it takes long; from any thread.
        documented: the server is the one that the provider document describes, so that its limits
            are the document's; another endpoint may have lower ones of its own.
        proven: (base URL, resource, column) of searches that are known to return an attribute,
            as far as it is there; the session's own, which lasts.
        wait: what the transport waits for.
    """

    transport: Transport
    engine_of: Callable[[], Engine]
    gate: Gate
    limits: Limits
    statistics: Statistics
    cancel: threading.Event = field(default_factory=threading.Event)
    abort: Callable[[], None] | None = None
    progress: Callable[[Standing], None] | None = None
    documented: bool = True
    proven: set[tuple[str, str, str]] = field(default_factory=set)
    wait: Wait = field(default_factory=Wait)
    started: float = field(default_factory=time.monotonic)
    _calls: int = 0
    _in_flight: int = 0
    _closed: bool = False
    _unread: dict[tuple[str, str], int] = field(default_factory=dict)
    _pools: list[ThreadPoolExecutor] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def engine(self) -> Engine:
        return self.engine_of()

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request within the statement's budget, or beyond it where it is `finishing`."""
        if not request.finishing:
            self.check()
        with self._lock:
            if self._closed and not request.finishing:
                raise CancelledError("The statement has ended.")
            over = self._calls >= self.limits.calls and not request.finishing
            self._calls += not over
            self._in_flight += not over
        if over:
            raise BudgetError(
                f"The statement made {_calls(self.limits.calls)}, as many as it may, and is not "
                f"done. Narrow it, or raise the bound, as with SET max_calls = "
                f"{2 * self.limits.calls}."
            )
        try:
            if not request.finishing:
                self._check_bytes()
            response = self.transport.send(request, stream=stream)
        finally:
            with self._lock:
                self._in_flight -= 1
        if request.method == "GET" and not request.finishing:
            try:
                self._check_bytes()
            except BudgetError:
                response.close()
                raise
        # What was written is told, however large the answer.
        return response

    def _check_bytes(self) -> None:
        """Fail once the statement has received more than it may."""
        limit = self.limits.bytes
        if limit is not None and self.statistics.bytes_received > limit:
            raise BudgetError(
                f"The statement received {self.statistics.bytes_received:,} bytes, but it may "
                f"receive {limit:,}. Narrow it, or raise the bound, as with SET max_bytes = "
                f"{2 * limit}."
            )

    def check_budget(self, calls: int, what: str) -> None:
        """Fail before the first call where a fan-out would need more calls than are allowed."""
        if calls + self._calls > self.limits.calls:
            raise BudgetError(
                f"{what} would take {_calls(calls)}, but the statement may make "
                f"{self.limits.calls - self._calls:,}. Narrow it, or raise the bound with "
                f"SET max_calls = {calls + self._calls}."
            )

    def pool(self, width: int, name: str) -> ThreadPoolExecutor:
        """Threads of this statement; `close` ends them where they have not ended before."""
        made = ThreadPoolExecutor(width, thread_name_prefix=f"dicomsql-{name}")
        with self._lock:
            self._pools.append(made)
        return made

    def check(self) -> None:
        """Raise CancelledError where the statement was cancelled."""
        if self.cancel.is_set():
            raise CancelledError("The statement was cancelled.")

    def note(self, text: str) -> None:
        """Tell the user something about the result, once."""
        with self._lock:
            if text not in self.statistics.notes:
                self.statistics.notes.append(text)

    def count_unread(self, resource: str, name: str, rows: int, *, again: bool) -> None:
        """Tell in how many rows so far a column is NULL because its value is none of its VR.

        Args:
            again: these rows were read before, unless none was told of.
        """
        with self._lock:
            before = self._unread.get((resource, name), 0)
            if before and again:
                return
            self._unread[resource, name] = before + rows
            notes = self.statistics.notes
            if before:
                notes[notes.index(_unread_note(resource, name, before))] = _unread_note(
                    resource, name, before + rows
                )
            else:
                notes.append(_unread_note(resource, name, rows))

    def scan(self, scan: Scan) -> ScanStatistics:
        """Where the cost of a scan is counted."""
        with self._lock:
            found = self.statistics.scan(scan.name)
            if found is None:
                found = ScanStatistics(
                    scan.name, scan.resource, scan.alias, pictures=scan.picture is not None
                )
                self.statistics.scans.append(found)
            return found

    def count_page(self) -> None:
        with self._lock:
            self.statistics.pages += 1

    def say(self, text: str) -> None:
        """Tell a person who waits what goes on."""
        if self.progress is not None:
            self.progress(Standing(text))

    def finish(self) -> None:
        """Write down how long it took."""
        self.statistics.seconds = time.monotonic() - self.started

    def close(self) -> None:
        """End the statement's threads; calls that nobody waits for any more are broken off."""
        with self._lock:
            pools, self._pools = self._pools, []
            self._closed = True
            waiting = self._in_flight > 0
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        if waiting and self.abort is not None:
            self.abort()
        for pool in pools:
            pool.shutdown()


def _unread_note(resource: str, name: str, rows: int) -> str:
    return (
        f"{resource}: {name} is not valid in {rows:,} row{'s' * (rows != 1)} that "
        f"{'were' if rows != 1 else 'was'} read; it is NULL there, so that conditions do not find "
        f"{'them' if rows != 1 else 'it'}. {name}_raw has the text."
    )


def _calls(count: int) -> str:
    return f"{count:,} call{'s' * (count != 1)}"
