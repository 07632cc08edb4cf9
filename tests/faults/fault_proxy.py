"""A proxy of one HTTP server that fails some of its requests, as networks and servers do.

Which request fails, how and at what moment is drawn from a seed. Bodies are passed on as they come,
both ways, and the faults are those of real connections: a reset is one (RST), a stall lasts until
the client gives up, a body that is cut ends with the connection.
"""

from __future__ import annotations

import random
import re
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

_PIECE = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
# What the head of a request has that sends instances, or asks for some.
_MOVES = re.compile(rb"application/dicom(?![+])", re.IGNORECASE)
_BODILESS = frozenset({b"204", b"304"})
# SO_LINGER with no time: closing resets the connection instead of ending it.
_RESET = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """How a request fails."""

    RESET = "reset"
    STALL = "stall"
    BUSY = "429"
    DOWN = "503"
    CUT = "cut body"


class Moment(StrEnum):
    """When something happens to a request, as seen by the server."""

    BEFORE = "before"  # it sees nothing of the request
    AMID = "amid"  # it sees a part
    AFTER = "after"  # it does what it is asked, and its answer is lost
    ANSWERING = "answering"  # the client gets a part of the answer


# Those at which a request fails; a body that is cut is one of its own.
_ORDER = list(Moment)
_FAILING = (Moment.BEFORE, Moment.AMID, Moment.AFTER)
# Pieces of an answer that an alarm lets pass at most.
_MOST_PIECES = 16


@dataclass
class _Alarm:
    """What rings at a request.

    Attributes:
        requests: how many are still to come until then, itself counted.
        pieces: of the answer, that pass before it rings at `ANSWERING`.
    """

    requests: int
    moment: Moment
    pieces: int
    call: Callable[[], None]

    def ring(self, moment: Moment) -> None:
        """Ring if this is the moment, or one after it, and it has not rung."""
        if moment is self.moment is Moment.ANSWERING and self.pieces:
            self.pieces -= 1
        elif _ORDER.index(moment) >= _ORDER.index(self.moment):
            self.end()

    def end(self) -> None:
        """Ring if it has not rung."""
        call, self.call = self.call, lambda: None
        call()


