"""The walk over a call's pages, by token or by offset, to the end or to an error, never short.

A walk sends nothing. It says what may be asked for next, and learns from each page in the order of
the asking; whoever drives it decides how many of its requests are on their way at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.errors import IncompleteError
from dicomsql.execution.calls import Page, check_not_empty, single

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.transport.base import Request

# A list of rows that is not empty, or an object that may hold one.
_HAS_ROWS = re.compile(rb"[\[{]\s*[^\s\]}]")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a walk.

    Attributes:
        number: of the page, from 1 on.
        offset, size: rows before it, and at most in it; 0 where it does not ask by them.
        overlap: of its first rows, those that the page before it ended with.
        round: asks of an earlier round than the walk's are not part of it any more.
        probe: only tells whether there are rows so far on; the rows are not the walk's.
    """

    request: Request
    number: int = 1
    offset: int = 0
    size: int = 0
    overlap: int = 0
    round: int = 0
    probe: bool = False


class Reach(StrEnum):
    """What a walk does where the server's largest offset comes before the end."""

    ERROR = "error"  # the rows beyond cannot be had
    TELL = "tell"  # it ends `beyond`: its driver knows another way
    PROBE = "probe"  # the same, and finds it out once a part of the way is done
    PROBE_FIRST = "probe first"  # the same, and finds it out once a page was not all


class Walk(Protocol):
    """The pages of one call.

    Attributes:
        done: nothing is left to ask for.
        beyond: it ended at the server's largest offset, and there is more.
    """

    done: bool
    beyond: bool

    def ask(self) -> Ask | None:
        """The next request that may be sent now; None where more has to be known first."""

    def learn(self, ask: Ask, page: Page | None, rows: int | None = None) -> bool:
        """Take in the answer to the oldest ask that is open.

        Args:
            page: None where the server refused an ask that only was made ahead.
            rows: the number of the page's rows where it is known already.

        Returns: whether the rows are the walk's, and not those of a request in vain.

        Raises:
            IncompleteError: the walk cannot reach the end, or a page came twice.
        """

    def counts(self, ask: Ask) -> bool:
        """Whether a page's rows are the walk's as far as is known, and an error the call's."""


def walk_of(
    run: Run,
    method: Method,
    request: Request,
    limit: int | None,
    *,
    reach: Reach = Reach.ERROR,
    overlap: int = 0,
) -> Walk:
    """The walk over a call's pages.

    Args:
        limit: rows after which no further page is wanted; None for all.
        reach: what is done about rows beyond the largest offset.
        overlap: rows that a page by offset shares with the page before it.
    """
    paging = method.paging
    given = {name for name, _ in request.query}
    if isinstance(paging, TokenPaging) and paging.request_token not in given:
        return _TokenWalk(run, method, paging, request, limit)
    if isinstance(paging, OffsetPaging) and not {paging.limit, paging.offset} & given:
        from dicomsql.execution.offsets import OffsetWalk

        return OffsetWalk(run, method, paging, request, limit=limit, reach=reach, overlap=overlap)
    return _OnePage(method, request)


def pages(run: Run, method: Method, request: Request, limit: int | None) -> Iterator[Page]:
    """All pages of a call, one after another; each is asked for when it is pulled.

    Args:
        limit: rows after which no further page is wanted; None for all.

    Raises:
        IncompleteError: the walk cannot reach the end, or a page came twice.
    """
    walk = walk_of(run, method, request, limit)
    while not walk.done and (ask := walk.ask()) is not None:
        page = single(run, ask.request)
        if walk.learn(ask, page):
            yield page


def with_query(request: Request, *pairs: tuple[str, str]) -> Request:
    """A request with further query parameters."""
    return replace(request, query=(*request.query, *pairs))


def is_bounded(run: Run, method: Method, number: int) -> bool:
    """Whether the user's own bound on pages ends a walk after so many.

    Raises:
        IncompleteError: it does, and the user did not ask for what was read by then.
    """
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


class _OnePage:
    """A call whose one answer is all."""

    beyond = False

    def __init__(self, method: Method, request: Request) -> None:
        self._method = method
        self._next: Ask | None = Ask(request)
        self.done = False

    def ask(self) -> Ask | None:
        ask, self._next = self._next, None
        return ask

    def learn(self, _ask: Ask, page: Page | None, _rows: int | None = None) -> bool:
        self.done = True
        if page is not None and "json" in self._method.accept:
            check_not_empty(page, self._method.full_name)
        return True

    def counts(self, _ask: Ask) -> bool:
        return True


class _TokenWalk:
    """A list whose answers name the token of their next page: one page after the other."""

    beyond = False

    def __init__(
        self, run: Run, method: Method, paging: TokenPaging, request: Request, limit: int | None
    ) -> None:
        self._run = run
        self._method = method
        self._paging = paging
        given = {name for name, _ in request.query}
        if paging.size and paging.size not in given and paging.max_size:
            size = paging.max_size if limit is None else max(1, min(limit, paging.max_size))
            request = with_query(request, (paging.size, str(size)))
        self._request = request
        self._next: Ask | None = Ask(request)
        self._tokens: set[str] = set()
        self._seen: set[bytes] = set()
        self.done = False

    def ask(self) -> Ask | None:
        ask, self._next = self._next, None
        return ask

    def counts(self, _ask: Ask) -> bool:
        return True

    def learn(self, ask: Ask, page: Page | None, _rows: int | None = None) -> bool:
        assert page is not None
        name, number = self._method.full_name, ask.number
        if number == 1 and "json" in self._method.accept:
            check_not_empty(page, name)
        elif number > 1 and not page.body.strip():
            raise IncompleteError(
                f"{name}: the server announced a further page and then gave an empty answer. Rows "
                f"are missing after page {number - 1}."
            )
        token, rows = _token(self._method, self._paging, page)
        if rows and token not in self._tokens:
            digest = hashlib.blake2b(rows, digest_size=16).digest()
            if digest in self._seen:
                raise IncompleteError(
                    f"{name}: page {number} holds the rows of an earlier page under another token; "
                    f"the server seems to ignore `{self._paging.request_token}`, so the list "
                    f"cannot be read to its end."
                )
            self._seen.add(digest)
        if token in self._tokens:
            raise IncompleteError(
                f"{name}: the server gave the token of a page that was read already, so the list "
                f"cannot be read to its end. Rows are missing after page {number}."
            )
        if not token or is_bounded(self._run, self._method, number):
            self.done = True
            return True
        self._tokens.add(token)
        following = with_query(self._request, (self._paging.request_token, token))
        self._next = Ask(following, number + 1)
        return True


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
