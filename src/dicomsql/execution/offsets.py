"""The walk over a search by limit and offset (PS3.18 section 8.3.4.4), several pages at a time.

The first page is asked for alone. Once a page was full, further offsets are asked for ahead: as
many as half of the pages that came, or all of them where the number of rows is known. A page that
is not as long as it was due to be makes the offsets after it wrong: what was asked for ahead is let
go, and the walk goes on from the end of what came, if it does.

Where its reader can tell rows apart, each page begins with the last row of the page before it:
`seams` sees by that row whether the list was the same for both. A page of that row alone is the
end, as an empty page is where pages share none.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from dicomsql.errors import IncompleteError
from dicomsql.execution.calls import Page, check_not_empty
from dicomsql.execution.paging import Ask, Reach, is_bounded, with_query

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method, OffsetPaging
    from dicomsql.execution.run import Run
    from dicomsql.transport.base import Request

# Servers cut answers at round numbers of their own, below what they were asked for.
_ROUND = 100
# The warning of PS3.18, 8.3.4.4, that there are more results than were given.
_MORE_RESULTS = "299"
# No server is known to give fewer results than this at once where it has more.
_LEAST_CAP = 50
# Full pages after which the rest is likely to be worth a call for its size, beside the next page's.
_LONG = 2
# Of the largest offset: the part after which a walk asks whether it will reach its end.
_PROBE_AFTER = 10
# Bytes at each end of a long page by which it is known again.
_ENDS = 16_384


class OffsetWalk:
    """The pages of one search.

    Attributes:
        done, beyond: see `paging.Walk`.
        total: the rows that there should be, where metrics tell; only a guide.
        is_long: enough pages were full for knowing `total` to be worth a call.
        rows: that came so far.

    Parameters:
        overlap: rows that a page shares with the page before it, as far as pages are longer.
    """

    def __init__(
        self,
        run: Run,
        method: Method,
        paging: OffsetPaging,
        request: Request,
        *,
        limit: int | None,
        reach: Reach = Reach.ERROR,
        overlap: int = 0,
    ) -> None:
        self._run = run
        self._method = method
        self._paging = paging
        self._request = request
        self._limit = limit
        self._reach = reach
        self._overlap = overlap
        self._probe_after = 0 if reach is Reach.PROBE_FIRST else paging.max_offset // _PROBE_AFTER
        probes = reach in (Reach.PROBE, Reach.PROBE_FIRST) and paging.max_offset > 0
        self._probed = not probes or limit is not None
        self._open: deque[Ask] = deque()
        self._goes_on = True
        self._round = 0
        self._number = 0
        # Rows of a page as the server gives them; 0 while it is not known.
        self._length = 0
        self._offset = self._last = self._largest = 0
        self._pages: set[bytes] = set()
        # Rows that there must be, by pages that came out of their turn.
        self._proven = 0
        self.rows = 0
        self.total: int | None = None
        self.is_long = False
        self.done = False
        self.beyond = False

    def ask(self) -> Ask | None:
        if self.done:
            return None
        if not self._open:
            if not self._goes_on:
                return None
            if self._number and self._is_probe_due(self.rows):
                return self._asked(self._paging.max_offset, 1, probe=True)
            following = self._after(self.rows, self._offset, self._last)
            return self._asked(*following) if following is not None else None
        last = self._open[-1]
        if last.round != self._round or last.probe or not self._is_ahead_allowed(last):
            return None
        following = self._ahead(last)
        return self._asked(*following) if following is not None else None

    def counts(self, ask: Ask) -> bool:
        return ask.round == self._round and not ask.probe

    def learn(self, ask: Ask, page: Page | None, rows: int | None = None) -> bool:
        from dicomsql.dicom.decode import count

        self._open.popleft()
        if page is not None:
            if "json" in self._method.accept:
                check_not_empty(page, self._method.full_name)
            rows = count(page.body) if rows is None else rows
        if ask.probe:
            self._probed = True
            if rows:
                self._end_beyond()
            return False
        if ask.round != self._round:
            # Made ahead of a page that came short. Rows here say that it was not the last.
            if rows and page is not None and _digest(page) not in self._pages:
                self._goes_on = True
                self._proven = max(self._proven, ask.offset + rows)
            self._settle()
            return False
        assert page is not None
        assert rows is not None
        self._take(ask, page, rows)
        return True

    def is_beyond_reach(self) -> bool:
        """Whether `total` says that offsets do not lead to the end."""
        last = self._paging.max_offset + self._paging.max_limit
        return (
            self._reach is Reach.PROBE
            and self._paging.max_offset > 0
            and self.total is not None
            and self.total > last
        )

    def end_beyond(self) -> None:
        """Give up the walk, as its end cannot be reached by offsets."""
        self._end_beyond()

    def _take(self, ask: Ask, page: Page, rows: int) -> None:
        """Learn from a page of the walk."""
        self._number += 1
        self.rows, self._offset = ask.offset + rows, ask.offset
        if rows:
            self._check_new(page)
        enough = self._limit is not None and self.rows >= self._limit
        full = rows >= ask.size
        # Two pages as long as each other, and shorter than asked for, show the server's own limit.
        if full:
            self._length = ask.size if rows == ask.size else 0
            self.is_long = self._number >= _LONG
        elif rows and rows == self._last:
            self._length = rows
        else:
            self._length = 0
        more = full or self._may_go_on(page, rows)
        self._goes_on = rows > ask.overlap and not enough and more
        self._last, self._largest = rows, max(self._largest, rows)
        if self._goes_on and is_bounded(self._run, self._method, self._number):
            self._goes_on = False
            self._drop()
            self.done = True
            return
        if not self._goes_on or rows != ask.size:
            self._round += bool(self._open)
        self._settle()

    def _settle(self) -> None:
        """End the walk where nothing is left to ask, or nothing more can be reached."""
        if self._open:
            return
        if not self._goes_on:
            if self.rows < self._proven and self._limit is None and self._last <= self._overlap:
                raise IncompleteError(
                    f"{self._method.full_name}: the server has rows beyond offset {self.rows:,}, "
                    f"and gives none there, so the search cannot be read to its end."
                )
            self.done = True
        elif self._after(self.rows, self._offset, self._last) is None:
            self._end_beyond()

    def _may_go_on(self, page: Page, rows: int) -> bool:
        """Whether a page may be short since the server gives no more at once, not as the last.

        Of some servers the document says so; then only a page without rows is the last. For those
        whose limits no document tells, one further request settles it, which is spared where the
        page is smaller than any cap, or than the cap that was seen before.
        """
        if self._paging.capped or _MORE_RESULTS in page.warning:
            return True
        # What gave more rows before does not end at a limit now.
        if rows < self._largest:
            return False
        return rows % _ROUND == 0 or (not self._run.documented and rows >= _LEAST_CAP)

    def _after(self, reached: int, offset: int, rows: int) -> tuple[int, int, int] | None:
        """Offset, size and overlap of a page; None where no offset leads there.

        Args:
            reached: rows that come before it.
            offset, rows: of the page before it.
        """
        length = self._length or self._paging.max_limit
        shared = self._overlap if reached and min(rows, length) > self._overlap else 0
        most = self._paging.max_offset
        if 0 < most < reached - shared:
            # The last page that can be asked for shares more.
            shared = reached - most
            if not self._overlap or offset >= most or shared >= length:
                return None
        size = length
        if self._limit is not None:
            size = max(1, min(self._limit - reached + shared, self._paging.max_limit))
        return reached - shared, size, shared

    def _ahead(self, last: Ask) -> tuple[int, int, int] | None:
        """The page after one that is on its way, if that one turns out to be full."""
        return self._after(last.offset + self._length, last.offset, self._length)

    def _asked(self, offset: int, size: int, overlap: int = 0, *, probe: bool = False) -> Ask:
        request = with_query(self._request, (self._paging.limit, str(size)))
        if offset:
            request = with_query(request, (self._paging.offset, str(offset)))
        number = self._number + len(self._open) + 1
        ask = Ask(request, number, offset, size, overlap, self._round, probe)
        self._open.append(ask)
        return ask

    def _is_ahead_allowed(self, last: Ask) -> bool:
        if self._limit is not None or not self._length or not self._number:
            return False
        reached = last.offset + self._length
        pages = self._run.limits.pages
        if pages is not None and last.number >= pages:
            return False
        if self._is_probe_due(reached):
            return False
        if self.total is not None and self.rows <= self.total:
            return reached < self.total
        return len(self._open) < max(1, self._number // 2)

    def _is_probe_due(self, reached: int) -> bool:
        """Whether it is time to ask if the end can be reached, where metrics do not say that."""
        told = self.total is not None and reached <= self.total
        return not self._probed and reached >= self._probe_after and not told

    def _check_new(self, page: Page) -> None:
        digest = _digest(page)
        if digest in self._pages:
            raise IncompleteError(
                f"{self._method.full_name}: the server answered two different offsets with the "
                f"same page; it seems to ignore `{self._paging.offset}`, so the search cannot be "
                f"read to its end."
            )
        self._pages.add(digest)

    def _end_beyond(self) -> None:
        if self._reach is Reach.ERROR:
            raise IncompleteError(
                f"{self._method.full_name}: the server gives no results beyond offset "
                f"{self._paging.max_offset:,}, and there are more. Narrow the search, for example "
                f"by StudyDate."
            )
        self._goes_on = False
        self._drop()
        self.done = self.beyond = True

    def _drop(self) -> None:
        """Let go of what was asked for ahead."""
        self._round += 1
        self._open.clear()


def _digest(page: Page) -> bytes:
    """What a page is known by: its ends, which hold dozens of rows, where it is long."""
    body = page.body
    if len(body) > 2 * _ENDS:
        size = len(body).to_bytes(8, "big")
        body = b"".join((size, memoryview(body)[:_ENDS], memoryview(body)[-_ENDS:]))
    return hashlib.blake2b(body, digest_size=16).digest()
