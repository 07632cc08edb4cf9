"""The cursor awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from dicomsql.aio.batches import AsyncBatches
from dicomsql.aio.opening import AsyncClosing
from dicomsql.dbapi.rows import Row, RowFactory
from dicomsql.errors import InterfaceError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

    from dicomsql.aio.connection import AsyncConnection
    from dicomsql.aio.threads import Workers
    from dicomsql.dbapi.cursor import Cursor, Description, Message
    from dicomsql.dbapi.parameters import Parameters
    from dicomsql.result import Statistics

__all__ = ["AsyncCursor"]

T = TypeVar("T")

# Rows that are given out before the loop has its turn, where none has to be waited for.
_ROWS_IN_A_TURN = 256

_CANCELLED = (
    "The task that used this cursor was cancelled, and rows may be lost with it. Execute the "
    "statement again."
)


class AsyncCursor(AsyncClosing, Generic[Row]):
    """Executes statements on its connection. Made by `AsyncConnection.cursor`.

    Its methods are those of `dicomsql.Cursor`, which says what they take, give and raise; those
    that may block are awaited. One task uses it at a time; tasks that share a connection have
    cursors of their own. A task that is cancelled stops the statement; what was written by then
    stays, and rows that were not fetched are gone.

    Attributes:
        connection: whose cursor it is.
    """

    def __init__(
        self, connection: AsyncConnection[Any], cursor: Cursor[Row], workers: Workers
    ) -> None:
        self.connection = connection
        self._cursor = cursor
        self._workers = workers
        self._busy = False
        self._lost = False
        self._turn = 0

    # -- executing -------------------------------------------------------------------------------

    async def execute(self, operation: str, parameters: Parameters = None) -> Self:
        """Execute the statements of a text."""
        await self._execute(lambda: self._cursor.execute(operation, parameters))
        return self

    async def executemany(
        self,
        operation: str,
        seq_of_parameters: Iterable[Sequence[object] | Mapping[str, object]],
    ) -> Self:
        """Execute a statement that gives no rows once for each set of parameters."""
        await self._execute(lambda: self._cursor.executemany(operation, seq_of_parameters))
        return self

    async def adbc_ingest(
        self,
        table_name: str,
        data: object,
        mode: Literal["create", "append", "replace", "create_append"] = "create",
        *,
        temporary: bool = False,
    ) -> int:
        """Load a table of Python's into a local one; how many rows there were."""
        return await self._execute(
            lambda: self._cursor.adbc_ingest(table_name, data, mode, temporary=temporary)
        )

    async def callproc(
        self, procname: str, parameters: Mapping[str, object] | Sequence[object] = ()
    ) -> dict[str, object]:
        """Call a method of a service by its full name; its answer is the rows."""
        return await self._execute(lambda: self._cursor.callproc(procname, parameters))

    # -- fetching --------------------------------------------------------------------------------

    async def fetchone(self) -> Row | None:
        """The next row, or None where there is none."""
        self._check()
        if not self._cursor.rows_at_hand:
            return await self._fetch(self._cursor.fetchone)
        self._turn += 1
        if self._turn % _ROWS_IN_A_TURN == 0:
            await asyncio.sleep(0)
        return self._cursor.fetchone()

    async def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, at most `size` (`arraysize` where it is not given)."""
        return await self._fetch(lambda: self._cursor.fetchmany(size))

    async def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return await self._fetch(self._cursor.fetchall)

    async def scroll(self, value: int, mode: str = "relative") -> None:
        """Pass over rows; a cursor only goes forward."""
        await self._fetch(lambda: self._cursor.scroll(value, mode))

    async def nextset(self) -> bool | None:
        """Go on to the rows of the next statement; None where there is none."""
        return await self._fetch(self._cursor.nextset)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        row = await self.fetchone()
        if row is None:
            raise StopAsyncIteration
        return row

    # -- Arrow -----------------------------------------------------------------------------------

    async def fetch_record_batch(self) -> AsyncBatches:
        """The rows that are left as Arrow batches: `async for batch in ...`."""
        return AsyncBatches(await self._fetch(self._cursor.fetch_record_batch), self._fetch)

    async def to_arrow_reader(self, batch_size: int | None = None) -> AsyncBatches:
        """The same, by DuckDB's name, in batches of so many rows at most."""
        reader = await self._fetch(lambda: self._cursor.to_arrow_reader(batch_size))
        return AsyncBatches(reader, self._fetch)

    async def fetch_arrow_table(self) -> pa.Table:
        """All rows that are left as an Arrow table."""
        return await self._fetch(self._cursor.fetch_arrow_table)

    async def to_arrow_table(self) -> pa.Table:
        """The same, by DuckDB's name."""
        return await self.fetch_arrow_table()

    async def fetchdf(self) -> pandas.DataFrame:
        """All rows that are left as a DataFrame of pandas."""
        return await self._fetch(self._cursor.fetchdf)

    async def pl(self) -> polars.DataFrame:
        """All rows that are left as a DataFrame of polars."""
        return await self._fetch(self._cursor.pl)

    # -- what there is ---------------------------------------------------------------------------

    @property
    def description(self) -> list[Description] | None:
        """(name, type code, ...) of each column; None where the statement gives no rows."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Rows that the last write wrote; -1 for a query."""
        return self._cursor.rowcount

    @property
    def rownumber(self) -> int | None:
        """The index of the next row, from 0; None before a query."""
        return self._cursor.rownumber

    @property
    def lastrowid(self) -> None:
        """Always None: no table here has row ids."""

    @property
    def messages(self) -> list[Message]:
        """(class, warning) of what there was to say on the last statement."""
        return self._cursor.messages

    @property
    def statistics(self) -> Statistics | None:
        """What the last statement cost."""
        return self._cursor.statistics

    @property
    def arraysize(self) -> int:
        """Rows that `fetchmany` gives where it is not told how many."""
        return self._cursor.arraysize

    @arraysize.setter
    def arraysize(self, rows: int) -> None:
        self._cursor.arraysize = rows

    @property
    def row_factory(self) -> RowFactory[Row]:
        """What makes the rows; set, it holds from the next row that is fetched."""
        return self._cursor.row_factory

    @row_factory.setter
    def row_factory(self, factory: RowFactory[Row]) -> None:
        self._cursor.row_factory = factory

    def setinputsizes(self, sizes: Sequence[object]) -> None:
        """Does nothing, as PEP 249 allows."""
        self._cursor.setinputsizes(sizes)

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing, as PEP 249 allows."""
        self._cursor.setoutputsize(size, column)

    # -- ending ----------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the statement that runs, from another task; who awaits it gets a CancelledError."""
        self._cursor.cancel()

    @property
    def closed(self) -> bool:
        """Whether the cursor can no longer be used."""
        return self._cursor.closed

    async def close(self) -> None:
        """Stop what still runs for this cursor; may be called again, and from another task."""
        if not self.closed and not self._workers.finished:
            await self._workers.run(self._cursor.close, _nothing)

    # -- inside ----------------------------------------------------------------------------------

    async def _execute(self, work: Callable[[], T]) -> T:
        self._lost = False
        return await self._run(work)

    async def _fetch(self, work: Callable[[], T]) -> T:
        self._check()
        return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        """Run what may block, for this task alone."""
        self._alone()
        self._busy = True
        try:
            return await self._workers.run(work, self._cursor.cancel)
        except asyncio.CancelledError:
            # Rows that were fetched for the task reached nobody.
            self._lost = True
            raise
        finally:
            self._busy = False

    def _check(self) -> None:
        self._alone()
        if self._lost:
            raise InterfaceError(_CANCELLED)

    def _alone(self) -> None:
        if self._busy:
            raise InterfaceError(
                "Another task uses this cursor right now. Tasks may share a connection: let each "
                "make a cursor of its own."
            )


def _nothing() -> None:
    """A close is waited for to its end."""
