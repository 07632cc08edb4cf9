"""Runs a scan: which calls it comes to, fetched side by side, decoded in order, without doubles.

Fetching threads only fetch; the thread that pulls the batches decodes. Each call has a small queue
of pages, and calls are started a few ahead of the one that is read, so that the bytes in flight
stay bounded and the rows come in the order of the calls, run after run.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import Error, InternalError, NotFoundError, PermissionDeniedError
from dicomsql.execution.calls import Page, make_request, pages
from dicomsql.execution.rows import decoder_for
from dicomsql.planning.plan import RowShape, Scan

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run

# Pages of one call that wait to be decoded.
_WAITING_PAGES = 2
# Seconds after which a blocked thread looks whether it is still wanted.
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scan.

    Attributes:
        values: its parameters.
        filters: (name, value) pairs that narrow it further.
        member: it stands for a member of a list, which may be missing on the server.
    """

    method: Method
    values: dict[str, str]
    filters: tuple[tuple[str, str], ...]
    member: bool


class _End:
    """Marks the end of a call's pages, with the error that ended it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


@dataclass(slots=True)
class _Feed:
    call: Call
    items: queue.Queue[Page | _End] = field(
        default_factory=lambda: queue.Queue(maxsize=_WAITING_PAGES)
    )


def calls_of(run: Run, scan: Scan) -> list[Call]:
    """The calls of a scan, each combination of its parameters' values once."""
    method = scan.method
    bound: list[list[dict[str, str]]] = []
    for bind in scan.binds:
        rows = run.engine.rows(bind.sql, bind.values)
        found = [
            {p: str(v) for p, v in zip(bind.parameters, row, strict=True)}
            for row in rows
            if all(v is not None and str(v) != "" for v in row)
        ]
        bound.append(found)
    combinations = 1
    for rows_of_bind in bound:
        combinations *= len(rows_of_bind)
    constants = [[(c.parameter, v) for v in c.values] for c in scan.constants]
    if scan.walk is not None and combinations > scan.walk_above:
        method, bound = scan.walk, [[{}]]
        names = {p.name for p in method.parameters}
        constants = [c for c in constants if not c or c[0][0] in names]
    filters = [[(f.name, v) for v in f.values] for f in scan.filters]
    fanned = bool(scan.binds) or any(c.set_of for c in scan.constants)
    total = combinations if method is scan.method else 1
    for values in (*constants, *filters):
        total *= len(values)
    run.check_budget(total, f"Reading {scan.resource}")
    calls = []
    for combination in itertools.product(*(bound or [[{}]])):
        merged = {k: v for row in combination for k, v in row.items()}
        for fixed in itertools.product(*constants):
            for narrowing in itertools.product(*filters):
                calls.append(Call(method, {**dict(fixed), **merged}, narrowing, fanned))
    return calls


class ScanRunner:
    """The batches of a scan, fetched ahead as they are pulled.

    Attributes:
        schema: of the batches.
        error: what ended the scan, kept because the engine only passes its text on.
    """

    def __init__(self, run: Run, scan: Scan) -> None:
        self._run = run
        self._scan = scan
        self._decoder = decoder_for(scan.method, scan.columns, scan.shape, scan.dicom)
        self.schema = self._decoder.schema
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._calls = calls_of(run, scan)

    @property
    def calls(self) -> int:
        return len(self._calls)

    def reader(self) -> pa.RecordBatchReader:
        """The batches as an Arrow reader, which the engine pulls."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Decode page after page, in the order of the calls."""
        try:
            yield from self._batches()
        except Exception as error:
            if self._stop.is_set():
                return
            self.error = error
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Stop fetching. Threads that are in a call end with it."""
        self._stop.set()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        width = max(1, min(self._run.limits.parallel, len(self._calls)))
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="dicomsql-fetch")
        waiting = iter(self._calls)
        feeds: deque[_Feed] = deque()
        seen: set[str] = set()
        left = self._scan.limit
        while True:
            while len(feeds) < width and (call := next(waiting, None)) is not None:
                feed = _Feed(call)
                pool = self._pool
                if pool is None:
                    return
                pool.submit(self._fetch, feed)
                feeds.append(feed)
            if not feeds:
                return
            feed = feeds.popleft()
            while not isinstance(item := self._next(feed), _End):
                found = self._decoder.decode(item, feed.call.values)
                batch = found.batch
                if found.keys is not None:
                    batch = self._unique(batch, found.keys, seen)
                if left is not None:
                    batch = batch.slice(0, left)
                    left -= batch.num_rows
                if batch.num_rows:
                    yield batch
                if left == 0:
                    return
            if item.error is not None:
                self._handle(item.error, feed.call)

    def _unique(
        self, batch: pa.RecordBatch, keys: list[str | None], seen: set[str]
    ) -> pa.RecordBatch:
        """The rows whose key did not come before: pages shift while a store is written to."""
        keep = []
        doubles = 0
        for key in keys:
            fresh = key is None or key not in seen
            keep.append(fresh)
            if key is not None:
                seen.add(key)
            doubles += not fresh
        if not doubles:
            return batch
        if not self._scan.filters:
            self._run.note(
                f"{self._scan.resource}: {doubles} row{'s' * (doubles != 1)} came twice and "
                f"{'are' if doubles != 1 else 'is'} shown once; the store may have changed while "
                f"it was read."
            )
        return batch.filter(pa.array(keep))

    def _next(self, feed: _Feed) -> Page | _End:
        while True:
            self._run.check()
            with suppress(queue.Empty):
                return feed.items.get(timeout=_POLL)

    def _fetch(self, feed: _Feed) -> None:
        """Runs in a thread of the pool."""
        scan = self._scan
        end = _End()
        try:
            query = (*feed.call.filters, *scan.query)
            request = make_request(feed.call.method, scan.base_url, feed.call.values, query=query)
            for page in pages(self._run, feed.call.method, request, scan.limit):
                if not self._put(feed, page):
                    return
        except Error as error:
            end = _End(error)
        except Exception as error:  # noqa: BLE001 - it is raised again in the reading thread
            defect = InternalError(f"Fetching {scan.resource} failed: {type(error).__name__}")
            defect.__cause__ = error
            end = _End(defect)
        self._put(feed, end)

    def _put(self, feed: _Feed, item: Page | _End) -> bool:
        while not self._stop.is_set() and not self._run.cancel.is_set():
            with suppress(queue.Full):
                feed.items.put(item, timeout=_POLL)
                return True
        return False

    def _handle(self, error: Exception, call: Call) -> None:
        """Decide what a failed call means for the result."""
        if isinstance(error, NotFoundError) and (call.member or self._names_one(call.method)):
            return
        if isinstance(error, PermissionDeniedError) and call.member:
            shown = ", ".join(
                f"{k} = {self._run.gate.show_value(k, v)!r}" for k, v in call.values.items()
            )
            if self._run.limits.on_error == "skip":
                self._run.note(f"{self._scan.resource}: skipped {shown}, which may not be read.")
                return
            raise PermissionDeniedError(error.failure) from error
        raise error

    def _names_one(self, method: Method) -> bool:
        """Whether a method reads one thing by its own id, which may simply not be there."""
        return not method.object_key and method.paging is None and bool(method.row_name)


def materialise(run: Run, scan: Scan) -> pa.Table:
    """All rows of a scan, for what is read more than once."""
    runner = ScanRunner(run, scan)
    return pa.Table.from_batches(list(runner.batches()), runner.schema)


__all__ = ["Call", "RowShape", "ScanRunner", "calls_of", "materialise"]
