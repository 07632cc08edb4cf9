"""The connection awaited."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Unpack, cast, overload

from dicomsql import errors
from dicomsql.aio.cursor import AsyncCursor
from dicomsql.aio.opening import AsyncClosing, Opening
from dicomsql.aio.threads import Workers
from dicomsql.dbapi.arguments import ConnectArguments
from dicomsql.dbapi.connection import Connection
from dicomsql.dbapi.connection import connect as connect_blocking
from dicomsql.dbapi.rows import Made_co, Row, RowFactory, TupleRow

if TYPE_CHECKING:
    from dicomsql.dbapi.parameters import Parameters

__all__ = ["AsyncConnection", "connect"]


@overload
def connect(
    *, row_factory: RowFactory[Row], **arguments: Unpack[ConnectArguments]
) -> Opening[AsyncConnection[Row]]: ...


@overload
def connect(
    *, row_factory: None = None, **arguments: Unpack[ConnectArguments]
) -> Opening[AsyncConnection[TupleRow]]: ...


def connect(
    *, row_factory: RowFactory[Any] | None = None, **arguments: Unpack[ConnectArguments]
) -> Opening[Any]:
    """Open a connection for the tasks of an event loop.

    `async with dicomsql.aio.connect(...) as connection` closes it at the end of the block;
    `connection = await dicomsql.aio.connect(...)` leaves that to you.

    Args:
        row_factory: what rows are, as `dicomsql.connect` takes it.
        arguments: those of `dicomsql.connect`. `consent` is asked in a thread, not in the loop's.

    Raises:
        InterfaceError: an argument does not fit.
    """

    async def opened() -> AsyncConnection[Any]:
        workers = Workers()
        made: list[Connection[Any]] = []

        def open_blocking() -> None:
            made.append(connect_blocking(row_factory=cast("Any", row_factory), **arguments))

        def close_blocking() -> None:
            for connection in made:
                connection.close()

        try:
            # It reads files, but asks no server: it ends by itself.
            await workers.run(open_blocking, _nothing)
        except BaseException:
            await workers.finish(close_blocking, _nothing)
            raise
        return AsyncConnection(made[0], workers)

    return Opening(opened)


class AsyncConnection(AsyncClosing, Generic[Row]):
    """A connection, which tasks share if each has a cursor of its own. Made by `connect`.

    Its methods are those of `dicomsql.Connection`, which says what they take, give and raise;
    those that may block are awaited.
    """

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(self, connection: Connection[Row], workers: Workers) -> None:
        self._connection = connection
        self._workers = workers

    @overload
    def cursor(self, *, row_factory: RowFactory[Made_co]) -> AsyncCursor[Made_co]: ...

    @overload
    def cursor(self, *, row_factory: None = None) -> AsyncCursor[Row]: ...

    def cursor(self, *, row_factory: RowFactory[Any] | None = None) -> AsyncCursor[Any]:
        """A new cursor; nothing has to be awaited for it.

        Args:
            row_factory: what its rows are; the connection's where it is not given.
        """
        cursor = self._connection.cursor(row_factory=cast("Any", row_factory))
        return AsyncCursor(self, cursor, self._workers)

    def execute(self, operation: str, parameters: Parameters = None) -> Opening[AsyncCursor[Row]]:
        """A new cursor that has executed a statement.

        `async with connection.execute(...) as cursor` closes it at the end of the block.
        """

        async def executed() -> AsyncCursor[Row]:
            cursor: AsyncCursor[Row] = self.cursor()
            try:
                return await cursor.execute(operation, parameters)
            except BaseException:
                await cursor.close()
                raise

        return Opening(executed)

    async def commit(self) -> None:
        """Keep what was done to local tables. Calls to servers are done when they have returned."""
        await self._whole(self._connection.commit)

    async def rollback(self) -> None:
        """Take back what was done to local tables since the last commit.

        Raises:
            NotSupportedError: calls since then may have changed something at a server, which stays.
        """
        await self._whole(self._connection.rollback)

    @property
    def autocommit(self) -> bool:
        """Whether each statement that writes local tables is committed by itself."""
        return self._connection.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._connection.autocommit = value

    @property
    def in_transaction(self) -> bool:
        """Whether local tables have changes that are not committed."""
        return self._connection.in_transaction

    def cancel(self) -> None:
        """Stop the statements that run; who awaits them gets `dicomsql.errors.CancelledError`."""
        self._connection.cancel()

    async def close(self) -> None:
        """Free sockets and threads; what was done to local tables and not committed is undone.

        May be called again. Statements that run are stopped.
        """
        await self._workers.finish(self._connection.close, self._connection.cancel)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The end of a block: commits if it was left without an error; closes."""
        try:
            if kind is None and not self.closed:
                await self.commit()
        finally:
            await self.close()

    @property
    def row_factory(self) -> RowFactory[Row]:
        """What its cursors make of rows where they are not told."""
        return self._connection.row_factory

    @row_factory.setter
    def row_factory(self, factory: RowFactory[Row]) -> None:
        self._connection.row_factory = factory

    @property
    def closed(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._connection.closed

    async def _whole(self, work: Callable[[], None]) -> None:
        """Do what is not stopped halfway."""
        await self._workers.run(work, _nothing)


def _nothing() -> None:
    """Stops nothing: what is waited for ends by itself."""
