"""The emulator as a server, on uvicorn, until it is interrupted or told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.faults import CONNECTION, Behaviour, Misbehaving

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol

_GRACE = 3  # seconds that requests under way get to end
# Seconds that a quiet connection is kept, as long as Google's front does: its client does not ask
# again on a new one when a POST meets the end of the old.
_KEPT = 600
# SO_LINGER with no time: closing resets the connection instead of ending it
_RESET = struct.pack("ii", 1, 0)


def serve(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    verbose: bool = False,
    ready: Callable[[str], None],
    operation_delay: float = 0.0,
    behaviour: Behaviour | None = None,
) -> None:
    """Serve a folder until SIGINT or SIGTERM, then close it and return.

    Args:
        port: 0 for any free one.
        hosts: names under which it may be asked besides `localhost`, `host` and local addresses.
        origins: of pages that may use it from a browser, such as `http://localhost:3000`.
        verbose: one line a request on standard error: method, path template, parameter names,
            status and milliseconds; no values.
        ready: called with the URL once connections are accepted.
        operation_delay: seconds that a long-running operation takes at least.
        behaviour: how it misbehaves, if it does.

    Raises:
        EmulatorError: the folder or the address cannot be used.
    """
    log = (lambda line: print(line, file=sys.stderr, flush=True)) if verbose else None
    server = Server(
        root,
        host=host,
        port=port,
        hosts=hosts,
        origins=origins,
        operation_delay=operation_delay,
        behaviour=behaviour or Behaviour(),
        log=log,
    )
    server.run(lambda: ready(server.url))


class Server:
    """A folder at an address, which is taken as soon as this is made.

    `run` closes what this holds, as does `close` where it was never run.

    Args:
        root, origins, operation_delay, log: as of `create_app`.
        host, port, hosts, behaviour: as of `serve`.

    Raises:
        EmulatorError: the folder or the address cannot be used.

    Attributes:
        url: where it answers.
        app: the application, without what makes it misbehave.
        misbehaving: what makes it misbehave, if it does.
        loop: the one that it runs on, once it does.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        operation_delay: float = 0.0,
        behaviour: Behaviour,
        log: Callable[[str], None] | None = None,
    ) -> None:
        import uvicorn

        from dicomsql.emulator.app import create_app
        from dicomsql.emulator.front import LARGEST_HEAD

        allowed = frozenset(name.lower() for name in (host, *hosts))
        self._listener = _listen(host, port)
        try:
            self.url = _url(host, self._listener.getsockname()[1])
            self.app: Starlette = create_app(
                root,
                operation_delay=operation_delay,
                hosts=allowed,
                origins=origins,
                log=log,
                environment=_of_others(os.environ, self.url),
            )
        except BaseException:
            self._listener.close()
            raise
        try:
            self.app.state.sweep()
        except BaseException:
            self.close()
            raise
        self.misbehaving = Misbehaving(self.app, behaviour, log=log) if behaviour else None
        self.loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            self.misbehaving or self.app,
            # of the servers' two, the one that bounds what it holds of a request's head
            http=_breakable() if self.misbehaving else "h11",
            h11_max_incomplete_event_size=LARGEST_HEAD,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE,
            timeout_keep_alive=_KEPT,
            server_header=False,
        )
        self._uvicorn = _uvicorn(config, self._release)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until `stop`, in the main thread also until SIGINT or SIGTERM.

        No thread of it is left when it returns, and the folder is closed.

        Args:
            ready: called once connections are accepted.
        """

        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            self._uvicorn.ready = ready
            await self._uvicorn.serve(sockets=[self._listener])

        try:
            asyncio.run(main())
        finally:
            self.app.state.interrupt()
            self._join_workers()
            self.close()

    def stop(self) -> None:
        """Let `run` end; from any thread."""
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Close the address and the folder of a server that does not run."""
        self._listener.close()
        self.app.state.close()

    def _release(self) -> None:
        """Let requests under way end: those that wait at once, those that work in a while."""
        if self.misbehaving is not None:
            self.misbehaving.release()
        if self.loop is not None:
            self.loop.call_later(_GRACE, self.app.state.interrupt)

    def _join_workers(self) -> None:
        """Wait for the threads that handled requests, which may still use the folder."""
        for thread in threading.enumerate():
            # anyio tells its threads to end, and does not wait until they have
            if self.loop is not None and getattr(thread, "loop", None) is self.loop:
                thread.join()


class _Connection:
    """A connection of uvicorn's, for faults."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def reset(self) -> None:
        of = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is gone already
            of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def end(self) -> None:
        self._transport.close()


def _breakable() -> type[H11Protocol]:
    """uvicorn's own protocol, with the connection in the scope of each request."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            app, connection = self.app, _Connection(transport)

            async def extended(scope: Any, receive: Any, send: Any) -> None:
                extensions = {**scope.get("extensions", {}), CONNECTION: connection}
                await app({**scope, "extensions": extensions}, receive, send)

            self.app = extended

    return Protocol


def _uvicorn(config: Config, release: Callable[[], None]) -> Any:
    """A server of uvicorn's that says when it is ready and lets go of what waits when it ends."""
    import uvicorn

    class Server(uvicorn.Server):
        ready: Callable[[], None]

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                self.ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            release()
            await super().shutdown(sockets)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again once it has stopped; here its work is done
            with _handled(self.handle_exit):
                yield

    return Server(config)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EmulatorError(
            f"Cannot listen on {host}:{port}: {reason}. Give another port, or 0 for any free one."
        ) from error
    return listener


def _of_others(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """The environment without the variables that lead back here.

    Google's clients find us by the same variables that name other servers to us, so that a shell in
    which both are started has them.
    """
    from dicomsql.emulator.neighbours.connect import VARIABLES

    here = urlsplit(url)

    def leads_here(value: str) -> bool:
        try:
            there = urlsplit(value if "://" in value else f"http://{value}")
            name = there.hostname or ""
            return there.port == here.port and (name == here.hostname or _is_loopback(name))
        except ValueError:
            return False  # no address, as the reader of the variable says

    return {
        name: value
        for name, value in environment.items()
        if name not in VARIABLES or not leads_here(value)
    }


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM; in a thread that is not the main one, signals are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
