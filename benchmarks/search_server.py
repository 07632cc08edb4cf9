"""A server of a search's prepared rows, as fast as the loopback allows.

    python benchmarks/search_server.py FILE STARTS [--delay 50] [--times 10]

FILE holds the rows, STARTS where each begins (eight bytes each, native order). `limit` and `offset`
of a request choose the rows, whatever else it asks for; a store's metrics tell how many there are,
as Google's do. With --times, the rows are given again and again as other series, which the end of
their UIDs tells apart. Beyond the last row the answer is 204. It prints its URL, and serves until
it is ended.
"""

from __future__ import annotations

import argparse
import re
import socket
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from idc import MARKER, PAGE
from measure import server

_OFFSET = re.compile(rb"[?&]offset=([0-9]+)")
_LIMIT = re.compile(rb"[?&]limit=([0-9]+)")
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\n\r\n"
_EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Rows:
    """The rows of a file, given `times` over; `delay` in seconds."""

    file: Path
    starts: array[int]
    delay: float
    times: int

    def answer(self, connection: socket.socket, line: bytes) -> None:
        """Send what the request line asks for."""
        if self.delay:
            time.sleep(self.delay)
        if b":getDICOMStoreMetrics" in line:
            body = b'{"seriesCount":"%d"}' % ((len(self.starts) - 1) * self.times)
            connection.sendall(_HEAD.format(len(body)).encode() + body)
            return
        if b"/series" not in line:
            connection.sendall(_MISSING)
            return
        found, limited = _OFFSET.search(line), _LIMIT.search(line)
        offset = int(found[1]) if found else 0
        limit = min(int(limited[1]), PAGE) if limited else PAGE
        spans = list(self._spans(offset, limit))
        if not spans:
            connection.sendall(_EMPTY)
            return
        with self.file.open("rb") as opened:
            if len(spans) == 1 and spans[0][0] == 0:
                _, first, last = spans[0]
                connection.sendall(_HEAD.format(last - first + 1).encode() + b"[")
                connection.sendfile(opened, first, last - first - 1)
                connection.sendall(b"]")
                return
            body = b"[" + b",".join(self._renamed(opened, *span) for span in spans) + b"]"
        connection.sendall(_HEAD.format(len(body)).encode() + body)

    def _spans(self, offset: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """(how often before, first byte, byte after the last) of the rows asked for."""
        count = len(self.starts) - 1
        last = min(offset + limit, count * self.times)
        while offset < last:
            again, first = divmod(offset, count)
            some = min(count - first, last - offset)
            yield again, self.starts[first], self.starts[first + some]
            offset += some

    def _renamed(self, opened: BinaryIO, again: int, first: int, last: int) -> bytes:
        opened.seek(first)
        body = opened.read(last - first - 1)
        return body.replace(f'.{MARKER}"'.encode(), f'.{int(MARKER) + again}"'.encode())


@contextmanager
def running(file: Path, starts: list[int], *, delay: float = 0, times: int = 1) -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    places = file.with_suffix(".starts")
    places.write_bytes(array("q", starts).tobytes())
    options = ("--delay", str(delay * 1000), "--times", str(times))
    with server(Path(__file__).resolve(), str(file), str(places), *options) as url:
        yield url


def _serve(connection: socket.socket, rows: Rows) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting = b""
        while True:
            head, end, rest = waiting.partition(b"\r\n\r\n")
            if not end:
                received = connection.recv(65_536)
                if not received:
                    return
                waiting += received
                continue
            waiting = rest
            try:
                rows.answer(connection, head.partition(b"\r\n")[0])
            except (BrokenPipeError, ConnectionResetError):
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    parser.add_argument("starts", type=Path)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds")
    parser.add_argument("--times", type=int, default=1)
    arguments = parser.parse_args()
    starts = array("q", arguments.starts.read_bytes())
    rows = Rows(arguments.file, starts, arguments.delay / 1000, arguments.times)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, rows), daemon=True).start()


if __name__ == "__main__":
    main()
