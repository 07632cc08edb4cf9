"""An application in this process: bodies both ways, failures, time-outs, a clean end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from dicomsql.errors import CancelledError, InterfaceError, OperationalError
from dicomsql.transport.asgi import InProcessTransport, open_local
from dicomsql.transport.base import Request
from dicomsql.transport.client import Client

MEGABYTE = 1 << 20


class App:
    """A small application whose paths show one behaviour each."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.scopes: list[Any] = []
        self.most_ahead = 0
        self.taken = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(scope, receive, send)
            return
        self.scopes.append(scope)
        await getattr(self, scope["path"].strip("/"))(receive, send)

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            self.events.append(kind)
            scope["state"]["started"] = True
            await send({"type": f"lifespan.{kind}.complete"})

    async def answer(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def echo(self, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await self.answer(send, 201, body)

    async def count(self, receive: Any, send: Any) -> None:
        size = 0
        more = True
        while more:
            message = await receive()
            size += len(message["body"])
            self.most_ahead = max(self.most_ahead, len(message["body"]))
            more = message["more_body"]
        await self.answer(send, 200, str(size).encode())

    async def early(self, receive: Any, send: Any) -> None:
        await self.answer(send, 400, b"no")

    async def big(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for sent in range(64):
            self.most_ahead = max(self.most_ahead, sent - self.taken)
            try:
                await send({"type": "http.response.body", "body": b"x" * MEGABYTE, "more_body": 1})
            except OSError:
                self.events.append("caller left")
                return
        await send({"type": "http.response.body"})

    async def fails(self, receive: Any, send: Any) -> None:
        raise ValueError("PatientName Doe^John")

    async def breaks(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("PatientName Doe^John")

    async def never(self, receive: Any, send: Any) -> None:
        # The body's end may come apart from its parts.
        while (message := await receive())["type"] == "http.request":
            pass
        self.events.append(message["type"])


@contextmanager
def running(app: Callable[..., Any]) -> Iterator[httpx.Client]:
    transport = InProcessTransport(app)
    with httpx.Client(transport=transport, base_url="http://emulator.local") as client:
        yield client
    assert "dicomsql-local" not in {thread.name for thread in threading.enumerate()}


def test_a_request_and_its_answer() -> None:
    app = App()
    with running(app) as http:
        response = http.post("/echo?q=x%2Cy&q=2", content=b"abc", headers={"X-Thing": "1"})
        assert (response.status_code, response.content) == (201, b"abc")
        assert response.headers["content-type"] == "text/plain"
        assert http.get("/%65cho").content == b""
    scope = app.scopes[0]
    assert scope["query_string"] == b"q=x%2Cy&q=2"
    assert (b"x-thing", b"1") in scope["headers"]
    assert scope["server"] == ("emulator.local", 80)
    assert scope["state"] == {"started": True}
    assert (app.scopes[1]["raw_path"], app.scopes[1]["path"]) == (b"/%65cho", "/echo")
    assert app.events == ["startup", "shutdown"]


def test_an_application_without_a_lifespan() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    with running(app) as http:
        assert http.get("/").status_code == 204


def test_big_bodies_flow_without_being_held() -> None:
    app = App()
    with running(app) as http:
        parts = (b"y" * 65536 for _ in range(1024))
        assert http.put("/count", content=parts).text == str(64 * MEGABYTE)
        assert app.most_ahead <= 2 * MEGABYTE
        app.most_ahead = 0
        size = 0
        with http.stream("GET", "/big") as response:
            for piece in response.iter_raw():
                size += len(piece)
                app.taken = size // MEGABYTE
        assert size == 64 * MEGABYTE
        assert app.most_ahead <= 4


def test_an_answer_before_the_body_was_read() -> None:
    with running(App()) as http:
        parts = (b"y" * 65536 for _ in range(1024))
        assert http.put("/early", content=parts).status_code == 400


def test_leaving_early_tells_the_application() -> None:
    app = App()
    with running(app) as http:
        with http.stream("GET", "/big") as response:
            next(response.iter_raw())
        assert http.get("/echo").status_code == 201
    assert "caller left" in app.events


def test_a_caller_who_leaves_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            if scope["path"] == "/wrapped":
                try:
                    await send({"type": "http.response.body", "body": b"x"})
                except OSError:
                    raise RuntimeError from None
            elif scope["path"] == "/defect":
                raise OSError("Doe")
            await send({"type": "http.response.body", "body": b"x"})
        finally:
            ended.set()

    with running(app) as http:
        for path in ("/plain", "/wrapped", "/defect"):
            ended.clear()
            with http.stream("GET", path):
                pass
            assert ended.wait(10)
    failures = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert failures == ["the application in this process failed: OSError"]


def test_a_defect_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with running(App()) as http:
        response = http.get("/fails")
        assert (response.status_code, response.text) == (500, "Internal Server Error")
        with pytest.raises(httpx.ReadError, match="failed while it answered"):
            http.get("/breaks")
    assert "ValueError" in caplog.text
    assert "Doe" not in caplog.text


def test_time_outs_and_disconnects() -> None:
    app = App()
    with running(app) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.get("/never", timeout=0.05)
        assert http.get("/echo").status_code == 201
    assert "http.disconnect" in app.events


def test_a_body_that_nobody_takes_runs_into_its_time_out() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (await receive())["type"] != "http.disconnect":
            stop.wait(5)

    stop = threading.Event()
    transport = InProcessTransport(app)
    with httpx.Client(transport=transport, timeout=0.05) as http:
        with pytest.raises(httpx.TimeoutException):
            http.put("http://x/", content=(b"y" * MEGABYTE for _ in range(8)))
        stop.set()


def test_interrupt_wakes_the_caller() -> None:
    app = App()
    transport = InProcessTransport(app)
    caught: list[BaseException] = []
    with Client(httpx.Client(transport=transport), interruptible=transport) as client:

        def work() -> None:
            try:
                client.send(Request("GET", "http://emulator.local", "/never"))
            except CancelledError as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 5
        while not app.scopes and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        client.abort()
        thread.join(5)
        assert len(caught) == 1
        client.cancel.clear()
        assert client.send(Request("GET", "http://emulator.local", "/echo")).status == 201


def test_nobody_comes_to_wait_after_an_abort() -> None:
    class Aborting:
        def headers(self, url: str) -> Mapping[str, str]:
            client.abort()
            return {}

        def renew(self, refused: Mapping[str, str]) -> bool:
            return False

    transport = InProcessTransport(App())
    http = httpx.Client(transport=transport)
    with Client(http, authorizer=Aborting(), interruptible=transport) as client:
        with pytest.raises(CancelledError):
            client.send(Request("GET", "http://emulator.local", "/never"))
        assert not transport._exchanges


def test_close_breaks_off_what_is_under_way_and_may_be_called_again() -> None:
    transport = InProcessTransport(App())
    errors: list[BaseException] = []

    def work() -> None:
        try:
            httpx.Client(transport=transport).get("http://x/never")
        except httpx.ReadError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not transport._exchanges:
        threading.Event().wait(0.005)
    transport.close()
    transport.close()
    thread.join(5)
    assert len(errors) == 1
    with pytest.raises(httpx.ConnectError, match="closed"):
        transport.handle_request(httpx.Request("GET", "http://x/"))


def test_many_threads_at_once() -> None:
    results: list[bytes] = []
    with running(App()) as http:

        def work(number: int) -> None:
            for _ in range(20):
                body = str(number).encode() * 10
                assert http.post("/echo", content=body).content == body
                results.append(body)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 160


def test_an_application_that_does_not_start() -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the folder is damaged"})

    with pytest.raises(OperationalError, match="the folder is damaged"):
        InProcessTransport(refuses)

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback"})
        raise RuntimeError("the folder is damaged")

    with pytest.raises(RuntimeError, match="the folder is damaged"):
        InProcessTransport(raises)


def fake_emulator(monkeypatch: pytest.MonkeyPatch, create_app: Callable[[Path], Any]) -> type:
    class EmulatorError(Exception):
        pass

    for name, member in (("app", create_app), ("errors", EmulatorError)):
        module = ModuleType(f"dicomsql.emulator.{name}")
        setattr(module, "create_app" if name == "app" else "EmulatorError", member)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return EmulatorError


def test_open_local_runs_the_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    roots: list[Path] = []

    def create_app(root: Path) -> App:
        roots.append(root)
        return App()

    fake_emulator(monkeypatch, create_app)
    with httpx.Client(transport=open_local(tmp_path)) as http:
        assert http.get("http://x/echo").status_code == 201
    assert roots == [tmp_path]


def test_open_local_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def create_app(root: Path) -> App:
        raise error("The folder is of a newer version.")

    error = fake_emulator(monkeypatch, create_app)
    with pytest.raises(OperationalError, match="newer version"):
        open_local(tmp_path)


def test_open_local_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "dicomsql.emulator.app", None)
    with pytest.raises(InterfaceError, match=r'pip install "dicomsql\[emulator\]"'):
        open_local(tmp_path)