class FaultProxy:
    """A proxy on a free port of 127.0.0.1, which ends with the block.

    Parameters:
        upstream: URL of the server.
        rate: part of the requests, from 0 to 1, that fails in each of the ways.
        seed: of what is drawn.
        retry_after: seconds that every other 429 asks to wait.

    Attributes:
        url: where it is reached, with the path of the server's URL.
        faults: how many requests failed in which way and at what moment.
        requests: how many there were.
    """

    def __init__(
        self, upstream: str, *, rate: float = 0.01, seed: int = 0, retry_after: int = 0
    ) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._rate = rate
        self._retry_after = retry_after
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._alarm: _Alarm | None = None
        self._closed = False
        self.faults: Counter[tuple[Fault, Moment]] = Counter()
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"

    @property
    def kinds(self) -> set[Fault]:
        """The ways in which requests have failed."""
        return {fault for fault, _ in self.faults}

    def alarm(self, requests: int, call: Callable[[], None]) -> None:
        """Call once, at some moment of the n-th request from now that moves instances."""
        with self._lock:
            moment, pieces = self._random.choice(_ORDER), self._random.randrange(_MOST_PIECES)
            self._alarm = _Alarm(requests, moment, pieces, call)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            waiting = [self._listener, *self._open]
        for one in waiting:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    # -- connections -----------------------------------------------------------------------------

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        """Pass on the requests of one connection, over one of its own."""
        server: socket.socket | None = None
        try:
            self._note(client)
            server = socket.create_connection(self._upstream)
            self._note(server)
            ends = _Stream(client), _Stream(server)
            while self._exchange(*ends):
                pass
        except OSError:
            pass  # one of the two is gone, and the other learns it now
        finally:
            for one in (client, server):
                if one is not None:
                    with self._lock:
                        self._open.discard(one)
                    one.close()

    def _note(self, one: socket.socket) -> None:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._closed:
                raise OSError("the proxy is closed")
            self._open.add(one)

    # -- requests --------------------------------------------------------------------------------

    def _exchange(self, client: _Stream, server: _Stream) -> bool:
        """Pass on a request and its answer, or fail it; whether the connection goes on."""
        head = client.head()
        if not head:
            return False
        fault, moment, alarm = self._draw(head)
        alarm.ring(Moment.BEFORE)
        body = client.body(head, request=True)
        if fault in {Fault.BUSY, Fault.DOWN}:
            return self._refuse(client, body, fault, moment)
        if moment is Moment.BEFORE and fault in {Fault.RESET, Fault.STALL}:
            return self._break(client, fault)
        server.send(head)
        for piece in body:
            alarm.ring(Moment.AMID)
            if moment is Moment.AMID and fault in {Fault.RESET, Fault.STALL}:
                server.send(piece[: len(piece) // 2])
                return self._break(client, fault)
            server.send(piece)
        answer = server.head()
        if not answer:
            return False
        alarm.ring(Moment.AFTER)
        if fault in {Fault.RESET, Fault.STALL}:
            for _ in server.body(answer):
                pass
            return self._break(client, fault)
        if fault is Fault.CUT:
            return self._cut(client, server, answer)
        client.send(answer)
        for piece in server.body(answer):
            client.send(piece)
            alarm.ring(Moment.ANSWERING)
        alarm.end()
        return not _CLOSE.search(head) and not _CLOSE.search(answer)

    def _draw(self, head: bytes) -> tuple[Fault | None, Moment, _Alarm]:
        """What becomes of the next request, and what rings the alarm if it is meant."""
        with self._lock:
            self.requests += 1
            number = self._random.random()
            moment = self._random.choice(_FAILING)
            faults = list(Fault)
            place = int(number / self._rate) if self._rate else len(faults)
            fault = faults[place] if place < len(faults) else None
            if fault is not None:
                self.faults[fault, moment] += 1
            alarm = self._alarm
            if alarm is not None and _MOVES.search(head):
                alarm.requests -= 1
                if alarm.requests <= 0:
                    self._alarm = None
                    return fault, moment, alarm
        return fault, moment, _Alarm(0, Moment.BEFORE, 0, lambda: None)

    def _refuse(self, client: _Stream, body: Iterator[bytes], fault: Fault, moment: Moment) -> bool:
        """Answer 429 or 503: before the request's body has been read, or after it."""
        early = moment is Moment.BEFORE
        if not early:
            for _ in body:
                pass
        status = b"429 Too Many Requests" if fault is Fault.BUSY else b"503 Service Unavailable"
        asks = fault is Fault.BUSY and moment is not Moment.AFTER
        client.send(
            b"HTTP/1.1 %b\r\nContent-Length: 0\r\n%b%b\r\n"
            % (
                status,
                b"Retry-After: %d\r\n" % self._retry_after if asks else b"",
                b"Connection: close\r\n" if early else b"",
            )
        )
        if early:
            # What has come of the body and was not read would make of the end a reset, which may
            # take the answer away again.
            client.end()
        return not early

    def _break(self, client: _Stream, fault: Fault) -> bool:
        """Reset the connection, or say nothing until the client has gone."""
        if fault is Fault.STALL:
            client.wait_for_end()
        else:
            client.reset()
        return False

    def _cut(self, client: _Stream, server: _Stream, answer: bytes) -> bool:
        """Pass on a part of the answer, of its head where it has no body."""
        body = b"".join(server.body(answer))
        with self._lock:
            part = self._random.random()
        client.send(answer + body[: int(part * len(body))] if body else answer[:-4])
        return False


class _Stream:
    """One end of a connection, read as HTTP/1.1."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def head(self) -> bytes:
        """The head of a message with its empty line; nothing at the end of the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return b""
        head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + end

    def body(self, head: bytes, *, request: bool = False) -> Iterator[bytes]:
        """The body's bytes as they are on the wire, in pieces."""
        length = _LENGTH.search(head)
        if _CHUNKED.search(head):
            yield from self._chunks()
        elif length is not None:
            yield from self._exactly(int(length[1]))
        elif not request and head.split(b" ", 2)[1] not in _BODILESS:
            while self._buffer or self._more():
                piece, self._buffer = self._buffer, b""
                yield piece

    def end(self) -> None:
        """Say that nothing more comes, and read until the other side says so too."""
        self._sock.shutdown(socket.SHUT_WR)
        while self._more():
            self._buffer = b""

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def wait_for_end(self) -> None:
        """Wait until the other side has gone, reading nothing."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        poll.poll()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer and not self._more():
                raise OSError("the body is cut off")
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self._buffer:
                if not self._more():
                    raise OSError("the body is cut off")
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            yield line + b"\r\n"
            size = int(line.split(b";")[0], 16)
            yield from self._exactly(size + 2)
            if not size:
                return

    def _more(self) -> bool:
        data = self._sock.recv(_PIECE)
        self._buffer += data
        return bool(data)
