"""httpx's transport over connections of our own: kept alive, handed out one to a call.

Stock httpx takes a body in pieces of 64 kB and passes each through several layers, which costs more
than the network does. Here the httpx client sits on `http1.Connection`; what it raises and what it
is told are as with the stock transport. There are neither proxies nor HTTP/2: for those the stock
transport stays (`connect`).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx

from dicomsql.transport.http1 import Connection, Head, NothingCameError
from dicomsql.transport.scope import Waits
from dicomsql.transport.wire import Sockets, shut

Origin = tuple[str, str, int]

# Seconds that a connection may lie idle; a server's own patience is found out when it is used.
_IDLE = 30.0
_PORTS = {"http": 80, "https": 443}


class DirectTransport(httpx.BaseTransport):
    """Sends httpx's requests; safe for many threads.

    Of a request's extensions it heeds `timeout` as httpx does, in it beside httpx's own names
    `body` (seconds that the whole body may take, which then comes in as few pieces as can be),
    `trace` (is told before the head is sent), `repeatable` (the request may be sent again where a
    connection that was kept alive turns out to be closed), and `waits` (`scope.Waits`, which has
    the connection while the request uses it).

    Parameters:
        tls: for https.
        idle: connections to one server that are kept.
        sockets: is told of each socket, so that it can shut them.
    """

    def __init__(self, tls: ssl.SSLContext, *, idle: int, sockets: Sockets) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._tls = tls
        self._most_idle = idle
        self._sockets = sockets
        self._idle: dict[Origin, deque[Connection]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; returns when the head of the answer is there.

        Raises:
            httpx.TransportError: as the stock transport does.
        """
        origin = _origin(request.url)
        timeouts: dict[str, float | None] = request.extensions.get("timeout") or {}
        waits: Waits = request.extensions.get("waits") or Waits()
        connection = self._take(origin)
        if connection is not None:
            try:
                return self._exchange(origin, connection, request, timeouts, waits)
            except (NothingCameError, httpx.NetworkError):
                # The server may have closed it in the very moment.
                if connection.answered or not request.extensions.get("repeatable"):
                    raise
        fresh = Connection(self._open(origin, timeouts.get("connect"), waits))
        return self._exchange(origin, fresh, request, timeouts, waits)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it has been used."""
        with self._lock:
            self._closed = True
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _exchange(
        self,
        origin: Origin,
        connection: Connection,
        request: httpx.Request,
        timeouts: dict[str, float | None],
        waits: Waits,
    ) -> httpx.Response:
        waits.add(connection, connection.shut)
        try:
            trace = request.extensions.get("trace")
            if trace is not None:
                trace("direct.send_request_headers.started", {"request": request})
            lasting = True
            try:
                connection.send(request, timeouts.get("write"))
            except httpx.WriteError as error:
                # A server may refuse a body that it has not read to its end, and say why.
                lasting = False
                try:
                    head = connection.receive_head(request.method, timeouts.get("read"))
                except httpx.TransportError:
                    raise error from None
            else:
                head = connection.receive_head(request.method, timeouts.get("read"))
        except BaseException:
            waits.discard(connection)
            connection.close()
            raise
        lasting = lasting and head.lasting
        body = _Body(
            self, origin, connection, head, timeouts=timeouts, waits=waits, lasting=lasting
        )
        return httpx.Response(
            head.status,
            headers=head.headers,
            stream=body,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _take(self, origin: Origin) -> Connection | None:
        """An idle connection that is still good, the last one used first."""
        now = time.monotonic()
        while True:
            with self._lock:
                kept = self._idle.get(origin)
                connection = kept.pop() if kept else None
            if connection is None:
                return None
            if now - connection.idle_since < _IDLE and connection.alive():
                return connection
            connection.close()

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            kept = self._idle.setdefault(origin, deque())
            if not self._closed:
                kept.append(connection)
                too_many = kept.popleft() if len(kept) > self._most_idle else None
            else:
                too_many = connection
        if too_many is not None:
            too_many.close()

    def _open(self, origin: Origin, timeout: float | None, waits: Waits) -> socket.socket:
        """A connected socket, with TLS where the scheme asks for it.

        Raises:
            httpx.ConnectTimeout, httpx.ConnectError: none came about.
        """
        scheme, host, port = origin
        try:
            # UnicodeError: a name that no name server could know.
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("the server's name is not known") from error
        failure: Exception = OSError("the server has no address")
        for family, kind, protocol, _, address in places:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                failure = error
                continue
            try:
                waits.add(sock, partial(shut, sock))
                return self._connected(sock, address, host if scheme == "https" else "", timeout)
            except OSError as error:
                failure = error
            finally:
                waits.discard(sock)
        if isinstance(failure, TimeoutError):
            raise httpx.ConnectTimeout("no connection in time") from failure
        raise httpx.ConnectError("no connection") from failure

    def _connected(
        self, sock: socket.socket, address: Any, server_name: str, timeout: float | None
    ) -> socket.socket:
        try:
            self._sockets.add(sock)
            sock.settimeout(timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if server_name:
                # The handshake comes after the socket, which is a new one, can be shut.
                sock = self._tls.wrap_socket(
                    sock, server_hostname=server_name, do_handshake_on_connect=False
                )
                self._sockets.add(sock)
                assert isinstance(sock, ssl.SSLSocket)
                sock.do_handshake()
        except BaseException:
            with suppress(OSError):
                sock.close()
            raise
        return sock


class _Body(httpx.SyncByteStream):
    """An answer's body, which gives its connection back when it has been read."""

    def __init__(
        self,
        transport: DirectTransport,
        origin: Origin,
        connection: Connection,
        head: Head,
        *,
        timeouts: dict[str, float | None],
        waits: Waits,
        lasting: bool,
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection
        self._head = head
        self._timeouts = timeouts
        self._waits = waits
        self._lasting = lasting

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        if connection is None:
            return
        seconds = self._timeouts.get("body")
        if seconds is None:
            yield from connection.pieces(self._head, self._timeouts.get("read"))
        else:
            yield from connection.whole(self._head, seconds)
        if self._lasting:
            self._connection = None
            self._waits.discard(connection)
            self._transport._give_back(self._origin, connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._waits.discard(connection)
            connection.close()


def _origin(url: httpx.URL) -> Origin:
    """Where a URL leads.

    Raises:
        httpx.UnsupportedProtocol: it is neither http nor https.
    """
    port = url.port or _PORTS.get(url.scheme)
    if port is None or url.scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol("the URL is neither http nor https")
    return url.scheme, url.raw_host.decode("ascii"), port
