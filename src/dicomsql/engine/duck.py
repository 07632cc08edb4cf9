"""DuckDB as the engine: runs SQL over Arrow tables and over readers that are pulled lazily.

Decisions that measurements stand behind: a reader is registered once under a unique name, since
one that is scanned twice gives no rows the second time; results are taken as an Arrow reader,
which keeps memory at a few batches.

All that touches an engine's connection runs on one thread of its own. The caller waits for it in
Python, where Ctrl-C reaches it at once; inside of DuckDB it would wait for the end of the query.
Several engines may share a database: each is a connection and a thread, and they run at a time.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

import duckdb
import pyarrow as pa

from dicomsql.engine.carried import carried, check_digits, check_whole, columns_of
from dicomsql.engine.database import GUARDED, MEMORY, OUR_FUNCTIONS, Database
from dicomsql.engine.failures import is_indirect, is_made_of_values, same_words, translated
from dicomsql.engine.forks import keep_from_children
from dicomsql.engine.guards import UNKNOWN, check_reach
from dicomsql.engine.repeated import At, repeat
from dicomsql.engine.shared import opened, released
from dicomsql.engine.sources import Sources
from dicomsql.engine.worker import Worker
from dicomsql.errors import CancelledError, Error, InterfaceError, PlanningError
from dicomsql.result import ResultColumn

# Rows of a batch that the engine gives out: small enough for first rows early.
_BATCH_ROWS = 8_192
# The same where somebody waits for each row. The engine would still collect what it has before it
# gives any of it, which takes half the time for many rows, and as long as a server for few.
_BATCH_ROWS_AT_ONCE = 1_024
_AT_ONCE = "SET streaming_buffer_size = '1B'"

# Sets something for later statements.
_SETS = re.compile(r"\s*(?:SET|RESET)\b(?!\s+VARIABLE\b)", re.IGNORECASE)

# Statements whose words are all that an error of theirs can repeat; those that may be bound over
# rows, which the engine can be asked about before; and all others, of which nothing is known.
_OF_WORDS = frozenset(
    {
        duckdb.StatementType.PREPARE,
        duckdb.StatementType.SET,
        duckdb.StatementType.VARIABLE_SET,
        duckdb.StatementType.VACUUM,
    }
)
_EXPLAINED = frozenset(
    {
        duckdb.StatementType.ALTER,
        duckdb.StatementType.COPY,
        duckdb.StatementType.CREATE,
        duckdb.StatementType.DELETE,
        duckdb.StatementType.DROP,
        duckdb.StatementType.INSERT,
        duckdb.StatementType.MERGE_INTO,
        duckdb.StatementType.UPDATE,
    }
)

# The engine's words for queries, which it may bind more than once, and for others that make nothing
# which has a name.
_QUERIES = frozenset({"SELECT", "MULTI"})
_UNWRITTEN = frozenset({"SELECT", "SET", "TRANSACTION"})

_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)

Values = Mapping[str, object] | tuple[tuple[str, object], ...]

# Texts that an engine remembers parsed, and their letters: the same ones are often asked again.
_MOST_KNOWN = 64
_LONGEST_KNOWN = 20_000

# Seconds after which a statement that was stopped, and runs on, is interrupted once more.
_LOOK = 0.2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What the engine's parser makes of a text.

    Attributes:
        query: what the engine is given to run: its only statement, else the text.
        statements: empty where the engine's Python side has no name for one.
        kinds: the engine's words for the statements.
    """

    query: duckdb.Statement | str
    statements: tuple[duckdb.Statement, ...]
    kinds: tuple[str, ...]


