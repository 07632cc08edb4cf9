"""PEP 249's Cursor: executes statements and gives their rows, as tuples or as Arrow.

Beside PEP 249: the Arrow methods have the names that ADBC and DuckDB gave theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, cast

from dicomsql import errors
from dicomsql.closing import Closing
from dicomsql.dbapi.frames import needed, to_pandas, to_polars
from dicomsql.dbapi.parameters import Parameters, call_text, checked, checked_sets
from dicomsql.dbapi.rows import Row, RowFactory, TupleRow, check_factory, tuple_row
from dicomsql.dbapi.stream import Stream, one_at_a_time
from dicomsql.dbapi.tables import Incoming
from dicomsql.errors import InterfaceError, NotSupportedError, ProgrammingError
from dicomsql.session import Session, Stop
from dicomsql.session.ingest import MODES
from dicomsql.session.turns import Turn

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

    from dicomsql.dbapi.connection import Connection
    from dicomsql.language.statements import Statement
    from dicomsql.result import Result, Statistics

__all__ = ["Cursor", "Description"]

Description = tuple[str, str, None, None, None, None, None]
Message = tuple[type[errors.Warning], errors.Warning]

_GONE_ON = "The cursor has executed another statement since: these rows are gone."


class Cursor(Closing, Generic[Row]):
    """Executes statements on its connection. Made by `Connection.cursor`.

    One thread uses it at a time; threads that share a connection have cursors of their own, which
    see the same local tables and the same transaction.

    Attributes:
        connection: whose cursor it is.
        arraysize: rows that `fetchmany` gives where it is not told how many.
    """

    def __init__(
        self, connection: Connection[Any], session: Session, row_factory: RowFactory[Row]
    ) -> None:
        self.connection = connection
        self.arraysize = 1
        self._row_factory = row_factory
        self._session = session
        self._busy = Turn()
        self._closed = False
        self._results: list[Result] = []
        self._affected = -1
        self._stream: Stream | None = None
        self._make: Callable[[TupleRow], Row] | None = None
        self._messages: list[Message] = []
        self._told = 0
        self._stop = Stop()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A cursor cannot be pickled, since its connection is this process's: fetch its rows "
            "and pickle these."
        )

    # -- executing -------------------------------------------------------------------------------

    def execute(self, operation: str, parameters: Parameters = None) -> Self:
        """Execute the statements of a text, in turn; `nextset` moves from one's rows to the next.

        Args:
            parameters: a sequence for `?`, a mapping for `:name`; only for a single statement.

        Raises:
            InterfaceError: the cursor is closed, or another thread uses it.
            ProgrammingError: the text or the parameters do not fit; nothing was sent.
            Error: see `dicomsql.errors`. A COPY of which some rows failed raises as well; the
                cursor has its rows nevertheless.
        """
        with self._started():
            parameters = checked(parameters)
            statements = self._parsed(operation)
            if parameters and len(statements) > 1:
                raise ProgrammingError(
                    f"Parameters belong to one statement, but the text has {len(statements)}."
                )
            self._run(statements, parameters)
        return self

    def executemany(
        self,
        operation: str,
        seq_of_parameters: Iterable[Sequence[object] | Mapping[str, object]],
    ) -> Self:
        """Execute a statement that gives no rows once for each set of parameters.

        All sets are checked before the first call is sent; see `Session.execute_many` for what is
        done side by side, and for what becomes of the others where one fails. `rowcount` is the
        sum.

        Raises:
            ProgrammingError: the statement gives rows, or a set does not fit; nothing was sent.
            Error: as `execute` does.
        """
        with self._started():
            statements = self._parsed(operation)
            if len(statements) != 1:
                raise ProgrammingError(f"One statement is expected, not {len(statements)}.")
            sets = checked_sets(seq_of_parameters)
            if sets:
                self._results = [self._session.execute_many(statements[0], sets, stop=self._stop)]
                self._show()
            else:
                self._affected = 0
        return self

    def adbc_ingest(
        self,
        table_name: str,
        data: object,
        mode: Literal["create", "append", "replace", "create_append"] = "create",
        *,
        temporary: bool = False,
    ) -> int:
        """Load a table of Python's into a local one, by ADBC's name; how many rows there were.

        The rows go over as they come, so that memory holds a few batches; all of them or none.

        Args:
            data: a DataFrame of pandas or polars, an Arrow table, batch or reader, a cursor: what
                has the Arrow PyCapsule interface.
            mode: make the table, append to it (by the columns' names), replace it, or append to it
                and make it where there is none.
            temporary: the table that is made goes with the connection.

        Raises:
            ProgrammingError: the data are no table, or the local table does not fit.
            DataError: a value of them would not stay what it is.
            OperationalError: they could not be read to their end.
        """
        with self._started():
            if not isinstance(table_name, str) or not table_name:
                raise ProgrammingError("adbc_ingest takes the name of a local table.")
            if mode not in MODES:
                raise ProgrammingError(f"The mode is one of {', '.join(MODES)}.")
            incoming = Incoming(data)
            try:
                return self._session.ingest(
                    table_name, incoming.reader, mode, temporary=temporary, stop=self._stop
                )
            except errors.Error:
                if incoming.failure is not None:
                    raise incoming.failure from incoming.failure.__cause__
                raise

    def callproc(
        self, procname: str, parameters: Mapping[str, object] | Sequence[object] = ()
    ) -> dict[str, object]:
        """Call a method of a service by its full name, as EXEC does; its answer is the rows.

        Args:
            procname: such as `google.healthcare.dicom_stores.search_for_studies`.
            parameters: by name. `@@json`, `@@file` and `@@output` name the body and files.

        Returns:
            The parameters, unchanged: methods give back rows, and no parameters.

        Raises:
            ProgrammingError: a name is none, or parameters come without names.
            Error: as `execute` does.
        """
        with self._started():
            text, values = call_text(procname, parameters)
            self._run(self._parsed(text), values)
        return dict(parameters) if isinstance(parameters, Mapping) else {}

    # -- fetching --------------------------------------------------------------------------------

    def fetchone(self) -> Row | None:
        """The next row, or None where there is none.

        Raises:
            InterfaceError: there are no rows to fetch, or they are gone.
            Error: what the statement raises while its rows come in.
        """
        row: Row | None = self._readable().one(self._maker())
        return row

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next rows, at most `size` (`arraysize` where it is not given)."""
        stream = self._readable()
        most = self.arraysize if size is None else size
        if most < 0:
            raise ProgrammingError("fetchmany takes a number of rows from 0 on.")
        return stream.take(most, self._maker())

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return self._readable().take(None, self._maker())

    def scroll(self, value: int, mode: str = "relative") -> None:
        """Pass over rows; a cursor only goes forward.

        Args:
            value: rows to pass over, or (`mode="absolute"`) the row to go to, from 0.

        Raises:
            NotSupportedError: it would go back.
            IndexError: there are not so many rows; those that there were are passed over.
        """
        if mode not in {"relative", "absolute"}:
            raise ProgrammingError("scroll goes 'relative' or 'absolute'.")
        stream = self._readable()
        forward = value if mode == "relative" else value - stream.position
        if forward < 0:
            raise NotSupportedError(
                "A cursor only goes forward: rows that were fetched are not kept. Execute the "
                "statement again, or keep its rows (fetchall, fetch_arrow_table)."
            )
        if stream.skip(forward) < forward:
            raise IndexError("There are not so many rows.")

    def nextset(self) -> bool | None:
        """Go on to the rows of the next statement; None where there is none."""
        self._check()
        with one_at_a_time(self._busy):
            if len(self._results) < 2:
                return None
            self._drop(self._results.pop(0), "The cursor has gone on to the next statement.")
            self._show()
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Row:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # -- Arrow -----------------------------------------------------------------------------------

    def fetch_record_batch(self) -> pa.RecordBatchReader:
        """The rows that are left as a reader of Arrow batches, which come as they are read.

        The reader draws on this cursor: it fails once the cursor is closed or executes anything
        else, unless all was read.
        """
        import pyarrow as pa

        stream = self._readable()
        return pa.RecordBatchReader.from_batches(stream.schema(), self._batches(stream))

    def to_arrow_reader(self, batch_size: int | None = None) -> pa.RecordBatchReader:
        """The same, by DuckDB's name.

        Args:
            batch_size: rows of a batch at most; None for as many as come.
        """
        import pyarrow as pa

        if batch_size is None:
            return self.fetch_record_batch()
        if batch_size < 1:
            raise ProgrammingError("A batch has at least one row.")
        stream = self._readable()
        cut = (
            batch.slice(start, batch_size)
            for batch in self._batches(stream)
            for start in range(0, batch.num_rows, batch_size)
        )
        return pa.RecordBatchReader.from_batches(stream.schema(), cut)

    def fetch_arrow_table(self) -> pa.Table:
        """All rows that are left as an Arrow table, in the buffers that they came in."""
        return self._readable().whole(lambda table: table)

    def to_arrow_table(self) -> pa.Table:
        """The same, by DuckDB's name."""
        return self.fetch_arrow_table()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows that are left, for whatever takes Arrow streams (the Arrow PyCapsule interface).

        `polars.DataFrame(cursor)`, `pandas.DataFrame.from_arrow(cursor)`, `pyarrow.table(cursor)`
        and DuckDB's `FROM cursor` ask for it. What takes a part of them (LIMIT) has read on.

        Raises:
            InterfaceError: another stream was read, fully or in part: what is left would pass for
                all.
        """
        import pyarrow as pa

        stream = self._readable()
        if stream.was_handed_over:
            raise InterfaceError(
                "The cursor's rows were handed over as an Arrow stream before, and are read once. "
                "Execute the statement again, or keep its rows (fetch_arrow_table)."
            )
        reader = pa.RecordBatchReader.from_batches(stream.schema(), self._handed_over(stream))
        return reader.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """The columns of that stream, for who looks at them before it reads."""
        return self._readable().schema().__arrow_c_schema__()

    def fetchdf(self) -> pandas.DataFrame:
        """All rows that are left as a DataFrame of pandas.

        Raises:
            InterfaceError: pandas is not installed.
            DataError, NotSupportedError: pandas has no such value, or type; no row is taken.
        """
        needed("pandas", "fetchdf")
        stream = self._readable()
        return stream.whole(lambda table: to_pandas(table, stream.columns))

    def pl(self) -> polars.DataFrame:
        """All rows that are left as a DataFrame of polars, on the same buffers.

        Raises:
            InterfaceError: polars is not installed.
            NotSupportedError: polars has no such type; no row is taken.
        """
        needed("polars", "pl")
        stream = self._readable()
        return stream.whole(lambda table: to_polars(table, stream.columns))

    # -- what there is ---------------------------------------------------------------------------

    @property
    def description(self) -> list[Description] | None:
        """(name, type code, ...) of each column; None where the statement gives no rows.

        A type code is the type as DuckDB spells it; the type objects equal it.
        """
        if not self._results or self._results[0].columns is None:
            return None
        return [(c.name, c.type, None, None, None, None, None) for c in self._results[0].columns]

    @property
    def rowcount(self) -> int:
        """Rows that the last write wrote; -1 for a query, whose rows come as they are fetched.

        It is still there when the cursor is closed.
        """
        return self._results[0].affected if self._results else self._affected

    @property
    def rownumber(self) -> int | None:
        """The index of the next row, from 0; None before a query."""
        return self._stream.position if self._stream is not None else None

    @property
    def rows_at_hand(self) -> int:
        """How many rows `fetchone` gives without waiting for any to come in."""
        return self._stream.at_hand if self._stream is not None else 0

    @property
    def lastrowid(self) -> None:
        """Always None: no table here has row ids."""

    @property
    def messages(self) -> list[Message]:
        """(class, warning) of what there was to say on the last statement, such as what it skipped.

        What was said while rows were fetched is among it. Executing clears it, and so may you.
        """
        if self._results:
            result = self._results[0]
            notes = result.statistics.notes
            self._messages += [(errors.Warning, errors.Warning(n)) for n in notes[self._told :]]
            self._told = len(notes)
        return self._messages

    @property
    def statistics(self) -> Statistics | None:
        """What the last statement cost: requests, bytes, pages, seconds, notes."""
        return self._results[0].statistics if self._results else None

    @property
    def row_factory(self) -> RowFactory[Row]:
        """What makes the rows; set, it holds from the next row that is fetched."""
        return self._row_factory

    @row_factory.setter
    def row_factory(self, factory: RowFactory[Row]) -> None:
        check_factory(factory)
        self._row_factory, self._make = factory, None

    def setinputsizes(self, sizes: Sequence[object]) -> None:  # noqa: ARG002
        """Does nothing, as PEP 249 allows: values have their types with them."""
        self._check()

    def setoutputsize(self, size: int, column: int | None = None) -> None:  # noqa: ARG002
        """Does nothing, as PEP 249 allows: values come whole, whatever their size."""
        self._check()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        """What a notebook shows: the next rows, which are still to be fetched."""
        if self.closed:
            return {"text/plain": "A cursor that is closed."}
        if not self._results:
            return {"text/plain": "A cursor that has executed nothing yet."}
        result, stream = self._results[0], self._stream
        if result.columns is None or stream is None:
            written = f"{result.affected:,} rows were written." if result.affected >= 0 else "Done."
            return {"text/plain": result.message or written}
        from dicomsql.output.notebook import ROWS_SEEN, shown

        rows = stream.peek(ROWS_SEEN + 1)
        said = list(result.statistics.notes)
        if (more := len(self._results) - 1) > 0:
            said.append(f"nextset goes on to {more} more result{'s' * (more != 1)}.")
        return shown(result.columns, rows, stream.position, said)

    # -- ending ----------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the cursor's statement, from another thread; its error is CancelledError.

        Whether it executes or its rows are fetched; the cursor can be used afterwards.
        """
        self._stop.cancel()

    def __enter__(self) -> Self:
        """Itself, for a `with` block.

        Raises:
            InterfaceError: the cursor is closed.
        """
        self._check()
        return self

    @property
    def closed(self) -> bool:
        """Whether the cursor can no longer be used."""
        return self._closed or self._session.closed

    def close(self) -> None:
        """Stop what still runs for this cursor; may be called again, and from another thread."""
        self._closed = True
        if self._session.is_foreign:
            return  # who held it at the fork is not here
        with self._busy.taken(self._cancelled):
            self._affected = self.rowcount
            self._reset("The cursor is closed.")

    # -- inside ----------------------------------------------------------------------------------

    @contextmanager
    def _started(self) -> Iterator[None]:
        """What executes: this thread's alone, and with nothing left of what was before."""
        self._check()
        with one_at_a_time(self._busy):
            self._reset(_GONE_ON)
            self._affected = -1
            self._messages.clear()
            self._stop = Stop()
            yield

    def _cancelled(self) -> bool:
        """Stop what another thread does with the cursor, and wait for it."""
        self.cancel()
        return False

    def _parsed(self, operation: str) -> tuple[Statement, ...]:
        if not isinstance(operation, str):
            raise ProgrammingError(f"A statement is a text, no {type(operation).__name__}.")
        statements = self._session.parse(operation)
        if not statements:
            raise ProgrammingError("There is no statement to execute.")
        return statements

    def _run(self, statements: Sequence[Statement], parameters: Parameters) -> None:
        """Run statements in turn; the first one's rows are those to fetch."""
        failure: Exception | None = None
        try:
            for statement in statements:
                result = self._session.execute(statement, parameters, stop=self._stop)
                self._results.append(result)
                failure = result.failure
                if failure is not None:
                    break
        except BaseException:
            self._reset(_GONE_ON)
            raise
        self._show()
        if failure is not None:
            raise failure

    def _show(self) -> None:
        """Make the first result the one whose rows are fetched."""
        result = self._results[0]
        self._stream = Stream(result, self._busy) if result.columns is not None else None
        self._make, self._told = None, 0
        self._messages.clear()

    def _reset(self, why: str) -> None:
        results, self._results = self._results, []
        for result in results:
            self._drop(result, why)

    def _drop(self, result: Result, why: str) -> None:
        """Close a result; a reader of it that is still about is told why it has no more rows."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end(why)
        result.close()

    def _batches(self, stream: Stream) -> Iterator[pa.RecordBatch]:
        """The stream's batches; who reads them keeps the cursor, whose end they are told of."""
        yield from stream.batches()

    def _handed_over(self, stream: Stream) -> Iterator[pa.RecordBatch]:
        stream.was_handed_over = True
        yield from self._batches(stream)

    def _readable(self) -> Stream:
        self._check()
        if self._stream is None:
            if not self._results:
                raise InterfaceError("Nothing was executed yet, so that there are no rows.")
            raise InterfaceError("The statement gave no rows to fetch.")
        return self._stream

    def _maker(self) -> Callable[[TupleRow], Row] | None:
        """What makes a row of a tuple; None where the tuple is it."""
        # The factory of tuples is any factory's peer to a type checker.
        if cast("object", self._row_factory) is tuple_row:
            return None
        if self._make is None:
            make = self._row_factory(self)
            if not callable(make):
                raise ProgrammingError(
                    f"The row factory gave a {type(make).__name__} and no function that makes a "
                    "row of a tuple."
                )
            self._make = make
        return self._make

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("The cursor is closed.")
        if self._session.closed:
            raise InterfaceError("The connection is closed.")
