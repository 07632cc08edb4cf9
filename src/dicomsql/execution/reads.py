"""Runs a `ReadPlan`: scans become tables of the engine, the engine runs the query over them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.errors import CancelledError, DatabaseError
from dicomsql.execution.scans import ScanRunner, materialise
from dicomsql.result import Result, ResultColumn

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

    def open(self, check: Callable[[], None] | None = None) -> Rows | None:
        """Start the scans and the query; its rows, or None for a statement without any.

        Args:
            check: runs once the scans are tables and before the query, while no result is open.
        """
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
            if check is not None:
                check()
            self._rows = engine.stream(self._plan.sql, self._plan.values)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            original = self._original(error)
            self.close()
            raise original from original.__cause__
        return self._rows

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
        return self._readable(error)

    def _readable(self, error: BaseException) -> BaseException:
        """The engine's error with the resources' names in place of the tables that stand for them.

        Its excerpt of the text goes then, since it is not the text that the user wrote.
        """
        names = {s.name: s.resource for s in self._plan.scans}
        if not names or not isinstance(error, DatabaseError) or type(error) is CancelledError:
            return error
        text = str(error)
        pattern = r"\b(?:" + "|".join(map(re.escape, names)) + r")\b"
        if not re.search(pattern, text):
            return error
        return type(error)(re.sub(pattern, lambda m: names[m[0]], text.partition("\nLINE ")[0]))


class DirectRun:
    """A read plan whose only scan gives the result as it is; the engine is not started."""

    def __init__(self, run: Run, plan: ReadPlan) -> None:
        self._plan = plan
        self._runner = ScanRunner(run, plan.scans[0])

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

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The scan's rows, its columns named and ordered as the query has them."""
        schema = self._runner.schema
        places = [schema.get_field_index(name) for _, name in self._plan.direct]
        shown = [name for name, _ in self._plan.direct]
        for batch in self._runner.batches():
            yield pa.RecordBatch.from_arrays([_stored(batch.column(i)) for i in places], shown)

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
    active = DirectRun(run, plan) if plan.direct else ReadRun(run, plan)

    def close() -> None:
        active.close()
        run.close()
        run.finish()

    try:
        rows = active.open()
        # The first batch is pulled at once, so that an error is the statement's and not the
        # reader's.
        batches = active.batches()
        first = list(itertools.islice(batches, 1))
    except BaseException:
        close()
        raise
    if rows is None:
        close()
        return Result(None, iter(()), statistics=run.statistics)
    return Result(
        rows.columns,
        itertools.chain(first, batches),
        statistics=run.statistics,
        close=close,
    )