class Rows:
    """A query's result as Arrow batches, with DuckDB's own types.

    Attributes:
        columns: names and SQL types; see `engine.carried` for what carries their values.
        schema: of the batches.
    """

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        reader: pa.RecordBatchReader,
        first: pa.RecordBatch | None,
        engine: Engine,
    ) -> None:
        self.columns = columns
        self.schema: pa.Schema = reader.schema
        self._reader: pa.RecordBatchReader | None = reader
        self._first = first
        self._engine = engine
        self._open = first is not None
        keep_from_children(self)

    @property
    def is_over(self) -> bool:
        """Whether the engine computes nothing for it any more."""
        return not self._open

    def owned(self) -> Iterable[object]:
        """What a forked process leaves alone."""
        return (self._reader,)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as the engine makes them; empty ones are left out."""
        first, self._first = self._first, None
        if first is not None and first.num_rows:
            yield first
        while self._open:
            batch = self._engine._call(self._next, of_open=True)
            if batch is None:
                self._open = False
            elif batch.num_rows:
                yield batch

    def close(self) -> None:
        """Give the engine's result back; what it still computes is stopped."""
        if not self._open:
            return
        self._open = False
        if self._engine.is_foreign:
            return
        self._engine.interrupt()
        with suppress(InterfaceError):
            self._engine._call(self._close, of_open=True)

    def _next(self) -> pa.RecordBatch | None:
        try:
            batch = _next(self.columns, self._reader)
        except BaseException:
            self._close()
            raise
        if batch is None:
            self._close()
        return batch

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        # The end of a query that was interrupted may be told once more here.
        with suppress(pa.ArrowException, duckdb.Error, OSError):
            reader.close()
        self._engine._end_snapshot()


def _next(
    columns: tuple[ResultColumn, ...], reader: pa.RecordBatchReader | None
) -> pa.RecordBatch | None:
    if reader is None:
        raise InterfaceError("The rows of this result were broken off by another statement.")
    try:
        batch = reader.read_next_batch()
    except StopIteration:
        return None
    check_digits(columns, batch)
    return batch


