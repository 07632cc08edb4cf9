"""Our own connections under httpx: framing, reuse, time, many threads, being broken off."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from dicomsql.errors import CancelledError, EndpointError
from dicomsql.transport.base import Request
from dicomsql.transport.client import Client
from dicomsql.transport.direct import DirectTransport
from dicomsql.transport.wire import Sockets

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


class Peer:
    """A server that answers with given bytes, byte for byte.

    Each of `scripts` is a connection's: what is sent after each request, None to close instead.
    """

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.end = threading.Event()
        self.begun = threading.Event()
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for script in self._scripts:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            # The other side may go in the middle of it all.
            with sock, suppress(ConnectionError):
                self._talk(sock, script)
            self.closed.set()

    def _talk(self, sock: socket.socket, script: list[bytes | None]) -> None:
        for answer in script:
            request = b""
            while not _complete(request):
                more = sock.recv(65536)
                if not more:
                    return
                request += more
            self.requests.append(request)
            if answer is None:
                return
            sock.sendall(answer)
            self.begun.set()
        if script and script[-1] is not None and not script[-1].endswith(b"#"):
            # Waits until the other side goes, so that nothing is closed too early.
            sock.settimeout(5)
            while not self.end.is_set():
                if not sock.recv(1):
                    return

    def stop(self) -> None:
        self.end.set()
        # Closing alone would leave who waits in accept() there.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


def _complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    if b"X-Early" in head:
        return bool(end)
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    return bool(end) and (b"X-Length: " not in head or len(body) >= int(_length(head)))


def _length(head: bytes) -> bytes:
    return head.partition(b"X-Length: ")[2].split(b"\r\n")[0]


@contextmanager
def served(*scripts: list[bytes | None]) -> Iterator[Peer]:
    peer = Peer(*scripts)
    try:
        yield peer
    finally:
        peer.stop()


@contextmanager
def client(timeout: float = 5.0, **options: object) -> Iterator[Client]:
    sockets = Sockets()
    transport = DirectTransport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), idle=8, sockets=sockets)
    http = httpx.Client(transport=transport, trust_env=False)
    options.setdefault("wait", lambda seconds: None)
    with Client(http, timeout=timeout, interruptible=sockets, **options) as made:  # type: ignore[arg-type]
        yield made


def answered(answer: bytes, *, stream: bool, method: str = "GET") -> bytes:
    """The body of one answer, read whole or in pieces."""
    with served([answer]) as peer, client() as sender:
        response = sender.send(Request(method, peer.url, "/x"), stream=stream)
        with response:
            return b"".join(response.iter_bytes()) if stream else response.read()


def head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode()


LONG = bytes(range(256)) * 20_000
DEFLATED = zlib.compressobj(wbits=31)
ZIPPED = DEFLATED.compress(LONG) + DEFLATED.flush()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (head("Content-Length: 0"), b""),
        (head("content-length:4 ") + b"good", b"good"),
        (head("Content-Length: 4", "Content-Length: 4") + b"good", b"good"),
        (head(f"Content-Length: {len(LONG)}") + LONG, LONG),
        (head("Content-Encoding: gzip", f"Content-Length: {len(ZIPPED)}") + ZIPPED, LONG),
        (
            head("Transfer-Encoding: chunked")
            + b"4\r\ngood\r\n00003 ;a=b\r\nbye\r\n0\r\nTrailer: 1\r\n\r\n",
            b"goodbye",
        ),
        (
            head("Transfer-Encoding: Chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(LONG), LONG),
            LONG,
        ),
        (head("Connection: close") + b"to the end#", b"to the end#"),
        (b"HTTP/1.0 200\r\nA: b\r\n c\r\n\r\n#", b"#"),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, b"good"),
        (b"HTTP/1.1 204 Nothing\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nContent-Length: 4\n\ngood", b"good"),
    ],
)
def test_a_body_is_what_was_sent(answer: bytes, body: bytes, stream: bool) -> None:
    assert answered(answer, stream=stream) == body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize(
    "answer",
    [
        head("Content-Length: 5") + b"goo#",
        head(f"Content-Length: {len(LONG)}") + LONG[:-2] + b"#",
        head("Transfer-Encoding: chunked") + b"4\r\ngood\r\n#",
        head("Transfer-Encoding: chunked") + b"5\r\ngoo#",
        head("Transfer-Encoding: chunked") + b"4\r\ngood\r\n0\r\n#",
        head("Transfer-Encoding: chunked") + b"-4\r\ngood\r\n0\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"3\r\ngood\r\n0\r\n\r\n",
        head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("Content-Length: 4", "Content-Length: 5") + b"good",
        head("Content-Length: -4") + b"good",
        head("Content-Length: four") + b"good",
        head("no header") + b"good",
        head("A: b\0c") + b"good",
        b"HTTP/1.1 200 OK\r\nContent-Le#",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"H" * 400_000 + b"#",
    ],
)
def test_what_is_short_or_wrong_is_an_error_and_no_body(answer: bytes, stream: bool) -> None:
    """Five attempts, each cut short in the same way."""
    with (
        served(*([answer] for _ in range(5))) as peer,
        client() as sender,
        pytest.raises(EndpointError, match="broke off"),
        sender.send(Request("GET", peer.url, "/x"), stream=stream) as response,
    ):
        b"".join(response.iter_bytes())


def test_the_answer_to_head_has_no_body() -> None:
    assert answered(head("Content-Length: 9"), stream=False, method="HEAD") == b""


def test_a_connection_is_used_again() -> None:
    chunked = head("Transfer-Encoding: chunked") + b"4\r\ngood\r\n0\r\n\r\n"
    with served([OK, chunked, OK]) as peer, client() as sender:
        for _ in range(3):
            assert sender.send(Request("GET", peer.url, "/x")).read() == b"good"
        assert peer.connections == 1
        assert len(peer.requests) == 3


@pytest.mark.parametrize(
    "first",
    [
        head("Connection: close", "Content-Length: 4") + b"good",
        # More than was asked for: nothing that follows can be trusted.
        OK + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_connection_that_is_spent_is_not_used_again(first: bytes) -> None:
    with served([first], [OK]) as peer, client() as sender:
        for _ in range(2):
            assert sender.send(Request("GET", peer.url, "/x")).read() == b"good"
        assert peer.connections == 2


def test_a_body_that_was_not_read_to_its_end_spends_the_connection() -> None:
    answer = head(f"Content-Length: {len(LONG)}") + LONG
    with served([answer[:200_000]], [OK]) as peer, client() as sender:
        with sender.send(Request("GET", peer.url, "/x"), stream=True) as response:
            assert next(response.iter_bytes())
        assert sender.send(Request("GET", peer.url, "/x")).read() == b"good"


def test_a_server_that_closes_an_idle_connection_is_no_failure() -> None:
    told: list[int] = []
    with (
        served([OK + b"#"], [OK]) as peer,
        client(on_response=lambda request, status, *rest: told.append(status)) as sender,
    ):
        with sender.send(Request("GET", peer.url, "/x"), stream=True) as response:
            next(response.iter_bytes())
        assert peer.closed.wait(5)
        assert sender.send(Request("POST", peer.url, "/x", body=b"")).read() == b"good"
    assert told == [200, 200]


def test_a_server_that_closes_in_the_very_moment_is_asked_once_more() -> None:
    """The connection looked good, and ended when the request had been sent."""
    with served([OK, None], [OK]) as peer, client() as sender:
        for _ in range(2):
            assert sender.send(Request("GET", peer.url, "/x")).read() == b"good"
        assert len(peer.requests) == 3


def test_what_may_not_be_repeated_is_not() -> None:
    with served([OK, None], [OK]) as peer, client() as sender:
        sender.send(Request("GET", peer.url, "/x"))
        with pytest.raises(EndpointError, match=r"whether it took effect is not known"):
            sender.send(Request("POST", peer.url, "/x", body=b""))
        assert len(peer.requests) == 2
        sender.send(Request("GET", peer.url, "/x"))


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"12345", b"12345"),
        (lambda: iter((b"123", b"", b"45")), b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"),
        (LONG, LONG),
    ],
)
def test_bodies_are_sent(body: bytes | Callable[[], Iterator[bytes]], sent: bytes) -> None:
    length = len(body) if isinstance(body, bytes) else 0
    headers = (("X-Length", str(length)),) if length else ()
    with served([OK]) as peer, client() as sender:
        request = Request("PUT", peer.url, "/a%20b", headers=headers, body=body)
        assert sender.send(request).read() == b"good"
        top, _, received = peer.requests[0].partition(b"\r\n\r\n")
    assert top.startswith(b"PUT /a%20b HTTP/1.1\r\nHost: 127.0.0.1")
    assert received == sent


def test_a_refusal_before_the_end_of_the_body_is_heard() -> None:
    refusal = b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nfull#"
    big = (b"x" * 1_000_000 for _ in range(64))
    with served([refusal]) as peer, client() as sender, pytest.raises(Exception) as caught:
        sender.send(Request("POST", peer.url, "/x", headers=(("X-Early", "1"),), body=lambda: big))
    # The peer reads no further: it may reset the connection before its words are read.
    assert "413" in str(caught.value) or "broke" in str(caught.value)


def test_a_line_break_in_a_header_is_not_sent() -> None:
    with served([OK]) as peer, client() as sender:
        request = Request("GET", peer.url, "/x", headers=(("A", "b\r\nHost: elsewhere"),))
        with pytest.raises(EndpointError, match=r"cannot be written as HTTP, after 1 attempt\.$"):
            sender.send(request)
    assert peer.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        head("Content-Length: 400000") + b"x" * 300_000,
        head("Transfer-Encoding: chunked") + b"5\r\ngoo",
        b"HTTP/1.1 200",
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "pieces"])
def test_a_body_that_stops_is_given_up(answer: bytes, stream: bool) -> None:
    with (
        served(*([answer] for _ in range(5))) as peer,
        client(timeout=0.05) as sender,
        pytest.raises(EndpointError, match=r"no answer within 0\.05 s"),
        sender.send(Request("GET", peer.url, "/x"), stream=stream) as response,
    ):
        b"".join(response.iter_bytes())


@pytest.mark.parametrize(
    "answer", [head("Content-Length: 400000") + b"x" * 300_000, b"HTTP/1.1 200"]
)
def test_abort_wakes_who_waits(answer: bytes) -> None:
    caught: list[BaseException] = []
    with served([answer], [OK]) as peer, client() as sender:

        def work() -> None:
            try:
                sender.send(Request("GET", peer.url, "/x"))
            except CancelledError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert peer.begun.wait(5)
        sender.abort()
        thread.join(5)
        assert not thread.is_alive()
        assert len(caught) == 1
        sender.cancel.clear()
        assert sender.send(Request("GET", peer.url, "/x")).read() == b"good"


def test_many_threads_share_the_connections() -> None:
    body = LONG[:300_000]
    answer = head(f"Content-Length: {len(body)}") + body
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[threading.Thread] = []

    def talk(sock: socket.socket) -> None:
        with sock:
            while sock.recv(65536):
                sock.sendall(answer)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=talk, args=(sock,))
            thread.start()
            connections.append(thread)

    accepting = threading.Thread(target=accept)
    accepting.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with client() as sender, ThreadPoolExecutor(8) as pool:
            request = Request("GET", url, "/x")
            done = list(pool.map(lambda _: sender.send(request).read() == body, range(200)))
        assert done == [True] * 200
        assert len(connections) <= 8
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in connections:
            thread.join(5)


def test_a_name_that_nobody_knows_and_a_scheme_that_is_none() -> None:
    with client() as sender:
        with pytest.raises(EndpointError, match="no connection"):
            sender.send(Request("GET", f"http://{'a' * 64}.invalid", "/x"))
        with pytest.raises(EndpointError, match="this kind of URL"):
            sender.send(Request("GET", "ftp://127.0.0.1", "/x"))
