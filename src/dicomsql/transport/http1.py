"""HTTP/1.1 over one socket: a request out, an answer in, its body in as few steps as can be.

The framing is that of RFC 9112, read strictly: a body that ends before its length, a length that
is none or two, a chunk that is none, each is an error and never a short body. A body that is wanted
whole is received straight into its own memory, on Linux and macOS by one system call (MSG_WAITALL)
during which other threads run: taking it in pieces costs a hand-over of the interpreter for each.
"""

from __future__ import annotations

import io
import re
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import httpx

from dicomsql.transport.wire import shut

# What one receive takes at most where the length is not known.
_PIECE = 1 << 18
# The same under TLS, which gives a record at most.
_RECORD = 1 << 14
# A part of a body that is received at once: a promise of more gets no memory before it is kept.
_BLOCK = 1 << 25
_PEEK = 1 << 13
_HEAD_LIMIT = 1 << 18
_LINE_LIMIT = 1 << 14
# Parts of a request up to this size are sent together with its head.
_SMALL = 1 << 16

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n\0]*))?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_NO_LINE = re.compile(rb"[\r\n\0]")

# Whether the system waits for all of a length by itself, within a time that it is told.
_WAITS_FOR_ALL = sys.platform in {"linux", "darwin"}


class Framing(Enum):
    """How the end of a body is known."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's beginning.

    Attributes:
        length: of the body in bytes, for `Framing.LENGTH`.
        lasting: the connection can be used again once the body has been read.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    framing: Framing
    length: int
    lasting: bool


class NothingCameError(httpx.RemoteProtocolError):
    """The server closed the connection before the first byte of its answer."""


class Connection:
    """One connection to a server; used by one thread at a time.

    Attributes:
        idle_since: when it was last put by (`time.monotonic`).
        used: it has carried an exchange before.
        answered: a byte of the answer to the present request has come.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waits_for_all = _WAITS_FOR_ALL and not isinstance(sock, ssl.SSLSocket)
        self._piece = _RECORD if isinstance(sock, ssl.SSLSocket) else _PIECE
        self._buffer = b""
        self._at = 0
        self.idle_since = 0.0
        self.used = False
        self.answered = False

    def alive(self) -> bool:
        """Whether an idle connection can still be used: one that has something to say has not."""
        if self._at < len(self._buffer):
            return False
        if not hasattr(select, "poll"):
            return not select.select([self._sock], [], [], 0)[0]
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the socket; may be called again."""
        self._sock.close()

    def shut(self) -> None:
        """Tell the thread that reads or writes, from another one, that the server is gone.

        Raises:
            OSError: it was so before.
        """
        shut(self._sock)

    # -- sending ---------------------------------------------------------------------------------

    def send(self, request: httpx.Request, timeout: float | None) -> None:
        """Send a request with its body.

        Parameters:
            timeout: seconds that each wait for the server to take more may last.

        Raises:
            httpx.LocalProtocolError: the request cannot be written as HTTP/1.1, or its body is
                not as long as it says.
            httpx.WriteTimeout, httpx.WriteError: the server took no more.
        """
        assert isinstance(request.stream, httpx.SyncByteStream)
        self.answered = False
        head, length, chunked = _head_of(request)
        waiting = [head]
        size = 0
        for part in request.stream:
            if not part:
                continue
            size += len(part)
            if length is not None and size > length:
                break
            waiting += (b"%x\r\n" % len(part), part, b"\r\n") if chunked else (part,)
            # The head and a small body are one packet; everything else goes as it comes.
            if size > _SMALL:
                self._flush(waiting, timeout)
        if chunked:
            waiting.append(b"0\r\n\r\n")
        elif size != (length or 0):
            raise httpx.LocalProtocolError("the body is not as long as its Content-Length")
        self._flush(waiting, timeout)

    def _flush(self, waiting: list[bytes], timeout: float | None) -> None:
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        with _failures(httpx.WriteTimeout, httpx.WriteError):
            self._sock.settimeout(timeout)
            left = memoryview(data)
            while left:
                # Not sendall, whose timeout is that of the whole.
                left = left[self._sock.send(left) :]

    # -- receiving -------------------------------------------------------------------------------

    def receive_head(self, method: str, timeout: float | None) -> Head:
        """Receive an answer up to its body.

        Parameters:
            method: of the request: the answer to HEAD has no body.
            timeout: seconds that it may take.

        Raises:
            NothingCameError: the server closed the connection instead.
            httpx.RemoteProtocolError: what came is not HTTP/1.1.
            httpx.ReadTimeout, httpx.ReadError: it did not come.
        """
        clock = _Clock(timeout)
        while True:
            head = _parsed(
                self._peeked(clock) or self._until(_HEAD_END, _HEAD_LIMIT, clock), method
            )
            if head.status == 101:
                raise httpx.RemoteProtocolError("the server switched to another protocol")
            # 1xx: the answer itself is still to come (RFC 9110, section 15.2).
            if head.status >= 200:
                self.used = True
                return head

    def whole(self, head: Head, seconds: float) -> Iterator[bytes]:
        """The body in as few pieces as can be; all of it within that many seconds.

        Raises:
            httpx.RemoteProtocolError: it ended too early, or its chunks are none.
            httpx.ReadTimeout, httpx.ReadError: it did not come.
        """
        clock = _Clock(seconds)
        if head.framing is not Framing.LENGTH:
            body = io.BytesIO()
            for piece in self._open_ended(head, clock):
                body.write(piece)
                # What is gathered may not outgrow memory in silence; it goes on in blocks.
                if body.tell() >= _BLOCK:
                    yield body.getvalue()
                    body = io.BytesIO()
            yield body.getvalue()
            return
        left = head.length
        while left:
            size = min(left, _BLOCK)
            yield self._exactly(size, clock)
            left -= size

    def pieces(self, head: Head, timeout: float | None) -> Iterator[bytes]:
        """The body as it comes; each wait for more may last that many seconds.

        Raises: as `whole`.
        """
        clock = _Clock(timeout, each=True)
        if head.framing is not Framing.LENGTH:
            for piece in self._open_ended(head, clock):
                yield bytes(piece)
            return
        left = head.length
        while left:
            piece = self._some(left, clock)
            if not piece:
                raise _cut_short()
            left -= len(piece)
            yield bytes(piece)

    def _open_ended(self, head: Head, clock: _Clock) -> Iterator[memoryview]:
        if head.framing is Framing.CHUNKED:
            yield from self._chunks(clock)
            return
        while piece := self._some(_PIECE, clock):
            yield piece

    def _chunks(self, clock: _Clock) -> Iterator[memoryview]:
        """The body of chunks (RFC 9112, section 7.1); trailers are passed over."""
        while True:
            found = _CHUNK_SIZE.fullmatch(self._line(clock))
            if found is None:
                raise httpx.RemoteProtocolError("the size of a chunk is none")
            left = int(found.group(1), 16)
            if not left:
                break
            while left:
                piece = self._some(left, clock)
                if not piece:
                    raise _cut_short()
                left -= len(piece)
                yield piece
            if self._line(clock):
                raise httpx.RemoteProtocolError("a chunk is longer than its size")
        trailers = 0
        while line := self._line(clock):
            trailers += len(line)
            if trailers > _HEAD_LIMIT:
                raise httpx.RemoteProtocolError("the trailers of the answer do not end")

    def _exactly(self, size: int, clock: _Clock) -> bytes:
        """That many bytes, received into the memory that they stay in."""
        kept = self._buffer[self._at : self._at + size]
        self._at += len(kept)
        if len(kept) == size:
            return kept
        if self._waits_for_all:
            parts = [kept] if kept else []
            left = size - len(kept)
            while left:
                parts.append(self._all_of(left, clock))
                left -= len(parts[-1])
            return b"".join(parts)
        memory = io.BytesIO()
        memory.seek(size - 1)
        memory.write(b"\0")
        # Its buffer is the very object that getvalue() gives, without another copy.
        with memory.getbuffer() as view:
            done = len(kept)
            view[:done] = kept
            while done < size:
                done += self._into(view[done:], clock)
        return memory.getvalue()

    def _all_of(self, size: int, clock: _Clock) -> bytes:
        """That many bytes, or fewer where something came between."""
        with _failures(httpx.ReadTimeout, httpx.ReadError):
            left = clock.left()
            # For Python the socket blocks; the system keeps the time, which is 0 for none.
            self._sock.settimeout(None)
            moment = struct.pack("@ll", int(left or 0), int((left or 0) % 1 * 1_000_000))
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, moment)
            data = self._sock.recv(size, socket.MSG_WAITALL)
        if not data:
            raise _cut_short()
        return data

    def _into(self, view: memoryview, clock: _Clock) -> int:
        with view, _failures(httpx.ReadTimeout, httpx.ReadError):
            self._sock.settimeout(clock.left())
            received = self._sock.recv_into(view)
        if not received:
            raise _cut_short()
        return received

    def _some(self, most: int, clock: _Clock) -> memoryview:
        """What there is, at least a byte; empty at the end of the connection."""
        if self._at >= len(self._buffer):
            self._buffer, self._at = self._receive(clock), 0
        piece = memoryview(self._buffer)[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _peeked(self, clock: _Clock) -> bytes:
        """The head alone, where the system can be asked what comes; empty where that fails.

        The body then stays with the system, from where it is received without a copy.
        """
        if not self._waits_for_all or self._at < len(self._buffer):
            return b""
        with _failures(httpx.ReadTimeout, httpx.ReadError):
            self._sock.settimeout(clock.left())
            found = _HEAD_END.search(self._sock.recv(_PEEK, socket.MSG_PEEK))
            if found is None:
                return b""
            self.answered = True
            return self._sock.recv(found.end())[: found.start()]

    def _line(self, clock: _Clock) -> bytes:
        return self._until(_LINE_END, _LINE_LIMIT, clock)

    def _until(self, end: re.Pattern[bytes], limit: int, clock: _Clock) -> bytes:
        """What comes before a mark, which is passed over."""
        while True:
            found = end.search(self._buffer, self._at)
            if found is not None:
                start, self._at = self._at, found.end()
                return self._buffer[start : found.start()]
            if len(self._buffer) - self._at > limit:
                raise httpx.RemoteProtocolError("a line or the head of the answer does not end")
            more = self._receive(clock)
            if not more:
                if self.answered:
                    raise _cut_short()
                raise NothingCameError("the server closed the connection without an answer")
            self._buffer, self._at = self._buffer[self._at :] + more, 0

    def _receive(self, clock: _Clock) -> bytes:
        with _failures(httpx.ReadTimeout, httpx.ReadError):
            self._sock.settimeout(clock.left())
            data = self._sock.recv(self._piece)
        self.answered = self.answered or bool(data)
        return data


class _Clock:
    """The time that receiving may take, in all or (`each`) from one receive to the next."""

    def __init__(self, seconds: float | None, *, each: bool = False) -> None:
        self._seconds = seconds
        self._end = None if seconds is None or each else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds that the next receive may last; None for any number.

        Raises:
            TimeoutError: there are none left.
        """
        if self._end is None:
            return self._seconds
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        # A time of 0 would mean none, to Python that one does not wait, to the system for ever.
        return max(left, 0.001)


