"""Runs a scan: which calls it comes to, fetched side by side, decoded in order, without doubles.

Fetching threads only fetch; the thread that pulls the batches decodes. Each call has room for a few
pages, and calls are started a few ahead of the one that is read, so that the bytes in flight
stay bounded and the rows come in the order of the calls, run after run.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import (
    Error,
    InternalError,
    NotFoundError,
    PermissionDeniedError,
)
from dicomsql.execution.calls import Page, make_request
from dicomsql.execution.paging import pages
from dicomsql.execution.rows import decoder_for
from dicomsql.planning.plan import RowShape, Scan

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.transport.gate import Gate

# Pages of one call at a time: one that is decoded, one that waits, one that is fetched.
_PAGES_AT_A_TIME = 3
# Seconds after which a blocked thread looks whether it is still wanted.
_POLL = 0.05

_LEVEL_TAGS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}


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
    """A call's pages on their way; `room` is taken for each page until it has been used."""

    call: Call
    room: threading.Semaphore
    items: queue.SimpleQueue[Page | _End] = field(default_factory=queue.SimpleQueue)


def calls_of(run: Run, scan: Scan) -> list[Call]:
    """The calls of a scan, each combination of its parameters' values once.

    Raises:
        BudgetError: there would be more than the statement may make.
    """
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
        combinations = 1
    filters = [[(f.name, v) for v in f.values] for f in scan.filters]
    fanned = bool(scan.binds) or any(c.set_of for c in scan.constants)
    total = combinations
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
        self._calls = calls_of(run, scan)
        self._decoder = decoder_for(
            scan.method, scan.columns, scan.shape, scan.dicom, self._identity()
        )
        self.schema = self._decoder.schema
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._doubles = 0

    def reader(self) -> pa.RecordBatchReader:
        """The batches as an Arrow reader, which the engine pulls."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Decode page after page, in the order of the calls."""
        try:
            yield from self._batches()
        except GeneratorExit:
            raise
        except BaseException as error:
            if self._stop.is_set():
                return
            self.error = error
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Stop fetching. Threads that are in a call end with it, or with the run."""
        self._stop.set()

    def _identity(self) -> tuple[str, ...]:
        """The tags that tell a row from others, where the same row may come twice."""
        scan = self._scan
        if scan.dicom is None or (scan.method.paging is None and not scan.filters):
            return ()
        levels = list(_LEVEL_TAGS)
        return tuple(_LEVEL_TAGS[x] for x in levels[: levels.index(scan.dicom.level) + 1])

    def _batches(self) -> Iterator[pa.RecordBatch]:
        width = max(1, min(self._run.limits.parallel, len(self._calls)))
        pool = self._run.pool(width, "fetch") if self._calls else None
        waiting = iter(self._calls)
        feeds: deque[_Feed] = deque()
        left = self._scan.limit
        # Rows come twice where pages shift or filters overlap, both for the same parameters only:
        # two stores may well hold the same study.
        seen: set[tuple[str | None, ...]] = set()
        place: Mapping[str, str] = {}
        while pool is not None:
            self._start(pool, feeds, waiting, width)
            if not feeds:
                break
            feed = feeds.popleft()
            if feed.call.values != place:
                place, seen = feed.call.values, set()
            delivered = False
            while not isinstance(item := self._next(feed), _End):
                delivered = True
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
                feed.room.release()
            if item.error is not None:
                # Rows that came before the error would be taken for all there are.
                if delivered:
                    raise item.error
                self._handle(item.error, feed.call)
        self._tell_doubles()

    def _start(
        self,
        pool: ThreadPoolExecutor,
        feeds: deque[_Feed],
        waiting: Iterator[Call],
        width: int,
    ) -> None:
        """Start calls until as many are on their way as may be."""
        # A scan that may end early asks for a page only when the one before was not enough.
        room = _PAGES_AT_A_TIME if self._scan.limit is None else 1
        while len(feeds) < width and (call := next(waiting, None)) is not None:
            feed = _Feed(call, threading.Semaphore(room))
            feeds.append(feed)
            pool.submit(self._fetch, feed)

    def _unique(
        self,
        batch: pa.RecordBatch,
        keys: list[tuple[str | None, ...]],
        seen: set[tuple[str | None, ...]],
    ) -> pa.RecordBatch:
        """The rows whose key did not come before: pages shift while a store is written to."""
        keep = []
        for key in keys:
            # Without its own UID nothing tells a row from another.
            fresh = key[-1] is None or key not in seen
            keep.append(fresh)
            seen.add(key)
        if all(keep):
            return batch
        self._doubles += len(keep) - sum(keep)
        return batch.filter(pa.array(keep))

    def _tell_doubles(self) -> None:
        doubles = self._doubles
        # Filters that overlap give rows twice by their nature.
        if doubles and not self._scan.filters:
            self._run.note(
                f"{self._scan.resource}: {doubles:,} row{'s' * (doubles != 1)} came twice and "
                f"{'are' if doubles != 1 else 'is'} shown once; the store may have changed while "
                f"it was read."
            )

    def _next(self, feed: _Feed) -> Page | _End:
        while True:
            self._run.check()
            if self._stop.is_set():
                return _End()
            with suppress(queue.Empty):
                return feed.items.get(timeout=_POLL)

    def _fetch(self, feed: _Feed) -> None:
        """Runs in a thread of the pool."""
        scan = self._scan
        end = _End()
        try:
            query = (*feed.call.filters, *scan.query)
            request = make_request(feed.call.method, scan.base_url, feed.call.values, query=query)
            limit = scan.limit if scan.shape is RowShape.ROWS else None
            walk = pages(self._run, feed.call.method, request, limit)
            while self._room(feed) and (page := next(walk, None)) is not None:
                feed.items.put(page)
        except Error as error:
            end = _End(error)
        except Exception as error:  # noqa: BLE001 - it is raised again in the reading thread
            defect = InternalError(f"Fetching {scan.resource} failed: {type(error).__name__}")
            defect.__cause__ = error
            end = _End(defect)
        feed.items.put(end)

    def _room(self, feed: _Feed) -> bool:
        """Wait until another page may be fetched; false where none is wanted any more."""
        while not self._stop.is_set() and not self._run.cancel.is_set():
            if feed.room.acquire(timeout=_POLL):
                return True
        return False

    def _handle(self, error: Exception, call: Call) -> None:
        """Decide what a failed call means for the result."""
        if isinstance(error, NotFoundError) and (call.member or _names_one(call.method)):
            return
        if isinstance(error, PermissionDeniedError) and call.member:
            member = _shown(call, self._run.gate)
            if self._run.limits.on_error == "skip":
                self._run.note(f"{self._scan.resource}: skipped {member}, which may not be read.")
                return
            message = f"{error.failure.message} [{member}]".strip()
            raise PermissionDeniedError(replace(error.failure, message=message)) from error
        raise error


def materialise(run: Run, scan: Scan) -> pa.Table:
    """All rows of a scan, for what is read more than once."""
    runner = ScanRunner(run, scan)
    return pa.Table.from_batches(list(runner.batches()), runner.schema)


def _names_one(method: Method) -> bool:
    """Whether a method reads one thing by its own id, which may simply not be there."""
    return not method.object_key and method.paging is None and bool(method.row_name)


def _shown(call: Call, gate: Gate) -> str:
    """A call's parameters as far as people may see them."""
    return ", ".join(f"{k} = {gate.show_value(k, v)!r}" for k, v in call.values.items())
