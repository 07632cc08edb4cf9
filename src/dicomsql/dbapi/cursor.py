"""PEP 249's Cursor: executes statements and gives their rows as tuples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from dicomsql.closing import Closing
from dicomsql.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    from dicomsql.dbapi.connection import Connection
    from dicomsql.result import Result, Statistics
    from dicomsql.session import Session

Row = tuple[Any, ...]
Description = tuple[str, str, None, None, None, None, None]


class Cursor(Closing):
    """Executes statements on its connection. Made by `Connection.cursor`.

    Attributes:
        arraysize: rows that `fetchmany` gives where it is not told how many.
    """

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.arraysize = 1
        self._session = session
        self._closed = False
        self._results: list[Result] = []
        self._rows: Iterator[Row] | None = None
        self._fetched = 0

    # -- executing -------------------------------------------------------------------------------

    def execute(
        self, operation: str, parameters: Sequence[object] | Mapping[str, object] | None = None
    ) -> Self:
        """Execute the statements of a text, in turn; `nextset` moves from one's rows to the next.

        Args:
            parameters: a sequence for `?`, a mapping for `:name`; only for a single statement.

        Raises:
            Error: see `dicomsql.errors`. A COPY of which some rows failed raises as well; the
                cursor has its rows nevertheless.
        """
        self._check()
        self._reset()
        if isinstance(parameters, str | bytes):
            raise ProgrammingError(
                "The parameters are a text; write them as a list or tuple, or as a mapping."
            )
        statements = self._session.parse(operation)
        if not statements:
            raise ProgrammingError("There is no statement to execute.")
        if parameters and len(statements) > 1:
            raise ProgrammingError(
                f"Parameters belong to one statement, but the text has {len(statements)}."
            )
        failure = None
        for statement in statements:
            result = self._session.execute(statement, parameters)
            self._results.append(result)
            failure = result.failure
            if failure is not None:
                break
        self._show(self._results[0])
        if failure is not None:
            raise failure
        return self

    def executemany(
        self,
        operation: str,
        seq_of_parameters: Sequence[Sequence[object] | Mapping[str, object]],
    ) -> Self:
        """Execute a statement that gives no rows once for each set of parameters."""
        self._check()
        self._reset()
        statements = self._session.parse(operation)
        if len(statements) != 1:
            raise ProgrammingError(f"One statement is expected, not {len(statements)}.")
        affected = 0
        for parameters in seq_of_parameters:
            result = self._session.execute(statements[0], parameters)
            if result.columns is not None:
                result.close()
                raise ProgrammingError("executemany is for statements that give no rows.")
            affected += max(0, result.affected)
            self._results = [result]
        if self._results:
            self._results[0].affected = affected
            self._show(self._results[0])
        return self

    # -- fetching --------------------------------------------------------------------------------

    def fetchone(self) -> Row | None:
        """The next row, or None where there is none."""
        return next(self._readable(), None)

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, at most `size` (`arraysize` where it is not given)."""
        return list(itertools.islice(self._readable(), self.arraysize if size is None else size))

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return list(self._readable())

    def nextset(self) -> bool | None:
        """Go on to the rows of the next statement; None where there is none."""
        self._check()
        if len(self._results) < 2:
            return None
        self._results.pop(0).close()
        self._show(self._results[0])
        return True

    def __iter__(self) -> Iterator[Row]:
        return self._readable()

    def __next__(self) -> Row:
        return next(self._readable())

    @property
    def description(self) -> list[Description] | None:
        """(name, type code, ...) of each column; None where the statement gives no rows."""
        if not self._results or self._results[0].columns is None:
            return None
        return [(c.name, c.type, None, None, None, None, None) for c in self._results[0].columns]

    @property
    def rowcount(self) -> int:
        """Rows that the last write wrote; -1 for a query, whose rows come as they are fetched."""
        return self._results[0].affected if self._results else -1

    @property
    def rownumber(self) -> int | None:
        """The index of the next row, from 0; None before a query."""
        return self._fetched if self._rows is not None else None

    @property
    def lastrowid(self) -> None:
        """Always None: no table here has row ids."""

    @property
    def statistics(self) -> Statistics | None:
        """What the last statement cost: requests, bytes, pages, seconds, notes."""
        return self._results[0].statistics if self._results else None

    def setinputsizes(self, sizes: Sequence[object]) -> None:  # noqa: ARG002
        """Does nothing, as PEP 249 allows."""
        self._check()

    def setoutputsize(self, size: int, column: int | None = None) -> None:  # noqa: ARG002
        """Does nothing, as PEP 249 allows."""
        self._check()

    def close(self) -> None:
        """Stop what still runs for this cursor."""
        self._reset()
        self._closed = True

    # -- inside ----------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("The cursor is closed.")
        if self._session.closed:
            raise InterfaceError("The connection is closed.")

    def _reset(self) -> None:
        for result in self._results:
            result.close()
        self._results = []
        self._rows = None

    def _show(self, result: Result) -> None:
        self._rows = self._tuples(result) if result.columns is not None else None
        self._fetched = 0

    def _tuples(self, result: Result) -> Iterator[Row]:
        # Arrow has no integers of 128 bits, so that sums of integers come as decimals.
        wide = {i for i, c in enumerate(result.columns or ()) if c.type in {"HUGEINT", "UHUGEINT"}}
        for batch in result.batches():
            columns = [
                [None if v is None else int(v) for v in column.to_pylist()]
                if i in wide
                else column.to_pylist()
                for i, column in enumerate(batch.columns)
            ]
            for row in zip(*columns, strict=True):
                self._fetched += 1
                yield row

    def _readable(self) -> Iterator[Row]:
        self._check()
        if self._rows is None:
            if not self._results:
                raise InterfaceError("Nothing was executed yet.")
            raise InterfaceError("The statement gave no rows to fetch.")
        return self._rows
