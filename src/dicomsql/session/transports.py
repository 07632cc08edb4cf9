"""The transports of a session: opened at the first call, counted, with kept answers before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicomsql.result import Statistics
from dicomsql.transport.base import Wait

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.config import Settings
    from dicomsql.transport.base import Request, Response, Transport
    from dicomsql.transport.cache import Answers
    from dicomsql.transport.client import Client

# HTTP methods that change nothing.
_READS = frozenset({"GET", "HEAD"})


class Transports:
    """The transports of a session, one for each service, opened at the first call."""

    def __init__(self, settings: Settings, catalog: Catalog, cancel: threading.Event) -> None:
        self._settings = settings
        self._connected = settings.connected()
        self._catalog = catalog
        self._cancel = cancel
        self._clients: dict[tuple[str, str], Client] = {}
        self._answers: Answers | None = None
        self._lock = threading.Lock()
        # Calls at a time that a statement asks for, and what each client had before.
        self._parallel: int | None = None
        self._usual: dict[Client, int] = {}
        self.statistics = Statistics()
        self.wait = Wait()

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request through the transport of its service."""
        if request.method in _READS:
            return self._client(request).send(request, stream=stream)
        try:
            return self._client(request).send(request, stream=stream)
        finally:
            self.forget(request.base_url)

    def caching(self, age: float) -> Transport:
        """These transports, with answers kept for that many seconds in front of them."""
        from dicomsql.transport.cache import CachingTransport

        return CachingTransport(self, self._kept(), age, self._who, self._count_kept)

    def forget(self, base_url: str) -> None:
        """Empty what was kept of a server, whether or not answers are kept now."""
        self._kept().forget(base_url)

    @contextmanager
    def resized(self, parallel: int) -> Iterator[None]:
        """So many calls to a server at a time, while one statement runs."""
        with self._lock:
            self._parallel = parallel
            for client in self._clients.values():
                self._resize(client, parallel)
        try:
            yield
        finally:
            with self._lock:
                self._parallel = None
                for client, usual in self._usual.items():
                    client.resize(usual)
                self._usual.clear()

    def abort(self) -> None:
        for client in list(self._clients.values()):
            client.abort()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        if self._answers is not None:
            self._answers.sweep()

    def _kept(self) -> Answers:
        if self._answers is None:
            self._answers = kept_answers()
        return self._answers

    def _who(self, request: Request) -> str | None:
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

                methods = self._catalog.resource(provider, service, resource).methods.values()
                client = open_transport(
                    self._settings,
                    hosts=tuple({server for m in methods for server in m.servers}),
                    scopes=self._catalog.provider(provider).scopes,
                    parallel=self._catalog.service(provider, service).parallel,
                    cancel=self._cancel,
                    on_response=self._count,
                    on_wait=self._wait,
                    connection=self._connected.get(f"{provider}.{service}"),
                )
                self._clients[provider, service] = client
                if self._parallel is not None:
                    self._resize(client, self._parallel)
            return client

    def _resize(self, client: Client, parallel: int) -> None:
        self._usual[client] = client.parallel
        client.resize(parallel)

    def _count_kept(self, request: Request) -> None:
        with self._lock:
            self.statistics.from_cache += 1
            if (scan := self.statistics.scan(request.scan)) is not None:
                scan.from_cache += 1

    def _count(
        self,
        request: Request,
        status: int,  # noqa: ARG002 - the transport names its arguments
        received: int,
        seconds: float,  # noqa: ARG002
        attempt: int,
    ) -> None:
        with self._lock:
            self.statistics.requests += 1
            self.statistics.repeated += attempt > 1
            self.statistics.bytes_received += received
            if (scan := self.statistics.scan(request.scan)) is not None:
                scan.requests += 1
                scan.bytes_received += received

    def _wait(self, status: int, seconds: float) -> None:
        """A thread waits until it makes a call again; the longest of several waits is shown."""
        until = time.monotonic() + seconds
        with self._lock:
            if until > self.wait.until:
                self.wait.status, self.wait.until = status, until


def kept_answers() -> Answers:
    """The answers that `SET cache` keeps on this machine."""
    from dicomsql.transport.cache import Answers

    return Answers()