@contextmanager
def _failures(
    timeout: type[httpx.TimeoutException], other: type[httpx.NetworkError]
) -> Iterator[None]:
    """Failures of a socket as httpx's."""
    try:
        yield
    except (TimeoutError, BlockingIOError) as error:
        # The second is what the system says when the time is over that it was told.
        raise timeout("the server took too long") from error
    except OSError as error:
        raise other("the connection failed") from error


def _cut_short() -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError("the connection ended before the answer did")


def _head_of(request: httpx.Request) -> tuple[bytes, int | None, bool]:
    """A request's head, the length that it names, and whether its body goes in chunks."""
    lines = [request.method.encode("ascii") + b" " + request.url.raw_path + b" HTTP/1.1"]
    length: int | None = None
    chunked = False
    for name, value in request.headers.raw:
        if not _TOKEN.fullmatch(name):
            raise httpx.LocalProtocolError("the name of a header is none")
        lowered = name.lower()
        if lowered == b"content-length":
            length = int(value)
        elif lowered == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
        lines.append(name + b": " + value)
    # A line within a line would be a header, or a request, that nobody wrote.
    if any(_NO_LINE.search(line) for line in lines) or b" " in request.url.raw_path:
        raise httpx.LocalProtocolError("a header or the URL holds a line break")
    return b"\r\n".join(lines) + b"\r\n\r\n", length, chunked


