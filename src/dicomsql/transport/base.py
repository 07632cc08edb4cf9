"""A request and its answer, as plain values: what the execution hands to the one transport.

A `Request` keeps the path template apart from its values, so that the gate can show a URL without
what it holds, and so that a value can never become another path: each is percent-encoded into its
own segment, and refused where even that could be misread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import quote

from dicomsql.errors import ProgrammingError

if TYPE_CHECKING:
    from dicomsql.transport.scope import Scope

Body = bytes | Callable[[], Iterable[bytes]] | None


def encode_segment(name: str, value: str) -> str:
    """Percent-encode a parameter's value into one path segment.

    Raises:
        ProgrammingError: the value is empty, `.` or `..`, or holds control characters.
    """
    if not value:
        raise ProgrammingError(f"The parameter {name} is empty; it needs a value.")
    if value in {".", ".."}:
        raise ProgrammingError(f"The parameter {name} is '{value}', which would be another path.")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise ProgrammingError(f"The parameter {name} holds control characters.")
    return quote(value, safe="")


def encode_query(value: str) -> str:
    """Percent-encode a value of a query parameter.

    Wildcards and commas stay as they are, which RFC 3986 section 3.4 allows: some servers do not
    decode them.
    """
    return quote(value, safe="*,")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP call.

    Attributes:
        base_url: scheme and host, without a trailing slash.
        path: template such as `/v1/projects/{projectsId}`; `{+name}` keeps slashes.
        path_values: name -> value for the template.
        query: (name, value) pairs in the order in which they are sent.
        headers: (name, value) pairs, without authorization.
        body: bytes, or a function that gives the parts anew for each attempt.
        repeatable: may be sent again after a failure whose effect is unknown.
        resource: `provider.service.resource.method`, for errors and logs.
        fresh: only an answer of now will do, none that was kept.
        scan: name of the plan's scan that it is made for, by which it is counted.
        answers: statuses beside 200 to 299 whose body is an answer to be read, not a failure, such
            as the 409 of a store that took some of its instances.
        refusals: (status, sentence): what a status means that the server explains badly or not.
        finishing: brings to an end what a request before it has begun, and goes out even after
            the statement was cancelled.
        scope: the statement that it belongs to; None where nothing but its client stops it.
    """

    method: str
    base_url: str
    path: str
    path_values: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = None
    repeatable: bool = False
    resource: str = ""
    fresh: bool = False
    scan: str = ""
    answers: frozenset[int] = frozenset()
    refusals: tuple[tuple[int, str], ...] = ()
    finishing: bool = False
    scope: Scope | None = field(default=None, compare=False, repr=False)

    @property
    def url(self) -> str:
        """The full URL with its values. For the wire only: people see `gate.show_url`."""
        path = self.path
        for name, value in self.path_values:
            if "{+" + name + "}" in path:
                encoded = "/".join(encode_segment(name, part) for part in value.split("/"))
                path = path.replace("{+" + name + "}", encoded)
            else:
                path = path.replace("{" + name + "}", encode_segment(name, value))
        text = self.base_url + path
        if self.query:
            pairs = (f"{quote(k, safe='')}={encode_query(v)}" for k, v in self.query)
            text += "?" + "&".join(pairs)
        return text


@dataclass(slots=True)
class Wait:
    """What calls wait for that are to be made again; the longest wait where there are several.

    Attributes:
        status: of the answer that made it necessary; 0 where there was none.
        until: its end, by `time.monotonic`.
    """

    status: int = 0
    until: float = 0.0


class Response(Protocol):
    """An answer whose status is already known to be a success."""

    status: int

    def header(self, name: str) -> str:
        """The header's value, or an empty string."""

    def read(self) -> bytes:
        """The whole body."""

    def iter_bytes(self) -> Iterator[bytes]:
        """The body in pieces, for bodies that must not be held whole."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Transport(Protocol):
    """The only thing that sends bytes."""

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request; retry, authorize and pace it as its policy says.

        With `stream`, the body is left to be read in pieces and the caller closes the response.

        Raises:
            ApiError: the server answered with an error, after all attempts.
            EndpointError: it did not answer.
            CredentialsError: there is nothing to authorize with.
        """

    def close(self) -> None: ...
