"""DuckDB as the engine: runs SQL over Arrow tables and over readers that are pulled lazily.

Decisions that measurements stand behind: a reader is registered once under a unique name, since
one that is scanned twice gives no rows the second time; results are taken as an Arrow reader,
which keeps memory at a few batches; extensions are never fetched; times are in UTC.

All that touches the database runs on one thread of the engine's own. The caller waits for it in
Python, where Ctrl-C reaches it at once; inside of DuckDB it would wait for the end of the query.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import duckdb
import pyarrow as pa

from dicomsql.engine.failures import is_indirect, same_words, translated
from dicomsql.errors import InterfaceError, PlanningError
from dicomsql.planning.counts import TOTAL, missing
from dicomsql.planning.identifiers import AS_TEXT, NUMBER_MACRO
from dicomsql.planning.rewrite import JSON_EXTRACT
from dicomsql.result import ResultColumn

# Rows of a batch that the engine gives out: small enough for first rows early.
_BATCH_ROWS = 8_192

_SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET preserve_insertion_order = true",
    # What DuckDB makes ahead of the reader; its default lets it run megabytes ahead.
    "SET streaming_buffer_size = '256KB'",
)

# What StackQL's users find behind the name: a scalar as that scalar, anything else as JSON text.
_MACROS = (
    f"""CREATE MACRO {JSON_EXTRACT}(document, path) AS
        CASE WHEN json_type(document, path) IN ('OBJECT', 'ARRAY')
             THEN CAST(json_extract(document, path) AS VARCHAR)
             ELSE json_extract_string(document, path) END""",
    # The sum of a number that each row has to have: without it a row would count for nothing, and
    # there is nothing that has none of what it is made of.
    f"""CREATE MACRO {TOTAL}(number, name) AS
        CASE WHEN count(*) = count(number) AND coalesce(min(number), 1) >= 1
             THEN CAST(coalesce(sum(number), 0) AS BIGINT)
             ELSE error('{missing("' || name || '")}') END""",
    NUMBER_MACRO,
)
_OUR_FUNCTIONS = frozenset({JSON_EXTRACT.lower(), TOTAL, AS_TEXT})

# Settings that decide what code runs, what can be reached and what is written down, or on which
# our reading of answers and errors rests: no statement changes those.
_GUARDED = re.compile(
    r"extension|external|unsigned|python|pandas|arrow|secret|password|user|proxy|http|duckdb_api"
    r"|temp_directory|unredacted|^log|_log|profil|progress|^allowed|lock_|disabled_filesystems|access_mode|as_json"
)

# Makes something that later statements name; sets something for them.
_MAKES = re.compile(r"\b(?:CREATE|PREPARE)\b", re.IGNORECASE)
_SETS = re.compile(r"\s*(?:SET|RESET)\b(?!\s+VARIABLE\b)", re.IGNORECASE)

_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)

Values = Mapping[str, object] | tuple[tuple[str, object], ...]

_T = TypeVar("_T")


class Rows:
    """A query's result as Arrow batches, with DuckDB's own types.

    Attributes:
        columns: names and SQL types; a JSON value is text in the batches.
    """

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        reader: pa.RecordBatchReader,
        engine: Engine,
    ) -> None:
        self.columns = columns
        self._reader: pa.RecordBatchReader | None = reader
        self._engine = engine
        self._open = True

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as the engine makes them; empty ones are left out."""
        while self._open:
            batch = self._engine._call(self._next)
            if batch is None:
                self._open = False
            elif batch.num_rows:
                yield batch

    def close(self) -> None:
        """Give the engine's result back; what it still computes is stopped."""
        if not self._open:
            return
        self._open = False
        self._engine.interrupt()
        with suppress(InterfaceError):
            self._engine._call(self._close)

    def _next(self) -> pa.RecordBatch | None:
        assert self._reader is not None
        try:
            return self._reader.read_next_batch()
        except StopIteration:
            return None

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        # The end of a query that was interrupted may be told once more here.
        with suppress(pa.ArrowException, duckdb.Error, OSError):
            if reader is not None:
                reader.close()


