"""A server of a search's prepared pages, as fast as the loopback allows.

    python benchmarks/search_server.py FOLDER --page 5000 [--delay 50] [--times 10]

FOLDER holds the pages, `0.json` and on; the offset of a request names the page, whatever else it
asks for. With --times, the pages are given again and again as other series, which the end of their
UIDs tells apart. Beyond the last page the answer is 204. It prints its URL, and serves until it
is ended.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from idc import MARKER

_OFFSET = re.compile(rb"[?&]offset=([0-9]+)")
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: {}\r\n\r\n"
_EMPTY = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Pages:
    """The pages of a folder, given `times` over; `delay` in seconds."""

    folder: Path
    page: int
    delay: float
    times: int

    def answer(self, connection: socket.socket, line: bytes) -> None:
        """Send what the request line asks for."""
        if self.delay:
            time.sleep(self.delay)
        if b"/series" not in line:
            connection.sendall(_MISSING)
            return
        offset = _OFFSET.search(line)
        number = int(offset[1]) // self.page if offset else 0
        count = sum(1 for _ in self.folder.glob("*.json"))
        if number >= count * self.times:
            connection.sendall(_EMPTY)
            return
        again, number = divmod(number, count)
        file = self.folder / f"{number}.json"
        if again:
            body = file.read_bytes().replace(
                f'.{MARKER}"'.encode(), f'.{int(MARKER) + again}"'.encode()
            )
            connection.sendall(_HEAD.format(len(body)).encode() + body)
            return
        with file.open("rb") as opened:
            connection.sendall(_HEAD.format(file.stat().st_size).encode())
            connection.sendfile(opened)


@contextmanager
def running(folder: Path, page: int, *, delay: float = 0, times: int = 1) -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    command = [sys.executable, str(Path(__file__).resolve()), str(folder)]
    command += ["--page", str(page), "--delay", str(delay * 1000), "--times", str(times)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("The search server did not start.")
            yield url
        finally:
            process.terminate()


def _serve(connection: socket.socket, pages: Pages) -> None:
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
                pages.answer(connection, head.partition(b"\r\n")[0])
            except (BrokenPipeError, ConnectionResetError):
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page", type=int, default=5_000)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds")
    parser.add_argument("--times", type=int, default=1)
    arguments = parser.parse_args()
    pages = Pages(arguments.folder, arguments.page, arguments.delay / 1000, arguments.times)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, pages), daemon=True).start()


if __name__ == "__main__":
    main()
