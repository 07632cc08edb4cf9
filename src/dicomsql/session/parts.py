"""What the statements of a session share, each part made when it is first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from dicomsql.config import Settings
from dicomsql.errors import InterfaceError
from dicomsql.session.engines import Engines
from dicomsql.session.plans import Plans
from dicomsql.session.settings import Current

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.execution.audit import AuditLog
    from dicomsql.progress import Standing
    from dicomsql.session.transports import Transports
    from dicomsql.transport.gate import Gate


class Parts:
    """The shared parts of a session. Safe for many threads.

    Parameters:
        on_opened: is called before something is opened that has to be closed.

    Attributes:
        consent, progress, lines, stop_operation: see `Session`.
        current: the settings as they are now.
        proven: what is known of servers' searches; see `execution.run.Run`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consent: Callable[[str], bool] | None,
        progress: Callable[[Standing], None] | None,
        lines: Callable[[str], None] | None,
        stop_operation: Callable[[str], bool] | None,
        on_opened: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.consent = consent
        self.progress = progress
        self.lines = lines
        self.stop_operation = stop_operation
        self.current = Current(settings)
        self.engines = Engines(settings, on_opened)
        self._on_opened = on_opened
        self.plans = Plans()
        self.proven: set[tuple[str, str, str]] = set()
        self.closed = False
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._catalog: Catalog | None = None
        self._transports: Transports | None = None
        self._audit: AuditLog | None = None

    def check_usable(self) -> None:
        """Refuse use after close, and in a process that was forked.

        Raises:
            InterfaceError: it is one of these.
        """
        self.check_process()
        if self.closed:
            raise InterfaceError("The session is closed.")

    def check_process(self) -> None:
        """Refuse use in a process that was forked.

        Raises:
            InterfaceError: it is one.
        """
        if self.is_foreign:
            raise InterfaceError(
                "The connection belongs to the process that this one was forked from, with its "
                "threads and sockets. Open a connection here, after the fork."
            )

    @property
    def is_foreign(self) -> bool:
        """Whether this process is not the one that made the session."""
        return os.getpid() != self._process

    @property
    def catalog(self) -> Catalog:
        """The provider documents."""
        with self._lock:
            if self._catalog is None:
                from dicomsql.catalog.load import Catalog

                named = self.settings.connections.values()
                self._catalog = Catalog.open(
                    self.settings.providers,
                    connections={c.name: (c.service, c.endpoint) for c in named},
                )
            return self._catalog

    @property
    def transports(self) -> Transports:
        """The transports, opened by the first statement that runs."""
        with self._lock:
            if self._transports is None:
                from dicomsql.session.transports import Transports

                self._on_opened()
                self._transports = Transports(self.settings, self.catalog)
            return self._transports

    @property
    def server_changes(self) -> int:
        """Calls so far that may have changed something on a server."""
        return self._transports.changes if self._transports is not None else 0

    @property
    def audit(self) -> AuditLog | None:
        """The audit log, where there is to be one; opened before what goes into it is done."""
        with self._lock:
            if self._audit is None and self.settings.audit_log is not None:
                from dicomsql.execution.audit import AuditLog

                self._audit = AuditLog(self.settings.audit_log)
            return self._audit

    def gate(self) -> Gate:
        """What people may see."""
        from dicomsql.transport.connect import gate_for

        return gate_for(self.settings)

    def close(self) -> None:
        """Free connections, threads and the engines; may be called again."""
        self.closed = True
        with self._lock:
            transports, self._transports = self._transports, None
        if transports is not None:
            transports.close()
        self.engines.close()
