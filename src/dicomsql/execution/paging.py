"""The walk over a call's pages, by token or by offset, to the end or to an error, never short."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.errors import IncompleteError
from dicomsql.execution.calls import Page, single
from dicomsql.transport.base import Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run

# Servers cut answers at round numbers of their own, below what they were asked for.
_ROUND = 100
# The warning of PS3.18, 8.3.4.4, that there are more results than were given.
_MORE_RESULTS = "299"


def pages(run: Run, method: Method, request: Request, limit: int | None) -> Iterator[Page]:
    """All pages of a call, one after another; each is asked for when it is pulled.

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


def _by_token(
    run: Run, method: Method, paging: TokenPaging, request: Request, limit: int | None
) -> Iterator[Page]:
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
        token = _token(method, paging, page)
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


def _token(method: Method, paging: TokenPaging, page: Page) -> str:
    """The token of the page after this one; empty for the last."""
    if not page.body:
        return ""
    try:
        found: str | None = _token_decoder(paging.response_token).decode(page.body).token
    except msgspec.ValidationError:
        raise IncompleteError(
            f"{method.full_name}: the answer's {paging.response_token} is no text, so that the "
            f"next page cannot be asked for."
        ) from None
    except msgspec.DecodeError:
        return ""  # the decoding of the rows says what is wrong with the answer
    return found or ""


@cache
def _token_decoder(member: str) -> msgspec.json.Decoder[Any]:
    shape = msgspec.defstruct("Token", [("token", str | None, None)], rename={"token": member})
    return msgspec.json.Decoder(shape)


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
        rows = count(page.body)
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
        if limit is not None and offset >= limit:
            return
        if rows < size and rows % _ROUND and _MORE_RESULTS not in page.warning:
            return
        if _bounded(run, method, number):
            return


def _with_query(request: Request, *pairs: tuple[str, str]) -> Request:
    return replace(request, query=(*request.query, *pairs))


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
