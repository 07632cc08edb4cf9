"""Runs a `ReadPlan`: scans become tables of the engine, the engine runs the query over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import CancelledError
from dicomsql.execution.scans import ScanRunner, materialise
from dicomsql.result import Result

if TYPE_CHECKING:
    from dicomsql.engine.duck import Rows
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import ReadPlan


class ReadRun:
    """A read plan that runs: its registered tables, its fetching threads, its result.

    Raises, from every method: what the calls or the engine raised.
    """

    def __init__(self, run: Run, plan: ReadPlan) -> None:
        self._run = run
        self._plan = plan
        self._registered: list[str] = []
        self._runners: list[ScanRunner] = []
        self._rows: Rows | None = None

    def open(self) -> Rows | None:
        """Start the scans and the query; its rows, or None for a statement without any."""
        engine = self._run.engine
        try:
            for scan in self._plan.scans:
                data: pa.Table | pa.RecordBatchReader
                if scan.stream:
                    runner = ScanRunner(self._run, scan)
                    self._runners.append(runner)
                    data = runner.reader()
                else:
                    data = materialise(self._run, scan)
                engine.register(scan.name, data)
                self._registered.append(scan.name)
            self._rows = engine.stream(self._plan.sql, self._plan.values)
        except BaseException as error:
            self.close()
            raise self._original(error) from None
        return self._rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The query's rows."""
        if self._rows is None:
            return
        try:
            yield from self._rows.batches()
        except Exception as error:
            raise self._original(error) from None
        finally:
            self.close()
            self._run.finish()

    def table(self) -> pa.Table:
        """The query's rows, all of them."""
        rows = self.open()
        if rows is None:
            return pa.table({})
        found = list(self.batches())
        if found:
            return pa.Table.from_batches(found)
        return pa.table({c.name: pa.array([], pa.null()) for c in rows.columns})

    def close(self) -> None:
        """Stop what still runs and take the tables away."""
        for runner in self._runners:
            runner.close()
        if self._rows is not None:
            self._rows.close()
        for name in self._registered:
            self._run.engine.unregister(name)
        self._registered.clear()

    def _original(self, error: BaseException) -> BaseException:
        """The error that a scan raised, since the engine passes only its text on."""
        if isinstance(error, KeyboardInterrupt):
            return error
        for runner in self._runners:
            if runner.error is not None:
                return runner.error
        if self._run.cancel.is_set() and not isinstance(error, CancelledError):
            return CancelledError("The statement was cancelled.")
        return error


def read(run: Run, plan: ReadPlan) -> Result:
    """Run a read plan; its rows are fetched as the result is read."""
    active = ReadRun(run, plan)
    rows = active.open()
    if rows is None:
        run.finish()
        return Result(None, iter(()), statistics=run.statistics)
    # The first batch is pulled at once, so that an error is the statement's and not the reader's.
    batches = active.batches()
    first: list[pa.RecordBatch] = []
    with suppress(StopIteration):
        first.append(next(batches))
    return Result(
        rows.columns,
        itertools.chain(first, batches),
        statistics=run.statistics,
        close=active.close,
    )
