"""An ASGI application in this process as an httpx transport: one loop thread, no socket.

Bodies flow both ways in pieces, and no more than a bounded part of one is ever held: the side that
is ahead waits for the other.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from dicomsql.errors import InterfaceError, OperationalError
from dicomsql.transport.scope import Waits
from dicomsql.waiting import wait_until

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

# Bytes of one body that may wait for the other side, in each direction.
_ROOM = 1 << 20
# Seconds that the application gets to start and to stop.
_LIFESPAN_TIMEOUT = 30.0
_DEFAULT_TIMEOUT = 120.0

_log = logging.getLogger(__name__)


def open_local(root: Path) -> InProcessTransport:
    """The emulator on a folder, in this process.

    Raises:
        InterfaceError: the extra `emulator` is not installed.
        OperationalError: the emulator cannot use the folder.
    """
    try:
        from dicomsql.emulator.app import create_app
        from dicomsql.emulator.errors import EmulatorError
    except ModuleNotFoundError as error:
        raise InterfaceError(
            f"The embedded emulator needs the package {error.name}, which is not installed: "
            'pip install "dicomsql[emulator]".'
        ) from error
    try:
        return InProcessTransport(create_app(root))
    except EmulatorError as error:
        raise OperationalError(str(error)) from error


class InProcessTransport(httpx.BaseTransport):
    """Runs an ASGI application on a thread of its own and sends it httpx's requests.

    Safe for many threads. `close` ends the application and its thread.

    Parameters:
        app: the application (ASGI 3). Its lifespan is started here and ended by `close`.

    Raises:
        Whatever the application raises while it starts.
        OperationalError: the application says that it could not start, or does not start in time.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._exchanges: set[_Exchange] = set()
        self._lock = threading.RLock()
        self._closed = False
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="dicomsql-local", daemon=True)
        self._thread.start()
        if not self._started.wait(_LIFESPAN_TIMEOUT):
            raise OperationalError("The application in this process did not start in time.")
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the application; returns when it has begun to answer."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        loop = self._loop
        with self._lock:
            if self._closed or loop is None:
                raise httpx.ConnectError("the application in this process has been closed")
            timeouts = request.extensions.get("timeout") or {}
            exchange = _Exchange(loop, timeouts)
            self._exchanges.add(exchange)
            loop.call_soon_threadsafe(self._spawn, exchange, _scope(request, self._state))
        waits: Waits = request.extensions.get("waits") or Waits()
        waits.add(exchange, exchange.break_off)

        def forget() -> None:
            waits.discard(exchange)
            self._forget(exchange)

        try:
            # As httpcore does it: whoever listens may break off before the wait begins.
            trace = request.extensions.get("trace")
            if trace is not None:
                trace("in_process.send_request_headers.started", {"request": request})
            exchange.send_body(request.stream)
            status, headers = exchange.wait_for_start()
        except BaseException:
            exchange.leave()
            forget()
            raise
        stream = _BodyStream(exchange, forget)
        return httpx.Response(status, headers=headers, stream=stream)

    def interrupt(self) -> None:
        """Break off every exchange that is under way; their threads get a ReadError."""
        with self._lock:
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.break_off()

    def close(self) -> None:
        """End the application; its thread is gone when this returns."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.interrupt()
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _forget(self, exchange: _Exchange) -> None:
        with self._lock:
            self._exchanges.discard(exchange)

    def _spawn(self, exchange: _Exchange, scope: Message) -> None:
        assert self._loop is not None
        task = self._loop.create_task(exchange.run(self._app, scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        lifespan = _Lifespan(self._app, self._state)
        await lifespan.startup()
        self._started.set()
        await self._stop.wait()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await lifespan.shutdown()


class _Lifespan:
    """The application's start and end (ASGI's lifespan protocol)."""

    def __init__(self, app: Application, state: dict[str, Any]) -> None:
        self._app = app
        self._scope: Message = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start; an application without a lifespan is one that is already there."""
        self._task = asyncio.create_task(self._call())
        answer = await self._say("lifespan.startup")
        if answer is None:
            # It refuses the scope, in whatever way; that is how servers understand it too.
            _log.debug("no lifespan: %s", type(self._task.exception()).__name__)
        elif answer["type"] == "lifespan.startup.failed":
            await asyncio.wait([self._task], timeout=_LIFESPAN_TIMEOUT)
            error = self._task.exception() if self._task.done() else None
            raise error or OperationalError(
                f"The application in this process did not start: {answer.get('message', '')}"
            )

    async def shutdown(self) -> None:
        """End, and wait for it."""
        if self._task is not None and not self._task.done():
            await self._say("lifespan.shutdown")
            await asyncio.wait([self._task], timeout=_LIFESPAN_TIMEOUT)

    async def _say(self, kind: str) -> Message | None:
        """The application's answer to a message; None where it ended instead."""
        assert self._task is not None
        self._inbox.put_nowait({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait(
            [answer, self._task], timeout=_LIFESPAN_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        if answer.done():
            return answer.result()
        answer.cancel()
        if not self._task.done():
            self._task.cancel()
            raise OperationalError("The application in this process did not answer in time.")
        return None

    async def _call(self) -> None:
        await self._app(self._scope, self._inbox.get, self._answers.put)


class _Exchange:
    """One request and its answer, between the caller's thread and the loop's.

    The caller's side waits on a condition; the loop's side waits on asyncio events, which the
    caller sets through the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: MutableMapping[str, Any]) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._changed = threading.Condition()
        # From the caller to the application.
        self._sent: deque[bytes] = deque()
        self._sent_size = 0
        self._sent_all = False
        self._told_end = False
        self._arrived = asyncio.Event()
        # From the application to the caller.
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._answered: deque[bytes] = deque()
        self._answered_size = 0
        self._answered_all = False
        self._room = asyncio.Event()
        # How it ended, if it did not end well.
        self._left = False
        self._ended = False
        self._broken = ""

    # The caller's side.

    def send_body(self, stream: Iterable[bytes]) -> None:
        """Give the request's body to the application, as fast as it takes it."""
        for part in stream:
            with self._changed:
                if self._over():
                    return
                self._sent.append(part)
                self._sent_size += len(part)
                full = self._sent_size > _ROOM
            self._wake(self._arrived)
            if full:
                self._wait(lambda: self._sent_size <= _ROOM or self._over(), "write")
        with self._changed:
            self._sent_all = True
        self._wake(self._arrived)

    def wait_for_start(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers of the answer; 500 where the application failed before it began."""
        self._wait(lambda: bool(self._status) or self._over(), "read")
        with self._changed:
            if self._broken:
                raise httpx.ReadError(self._broken)
            if not self._status:
                # What a server makes of an application's defect; its text could hold anything.
                self._answered.append(b"Internal Server Error")
                self._answered_all = True
                return 500, [(b"content-type", b"text/plain; charset=utf-8")]
            return self._status, self._headers

    def pieces(self) -> Iterator[bytes]:
        """The answer's body."""
        while True:
            self._wait(lambda: bool(self._answered) or self._answered_all or self._over(), "read")
            with self._changed:
                if self._broken:
                    raise httpx.ReadError(self._broken)
                if self._answered:
                    piece = b"".join(self._answered)
                    self._answered.clear()
                    waiting = self._answered_size > _ROOM
                    self._answered_size = 0
                elif self._answered_all:
                    return
                else:
                    raise httpx.ReadError("the application failed while it answered")
            if waiting:
                self._wake(self._room)
            yield piece

    def leave(self) -> None:
        """The caller wants no more of the answer."""
        with self._changed:
            done, self._left = self._left or self._answered_all, True
        if done:
            return
        self._wake(self._arrived)
        self._wake(self._room)

    def break_off(self) -> None:
        """Make the caller, who waits in another thread, fail now."""
        with self._changed:
            self._broken = "the exchange was broken off"
            self._changed.notify_all()
        self.leave()

    def _over(self) -> bool:
        return self._ended or self._left or bool(self._broken)

    def _wait(self, until: Callable[[], bool], kind: str) -> None:
        timeout = self._timeouts.get(kind)
        with self._changed:
            seconds = _DEFAULT_TIMEOUT if timeout is None else timeout
            if wait_until(self._changed, until, seconds):
                return
        raise httpx.ReadTimeout("the application did not answer in time")

    def _wake(self, event: asyncio.Event) -> None:
        try:
            self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            # The loop has ended, and with it whoever could wait there.
            _log.debug("an exchange outlived its loop")

    # The loop's side.

    async def run(self, app: Application, scope: Message) -> None:
        """Let the application answer; its failure is the answer's."""
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - an application may fail in any way
            # Only the kind of failure: its text may repeat what a request held.
            if _is_of_leaving(error):
                _log.debug("the caller left before the answer's end: %s", type(error).__name__)
                return
            _log.error("the application in this process failed: %s", type(error).__name__)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _receive(self) -> Message:
        while True:
            with self._changed:
                if self._sent:
                    part = b"".join(self._sent)
                    self._sent.clear()
                    self._sent_size = 0
                    more = not self._sent_all
                    self._told_end = not more
                    self._changed.notify_all()
                    return {"type": "http.request", "body": part, "more_body": more}
                if self._sent_all and not self._told_end:
                    self._told_end = True
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self._left:
                    return {"type": "http.disconnect"}
                self._arrived.clear()
            await self._arrived.wait()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            with self._changed:
                self._status = message["status"]
                self._headers = [(bytes(k), bytes(v)) for k, v in message.get("headers", ())]
                self._changed.notify_all()
            return
        if kind != "http.response.body":
            return
        body = bytes(message.get("body", b""))
        with self._changed:
            if self._left:
                raise _CallerLeft
            if body:
                self._answered.append(body)
                self._answered_size += len(body)
            if not message.get("more_body", False):
                self._answered_all = True
            full = self._answered_size > _ROOM and not self._answered_all
            self._room.clear()
            self._changed.notify_all()
        if full:
            await self._room.wait()


class _CallerLeft(OSError):
    """What ASGI's `send` raises once nobody listens any more."""


def _is_of_leaving(error: BaseException | None) -> bool:
    """Whether the application ended since the caller had left, and for no defect of its own."""
    while error is not None and not isinstance(error, _CallerLeft):
        error = error.__cause__ or error.__context__
    return error is not None


class _BodyStream(httpx.SyncByteStream):
    """The answer's body as httpx reads it."""

    def __init__(self, exchange: _Exchange, forget: Callable[[], None]) -> None:
        self._exchange = exchange
        self._forget = forget

    def __iter__(self) -> Iterator[bytes]:
        return self._exchange.pieces()

    def close(self) -> None:
        self._exchange.leave()
        self._forget()


def _scope(request: httpx.Request, state: dict[str, Any]) -> Message:
    """The request as ASGI describes it."""
    raw_path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port or 80),
        "state": state.copy(),
    }
