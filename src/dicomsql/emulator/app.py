"""The ASGI application: which path and verb is which method, and how its answer goes out.

Every method is an ordinary function that runs on a worker thread, so that neither SQLite nor pixels
keep the event loop; request bodies are pulled from the loop piece by piece.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

import anyio.from_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from dicomsql.emulator import answers, encoding
from dicomsql.emulator import partial as partial_response
from dicomsql.emulator.call import Call, check_parameters
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.faults import check_seconds
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.front import Front, origin_of
from dicomsql.emulator.jobs import Context, Runner
from dicomsql.emulator.methods import FIELDS, METHODS, Method
from dicomsql.emulator.neighbours.base import Neighbours
from dicomsql.emulator.status import StatusError, invalid, of_folder
from dicomsql.emulator.work import KINDS

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
    root: Path,
    *,
    operation_delay: float = 0.0,
    base_url: str = "",
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    log: Log | None = None,
    neighbours: Neighbours | None = None,
    environment: Mapping[str, str] | None = None,
) -> Starlette:
    """A local Cloud Healthcare API over a folder.

    `app.state.close()` stops what runs in the background and closes the folder; call it when no
    request is under way any more. The end of the application's lifespan does it too.
    `app.state.interrupt()` lets requests end that take long; nothing but `close` is to follow it.

    Args:
        root: the folder; made if it does not exist.
        operation_delay: seconds that a long-running operation takes at least.
        base_url: scheme and host for the URLs in answers; those of the request if empty.
        hosts: names of hosts that requests may be sent to besides `localhost` and local addresses,
            in lower case; None to take any, where no network leads to the application.
        origins: of pages that may use it from a browser, such as `http://localhost:3000`.
        log: gets one line a request, with the path's template and the parameters' names only, and
            one for each operation that ends.
        neighbours: the services beside the stores; those in the folder, or where the environment
            says, if they are not given.
        environment: that of the process, if it is not given.

    Raises:
        EmulatorError: the folder cannot be used. Nothing in it has then been changed.
    """
    from dicomsql.emulator.neighbours import connect, projects, serviceusage

    check_seconds("operation delay", operation_delay)
    allowed = [origin_of(origin) for origin in origins]
    folder = Folder(root)
    try:
        beside = neighbours or connect.neighbours(
            root, os.environ if environment is None else environment
        )
    except BaseException:
        folder.close()
        raise
    runner = Runner(Context(folder, beside), KINDS, delay=operation_delay, log=log)
    service = _Service(folder, beside, runner, base_url.rstrip("/"), log)

    def close() -> None:
        runner.close()
        beside.close()
        folder.close()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(close)

    app = Starlette(
        routes=[
            Route(
                f"/{version}/" + re.sub(r"\{(\w+)(\*?)\}", _convert, method.path),
                service.endpoint(method, version),
                methods=[method.verb],
            )
            for method in METHODS
            for version in method.versions
        ]
        + [
            service.beside(route)
            for route in (
                *connect.routes(beside),
                *serviceusage.routes(folder),
                *projects.routes(folder),
            )
        ],
        lifespan=lifespan,
        middleware=[
            *_cors(allowed),
            Middleware(Front, hosts=hosts, origins=allowed, log=log),
        ],
        exception_handlers={HTTPException: service.no_such_path},
    )
    app.router.redirect_slashes = False
    app.state.close = close
    app.state.interrupt = beside.interrupt
    app.state.sweep = folder.sweep
    app.state.runner = runner
    runner.resume()
    return app


def _cors(origins: list[str]) -> list[Middleware]:
    """What answers browsers' questions before they let these pages ask, and read the answers."""
    if not origins:
        return []
    verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    shown = ["content-length", "content-range", "location", "x-goog-hash"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=verbs,
            allow_headers=["*"],
            expose_headers=shown,
        )
    ]


class _Service:
    """Turns requests into calls, and what they return or raise into answers."""

    def __init__(
        self,
        folder: Folder,
        neighbours: Neighbours,
        runner: Runner,
        base_url: str,
        log: Log | None,
    ) -> None:
        self._folder = folder
        self._neighbours = neighbours
        self._runner = runner
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

    def beside(self, route: Route) -> Route:
        """A neighbour's route, with its requests in the log as those of the stores are."""
        template = re.sub(r":(name|path)\}", "}", route.path)

        async def answer(request: Request) -> Response:
            started = time.perf_counter()
            response: Response = await route.endpoint(request)
            return self._logged(request, template, response, started)

        return Route(route.path, answer, methods=sorted(route.methods or ()))

    async def no_such_path(self, request: Request, _: Exception) -> Response:
        """A path or a verb that is in no version of the API: 404 in both cases, as Google."""
        status = StatusError("NOT_FOUND", "The requested URL was not found on this server.")
        answer = answers.failure(status, answers.style(request.query_params.multi_items()))
        return self._logged(request, "(unknown)", answer, time.perf_counter())

    def _call(self, request: Request, version: str, template: str) -> Call:
        headers = _headers(request)
        return Call(
            folder=self._folder,
            version=version,
            template=template,
            names=request.path_params,
            query=tuple(request.query_params.multi_items()),
            headers=headers,
            origin=self._base_url or _origin(request),
            neighbours=self._neighbours,
            runner=self._runner,
            chunks=partial(encoding.decoded, partial(_chunks, request), headers),
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
    form = answers.style(call.query)
    try:
        return _answer(method, call, form)
    except StatusError as error:
        return answers.failure(error, form)
    except RecursionError:
        return answers.failure(invalid("The request is nested too deeply."), form)
    except EmulatorError as error:
        return answers.failure(StatusError("UNAVAILABLE", str(error)), form)
    except FileNotFoundError:
        status = StatusError("DATA_LOSS", "The file of a stored instance is missing.")
    except (sqlite3.Error, OSError) as error:
        status = of_folder(error)
    return answers.failure(status, form)


def _answer(method: Method, call: Call, form: answers.Style) -> Response:
    answers.check_system(call.query)
    if method.parameters is not None:
        check_parameters(call, method.parameters)
    answer = method.handler(call)
    if isinstance(answer, Response):
        return answer
    fields = call.parameter("fields") or call.parameter("$fields")
    selected = partial_response.select(answer, fields, FIELDS) if fields else answer
    return answers.success(selected, form)


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