class Engine:
    """One connection to a DuckDB database, with a thread of its own.

    Parameters:
        database: a file, memory (of a name: see `engine.shared`), or a database that is open; that
            one it does not close.
        show_values: let values of the data into error texts.
        files: statements may read and write files beside the database; of one that is open it is
            known already.

    Attributes:
        changed: rows that the last statement changed or wrote to a file; -1 where it tells none.
        stopped: the flag of the statement that runs here, which interrupts it once it is set; None
            where there is none.
    """

    def __init__(
        self, database: str | Database = MEMORY, *, show_values: bool = False, files: bool = True
    ) -> None:
        self.changed = -1
        self.stopped: threading.Event | None = None
        self._process = os.getpid()
        self._show_values = show_values
        self._worker: Worker | None = Worker("dicomsql-engine")
        # Collected together with a result that is half read, which would wait for it, it has ended.
        weakref.finalize(self, self._worker.end, wait=False).atexit = False
        self._lock = threading.Lock()
        self._database: Database | None = None if isinstance(database, str) else database
        # Gives back a database that is this engine's, at the latest when nobody has the engine.
        self._release: weakref.finalize[..., Engine] | None = None
        self._opened: duckdb.DuckDBPyConnection | None = None
        # Whether a statement may have made something whose names are values of rows.
        self._made_of_values = False
        self._known: dict[str, _Parsed] = {}
        self._in_transaction = False
        # One of ours, around a query.
        self._in_snapshot = False
        # The last result.
        self._read: weakref.ref[Rows] | None = None
        self._aborted = False
        self._gives_at_once = False
        # What statements on the main engine ask for (which TEMP objects there are) would show them.
        self._sources = Sources(lambda: self._connection, lasting=not isinstance(database, str))
        # Registered tables that could not be taken away yet.
        self._left: list[str] = []
        # Within a transaction: whether the last statement failed as it stands.
        self._refused = False
        try:
            self._call(lambda: self._open(database, files=files))
            keep_from_children(self)
        except BaseException:
            self._worker.end()
            if self._release is not None:
                self._release()
            raise

    def _open(self, database: str | Database, *, files: bool) -> None:
        if isinstance(database, str):
            database = self._database = opened(database, files=files)
            self._release = weakref.finalize(self, released, database)
            self._release.atexit = False
        self._opened = database.connect()

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the one that made the engine."""
        return os.getpid() != self._process

    def owned(self) -> Iterable[object]:
        """What a forked process leaves alone."""
        return (self._opened,)

    @property
    def database(self) -> Database:
        """The database, for further engines."""
        assert self._database is not None
        return self._database

    def sibling(self) -> Engine:
        """Another engine on the same database; it has to be closed before this one."""
        made = Engine(self.database, show_values=self._show_values)
        made._made_of_values = self._made_of_values
        return made

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
        if name.lower() in OUR_FUNCTIONS:
            return True
        sql = "SELECT function_name FROM duckdb_functions() WHERE internal"
        return any(str(found).lower() == name.lower() for (found,) in self.rows(sql))

    def register(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make Arrow data a table; a reader can be read once."""
        if isinstance(data, pa.RecordBatchReader) and self._sources.put(name, data):
            return
        self._call(lambda: self._sources.make(name, data))

    def unregister(self, name: str) -> None:
        """Take a registered table away."""

        def run() -> None:
            try:
                self._connection.unregister(name)
            except duckdb.Error:
                if not self._in_transaction:
                    raise
                # An aborted transaction takes nothing away; its end does.
                self._left.append(name)

        if not self._sources.take(name):
            self._call(run)

    def value(self, sql: str, values: Values = ()) -> object:
        """The first value of the first row, or None."""
        row = self.rows(sql, values)
        return row[0][0] if row else None

    def rows(self, sql: str, values: Values = ()) -> list[tuple[object, ...]]:
        """All rows as Python values; for small results."""

        def run() -> list[tuple[object, ...]]:
            self.database.check_functions(sql)
            self._note(sql)
            relation = self._relation(sql, values)
            return relation.fetchall() if relation is not None else []

        return self._call(run, sql, values)

    def table(self, sql: str, values: Values = ()) -> pa.Table:
        """All rows as an Arrow table, which may be registered again."""

        def run() -> pa.Table:
            self.database.check_functions(sql)
            self._begin_snapshot(sql)
            try:
                relation = self._relation(sql, values)
                if relation is None:
                    return pa.table({})
                columns = columns_of(relation)
                check_whole(columns)
                table = relation.to_arrow_table()
                check_digits(columns, table)
                return table
            finally:
                self._end_snapshot()

        return self._call(run, sql, values)

    def stream(self, sql: str, values: Values = (), *, at_once: bool = False) -> Rows | None:
        """Run a statement; its rows as they come, or None where it gives none.

        Args:
            at_once: somebody looks at the rows while they come, so that the first ones must not
                wait for the next; all of them take longer then.
        """

        def run() -> Rows | None:
            if at_once and not self._gives_at_once:
                self._connection.execute(_AT_ONCE)
                self._gives_at_once = True
            self.database.check_functions(sql)
            check_reach(sql, self._parsed(sql).kinds, files=self.database.files)
            self._begin_snapshot(sql)
            rows = None
            try:
                rows = self._rows_of(sql, values, at_once=at_once)
            finally:
                if rows is None or rows.is_over:
                    self._end_snapshot()
            return rows

        return self._call(run, sql, values)

    def repeat(self, sql: str, sets: Sequence[dict[str, object]], each: int) -> int:
        """Run a statement again, within a transaction, for further sets of its values.

        Args:
            sql: an INSERT, UPDATE, DELETE or MERGE that was run by `stream` with the first set, and
                gives no rows.
            each: how many rows it wrote then.

        Returns:
            How many rows the sets wrote.

        Raises:
            Error: what one of them raised, with the number of its set.
        """
        at = At()

        def run() -> int:
            self._sources.sweep()
            self._refused = False
            (statement,) = self._parsed(sql).statements
            written = repeat(
                self._connection, statement, sql, sets, at=at, check=self._check_stopped
            )
            return each * len(sets) if written is None else written

        try:
            return self._call(run, sql)
        except Error as error:
            error.args = (f"Set {at.number + 2}: {error}", *error.args[1:])
            raise

    def _check_stopped(self) -> None:
        if self.stopped is not None and self.stopped.is_set():
            raise CancelledError("The statement was cancelled.")

    def begin(self) -> None:
        """Begin a transaction; an error of a statement aborts it, which leaves `rollback` alone."""
        self._call(self._connection.begin)
        self._in_transaction = True

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun that is not over."""
        return self._in_transaction

    @property
    def aborted(self) -> bool:
        """Whether an error has ended the transaction, so that only `rollback` is left."""
        return self._aborted

    def commit(self) -> None:
        """Commit the transaction.

        Raises:
            OperationalError: it was aborted, or changes what another one has changed meanwhile; it
                is not over then.
        """
        self._call(self._connection.commit)
        self._in_transaction = self._aborted = False

    def rollback(self) -> None:
        """Take back what the transaction did."""
        # Where a commit has failed, there is nothing to take back any more.
        self._call(self._take_back)
        self._in_transaction = self._aborted = False
        while self._left:
            self.unregister(self._left.pop())

    def kind(self, sql: str) -> str:
        """The engine's word for what a statement is (`SELECT`, `INSERT`, ...); empty for none."""
        found = self._call(lambda: self._parsed(sql).kinds, sql)
        return found[-1] if found else ""

    def settings(self) -> tuple[str, ...]:
        """The names of the settings that `set` takes."""
        found = self.rows("SELECT name FROM duckdb_settings() ORDER BY name")
        return tuple(str(row[0]) for row in found if not GUARDED.search(str(row[0])))

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
        if self._opened is not None and not self.is_foreign:
            with suppress(duckdb.Error):
                self._opened.interrupt()

    def close(self) -> None:
        """Stop what runs and free the database; may be called again."""
        if self.is_foreign:
            return
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is None:
            return
        self.interrupt()
        if self._opened is not None:
            worker.begin(self._opened.close)
        worker.end()
        self._opened = None
        self._known.clear()
        if self._release is not None:
            self._release()

    def _relation(self, sql: str, values: Values) -> duckdb.DuckDBPyRelation | None:
        self._sources.sweep()
        given = dict(values) or None
        if not self._in_transaction:
            return self._connection.sql(self._parsed(sql).query, params=given)
        # After a failure nothing can be asked in a transaction, so it is asked before.
        self._refused = True
        parsed = self._parsed(sql)
        kind = parsed.statements[-1].type
        asked = f"EXPLAIN {sql}"
        if kind in _EXPLAINED and self._is_grammar(asked):
            self._connection.sql(asked, params=given)
            self._refused = False
        # A query is bound here, and runs when it is read.
        elif kind not in _OF_WORDS and kind != duckdb.StatementType.SELECT:
            self._refused = False
        relation = self._connection.sql(parsed.query, params=given)
        self._refused = False
        return relation

    def _rows_of(self, sql: str, values: Values, *, at_once: bool) -> Rows | None:
        relation = self._relation(sql, values)
        self.changed = -1
        if relation is None:
            return None
        if self._is_only_done(sql, relation):
            if relation.columns == ["Count"] and (counted := relation.fetchall()):
                self.changed = int(counted[0][0])
            return None
        columns = columns_of(relation)
        reader = carried(relation, columns).to_arrow_reader(
            _BATCH_ROWS_AT_ONCE if at_once else _BATCH_ROWS
        )
        rows = Rows(columns, reader, _next(columns, reader), self)
        self._read = weakref.ref(rows)
        return rows

    def _note(self, sql: str) -> None:
        if not _UNWRITTEN.issuperset(self._parsed(sql).kinds):
            self.database.written = True

    def _begin_snapshot(self, sql: str) -> None:
        """Have a query mean the same each time that DuckDB binds it.

        It does so once for the columns, and again for the rows; what another thread makes between
        the two would put values under the names of others.
        """
        self._note(sql)
        # What a statement before has registered is taken away for good.
        self._sources.sweep()
        if self._in_transaction or not self.database.written:
            return
        if _QUERIES.issuperset(self._parsed(sql).kinds):
            self._connection.begin()
            self._in_snapshot = True

    def _end_open(self) -> None:
        """End what was left by a result that nobody has read to its end, or closed."""
        left = self._read() if self._read is not None else None
        if left is not None:
            left._close()
        self._end_snapshot()

    def _end_snapshot(self) -> None:
        while self._in_snapshot:
            # An interrupt that was meant for the query may come to this instead.
            with suppress(duckdb.InterruptException):
                try:
                    self._connection.commit()
                except duckdb.InterruptException:
                    raise
                except duckdb.Error:
                    self._take_back()
                self._in_snapshot = False

    def _take_back(self) -> None:
        with suppress(duckdb.TransactionException):
            self._connection.rollback()

    def _is_dead(self) -> bool:
        try:
            self._connection.execute("SELECT 1").fetchall()
        except duckdb.Error:
            return True
        return False

    def _parsed(self, sql: str) -> _Parsed:
        """The statements in a text."""
        known = self._known.get(sql)
        if known is not None:
            return known
        try:
            found = tuple(self._connection.extract_statements(sql))
            only = found[0] if len(found) == 1 else sql
            parsed = _Parsed(only, found, tuple(s.type.name for s in found))
        except ValueError:
            parsed = _Parsed(sql, (), (UNKNOWN,))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if len(sql) <= _LONGEST_KNOWN:
            self._known[sql] = parsed
        return parsed

    def _is_grammar(self, sql: str) -> bool:
        try:
            self._connection.extract_statements(sql)
        except duckdb.Error:
            return False
        return True

    def _is_only_done(self, sql: str, relation: duckdb.DuckDBPyRelation) -> bool:
        """Whether the statement gives no rows of its own, only how many it changed."""
        if relation.type != "MATERIALIZED_RELATION":
            return False
        expected = self._parsed(sql).statements[-1].expected_result_type
        if duckdb.ExpectedResultType.QUERY_RESULT not in expected:
            return True
        changes = duckdb.ExpectedResultType.CHANGED_ROWS in expected
        return changes and relation.columns == ["Count"] and not _RETURNING.search(sql)

    def _call(
        self,
        work: Callable[[], _T],
        sql: str = "",
        values: Values = (),
        *,
        of_open: bool = False,
    ) -> _T:
        """Run on the engine's thread and wait, where signals are heard.

        Args:
            sql, values: the statement that is run, for what may be shown of its errors.
            of_open: the work goes on with a result that is open; any other ends it.
        """
        if self.is_foreign:
            raise InterfaceError("The engine belongs to the process that this one was forked from.")
        with self._lock:
            if self._worker is None:
                raise InterfaceError("The engine is closed.")
            try:
                task = self._worker.begin(lambda: self._done(work, sql, values, of_open))
            except RuntimeError:
                # The main thread has ended, and its interpreter begins no work any more.
                raise InterfaceError("The program is ending: no statement can be run.") from None
        try:
            while not task.is_done(_LOOK):
                # An interrupt that came between two steps of a statement is lost.
                if self.stopped is not None and self.stopped.is_set():
                    self.interrupt()
        except KeyboardInterrupt:
            task.give_up()
            self.interrupt()
            raise
        return task.result()

    def _done(self, work: Callable[[], _T], sql: str, values: Values, of_open: bool) -> _T:
        """Run here, with DuckDB's failures as our own."""
        indirect = is_indirect(sql)
        if is_made_of_values(sql):
            self._made_of_values = True
        try:
            with self._database.private() if self._database is not None else nullcontext():
                if not of_open:
                    self._end_open()
                return work()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if (wrong := self._sources.failure()) is not None:
                raise wrong from None
            known = "" if indirect or self._made_of_values else sql
            prepared = self._is_refused(known, values, error)
            if self._in_transaction and not self._aborted:
                self._aborted = self._is_dead()
            shown = self._show_values
            raise translated(error, show_values=shown, sql=known, prepared=prepared) from None

    def _is_refused(self, sql: str, values: Values, error: BaseException) -> bool:
        """Whether a statement fails as it stands, before it has rows and by no value of theirs."""
        if not sql:
            return False
        if self._in_transaction:
            return self._refused
        if _SETS.match(sql):
            return True
        try:
            self._relation(f"EXPLAIN {sql}", values)
        except duckdb.Error as another:
            return same_words(error, another)
        return False
