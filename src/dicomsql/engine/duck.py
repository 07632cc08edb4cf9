"""DuckDB as the engine: runs SQL over Arrow tables and over readers that are pulled lazily.

Decisions that measurements stand behind: a reader is registered once under a unique name, since
one that is scanned twice gives no rows the second time; results are taken as an Arrow reader,
which keeps memory at a few batches; extensions are never fetched; times are in UTC.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import duckdb
import pyarrow as pa

from dicomsql.errors import (
    CancelledError,
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from dicomsql.planning.rewrite import JSON_EXTRACT
from dicomsql.result import ResultColumn

# Rows of a batch that the engine gives out: small enough for first rows early.
_BATCH_ROWS = 8_192

_SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET preserve_insertion_order = true",
)

# What StackQL's users find behind the name: a scalar as that scalar, anything else as JSON text.
_MACROS = (
    f"""CREATE MACRO {JSON_EXTRACT}(document, path) AS
        CASE WHEN json_type(document, path) IN ('OBJECT', 'ARRAY')
             THEN CAST(json_extract(document, path) AS VARCHAR)
             ELSE json_extract_string(document, path) END""",
)

# Errors whose text repeats values of the data.
_SHOWS_VALUES = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.DataError)

_ERRORS: tuple[tuple[type[Exception], type[DatabaseError]], ...] = (
    (duckdb.InterruptException, CancelledError),
    (duckdb.ConversionException, DataError),
    (duckdb.OutOfRangeException, DataError),
    (duckdb.ParserException, ProgrammingError),
    (duckdb.BinderException, ProgrammingError),
    (duckdb.CatalogException, ProgrammingError),
    (duckdb.ConstraintException, IntegrityError),
    (duckdb.NotImplementedException, NotSupportedError),
    (duckdb.InternalException, InternalError),
    (duckdb.InvalidInputException, ProgrammingError),
    (duckdb.ProgrammingError, ProgrammingError),
    (duckdb.DataError, DataError),
    (duckdb.NotSupportedError, NotSupportedError),
    (duckdb.Error, OperationalError),
)

_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")

Values = Mapping[str, object] | tuple[tuple[str, object], ...]


class Rows:
    """A query's result as Arrow batches, with DuckDB's own types.

    Attributes:
        columns: names and SQL types; a JSON value is text in the batches.
    """

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        reader: pa.RecordBatchReader,
        fail: Callable[[Exception], Exception],
    ) -> None:
        self.columns = columns
        self._reader = reader
        self._fail = fail

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as the engine makes them; empty ones are left out."""
        while True:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowException, duckdb.Error, OSError) as error:
                raise self._fail(error) from None
            if batch.num_rows:
                yield batch

    def close(self) -> None:
        """Give the engine's result back."""
        with suppress(pa.ArrowException):
            self._reader.close()


class Engine:
    """One DuckDB database and its connection; used by one thread at a time.

    Parameters:
        database: a file, or memory.
        show_values: let values of the data into error texts.
    """

    def __init__(self, database: str = ":memory:", *, show_values: bool = False) -> None:
        try:
            self._connection = duckdb.connect(database)
            for setting in (*_SETTINGS, *_MACROS):
                self._connection.execute(setting)
        except duckdb.Error as error:
            raise _translated(error, show_values) from None
        self._show_values = show_values
        self._lock = threading.RLock()

    def local_tables(self) -> frozenset[str]:
        """Lower-case names of the tables and views that statements have made."""
        found = self._connection.execute(
            "SELECT lower(table_name) FROM information_schema.tables"
        ).fetchall()
        return frozenset(str(row[0]) for row in found)

    def register(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make Arrow data a table; a reader can be read once."""
        with self._lock:
            self._connection.register(name, data)

    def unregister(self, name: str) -> None:
        with self._lock, suppress(duckdb.Error):
            self._connection.unregister(name)

    def value(self, sql: str, values: Values = ()) -> object:
        """The first value of the first row, or None."""
        row = self.rows(sql, values)
        return row[0][0] if row else None

    def rows(self, sql: str, values: Values = ()) -> list[tuple[object, ...]]:
        """All rows as Python values; for small results."""
        with self._lock:
            try:
                relation = self._connection.sql(sql, params=dict(values) or None)
                return relation.fetchall() if relation is not None else []
            except duckdb.Error as error:
                raise _translated(error, self._show_values) from None

    def table(self, sql: str, values: Values = ()) -> pa.Table:
        """All rows as an Arrow table."""
        with self._lock:
            try:
                return self._connection.sql(sql, params=dict(values) or None).to_arrow_table()
            except duckdb.Error as error:
                raise _translated(error, self._show_values) from None

    def stream(self, sql: str, values: Values = ()) -> Rows | None:
        """Run a statement; its rows as they come, or None where it gives none."""
        with self._lock:
            try:
                relation = self._connection.sql(sql, params=dict(values) or None)
                if relation is None:
                    return None
                columns = tuple(
                    ResultColumn(str(name), str(kind))
                    for name, kind in zip(relation.columns, relation.types, strict=True)
                )
                return Rows(columns, relation.to_arrow_reader(_BATCH_ROWS), self._failed)
            except (duckdb.Error, pa.ArrowException) as error:
                raise _translated(error, self._show_values) from None

    def interrupt(self) -> None:
        """Stop what runs, from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        with suppress(duckdb.Error):
            self._connection.close()

    def _failed(self, error: Exception) -> Exception:
        return _translated(error, self._show_values)


def _translated(error: Exception, show_values: bool) -> Exception:
    """The error of our tree for one of DuckDB's, its text without values of the data."""
    text = str(error)
    # What DuckDB found in the text is shown as it stands there; that is the user's own statement.
    head, marker, place = text.partition("\n\nLINE ")
    head = re.sub(r"^[A-Z]\w+(?: \w+)? Error: ", "", head).split("Detail: Python exception")[0]
    if isinstance(error, _SHOWS_VALUES) and not show_values:
        head = _QUOTED.sub("…", head)
    text = head.strip() + (f"\nLINE {place}" if marker and not isinstance(error, _SHOWS_VALUES)
                           else "")
    kind = next((ours for theirs, ours in _ERRORS if isinstance(error, theirs)), OperationalError)
    return kind(text)
