"""PEP 249's Connection: a session with cursors on it."""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, Unpack, overload

from dicomsql import errors
from dicomsql.closing import Closing
from dicomsql.config import settings
from dicomsql.dbapi.arguments import ConnectArguments
from dicomsql.dbapi.cursor import Cursor
from dicomsql.dbapi.parameters import Parameters
from dicomsql.dbapi.rows import Made_co, Row, RowFactory, TupleRow, check_factory, tuple_row
from dicomsql.errors import InterfaceError, nearest
from dicomsql.session import Session

__all__ = ["Connection", "connect"]


@overload
def connect(
    *, row_factory: RowFactory[Row], **arguments: Unpack[ConnectArguments]
) -> Connection[Row]: ...


@overload
def connect(
    *, row_factory: None = None, **arguments: Unpack[ConnectArguments]
) -> Connection[TupleRow]: ...


def connect(
    *, row_factory: RowFactory[Any] | None = None, **arguments: Unpack[ConnectArguments]
) -> Connection[Any]:
    """Open a connection; what is not given comes from the environment (see `dicomsql.config`).

    Nothing is sent before the first statement needs it.

    Args:
        row_factory: what rows are: `tuple_row` where it is not given, `dict_row`,
            `namedtuple_row`, `class_row(SomeDataclass)`, or one of your own.
        arguments: see `ConnectArguments`.

    Raises:
        InterfaceError: an argument does not fit.
    """
    known = list(ConnectArguments.__annotations__)
    for name in arguments:
        if name not in known:
            raise InterfaceError(f"connect has no argument {name}.{nearest(name, known)}")
    if row_factory is not None:
        check_factory(row_factory)
    given: dict[str, Any] = {**arguments}
    consent = given.pop("consent", None)
    if given.get("autocommit") is None:
        given["autocommit"] = False
    # Once the main thread has ended it cannot be imported any more, and a thread that executes then
    # would be told of that instead.
    import concurrent.futures.thread  # noqa: F401

    session = Session(settings(**given), consent=consent)
    return Connection(session, row_factory or tuple_row)


class Connection(Closing, Generic[Row]):
    """A connection, which threads may share if each has a cursor of its own. Made by `connect`.

    Attributes:
        row_factory: what its cursors make of rows where they are not told.
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

    def __init__(self, session: Session, row_factory: RowFactory[Row]) -> None:
        self.row_factory = row_factory
        self._session = session
        self._cursors: weakref.WeakSet[Cursor[Any]] = weakref.WeakSet()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A connection cannot be pickled: its threads and sockets are this process's. Open one "
            "where it is used, and pickle what `connect` takes."
        )

    @overload
    def cursor(self, *, row_factory: RowFactory[Made_co]) -> Cursor[Made_co]: ...

    @overload
    def cursor(self, *, row_factory: None = None) -> Cursor[Row]: ...

    def cursor(self, *, row_factory: RowFactory[Any] | None = None) -> Cursor[Any]:
        """A new cursor.

        Args:
            row_factory: what its rows are; the connection's where it is not given.

        Raises:
            InterfaceError: the connection is closed, or `row_factory` is none.
        """
        self._check()
        check_factory(row_factory if row_factory is not None else self.row_factory)
        cursor: Cursor[Any] = Cursor(
            self, self._session, row_factory if row_factory is not None else self.row_factory
        )
        self._cursors.add(cursor)
        return cursor

    def execute(self, operation: str, parameters: Parameters = None) -> Cursor[Row]:
        """A new cursor that has executed a statement."""
        return self.cursor().execute(operation, parameters)

    # -- transactions ----------------------------------------------------------------------------

    def commit(self) -> None:
        """Keep what was done to local tables. Calls to servers are done when they have returned.

        Raises:
            OperationalError: it cannot be kept, and all of it has been rolled back.
        """
        self._check()
        self._session.commit()

    def rollback(self) -> None:
        """Take back what was done to local tables since the last commit.

        Raises:
            NotSupportedError: calls since then have changed something at a server, or may have, and
                that stays; what was done to local tables is taken back all the same.
        """
        self._check()
        calls = self._session.calls_since_commit
        self._session.rollback()
        if calls:
            many = calls != 1
            raise errors.NotSupportedError(
                f"{calls:,} call{'s' * many} since the last commit changed something at a server, "
                f"or may have, and cannot be rolled back: what {'they' if many else 'it'} did "
                "stays. What was done to local tables has been rolled back."
            )

    @property
    def autocommit(self) -> bool:
        """Whether each statement that writes local tables is committed by itself.

        Raises (where it is set):
            ProgrammingError: a transaction is open.
        """
        return self._session.autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._check()
        if value != self._session.autocommit and self._session.in_transaction:
            raise errors.ProgrammingError(
                "A transaction is open: commit it or roll it back, then change autocommit."
            )
        self._session.autocommit = value

    @property
    def in_transaction(self) -> bool:
        """Whether local tables have changes that are not committed."""
        return not self.closed and self._session.in_transaction

    # -- ending ----------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the statements that run, from another thread; their error is CancelledError.

        The connection can be used afterwards. `Cursor.cancel` stops one cursor's.
        """
        self._session.cancel()

    def close(self) -> None:
        """Free sockets and threads; what was done to local tables and not committed is undone.

        May be called again. Cursors cannot be used afterwards.
        """
        for cursor in list(self._cursors):
            cursor.close()
        self._session.close()

    def __enter__(self) -> Self:
        """Itself, for a `with` block.

        Raises:
            InterfaceError: the connection is closed.
        """
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The end of a `with` block: commits if the block was left without an error; closes."""
        try:
            if kind is None and not self.closed:
                self._session.commit()
        finally:
            self.close()

    @property
    def closed(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._session.closed

    def __repr__(self) -> str:
        """Whether it is open; nothing of what it was opened with, which may be a secret."""
        if self.closed:
            state = "closed"
        elif self.in_transaction:
            state = "open, in a transaction"
        else:
            state = "open"
        return f"<dicomsql.Connection: {state}>"

    def _check(self) -> None:
        if self._session.closed:
            raise InterfaceError("The connection is closed.")
