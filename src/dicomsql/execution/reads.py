"""Runs a `ReadPlan`: scans become tables of the engine, the engine runs the query over them."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import CancelledError, DatabaseError, IncompleteError
from dicomsql.execution.scans import ScanRunner, materialise
from dicomsql.execution.watch import Watch
from dicomsql.planning.cost import estimate
from dicomsql.planning.read_plan import Filter
from dicomsql.result import Result, ResultColumn

if TYPE_CHECKING:
    from dicomsql.engine.duck import Rows
    from dicomsql.execution.local import FileRunner
    from dicomsql.execution.pictures import Shown
    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import Check, ReadPlan, Scan, Windows


class ReadRun:
    """A read plan that runs: its registered tables, its fetching threads, its result.

    Raises, from every method: what the calls or the engine raised.
    """

    def __init__(self, run: Run, plan: ReadPlan) -> None:
        self._run = run
        self._plan = plan
        self._registered: list[str] = []
        self._runners: list[ScanRunner | FileRunner] = []
        self._rows: Rows | None = None

    def open(self, check: Callable[[], None] | None = None) -> Rows | None:
        """Start the scans and the query; its rows, or None for a statement without any.

        Args:
            check: runs once the scans are tables and before the query, while no result is open.
        """
        engine = self._run.engine
        try:
            self._open_files()
            for scan in self._plan.scans:
                self._keep(b.sql for b in scan.binds)
                data: pa.Table | pa.RecordBatchReader
                if scan.stream:
                    runner = ScanRunner(self._run, scan)
                    self._runners.append(runner)
                    data = runner.reader()
                else:
                    data = materialise(self._run, scan)
                engine.register(scan.name, data)
                self._registered.append(scan.name)
                if scan.check is not None:
                    self._verify(scan.check)
            self._keep([self._plan.sql])
            if check is not None:
                check()
            self._rows = engine.stream(
                self._plan.sql, self._plan.values, at_once=self._run.progress is not None
            )
        except BaseException as error:  # noqa: BLE001 - it is raised again
            original = self._original(error)
            self.close()
            raise original from original.__cause__
        return self._rows

    def _open_files(self) -> None:
        """Make the local files that are read tables."""
        if not self._plan.files:
            return
        from dicomsql.execution.local import FileRunner

        for scan in self._plan.files:
            runner = FileRunner(self._run, scan)
            self._runners.append(runner)
            self._run.engine.register(scan.name, runner.reader() if scan.stream else runner.table())
            self._registered.append(scan.name)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The query's rows."""
        if self._rows is None:
            return
        try:
            yield from self._rows.batches()
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised again
            original = self._original(error)
            raise original from original.__cause__
        finally:
            self.close()

    def _keep(self, texts: Iterable[str]) -> None:
        """Run the subqueries that these texts read from, and those before them, once."""
        keeps = self._plan.keeps
        last = max((n for t in texts for n, k in enumerate(keeps) if f"{k.name})" in t), default=-1)
        for keep in keeps[: last + 1]:
            if keep.name not in self._registered:
                self._run.engine.register(keep.name, self._run.engine.table(keep.sql, keep.values))
                self._registered.append(keep.name)

    def _verify(self, check: Check) -> None:
        """Fail where a scan did not give what it should have."""
        ((missing,),) = self._run.engine.rows(check.sql, check.values)
        if missing:
            raise IncompleteError(check.message.format(count=f"{missing:,}"))

    def close(self) -> None:
        """Stop what still runs and take the tables away; may be called again."""
        for runner in self._runners:
            runner.close()
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.close()
        while self._registered:
            self._run.engine.unregister(self._registered.pop())

    def _original(self, error: BaseException) -> BaseException:
        """The error that a scan raised, since the engine passes only its text on."""
        for runner in self._runners:
            if runner.error is not None:
                return runner.error
        if isinstance(error, CancelledError | KeyboardInterrupt):
            return error
        if self._run.cancel.is_set():
            return CancelledError("The statement was cancelled.")
        return _readable(error, self._plan)


class WindowRun:
    """A read plan whose only scan is searched by ranges of dates, newest first, until it is enough.

    The user's query runs over the rows so far after each range. Rows are kept only where their own
    date lies in the range that they were found by, so that what a server gives beside it (a date
    that cannot be read, which sorts last) takes no newer row's place.
    """

    def __init__(self, run: Run, plan: ReadPlan) -> None:
        assert plan.windows is not None
        self._run = run
        self._plan = plan
        self._windows: Windows = plan.windows
        self._whole: ReadRun | None = None
        self._batches: list[pa.RecordBatch] = []

    def open(self) -> Rows | None:
        """Search until the query has enough rows; its rows."""
        (scan,) = self._plan.scans
        # An empty range is the whole search, and the last: only that finds what has no date.
        ranges = [given for given in self._windows.ranges if given]
        found: list[pa.Table] = []
        for at, given in enumerate(ranges, 1):
            found.append(self._rows_of(scan, given))
            rows = self._queried(scan.name, pa.concat_tables(found))
            tried = f"{at:,} of {len(ranges):,} ranges of {self._windows.attribute} were searched"
            is_last = at == len(ranges) and len(ranges) == len(self._windows.ranges)
            if is_last or sum(b.num_rows for b in self._batches) >= self._windows.enough:
                self._run.scan(scan).decide(tried)
                return rows
        self._run.scan(scan).decide("all were searched, as no range had enough")
        self._whole = ReadRun(self._run, replace(self._plan, windows=None))
        return self._whole.open()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The query's rows."""
        yield from self._whole.batches() if self._whole is not None else self._batches

    def close(self) -> None:
        """Stop what still runs; may be called again."""
        if self._whole is not None:
            self._whole.close()
        self._batches = []

    def _rows_of(self, scan: Scan, given: str) -> pa.Table:
        """The rows that the search of one range gives and whose date lies in it."""
        import pyarrow.compute as pc

        name = self._windows.attribute
        low, _, high = given.partition("-")
        others = tuple(f for f in scan.filters if f.name != name)
        split = scan.split
        if split is not None and split.attribute == name:
            split = replace(split, low=low, high=high)
        found = materialise(
            self._run,
            replace(scan, filters=(*others, Filter(name, (given,), "range")), split=split),
        )
        dates = found.column(next(c.name for c in scan.columns if c.source == name))
        inside = pc.is_valid(dates)
        if low:
            inside = pc.and_(inside, pc.greater_equal(dates, _day(low)))
        if high:
            inside = pc.and_(inside, pc.less_equal(dates, _day(high)))
        return found.filter(inside)

    def _queried(self, name: str, table: pa.Table) -> Rows | None:
        """Run the user's query over the rows so far; its batches are kept."""
        engine = self._run.engine
        engine.register(name, table)
        try:
            rows = engine.stream(self._plan.sql, self._plan.values)
            try:
                self._batches = list(rows.batches()) if rows is not None else []
            finally:
                if rows is not None:
                    rows.close()
            return rows
        except DatabaseError as error:
            raise _readable(error, self._plan) from None
        finally:
            engine.unregister(name)