class Engine:
    """One DuckDB database and its connection.

    Parameters:
        database: a file, or memory.
        show_values: let values of the data into error texts.

    Attributes:
        changed: rows that the last statement changed or wrote to a file; -1 where it tells none.
    """

    def __init__(self, database: str = ":memory:", *, show_values: bool = False) -> None:
        self.changed = -1
        self._show_values = show_values
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(
            1, thread_name_prefix="dicomsql-engine"
        )
        self._lock = threading.Lock()
        # What does not fit into memory goes to a folder that only its owner can read; by itself
        # DuckDB would take one in the current directory, open to all.
        spilled = tempfile.mkdtemp(prefix="dicomsql-")
        # An engine that nobody closes takes it away too, at the latest when the process ends.
        self._remove_spilled = weakref.finalize(self, shutil.rmtree, spilled, ignore_errors=True)
        self._opened: duckdb.DuckDBPyConnection | None = None
        # Whether a statement may have made something whose names are values of rows.
        self._made_of_values = False
        try:
            self._opened = self._call(lambda: _connected(database, spilled))
        except BaseException:
            self._thread.shutdown()
            self._remove_spilled()
            raise

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        assert self._opened is not None
        return self._opened

    def local_tables(self) -> frozenset[str]:
        """Lower-case names of the tables and views that statements have made."""
        found = self.rows("SELECT lower(table_name) FROM information_schema.tables")
        return frozenset(str(row[0]) for row in found)

    def has_function(self, name: str) -> bool:
        """Whether the engine has a function of that name by itself, or for us."""
        if name.lower() in _OUR_FUNCTIONS:
            return True
        sql = "SELECT function_name FROM duckdb_functions() WHERE internal"
        return any(str(found).lower() == name.lower() for (found,) in self.rows(sql))

    def register(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make Arrow data a table; a reader can be read once."""
        self._call(lambda: self._connection.register(name, data))

    def unregister(self, name: str) -> None:
        """Take a registered table away."""
        self._call(lambda: self._connection.unregister(name))

    def value(self, sql: str, values: Values = ()) -> object:
        """The first value of the first row, or None."""
        row = self.rows(sql, values)
        return row[0][0] if row else None

    def rows(self, sql: str, values: Values = ()) -> list[tuple[object, ...]]:
        """All rows as Python values; for small results."""

        def run() -> list[tuple[object, ...]]:
            relation = self._relation(sql, values)
            return relation.fetchall() if relation is not None else []

        return self._call(run, sql, values)

    def table(self, sql: str, values: Values = ()) -> pa.Table:
        """All rows as an Arrow table."""

        def run() -> pa.Table:
            relation = self._relation(sql, values)
            return relation.to_arrow_table() if relation is not None else pa.table({})

        return self._call(run, sql, values)

    def stream(self, sql: str, values: Values = ()) -> Rows | None:
        """Run a statement; its rows as they come, or None where it gives none."""

        def run() -> Rows | None:
            relation = self._relation(sql, values)
            self.changed = -1
            if relation is None:
                return None
            if self._is_only_done(sql, relation):
                if relation.columns == ["Count"] and (rows := relation.fetchall()):
                    self.changed = int(rows[0][0])
                return None
            columns = tuple(
                ResultColumn(str(name), str(kind))
                for name, kind in zip(relation.columns, relation.types, strict=True)
            )
            return Rows(columns, relation.to_arrow_reader(_BATCH_ROWS), self)

        return self._call(run, sql, values)

    def settings(self) -> tuple[str, ...]:
        """The names of the settings that `set` takes."""
        found = self.rows("SELECT name FROM duckdb_settings() ORDER BY name")
        return tuple(str(row[0]) for row in found if not _GUARDED.search(str(row[0])))

    def set(self, name: str, value: object | None) -> None:
        """Change a setting of the engine; None resets it.

        Raises:
            PlanningError: there is no such setting, or it guards what a statement can reach.
            DatabaseError: it does not take that value.
        """
        if name.lower() not in {known.lower() for known in self.settings()}:
            raise PlanningError(f"The engine's setting {name} cannot be changed.")
        if value is None:
            self.rows(f"RESET {name}")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            quoted = text.replace("'", "''")
            self.rows(f"SET {name} = '{quoted}'")

    def interrupt(self) -> None:
        """Stop what runs, from another thread."""
        # Ctrl-C may come while the connection is still being made.
        if self._opened is not None:
            with suppress(duckdb.Error):
                self._opened.interrupt()

    def close(self) -> None:
        """Stop what runs and free the database; may be called again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        self.interrupt()
        thread.submit(self._connection.close)
        thread.shutdown()
        self._opened = None
        self._remove_spilled()

    def _relation(self, sql: str, values: Values) -> duckdb.DuckDBPyRelation | None:
        return self._connection.sql(sql, params=dict(values) or None)

    def _is_only_done(self, sql: str, relation: duckdb.DuckDBPyRelation) -> bool:
        """Whether the statement gives no rows of its own, only how many it changed."""
        if relation.type != "MATERIALIZED_RELATION":
            return False
        expected = self._connection.extract_statements(sql)[-1].expected_result_type
        if duckdb.ExpectedResultType.QUERY_RESULT not in expected:
            return True
        changes = duckdb.ExpectedResultType.CHANGED_ROWS in expected
        return changes and relation.columns == ["Count"] and not _RETURNING.search(sql)

    def _call(self, work: Callable[[], _T], sql: str = "", values: Values = ()) -> _T:
        """Run on the engine's thread and wait, where signals are heard.

        Args:
            sql, values: the statement that is run, for what may be shown of its errors.
        """
        with self._lock:
            if self._thread is None:
                raise InterfaceError("The engine is closed.")
            try:
                future = self._thread.submit(self._done, work, sql, values)
            except RuntimeError:
                # The main thread has ended, and its interpreter begins no work any more.
                raise InterfaceError("The program is ending: no statement can be run.") from None
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            self.interrupt()
            raise

    def _done(self, work: Callable[[], _T], sql: str, values: Values) -> _T:
        """Run here, with DuckDB's failures as our own."""
        indirect = is_indirect(sql)
        if indirect and _MAKES.search(sql):
            self._made_of_values = True
        try:
            return work()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            known = "" if indirect or self._made_of_values else sql
            prepared = self._is_refused(known, values, error)
            shown = self._show_values
            raise translated(error, show_values=shown, sql=known, prepared=prepared) from None

    def _is_refused(self, sql: str, values: Values, error: BaseException) -> bool:
        """Whether a statement fails as it stands, before it has rows and by no value of theirs."""
        if not sql:
            return False
        if _SETS.match(sql):
            return True
        try:
            self._relation(f"EXPLAIN {sql}", values)
        except duckdb.Error as another:
            return same_words(error, another)
        return False


def _connected(database: str, spilled: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(database, config={"temp_directory": spilled})
    for statement in (*_SETTINGS, *_MACROS):
        connection.execute(statement)
    return connection
