"""The emulator as a server of its own, on uvicorn, until it is interrupted."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dicomsql.emulator.errors import EmulatorError

_GRACE = 3  # seconds that requests under way get to end


def serve(
    root: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    verbose: bool = False,
    ready: Callable[[str], None],
    operation_delay: float = 0.0,
) -> None:
    """Serve a folder until SIGINT or SIGTERM, then close it and return.

    Args:
        port: 0 for any free one.
        verbose: one line a request on standard error: method, path template, parameter names,
            status and milliseconds; no values.
        ready: called with the URL once connections are accepted.
        operation_delay: seconds until the deletion of a study or series is reported as done.

    Raises:
        EmulatorError: the folder or the address cannot be used.
    """
    import uvicorn

    from dicomsql.emulator.app import create_app

    log = (lambda line: print(line, file=sys.stderr, flush=True)) if verbose else None
    app = create_app(root, operation_delay=operation_delay, log=log)
    try:
        app.state.sweep()
        listener = _listen(host, port)
        url = _url(host, listener.getsockname()[1])

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    ready(url)

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                # uvicorn raises the signal again once it has stopped; here its work is done
                with _handled(self.handle_exit):
                    yield

        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
        )
        with listener:
            Server(config).run(sockets=[listener])
    finally:
        app.state.close()


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
