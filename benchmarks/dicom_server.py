"""A DICOMweb server that takes what it is sent and gives prepared files, as fast as it can.

    python benchmarks/dicom_server.py FOLDER COUNT [--series 100] [--study 500] [--delay 20]

What it is sent is read and thrown away; the answer names each instance by the UID that its header
has. What it gives are the files that `cohort` made in FOLDER: lists, whole studies and series as
multipart, single instances. Every request waits for the delay. It prints its URL, and serves until
it is ended.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cohort import Cohort
from measure import server

_PATH = re.compile(
    r"(?:/[^?]*?/dicomWeb)?(?:/studies(?:/([\d.]+))?)?(?:/series(?:/([\d.]+))?)?"
    r"(?:/instances(?:/([\d.]+))?)?"
)
_LISTS = re.compile(r"/(studies|series|instances)$")
_NUMBER = re.compile(r"[?&](limit|offset)=(\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
# An instance's UID in the header of its file, and what stands before its pixels.
_UID = re.compile(rb"\x02\0\x03\0UI(..)", re.DOTALL)
_PIXELS = re.compile(rb"\xe0\x7f\x10\0O[BW]\0\0(....)", re.DOTALL)
_BOUNDARY = b"dicomsql-benchmark"
_PART = b"\r\n--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
_END = b"\r\n--" + _BOUNDARY + b"--\r\n"
# A header with what comes before it in its part, and bytes that are read at a time.
_HEAD, _PIECE = 2_048, 1 << 20
_MOST_ROWS = 50_000


class _Gone(Exception):
    """The client has closed the connection."""


@dataclass(frozen=True)
class Files:
    """What the server gives; `delay` in seconds."""

    cohort: Cohort
    delay: float

    def rows(self, level: str, numbers: range, offset: int, limit: int) -> bytes:
        """DICOM JSON of what a search finds."""
        of = self.cohort
        step = {"studies": of.study, "series": of.series, "instances": 1}[level]
        tags = {"studies": 1, "series": 2, "instances": 3}[level]
        rows = []
        for number in range(numbers.start, numbers.stop, step)[offset : offset + limit]:
            named = zip(("0020000D", "0020000E", "00080018"), of.uids(number), strict=True)
            rows.append({tag: {"vr": "UI", "Value": [uid]} for tag, uid in list(named)[:tags]})
        return json.dumps(rows).encode() if rows else b""


class _Connection:
    """One client; its requests are answered one after the other."""

    def __init__(self, sock: socket.socket, files: Files) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._files = files
        self._waiting = bytearray()
        self._left: int | None = 0
        self._memory = memoryview(bytearray(_PIECE))

    def serve(self) -> None:
        with self._sock:
            try:
                while True:
                    self._answer()
            except (_Gone, BrokenPipeError, ConnectionResetError):
                return

    def _answer(self) -> None:
        while b"\r\n\r\n" not in self._waiting:
            self._waiting += self._received(1 << 16)
        end = self._waiting.index(b"\r\n\r\n") + 4
        head = bytes(self._waiting[:end])
        del self._waiting[:end]
        method, target, _ = head.split(b" ", 2)
        if method == b"POST":
            self._take(head, target)
        else:
            self._give(head, target.decode())

    # -- what comes ------------------------------------------------------------------------------

    def _take(self, head: bytes, target: bytes) -> None:
        length = _LENGTH.search(head)
        if length is None:
            # Only what is small comes in chunks here: a token's form.
            self._send(411, b"")
            raise _Gone
        self._left = int(length[1])
        if not target.partition(b"?")[0].endswith(b"/studies"):
            self._skip(self._left)
            time.sleep(self._files.delay)
            self._send(200, b'{"access_token": "t"}')
            return
        found: list[str] = []
        while uid := self._part():
            found.append(uid)
        time.sleep(self._files.delay)
        items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in found]
        self._send(200, json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode())

    def _part(self) -> str:
        """The UID of the next instance of the body, which is read to its end; '' where none is."""
        assert self._left is not None
        while len(self._waiting) < min(_HEAD, self._left):
            self._waiting += self._received(_HEAD)
        start = bytes(self._waiting[: min(_HEAD, self._left)])
        named, pixels = _UID.search(start), _PIXELS.search(start)
        if named is None or pixels is None:
            self._skip(self._left)
            return ""
        size = int.from_bytes(named[1], "little")
        self._skip(pixels.end() + int.from_bytes(pixels[1], "little"))
        return start[named.end() : named.end() + size].rstrip(b"\0").decode()

    def _skip(self, size: int) -> None:
        """Read so many bytes of the body."""
        assert self._left is not None
        self._left -= size
        known = min(size, len(self._waiting))
        del self._waiting[:known]
        size -= known
        while size:
            received = self._sock.recv_into(self._memory, min(size, _PIECE))
            if not received:
                raise _Gone
            size -= received

    def _received(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if not data:
            raise _Gone
        return data

    # -- what goes -------------------------------------------------------------------------------

    def _give(self, head: bytes, target: str) -> None:
        time.sleep(self._files.delay)
        path, _, _ = target.partition("?")
        found = _PATH.fullmatch(path)
        if found is None:
            self._send(404, b"")
            return
        numbers = self._files.cohort.numbers(*found.groups())
        level = _LISTS.search(path)
        if level is not None:
            window = {name: int(value) for name, value in _NUMBER.findall(target)}
            limit = min(_MOST_ROWS, window.get("limit", 1000))
            rows = self._files.rows(level[1], numbers, window.get("offset", 0), limit)
            self._send(200 if rows else 204, rows)
        elif not numbers:
            self._send(404, b"")
        elif found[3] is not None and b"multipart" not in head.lower():
            self._send_files(numbers, b"application/dicom", b"", b"")
        else:
            kind = b'multipart/related; type="application/dicom"; boundary=' + _BOUNDARY
            self._send_files(numbers, kind, _PART, _END)

    def _send_files(self, numbers: range, kind: bytes, before: bytes, after: bytes) -> None:
        paths = [self._files.cohort.path(number) for number in numbers]
        length = sum(len(before) + path.stat().st_size for path in paths) + len(after)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self._sock.sendall(head % (kind, length))
        for path in paths:
            if before:
                self._sock.sendall(before, socket.MSG_MORE)
            with path.open("rb") as file:
                self._sock.sendfile(file)
        if after:
            self._sock.sendall(after)

    def _send(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d Said\r\nContent-Type: application/dicom+json\r\n" % status
        self._sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


@contextmanager
def running(of: Cohort, delay: float = 0) -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    options = {"series": of.series, "study": of.study, "delay": delay * 1000}
    told = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with server(Path(__file__).resolve(), str(of.folder), str(of.count), *told) as url:
        yield url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--study", type=int, default=500)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds")
    given = parser.parse_args()
    of = Cohort(given.folder, given.count, series=given.series, study=given.study)
    files = Files(of, given.delay / 1000)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_Connection(sock, files).serve, daemon=True).start()


if __name__ == "__main__":
    main()