def _day(text: str) -> pa.Scalar:
    return pa.scalar(datetime.datetime.strptime(text, "%Y%m%d").date())


def _readable(error: BaseException, plan: ReadPlan) -> BaseException:
    """The engine's error with the resources' names in place of the tables that stand for them.

    Its excerpt of the text goes then, since it is not the text that the user wrote.
    """
    names = {s.name: s.resource for s in plan.scans}
    names |= {s.name: "read_dicom" for s in plan.files}
    if not names or not isinstance(error, DatabaseError) or type(error) is CancelledError:
        return error
    from dicomsql.planning.counts import MISSING

    text = str(error)
    if MISSING in text:
        return IncompleteError(text[text.index(MISSING) :].partition("\n")[0])
    pattern = r"\b(?:" + "|".join(map(re.escape, names)) + r")\b"
    if not re.search(pattern, text):
        return error
    return type(error)(re.sub(pattern, lambda m: names[m[0]], text.partition("\nLINE ")[0]))


class DirectRun:
    """A read plan whose only scan gives the result as it is; the engine is not started."""

    def __init__(self, run: Run, plan: ReadPlan) -> None:
        self._plan = plan
        self._runner = ScanRunner(run, plan.scans[0])
        run.statistics.rows_of = plan.scans[0].name

    def open(self) -> DirectRun:
        """Itself: the rows are fetched as they are read."""
        return self

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        types = {c.name: c.type for c in self._plan.scans[0].columns}
        return tuple(
            ResultColumn(shown, _ENGINE_TYPES.get(types[name], types[name]))
            for shown, name in self._plan.direct
        )

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""
        found = [self._runner.schema.field(name).type for _, name in self._plan.direct]
        return pa.schema(
            (name, kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)
            for (name, _), kind in zip(self._plan.direct, found, strict=True)
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The scan's rows, its columns named and ordered as the query has them."""
        schema = self._runner.schema
        places = [schema.get_field_index(name) for _, name in self._plan.direct]
        shown = self.schema
        for batch in self._runner.batches():
            arrays = [_stored(batch.column(i)) for i in places]
            yield pa.RecordBatch.from_arrays(arrays, schema=shown)

    def close(self) -> None:
        """Stop fetching; may be called again."""
        self._runner.close()


# DuckDB's own names of types that the documents call otherwise.
_ENGINE_TYPES = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}


def _stored(array: pa.Array) -> pa.Array:
    """A JSON column as text, as the engine gives it."""
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def read(run: Run, plan: ReadPlan) -> Result:
    """Run a read plan; its rows are fetched as the result is read."""
    if plan.scans:
        run.check_budget(estimate(plan).least, "The statement")
    if plan.after:
        from dicomsql.execution.defining import define

        return define(run, plan)
    for note in plan.notes:
        run.note(note)
    active = _active(run, plan)
    shown: Shown | None = None
    watch = Watch(run, run.progress) if run.progress is not None else None

    def close() -> None:
        if watch is not None:
            watch.close()
        active.close()
        if shown is not None:
            shown.close()
        run.close()
        run.finish()

    try:
        with watch.waiting() if watch is not None else nullcontext():
            rows = active.open()
            columns, batches = rows.columns if rows is not None else (), active.batches()
            schema = rows.schema if rows is not None else None
            if plan.pictures and schema is not None:
                from dicomsql.execution.pictures import Shown

                shown = Shown(run, plan.pictures, columns, schema, batches)
                columns, schema, batches = shown.columns, shown.schema, shown.batches()
            # The first batch is pulled at once, so that an error is the statement's and not the
            # reader's.
            first = list(itertools.islice(batches, 1))
    except BaseException:
        close()
        raise
    if rows is None:
        changed = run.engine.changed
        close()
        return Result(None, iter(()), affected=changed, statistics=run.statistics)
    return Result(
        columns,
        itertools.chain(first, watch.over(batches) if watch is not None else batches),
        schema=schema,
        statistics=run.statistics,
        close=close,
    )


def _active(run: Run, plan: ReadPlan) -> DirectRun | WindowRun | ReadRun:
    """How a plan is run."""
    if plan.direct:
        return DirectRun(run, plan)
    return WindowRun(run, plan) if plan.windows is not None else ReadRun(run, plan)
