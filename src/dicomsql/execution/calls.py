"""One call of a method: its request from parameters and body, and the walk over its pages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.errors import IncompleteError
from dicomsql.transport.base import Body, Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as it came.

    Attributes:
        body: empty for 204.
        media: its media type, without parameters.
    """

    body: bytes
    media: str
    status: int


def make_request(
    method: Method,
    base_url: str,
    values: Mapping[str, str | tuple[str, ...]],
    *,
    query: tuple[tuple[str, str], ...] = (),
    body: Body = None,
    media: str = "",
) -> Request:
    """The request of a call.

    Args:
        values: parameter -> value; one that the method does not declare is sent as a query
            parameter, and several values as one query parameter each.
        query: further query parameters.
    """
    path_values = []
    pairs: list[tuple[str, str]] = []
    headers = [("Accept", method.accept)]
    for name, value in values.items():
        declared = method.parameter(name)
        several = value if isinstance(value, tuple) else (value,)
        if declared is not None and declared.location == "path":
            path_values.append((declared.name, several[0]))
        elif declared is not None and declared.location == "header":
            headers.append((declared.name, several[0]))
        else:
            name = declared.name if declared is not None else name
            pairs += [(name, one) for one in several]
    if media:
        headers.append(("Content-Type", media))
    return Request(
        method=method.http_method,
        base_url=base_url,
        path=method.path,
        path_values=tuple(path_values),
        query=(*pairs, *query),
        headers=tuple(headers),
        body=body,
        repeatable=method.repeatable,
        resource=method.full_name,
    )


def single(run: Run, request: Request) -> Page:
    """Make one call and read its answer."""
    with run.send(request) as response:
        media = response.header("content-type").partition(";")[0].strip().lower()
        page = Page(response.read(), media, response.status)
    run.count_page()
    return page


def pages(run: Run, method: Method, request: Request, limit: int | None) -> Iterator[Page]:
    """All pages of a call, one after another.

    Args:
        limit: rows after which no further page is wanted; None for all.

    Raises:
        IncompleteError: the walk cannot reach the end, or a page came twice.
    """
    paging = method.paging
    given = {name for name, _ in request.query}
    if isinstance(paging, TokenPaging) and paging.request_token not in given:
        yield from _by_token(run, method, paging, request, limit)
    elif isinstance(paging, OffsetPaging) and not {paging.limit, paging.offset} & given:
        yield from _by_offset(run, method, paging, request, limit)
    else:
        yield single(run, request)


def _with_query(request: Request, *pairs: tuple[str, str]) -> Request:
    from dataclasses import replace

    return replace(request, query=(*request.query, *pairs))


def _by_token(
    run: Run, method: Method, paging: TokenPaging, request: Request, limit: int | None
) -> Iterator[Page]:
    shape: Any = msgspec.defstruct(
        "Token", [("token", str | None, None)], rename={"token": paging.response_token}
    )
    token_of = msgspec.json.Decoder(shape)
    given = {name for name, _ in request.query}
    if paging.size and paging.size not in given and paging.max_size:
        size = paging.max_size if limit is None else max(1, min(limit, paging.max_size))
        request = _with_query(request, (paging.size, str(size)))
    tokens: set[str] = set()
    token = ""
    number = 0
    while True:
        asked = _with_query(request, (paging.request_token, token)) if token else request
        page = single(run, asked)
        number += 1
        try:
            token = token_of.decode(page.body).token or "" if page.body else ""
        except msgspec.DecodeError:
            token = ""  # the decoding of the rows says what is wrong with the answer
        yield page
        if not token:
            return
        if token in tokens:
            raise IncompleteError(
                f"{method.full_name}: the server gave the token of a page that was read already, "
                f"so the list cannot be read to its end. Rows are missing after page {number}."
            )
        tokens.add(token)
        if _bounded(run, method, number):
            return


def _by_offset(
    run: Run, method: Method, paging: OffsetPaging, request: Request, limit: int | None
) -> Iterator[Page]:
    from dicomsql.dicom.decode import count

    size = paging.max_limit if limit is None else max(1, min(limit, paging.max_limit))
    offset = number = 0
    last = b""
    while True:
        if offset > paging.max_offset:
            raise IncompleteError(
                f"{method.full_name}: the server gives no results beyond offset "
                f"{paging.max_offset:,}, and there are more. Narrow the search, for example by "
                f"StudyDate."
            )
        asked = _with_query(request, (paging.limit, str(size)))
        if offset:
            asked = _with_query(asked, (paging.offset, str(offset)))
        page = single(run, asked)
        number += 1
        rows = count(page.body) if page.body else 0
        if rows == 0:
            return
        digest = hashlib.blake2b(page.body, digest_size=16).digest()
        if digest == last:
            raise IncompleteError(
                f"{method.full_name}: the server answered two different offsets with the same "
                f"page; it seems to ignore `{paging.offset}`, so the search cannot be read to "
                f"its end."
            )
        last = digest
        yield page
        offset += rows
        if rows < size or (limit is not None and offset >= limit):
            return
        if _bounded(run, method, number):
            return


def _bounded(run: Run, method: Method, number: int) -> bool:
    """Whether the user's own bound on pages ends the walk here."""
    if run.limits.pages is None or number < run.limits.pages:
        return False
    said = (
        f"{method.full_name}: the bound of {run.limits.pages} page"
        f"{'s' * (run.limits.pages != 1)} ended the list before its end"
    )
    if run.limits.on_page_bound == "warn":
        run.note(f"{said}; rows are missing.")
        return True
    raise IncompleteError(
        f"{said}. Raise --max-pages, use LIMIT, or SET on_page_bound = 'warn' to get what was read."
    )
