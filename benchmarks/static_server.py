"""A server of prepared pages, as fast as the loopback allows: the peer of client benchmarks.

    python benchmarks/static_server.py --stores 10000 --page 1000 [--delay 20]

It answers every GET with a page of a list of DICOM stores, the one that `pageToken` names, and
looks at nothing else of the request; `--delay` milliseconds later, where that is asked for. It
prints its URL, and serves until it is ended.
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
from pathlib import Path

from measure import server

PARENT = "projects/p/locations/l/datasets/d"
PATH = f"/v1/{PARENT}/dicomStores"

_TOKEN = re.compile(rb"[?&]pageToken=([0-9]+)")


def pages(stores: int, page_size: int) -> list[bytes]:
    """The bodies of the list's pages."""
    found = [
        {
            "name": f"{PARENT}/dicomStores/store-{number:06}",
            "labels": {"environment": "production", "site": f"site-{number % 97}"},
        }
        for number in range(stores)
    ]
    bodies = []
    for start in range(0, max(stores, 1), page_size):
        body: dict[str, object] = {"dicomStores": found[start : start + page_size]}
        if start + page_size < stores:
            body["nextPageToken"] = str(start // page_size + 1)
        bodies.append(json.dumps(body).encode())
    return bodies


@contextmanager
def running(stores: int, page_size: int, delay: int = 0) -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    given = ("--stores", str(stores), "--page", str(page_size), "--delay", str(delay))
    with server(Path(__file__).resolve(), *given) as url:
        yield url


def _serve(connection: socket.socket, answers: list[bytes], delay: float) -> None:
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
            if delay:
                time.sleep(delay)
            token = _TOKEN.search(head.partition(b"\r\n")[0])
            connection.sendall(answers[int(token[1]) if token else 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stores", type=int, default=10_000)
    parser.add_argument("--page", type=int, default=1_000)
    parser.add_argument("--delay", type=int, default=0)
    arguments = parser.parse_args()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: "
    answers = [
        f"{head}{len(body)}\r\n\r\n".encode() + body
        for body in pages(arguments.stores, arguments.page)
    ]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(
                target=_serve, args=(connection, answers, arguments.delay / 1000), daemon=True
            ).start()


if __name__ == "__main__":
    main()
