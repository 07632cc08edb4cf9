"""The transports of a session: opened at the first call, shared by all of its statements.

Each statement sends through a view of its own, `StatementCalls`, by which its calls are counted and
can be stopped without those of others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsql.errors import ApiError, CredentialsError, InterfaceError
from dicomsql.result import Statistics
from dicomsql.transport.base import Wait
from dicomsql.transport.scope import Scope

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.config import Settings
    from dicomsql.transport.base import Request, Response, Transport
    from dicomsql.transport.cache import Answers
    from dicomsql.transport.client import Client

# HTTP methods that change nothing.
_READS = frozenset({"GET", "HEAD"})
# The first status of those after which nobody knows what the server has done.
_SERVER_ERROR = 500


class Transports:
    """The transports of a session, one for each service, opened at the first call.

    Safe for many threads.

    Attributes:
        changes: calls of statements, so far, that may have changed something on a server.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.changes = 0
        self._settings = settings
        self._connected = settings.connected()
        self._catalog = catalog
        self._clients: dict[tuple[str, str], Client] = {}
        self._answers: Answers | None = None
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()
        # Calls at a time that statements ask for, the last of them first, and what each client had
        # before.
        self._parallel: list[int] = []
        self._usual: dict[Client, int] = {}
        self._under_way: set[StatementCalls] = set()
        self._closed = False

    def calls(self, cancel: threading.Event, statistics: Statistics) -> StatementCalls:
        """What one statement sends through.

        Args:
            cancel: stops its calls once it is set.
            statistics: counts them.
        """
        made = StatementCalls(self, cancel, statistics)
        with self._lock:
            self._under_way.add(made)
        return made

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request through the transport of its service."""
        if request.method in _READS:
            return self._client(request).send(request, stream=stream)
        may_have_changed = not request.scan
        try:
            return self._client(request).send(request, stream=stream)
        except ApiError as error:
            may_have_changed &= error.failure.status >= _SERVER_ERROR
            raise
        except CredentialsError:
            may_have_changed = False
            raise
        finally:
            self.forget(request.base_url)
            with self._lock:
                self.changes += may_have_changed

    def forget(self, base_url: str) -> None:
        """Empty what was kept of a server, whether or not answers are kept now."""
        self.kept().forget(base_url)

    @contextmanager
    def resized(self, parallel: int) -> Iterator[None]:
        """So many calls to a server at a time, while one statement runs."""
        with self._lock:
            self._parallel.insert(0, parallel)
            self._resize()
        try:
            yield
        finally:
            with self._lock:
                self._parallel.remove(parallel)
                self._resize()

    def abort(self, calls: StatementCalls) -> None:
        """Stop the calls of one statement."""
        calls.scope.abort()
        with self._lock:
            alone = not self._under_way - {calls}
            unscoped = [c for c in self._clients.values() if not c.tells_waits]
        # Behind a proxy nobody knows whose a connection is. While others use them too, the calls of
        # this statement end with their answers.
        for client in unscoped if alone else ():
            client.wake()

    def end(self, calls: StatementCalls) -> None:
        """A statement sends no more."""
        with self._lock:
            self._under_way.discard(calls)

    def close(self) -> None:
        """Close all connections; may be called again."""
        with self._lock:
            self._closed = True
            clients = list(self._clients.values())
        for client in clients:
            client.close()
        if self._answers is not None:
            self._answers.sweep()

    def kept(self) -> Answers:
        """The answers that are kept on disk."""
        with self._lock:
            if self._answers is None:
                self._answers = kept_answers()
            return self._answers

    def who(self, request: Request) -> str | None:
        """Who asks; None of the emulator in this process, whose folders share one name."""
        name = ".".join(request.resource.split(".")[:2])
        if self._settings.local is not None and name not in self._connected:
            return None
        return self._client(request).identity()

    def _client(self, request: Request) -> Client:
        provider, service, resource = request.resource.split(".")[:3]
        with self._lock:
            client = self._clients.get((provider, service))
            if client is None:
                from dicomsql.transport.connect import open_transport

                if self._closed:
                    raise InterfaceError("The connection has been closed.")
                methods = self._catalog.resource(provider, service, resource).methods.values()
                client = open_transport(
                    self._settings,
                    hosts=tuple({server for m in methods for server in m.servers}),
                    scopes=self._catalog.provider(provider).scopes,
                    parallel=self._catalog.service(provider, service).parallel,
                    connection=self._connected.get(f"{provider}.{service}"),
                )
                self._clients[provider, service] = client
                self._resize()
            return client

    def _resize(self) -> None:
        """Give each client the calls at a time that the last statement asks for, or its own."""
        for client in self._clients.values():
            if self._parallel:
                self._usual.setdefault(client, client.parallel)
                client.resize(self._parallel[0])
            elif (usual := self._usual.pop(client, None)) is not None:
                client.resize(usual)


class StatementCalls:
    """A `Transport` for one statement: counts its calls, and can stop them alone.

    Attributes:
        scope: what its requests carry.
        wait: what they wait for.
    """

    def __init__(
        self, transports: Transports, cancel: threading.Event, statistics: Statistics
    ) -> None:
        self.scope = Scope(cancel, self._count, self._note_wait)
        self.wait = Wait()
        self._transports = transports
        self._statistics = statistics
        self._lock = threading.Lock()

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request of the statement."""
        return self._transports.send(replace(request, scope=self.scope), stream=stream)

    def caching(self, age: float) -> Transport:
        """The same, with answers kept for that many seconds in front of it."""
        from dicomsql.transport.cache import CachingTransport

        transports = self._transports
        return CachingTransport(self, transports.kept(), age, transports.who, self._count_kept)

    def abort(self) -> None:
        """Stop the calls; safe from a signal handler."""
        self._transports.abort(self)

    def close(self) -> None:
        """The statement sends no more; may be called again."""
        self._transports.end(self)

    def _count(
        self,
        request: Request,
        status: int,  # noqa: ARG002 - the transport names its arguments
        received: int,
        seconds: float,  # noqa: ARG002
        attempt: int,
    ) -> None:
        with self._lock:
            self._statistics.requests += 1
            self._statistics.repeated += attempt > 1
            self._statistics.bytes_received += received
            if (scan := self._statistics.scan(request.scan)) is not None:
                scan.requests += 1
                scan.bytes_received += received

    def _note_wait(self, status: int, seconds: float) -> None:
        """A thread waits until it makes a call again; the longest of several waits is shown."""
        until = time.monotonic() + seconds
        with self._lock:
            if until > self.wait.until:
                self.wait.status, self.wait.until = status, until

    def _count_kept(self, request: Request) -> None:
        with self._lock:
            self._statistics.from_cache += 1
            if (scan := self._statistics.scan(request.scan)) is not None:
                scan.from_cache += 1


def kept_answers() -> Answers:
    """The answers that `SET cache` keeps on this machine."""
    from dicomsql.transport.cache import Answers

    return Answers()
