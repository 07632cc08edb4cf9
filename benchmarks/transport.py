"""How fast bodies come in: our transport beside stock httpx, urllib3, requests and http.client.

    python benchmarks/transport.py

A server in a process of its own sends prepared bodies over the loopback, framed by their length or
in chunks of 64 kB. Each program reads them whole, one after the other on one connection.
"""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from measure import print_machine, print_table, rounds

from dicomsql.config import Settings
from dicomsql.transport.base import Request
from dicomsql.transport.connect import open_transport

SIZES = {"20 kB": 20_000, "1 MB": 1_000_000, "8 MB": 8_000_000}
# Bytes that one measurement reads, in as many bodies as that takes.
_AMOUNT = 32_000_000
_MOST_CALLS = 200
_ROUNDS = 5
_CHUNK = 65_536


def _answers() -> dict[bytes, bytes]:
    """Path -> the whole answer."""
    found = {}
    for size in SIZES.values():
        body = b'{"vr": "LO", "Value": ["text"]}\n' * (size // 32)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
        found[b"/length/%d" % size] = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        chunks = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
        found[b"/chunked/%d" % size] = (
            head
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
            + b"0\r\n\r\n"
        )
    return found


def _serve(listener: socket.socket) -> None:
    answers = _answers()

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while request := connection.recv(65_536):
                connection.sendall(answers[request.split(b" ", 2)[1]])

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def _clients(url: str) -> dict[str, Callable[[str], int]]:
    """Name -> reads the body of a path and gives its size."""
    ours = open_transport(Settings(endpoint=url, timeout=30))
    stock = httpx.Client(trust_env=False)
    direct = http.client.HTTPConnection(urlsplit(url).netloc)

    def by_http_client(path: str) -> int:
        direct.request("GET", path)
        return len(direct.getresponse().read())

    found: dict[str, Callable[[str], int]] = {
        "dicomsql": lambda path: len(ours.send(Request("GET", url, path)).read()),
        "http.client": by_http_client,
    }
    try:
        import urllib3

        pool = urllib3.PoolManager()
        found["urllib3"] = lambda path: len(pool.request("GET", url + path).data)
    except ModuleNotFoundError:
        print("urllib3 is not installed")
    try:
        import requests

        session = requests.Session()
        session.trust_env = False
        found["requests"] = lambda path: len(session.get(url + path).content)
    except ModuleNotFoundError:
        print("requests is not installed")
    found["httpx"] = lambda path: len(stock.get(url + path).content)
    return found


def main() -> None:
    print_machine()
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.Process(target=_serve, args=(listener,), daemon=True)
    server.start()
    try:
        clients = _clients(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for framing in ("length", "chunked"):
            for name, size in SIZES.items():
                _measure(clients, f"/{framing}/{size}", f"{name}, {framing}", size // 32 * 32)
    finally:
        server.terminate()
        server.join()


def _measure(clients: dict[str, Callable[[str], int]], path: str, title: str, size: int) -> None:
    calls = min(_MOST_CALLS, _AMOUNT // size)

    def task(client: Callable[[str], int]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                if client(path) != size:
                    raise RuntimeError("a body was not read whole")

        return run

    tasks = {name: task(client) for name, client in clients.items()}
    wall = rounds(tasks, _ROUNDS, time.perf_counter)
    processor = rounds(tasks, _ROUNDS)
    megabytes = calls * size / 1e6
    rows = [
        (
            name,
            f"{megabytes / wall[name]:,.0f}",
            f"{wall[name] / megabytes * 1000:.2f}",
            f"{processor[name] / megabytes * 1000:.2f}",
            f"{wall['httpx'] / wall[name]:.2f}",
        )
        for name in tasks
    ]
    header = (title, "MB/s", "ms a MB", "processor ms a MB", "times httpx")
    print_table(f"{title}: {calls} bodies", header, rows)


if __name__ == "__main__":
    main()
