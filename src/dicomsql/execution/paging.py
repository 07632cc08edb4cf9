"""The walk over a call's pages, by token or by offset, to the end or to an error, never short."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.errors import IncompleteError
from dicomsql.execution.calls import Page, check_not_empty, single
from dicomsql.transport.base import Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run

# Servers cut answers at round numbers of their own, below what they were asked for.
_ROUND = 100
# The warning of PS3.18, 8.3.4.4, that there are more results than were given.
_MORE_RESULTS = "299"
# No server is known to give fewer results than this at once where it has more.
_LEAST_CAP = 50

# A list of rows that is not empty, or an object that may hold one.
_HAS_ROWS = re.compile(rb"[\[{]\s*[^\s\]}]")


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
        yield _fetched(run, method, request)


def _fetched(run: Run, method: Method, request: Request) -> Page:
    page = single(run, request)
    if "json" in method.accept:
        check_not_empty(page, method.full_name)
    return page


def _by_token(
    run: Run, method: Method, paging: TokenPaging, request: Request, limit: int | None
) -> Iterator[Page]:
    given = {name for name, _ in request.query}
    if paging.size and paging.size not in given and paging.max_size:
        size = paging.max_size if limit is None else max(1, min(limit, paging.max_size))
        request = _with_query(request, (paging.size, str(size)))
    tokens: set[str] = set()
    seen: set[bytes] = set()
    token = ""
    number = 0
    while True:
        asked = _with_query(request, (paging.request_token, token)) if token else request
        page = single(run, asked) if token else _fetched(run, method, request)
        if token and not page.body.strip():
            raise IncompleteError(
                f"{method.full_name}: the server announced a further page and then gave an empty "
                f"answer. Rows are missing after page {number}."
            )
        number += 1
        token, rows = _token(method, paging, page)
        if rows and token not in tokens:
            digest = hashlib.blake2b(rows, digest_size=16).digest()
            if digest in seen:
                raise IncompleteError(
                    f"{method.full_name}: page {number} holds the rows of an earlier page under "
                    f"another token; the server seems to ignore `{paging.request_token}`, so the "
                    f"list cannot be read to its end."
                )
            seen.add(digest)
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


def _token(method: Method, paging: TokenPaging, page: Page) -> tuple[str, bytes]:
    """The token of the page after this one, empty for the last, and the text of its rows.

    The text is empty where there are no rows, or where rows have no names: those may be the same
    on two pages.
    """
    if not page.body:
        return "", b""
    key = method.object_key.removeprefix("$").strip(".").partition(".")[0]
    try:
        found = _token_decoder(paging.response_token, key).decode(page.body)
    except msgspec.ValidationError:
        raise IncompleteError(
            f"{method.full_name}: the answer's {paging.response_token} is no text, so that the "
            f"next page cannot be asked for."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", b""  # the decoding of the rows says what is wrong with the answer
    rows = bytes(found.rows)
    return found.token or "", rows if method.row_name and _HAS_ROWS.search(rows) else b""


@cache
def _token_decoder(member: str, key: str) -> msgspec.json.Decoder[Any]:
    shape = msgspec.defstruct(
        "Token",
        [("token", str | None, None), ("rows", msgspec.Raw, msgspec.Raw())],
        rename={"token": member, "rows": key or "\0"},
    )
    return msgspec.json.Decoder(shape)


def _by_offset(
    run: Run, method: Method, paging: OffsetPaging, request: Request, limit: int | None
) -> Iterator[Page]:
    from dicomsql.dicom.decode import count

    size = paging.max_limit if limit is None else max(1, min(limit, paging.max_limit))
    offset = number = largest = 0
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
        page = _fetched(run, method, asked)
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
        largest = max(largest, rows)
        goes_on = rows >= size or rows % _ROUND == 0 or _MORE_RESULTS in page.warning
        in_doubt = not run.documented and _may_be_a_cap(rows, largest)
        if not goes_on and not in_doubt:
            return
        if _bounded(run, method, number):
            return


def _may_be_a_cap(rows: int, largest: int) -> bool:
    """Whether a page may be short since the server gives no more at once, and not as the last.

    That is open for servers whose limits no document tells. One further request settles it, and
    it is spared where the page is smaller than any cap, or than the cap that was seen before.
    """
    return rows >= max(_LEAST_CAP, largest)


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
