"""What lies under httpx: sockets to shut, logs to silence, failures to put into words."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import httpx

# Failures after which it is sure that the server saw nothing of the call.
UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout)


class Interruptible(Protocol):
    """Something that waits for a server and can be made to stop at once."""

    def interrupt(self) -> None: ...


class Sockets:
    """The open sockets of a client's pool, so that threads blocked in them can be woken.

    Is told of them by our own transport; of the stock one's it learns from the events of httpcore's
    extension `trace`.
    """

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket, if the event is that of a new connection."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            found = info["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self.add(found)

    def add(self, found: socket.socket) -> None:
        """Note a socket, from before its connection comes about."""
        with self._lock:
            self._sockets.add(found)

    def interrupt(self) -> None:
        """Shut every socket: whoever reads from one is told that it has ended."""
        with self._lock:
            for found in list(self._sockets):
                with suppress(OSError):
                    shut(found)


def shut(found: socket.socket) -> None:
    """Tell whoever reads from a socket that it has ended.

    Raises:
        OSError: it had ended before.
    """
    # Not SSLSocket.shutdown(), which takes the TLS state from under the reader.
    socket.socket.shutdown(found, socket.SHUT_RDWR)


class _OwnCalls(logging.Filter):
    """Drops what httpx and httpcore log of this client's calls: URLs and headers hold values."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return not getattr(_thread, "unlogged", False)


_thread = threading.local()
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_OwnCalls())


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep what this thread does meanwhile out of the libraries' logs."""
    _thread.unlogged = True
    try:
        yield
    finally:
        _thread.unlogged = False


# What a failure of httpx means to people; the first class that fits.
_SAID: dict[type[Exception], str] = {
    httpx.ConnectTimeout: "no connection within {connect}",
    httpx.ReadTimeout: "no answer within {seconds}",
    httpx.WriteTimeout: "the server did not take the request within {seconds}",
    httpx.TimeoutException: "no answer within {seconds}",
    httpx.ProxyError: "the proxy refused",
    httpx.ConnectError: "no connection",
    httpx.UnsupportedProtocol: "this kind of URL is not known",
    httpx.LocalProtocolError: "the request cannot be written as HTTP",
    httpx.RemoteProtocolError: "the server broke off",
    httpx.DecodingError: "the answer could not be decoded",
    httpx.ReadError: "the connection broke",
    httpx.WriteError: "the connection broke",
}


def in_words(error: Exception, *, seconds: float, connect_seconds: float) -> str:
    """What went wrong, for people, with the system's own reason where it gave one.

    Parameters:
        seconds, connect_seconds: how long was waited at most, for an answer and for a connection.
    """
    distrust = untrusted(error)
    if distrust is not None:
        return (
            f"the server's certificate is not trusted ({distrust.verify_message}); name the "
            "authority that signed it with --ca-bundle"
        )
    said = next(
        (text for kind, text in _SAID.items() if isinstance(error, kind)), "the connection failed"
    )
    said = said.format(seconds=f"{seconds:g} s", connect=f"{connect_seconds:g} s")
    return said + _system_reason(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def untrusted(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The distrust that a failure to connect comes from, if that is the reason."""
    return next((e for e in _causes(error) if isinstance(e, ssl.SSLCertVerificationError)), None)


def _system_reason(error: BaseException) -> str:
    """What the system said, such as ` (Connection refused)`; it knows no values of a request."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return f" ({cause.strerror})"
    return ""
