"""Tells how far a query is: rows, requests, bytes and time left, while somebody waits for rows.

Who reads the rows that are there does not wait, and is told nothing meanwhile: the terminal is
theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from dicomsql.progress import Pace, Standing, Ticker

if TYPE_CHECKING:
    from dicomsql.execution.run import Run
    from dicomsql.result import ScanStatistics

# Seconds before the first word: most queries are over by then.
_FIRST = 0.5
_EVERY = 0.2

T = TypeVar("T")


class Watch:
    """Looks at a query that runs.

    Parameters:
        run: of the query.
        show: takes how far it is.
        clock: gives seconds, as `time.monotonic`.
    """

    def __init__(
        self,
        run: Run,
        show: Callable[[Standing], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._show = show
        self._clock = clock
        self._begun = clock()
        self._pace = Pace(self._begun)
        self._lock = threading.Lock()
        self._waiting = False
        self._ticker: Ticker | None = Ticker(self.tick, _EVERY, _FIRST)
        self._ticker.__enter__()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For the time of a block, somebody waits for rows."""
        self._waiting = True
        try:
            yield
        finally:
            # What is being shown is shown before whoever waited goes on to write.
            with self._lock:
                self._waiting = False

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """The same items; who asks for one waits for it."""
        try:
            while True:
                with self.waiting():
                    item = next(items, None)
                if item is None:
                    return
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """End; may be called again."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.__exit__()

    def tick(self) -> None:
        """Tell how far it is, if anybody waits."""
        with self._lock:
            if self._waiting:
                self._show(self.standing())

    def standing(self) -> Standing:
        """How far it is now."""
        now, cost = self._clock(), self._run.statistics
        scans = list(cost.scans)
        # Rows have been found before their pictures are fetched, which takes the longer.
        pictures = [scan for scan in scans if scan.pictures and scan.searches]
        if pictures:
            return self._of_pictures(pictures, now)
        scans = [scan for scan in scans if not scan.pictures]
        rows = sum(scan.rows for scan in scans)
        sizes = [scan.expected for scan in scans]
        known = [size for size in sizes if size is not None]
        total = sum(known) if known and len(known) == len(sizes) else 0
        searches, searched = sum(s.searches for s in scans), sum(s.searched for s in scans)
        # Metrics lag behind writes: what has more rows than they tell is of unknown size.
        part = None
        if total and rows <= total:
            part = rows / total
        elif searches > 1:
            part = min(1.0, searched / searches)
        rate, left = self._pace.take(now, cost.bytes_received, part)
        return Standing(
            done=rows,
            total=total if total and rows <= total else None,
            requests=cost.requests,
            bytes=cost.bytes_received,
            rate=rate,
            part=part,
            seconds=now - self._begun,
            left=left,
        )

    def _of_pictures(self, scans: list[ScanStatistics], now: float) -> Standing:
        """How far the pictures are; of how many is known where their rows are, which may be the
        query's own that are not there yet.
        """
        cost = self._run.statistics
        done = sum(scan.searched for scan in scans)
        sizes = [scan.expected for scan in scans]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        part = min(1.0, done / total) if total else None
        rate, left = self._pace.take(now, cost.bytes_received, part)
        return Standing(
            done=done,
            total=total,
            unit="picture",
            requests=cost.requests,
            bytes=cost.bytes_received,
            rate=rate,
            part=part,
            seconds=now - self._begun,
            left=left,
        )