def _parsed(text: bytes, method: str) -> Head:
    """The head of an answer (RFC 9112, sections 4 to 6)."""
    first, *lines = _LINE_END.split(text)
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise httpx.RemoteProtocolError("the answer is not HTTP/1.1")
    status = int(found.group(2))
    headers = _headers(lines)
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    options = _words(values.get(b"connection", []))
    lasting = b"keep-alive" in options if found.group(1) == b"0" else b"close" not in options
    if method == "HEAD" or status in {204, 304} or status < 200:
        return Head(status, headers, Framing.LENGTH, 0, lasting)
    codings = _words(values.get(b"transfer-encoding", []))
    if codings:
        if codings != [b"chunked"]:
            raise httpx.RemoteProtocolError("the answer's transfer encoding is unknown")
        # A length beside the chunks is a mistake of somebody on the way (section 6.3).
        lasting = lasting and b"content-length" not in values
        return Head(status, headers, Framing.CHUNKED, 0, lasting)
    lengths = set(_words(values.get(b"content-length", [])))
    if not lengths:
        return Head(status, headers, Framing.CLOSE, 0, lasting=False)
    length = lengths.pop()
    if lengths or not _DIGITS.fullmatch(length):
        raise httpx.RemoteProtocolError("the length of the answer is none")
    return Head(status, headers, Framing.LENGTH, int(length), lasting)


def _headers(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and headers:
            # A folded line, which old servers still write (section 5.2).
            name, value = headers[-1]
            headers[-1] = name, value + b" " + line.strip(b" \t")
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _NO_LINE.search(value):
            raise httpx.RemoteProtocolError("a header of the answer is none")
        headers.append((name, value.strip(b" \t")))
    return headers


def _words(values: Iterable[bytes]) -> list[bytes]:
    """The members of lists, lower case."""
    return [word.strip().lower() for value in values for word in value.split(b",") if word.strip()]
