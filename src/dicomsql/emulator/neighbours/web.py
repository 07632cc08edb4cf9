"""The neighbours' side of HTTP: requests whose bodies may be long, and answers in Google's form."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from dicomsql.emulator import partial as partial_response
from dicomsql.emulator.call import COMMON_PARAMETERS
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.neighbours.base import NeighbourError
from dicomsql.emulator.status import (
    HTTP_STATUS,
    StatusError,
    invalid,
    invalid_field,
    of_folder,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

__all__ = ["Ask", "Handler", "Method", "route", "server", "unimplemented"]

_BODY_LIMIT = 10 * 1024 * 1024  # of a body of JSON
# Google's first form of failures, which Cloud Storage and BigQuery still answer in
_REASONS = {
    "INVALID_ARGUMENT": "invalid",
    "FAILED_PRECONDITION": "invalid",
    "PERMISSION_DENIED": "accessDenied",
    "NOT_FOUND": "notFound",
    "ALREADY_EXISTS": "duplicate",
    "UNIMPLEMENTED": "notImplemented",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        verb: `GET` and so on.
        path: as it was sent, still encoded.
        names: the values of the path's variables.
        query: the parameters in the order in which they came.
        headers: by lower-case name.
        origin: scheme and host for URLs in answers.
        chunks: gives the body, once.
        gone: whether nobody waits for the answer any more; once the body was read.
    """

    verb: str
    path: str
    names: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    origin: str
    chunks: Callable[[], Iterator[bytes]]
    gone: Callable[[], bool] = lambda: False

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's segments, each decoded by itself: an encoded slash divides nothing."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))

    def parameter(self, name: str) -> str:
        """A query parameter's value, or an empty text.

        Raises:
            StatusError: it was given more than once.
        """
        values = [value for key, value in self.query if key == name]
        if len(values) > 1:
            raise invalid(f"The parameter {name} was given {len(values)} times; give it once.")
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A parameter that is `true` or `false`; false where it is not there."""
        return self.parameter(name).lower() in {"true", "1"}

    def number(self, name: str, default: int, largest: int) -> int:
        """A parameter that is a number from 0; at most `largest`, whatever it says.

        Raises:
            StatusError: it is none.
        """
        text = self.parameter(name)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise invalid(f"Invalid value for {name}: a number from 0 is needed.")
        return min(int(text), largest)

    def content(self) -> bytes:
        """The body, where it is a small one."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > _BODY_LIMIT:
                raise invalid(f"Request payload size exceeds the limit: {_BODY_LIMIT} bytes.")
        return bytes(found)

    def body(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one where there is none.

        Raises:
            StatusError: it is none.
        """
        return json_object(self.content())


Handler = Callable[[Ask], "Response | dict[str, Any]"]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a neighbour.

    Attributes:
        path: `{name}` is one segment, `{name*}` the rest.
        parameters: those that it has beside those of all methods; None where it takes any.
    """

    verbs: str
    path: str
    handler: Handler
    parameters: frozenset[str] | None = frozenset()


def unimplemented(verbs: str, path: str) -> Method:
    """A method that is not emulated."""

    def refuse(ask: Ask) -> dict[str, Any]:
        raise StatusError(
            "UNIMPLEMENTED", f"The emulator does not implement {ask.verb} {ask.path}."
        )

    return Method(verbs, path, refuse, None)


def route(method: Method) -> Route:
    """A method as a route, whose handler runs on a worker thread."""
    from starlette.routing import Route

    return Route(
        re.sub(r"\{(\w+)(\*?)\}", _convert, method.path),
        _endpoint(method),
        methods=method.verbs.split(),
    )


def server(value: str, name: str) -> str:
    """The root URL of a server from a variable of the environment; empty for none.

    Raises:
        EmulatorError: it is no address.
    """
    if not value:
        return ""
    text = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise EmulatorError(
            f"{name} names no server. Give it as http://HOST:PORT, or leave the variable away."
        )
    return text.rstrip("/")


def json_object(content: bytes) -> dict[str, Any]:
    """A body as a JSON object; an empty one where there is none.

    Raises:
        StatusError: it is none.
    """
    if not content.strip():
        return {}
    try:
        found = json.loads(content, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid("Invalid JSON payload received. The body is no JSON object.")
    return found


def known(body: Mapping[str, Any], fields: Iterable[str], refused: Iterable[str] = ()) -> None:
    """Refuse members that a message does not have (400), and those that are not emulated (501)."""
    unknown = sorted(set(body) - set(fields) - set(refused))
    if unknown:
        shown = unknown[0] if re.fullmatch(r"\w{1,80}", unknown[0]) else "?"
        raise invalid_field(
            "", f'Invalid JSON payload received. Unknown name "{shown}": Cannot find field.'
        )
    for name in sorted(set(body) & set(refused)):
        if body[name] not in (None, False, "", {}, []):
            raise StatusError("UNIMPLEMENTED", f"The emulator does not implement {name} yet.")


def _endpoint(method: Method) -> Callable[[Request], Awaitable[Response]]:
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    async def answer(request: Request) -> Response:
        ask = Ask(
            verb=request.method,
            path=_raw_path(request),
            names=request.path_params,
            query=tuple(request.query_params.multi_items()),
            headers=dict(request.headers.items()),
            origin=f"{request.url.scheme}://{request.url.netloc}",
            chunks=partial(_chunks, request),
            gone=partial(_gone, request),
        )
        try:
            return await run_in_threadpool(_run, method, ask)
        except ClientDisconnect:
            return Response(status_code=499)

    return answer


def _run(method: Method, ask: Ask) -> Response:
    from starlette.responses import Response

    try:
        if method.parameters is not None:
            for name, _ in ask.query:
                if name not in method.parameters and name not in COMMON_PARAMETERS:
                    shown = name if re.fullmatch(r"[\w.$-]{1,80}", name) else "?"
                    raise invalid(f'Unknown name "{shown}": Cannot bind query parameter.')
        answer = method.handler(ask)
        if isinstance(answer, Response):
            return answer
        fields = ask.parameter("fields") or ask.parameter("$fields")
        return as_json(partial_response.select(answer, fields) if fields else answer)
    except StatusError as error:
        return _failure(error)
    except NeighbourError as error:
        return _failure(StatusError(error.status, error.message))
    except EmulatorError as error:
        return _failure(StatusError("UNAVAILABLE", str(error)))
    except RecursionError:
        return _failure(invalid("The request is nested too deeply."))
    except (sqlite3.Error, OSError) as error:
        return _failure(of_folder(error))


def as_json(answer: Any, status: int = 200) -> Response:
    """An answer of JSON."""
    from starlette.responses import Response

    text = json.dumps(answer, ensure_ascii=False, indent=2) + "\n"
    return Response(text, status, media_type="application/json; charset=utf-8")


def _failure(error: StatusError) -> Response:
    body = error.body()
    reason = _REASONS.get(error.status, "backendError")
    if error.http == 412:
        reason = "conditionNotMet"
    body["error"]["errors"] = [{"message": error.message, "domain": "global", "reason": reason}]
    return as_json(body, error.http)


def http_status(status: str) -> int:
    """The HTTP status that a google.rpc.Code is answered by."""
    return HTTP_STATUS.get(status, 500)


def _raw_path(request: Request) -> str:
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    path: str = raw.split(b"?")[0].decode("ascii", "replace")
    return path


def _chunks(request: Request) -> Iterator[bytes]:
    """The request's body, for a worker thread."""
    import anyio.from_thread

    stream = request.stream()
    while True:
        chunk = anyio.from_thread.run(_next, stream)
        if chunk is None:
            return
        if chunk:
            yield chunk


def _gone(request: Request) -> bool:
    """Whether the client has left, or the server is about to, for a worker thread."""
    import anyio.from_thread

    try:
        return anyio.from_thread.run(request.is_disconnected)
    except (CancelledError, RuntimeError):
        return True


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    return await anext(stream, None)


def _convert(match: re.Match[str]) -> str:
    return "{" + match[1] + (":path}" if match[2] else ":name}")


def _refuse(name: str) -> Any:
    raise ValueError(name)
