"""What one statement's execution shares: transport, budget, statistics, cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicomsql.errors import BudgetError, CancelledError
from dicomsql.result import Statistics
from dicomsql.transport.base import Request, Response, Transport

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine
    from dicomsql.transport.gate import Gate


@dataclass(frozen=True, slots=True)
class Limits:
    """What one statement may use.

    Attributes:
        calls: HTTP calls, attempts aside.
        pages: pages of one list or search; None for all of them.
        parallel: calls at a time.
        on_page_bound: `error` or `warn` where `pages` cuts a list short.
        on_error: `fail`, or `skip` for members of a fan-out that may not be read.
    """

    calls: int = 100_000
    pages: int | None = None
    parallel: int = 8
    on_page_bound: str = "error"
    on_error: str = "fail"


@dataclass(slots=True)
class Run:
    """One statement on its way.

    Attributes:
        gate: what people may see.
        cancel: set to stop it.
        progress: takes a sentence for people while something takes long.
    """

    transport: Transport
    engine: Engine
    gate: Gate
    limits: Limits
    statistics: Statistics
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[str], None] | None = None
    started: float = field(default_factory=time.monotonic)
    _calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request within the statement's budget."""
        with self._lock:
            self._calls += 1
            over = self._calls > self.limits.calls
        if over:
            raise BudgetError(
                f"The statement made {self.limits.calls:,} calls, as many as it may, and is not "
                f"done. Narrow it, or raise the bound with SET max_calls = ..."
            )
        self.check()
        return self.transport.send(request, stream=stream)

    def check_budget(self, calls: int, what: str) -> None:
        """Fail before the first call where a fan-out would need more calls than are allowed."""
        if calls > self.limits.calls:
            raise BudgetError(
                f"{what} would take {calls:,} calls, but the statement may make "
                f"{self.limits.calls:,}. Narrow it, or raise the bound with "
                f"SET max_calls = {calls}."
            )

    def check(self) -> None:
        if self.cancel.is_set():
            raise CancelledError("The statement was cancelled.")

    def note(self, text: str) -> None:
        """Tell the user something about the result, once."""
        with self._lock:
            if text not in self.statistics.notes:
                self.statistics.notes.append(text)

    def count_page(self) -> None:
        with self._lock:
            self.statistics.pages += 1

    def say(self, text: str) -> None:
        if self.progress is not None:
            self.progress(text)

    def gate_text(self, text: str) -> str:
        """A server's words without secrets; it may show what the user sent it."""
        from dicomsql.transport.gate import scrub_secrets

        return scrub_secrets(text)

    def finish(self) -> None:
        self.statistics.seconds = time.monotonic() - self.started


# A call's parameters by their names.
CallValues = Mapping[str, str]
