"""What stands before every route: who may ask at all, how long a request's head may be.

A server on a desk can be reached by every page in its user's browser, and by every name that
somebody's name server says is 127.0.0.1. So a request has to name a local host, and if a browser
says which page sent it, that page has to be a local one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from urllib.parse import parse_qsl, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicomsql.emulator import answers
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.status import StatusError, invalid

LONGEST_URL = 32 * 1024
LONGEST_HEADERS = 64 * 1024
# above both, so that what is too long is answered and not cut off by the server below
LARGEST_HEAD = 1024 * 1024

_LONGEST_FORM = 1024 * 1024
_VERBS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_HEALTHCARE = re.compile(r"/v1(?:beta1)?/projects/[^/]*/locations(?:/|$)")
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?/?", re.IGNORECASE)
_ENCODED_SLASH = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)


def is_local(authority: str, also: Collection[str] = ()) -> bool:
    """Whether a host, with or without a port, is this machine or one of its own network.

    An address is a local one where it is not a public one. A name is one only if it is `localhost`
    or one of `also`: a name server can say anything of any other.
    """
    host = re.sub(r":[0-9]*$", "", authority) if not authority.endswith("]") else authority
    host = host.lower().rstrip(".")
    if host in also or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return False


def origin_of(text: str) -> str:
    """An origin as browsers send it.

    Raises:
        EmulatorError: it is none.
    """
    if not _ORIGIN.fullmatch(text):
        raise EmulatorError(
            f"{text!r} is no origin; write it as http://localhost:3000, without a path."
        )
    parts = urlsplit(text.lower().rstrip("/"))
    default = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"


class Front:
    """An ASGI application that lets through to another one what may come through.

    Args:
        hosts: names of hosts that are local besides `localhost` and local addresses; None where
            no network leads here, and every request is let through.
        origins: those whose pages may ask, whatever their sites.
        log: gets one line for a request that is refused, without a value of it.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None = None,
        origins: Collection[str] = (),
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            scope, receive = await _overridden(scope, receive)
        except StatusError as error:
            query = scope["query_string"][:LONGEST_URL].decode("latin-1")
            answer = answers.failure(error, answers.style(parse_qsl(query)))
            # the body is not read: the connection is of no more use
            answer.headers["connection"] = "close"
            if self._log is not None:
                self._log(f"{scope['method']} (refused) {answer.status_code}")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_URL:
            raise StatusError(
                "INVALID_ARGUMENT", f"The URL is longer than {LONGEST_URL} bytes.", http=414
            )
        if sum(len(name) + len(value) for name, value in headers) > LONGEST_HEADERS:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"The request's headers are longer than {LONGEST_HEADERS} bytes.",
                http=431,
            )
        if self._hosts is not None:
            texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            _check_sender(texts, scope["method"], self._hosts, self._origins)
        if _HEALTHCARE.match(scope["path"]) and _ENCODED_SLASH.search(scope["raw_path"]):
            raise invalid("The path holds an encoded slash, which no name of this API has.")


def _check_sender(
    headers: dict[str, str], verb: str, hosts: Collection[str], origins: Collection[str]
) -> None:
    if not is_local(headers.get("host", ""), hosts):
        raise StatusError(
            "PERMISSION_DENIED",
            "The Host header names no local host, so the request is not answered. Use 127.0.0.1 or"
            " localhost, or allow the name when the emulator is started.",
        )
    origin = headers.get("origin")
    if origin in origins:
        return
    if origin is not None and not is_local(_authority(origin), hosts):
        raise StatusError(
            "PERMISSION_DENIED",
            "The Origin header names no local host: pages of other sites are not answered.",
        )
    # Sent by browsers also where they send no Origin. A link that a user follows does no harm.
    followed = verb == "GET" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site") == "cross-site" and not followed:
        raise StatusError("PERMISSION_DENIED", "Pages of other sites are not answered.")


def _authority(origin: str) -> str:
    """Host and port of an origin; nothing for `null`, and for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


async def _overridden(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """A POST that stands for another verb, as Google's clients send a GET with a long URL.

    The parameters of such a GET are in the body, as a form.
    """
    headers = dict(scope["headers"])
    verb = headers.get(b"x-http-method-override", b"").decode("latin-1").upper()
    if not verb or scope["method"] != "POST":
        return scope, receive
    if verb not in _VERBS:
        raise invalid("Invalid X-HTTP-Method-Override: GET, POST, PUT, PATCH or DELETE.")
    scope = {**scope, "method": verb}
    form = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if verb != "GET" or form != b"application/x-www-form-urlencoded":
        return scope, receive
    content = await _body(receive)
    joined = b"&".join(part for part in (scope["query_string"], content) if part)
    dropped = {b"content-type", b"content-length"}
    scope["headers"] = [(n, v) for n, v in scope["headers"] if n not in dropped]
    return {**scope, "query_string": joined}, _emptied(receive)


async def _body(receive: Receive) -> bytes:
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if len(content) > _LONGEST_FORM:
            raise StatusError(
                "INVALID_ARGUMENT", f"The form is longer than {_LONGEST_FORM} bytes.", http=413
            )
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(content)


def _emptied(receive: Receive) -> Receive:
    """The rest of a request whose body has been read."""
    told = False

    async def next_message() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return next_message
