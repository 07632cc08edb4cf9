"""The ASGI application: which path and verb is which method, and how its answer goes out.

Every method is an ordinary function that runs on a worker thread, so that neither SQLite nor pixels
keep the event loop; request bodies are pulled from the loop piece by piece.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from dicomsql.emulator import partial as partial_response
from dicomsql.emulator.call import Call, check_parameters
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.methods import METHODS, Method
from dicomsql.emulator.status import StatusError, invalid

Log = Callable[[str], None]


class _Name(Convertor[str]):
    """One segment of a path. A colon begins a custom verb and is in no name."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


def create_app(
    root: Path, *, operation_delay: float = 0.0, base_url: str = "", log: Log | None = None
) -> Starlette:
    """A local Cloud Healthcare API over a folder.

    `app.state.close()` closes the folder; call it when no request is under way any more.

    Args:
        root: the folder; made if it does not exist.
        operation_delay: seconds until the deletion of a study or series is reported as done.
        base_url: scheme and host for the URLs in answers; those of the request if empty.
        log: gets one line a request, with the path's template and the parameters' names only.

    Raises:
        EmulatorError: the folder cannot be used. Nothing in it has then been changed.
    """
    folder = Folder(root)
    service = _Service(folder, operation_delay, base_url.rstrip("/"), log)
    app = Starlette(
        routes=[
            Route(
                f"/{version}/" + re.sub(r"\{(\w+)(\*?)\}", _convert, method.path),
                service.endpoint(method, version),
                methods=[method.verb],
            )
            for version in ("v1", "v1beta1")
            for method in METHODS
        ],
        exception_handlers={HTTPException: service.no_such_path},
    )
    app.router.redirect_slashes = False
    app.state.close = folder.close
    app.state.sweep = folder.sweep
    return app


class _Service:
    """Turns requests into calls, and what they return or raise into answers."""

    def __init__(
        self, folder: Folder, operation_delay: float, base_url: str, log: Log | None
    ) -> None:
        self._folder = folder
        self._operation_delay = operation_delay
        self._base_url = base_url
        self._log = log

    def endpoint(self, method: Method, version: str) -> Callable[[Request], Awaitable[Response]]:
        template = f"/{version}/{method.path}"

        async def answer(request: Request) -> Response:
            started = time.perf_counter()
            call = self._call(request, version, template)
            try:
                response = await run_in_threadpool(_run, method, call)
            except ClientDisconnect:
                response = Response(status_code=499)
            return self._logged(request, template, response, started)

        return answer

    async def no_such_path(self, request: Request, _: Exception) -> Response:
        """A path or a verb that is in no version of the API: 404 in both cases, as Google."""
        status = StatusError("NOT_FOUND", "The requested URL was not found on this server.")
        return self._logged(request, "(unknown)", _failure(status), time.perf_counter())

    def _call(self, request: Request, version: str, template: str) -> Call:
        return Call(
            folder=self._folder,
            version=version,
            template=template,
            names=request.path_params,
            query=tuple(request.query_params.multi_items()),
            headers=_headers(request),
            origin=self._base_url or _origin(request),
            operation_delay=self._operation_delay,
            chunks=partial(_chunks, request),
        )

    def _logged(
        self, request: Request, template: str, response: Response, started: float
    ) -> Response:
        if self._log is None:
            return response
        names = sorted({_shown(name) for name in request.query_params})
        milliseconds = (time.perf_counter() - started) * 1000
        question = "?" + "&".join(names) if names else ""
        self._log(
            f"{request.method} {template}{question} {response.status_code} {milliseconds:.0f} ms"
        )
        return response


def _run(method: Method, call: Call) -> Response:
    try:
        if method.parameters is not None:
            check_parameters(call, method.parameters)
        answer = method.handler(call)
        if isinstance(answer, Response):
            return answer
        fields = call.parameter("fields") or call.parameter("$fields")
        return _json(partial_response.select(answer, fields) if fields else answer, 200)
    except StatusError as error:
        return _failure(error)
    except RecursionError:
        return _failure(invalid("The request is nested too deeply."))
    except EmulatorError as error:
        return _failure(StatusError("UNAVAILABLE", str(error)))
    except sqlite3.OperationalError as error:
        locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        reason = "busy with another process" if locked else "not usable (disk full or damaged?)"
        return _failure(StatusError("UNAVAILABLE", f"The emulator's index is {reason}."))
    except sqlite3.DatabaseError:
        return _failure(StatusError("DATA_LOSS", "The emulator's index is damaged."))
    except FileNotFoundError:
        return _failure(StatusError("DATA_LOSS", "The file of a stored instance is missing."))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _failure(StatusError("INTERNAL", f"The emulator's folder failed: {reason}."))


def _json(answer: Any, status: int) -> Response:
    content = json.dumps(answer, ensure_ascii=False, indent=2)
    return Response(content + "\n", status, media_type="application/json; charset=utf-8")


def _failure(error: StatusError) -> Response:
    return _json(error.body(), error.http)


def _headers(request: Request) -> Mapping[str, str]:
    """Headers by name; one that is repeated, such as Accept, is joined as RFC 9110 has it."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _origin(request: Request) -> str:
    """Scheme and host as the client sees them."""
    netloc = request.url.netloc
    host, port = request.scope.get("server") or ("", None)
    if netloc == host and port not in {None, 80, 443}:
        # dicomweb-client sends a Host header without the port
        netloc = f"{host}:{port}"
    return f"{request.url.scheme}://{netloc}"


def _chunks(request: Request) -> Iterator[bytes]:
    """The request's body, for a worker thread."""
    stream = request.stream()
    while True:
        chunk = anyio.from_thread.run(_next, stream)
        if chunk is None:
            return
        if chunk:
            yield chunk


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    return await anext(stream, None)


def _convert(match: re.Match[str]) -> str:
    return "{" + match[1] + (":path}" if match[2] else ":name}")


def _shown(name: str) -> str:
    plain = re.fullmatch(r"\$?[A-Za-z][A-Za-z0-9_.]{0,63}|[0-9A-Fa-f]{8}", name)
    return name if plain else "(other)"
