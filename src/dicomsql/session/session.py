"""A session: from text to results, for any number of threads at once.

What is shared stands in `parts`; what one statement has for itself, in `running`.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dicomsql.closing import Closing
from dicomsql.config import Settings
from dicomsql.errors import LanguageError, alone
from dicomsql.language.parse import parse
from dicomsql.planning.answers import ListPlan, SettingPlan
from dicomsql.session.parts import Parts
from dicomsql.session.running import Running
from dicomsql.session.stopping import Stop

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.catalog.load import Catalog
    from dicomsql.engine.duck import Engine
    from dicomsql.language.statements import Statement
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import Plan
    from dicomsql.progress import Standing
    from dicomsql.result import Result

_TOO_DEEP = (
    "The statement is nested too deeply to be read: brackets within brackets, or a chain of "
    "operators. Write a long list with IN (...), or put its values into a table."
)


@contextmanager
def _shallow() -> Iterator[None]:
    """Tell a statement that is nested more deeply than Python can follow as one that is wrong."""
    try:
        yield
    except RecursionError:
        raise LanguageError(_TOO_DEEP) from None


# At the end of the program: seconds between two looks, and those for which one who reads a result
# may be busy with what it gave.
_LOOK = 0.05
_PATIENCE = 30.0


class Session(Closing):
    """One user's connection to servers and to an engine of its own.

    Any thread may use it, and several may at a time. A result that is read in part survives
    whatever comes next; one result is read by one thread at a time.

    Parameters:
        settings: see `dicomsql.config.Settings`.
        consent: asks a person whether a write that loses or bills something may go on; None where
            there is nobody to ask.
        progress: takes how far a statement is while it takes long; from another thread.
        lines: takes a line on how far a COPY is every ten seconds, where `progress` is None.
        stop_operation: asks, where a statement is cancelled that waits for an operation, whether
            the operation of that name is to be cancelled too; None where it goes on.

    Attributes:
        autocommit: a statement that writes local tables is committed by itself, unless `begin` was
            called before; else the first such statement begins a transaction.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consent: Callable[[str], bool] | None = None,
        progress: Callable[[Standing], None] | None = None,
        lines: Callable[[str], None] | None = None,
        stop_operation: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self.autocommit = settings.autocommit
        self._parts = Parts(
            settings,
            consent=consent,
            progress=progress,
            lines=lines,
            stop_operation=stop_operation,
            on_opened=partial(_close_at_end, weakref.ref(self)),
        )
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()
        # Statements that are not over, with what stops each.
        self._statements: dict[object, Stop] = {}
        # Calls of methods that have not returned, by thread.
        self._at_work: dict[int, int] = {}
        # Results that nobody has any more; who comes next closes them, since the collector of
        # garbage may run in a thread that they would wait for.
        self._dropped: deque[Callable[[], None]] = deque()
        self._committed_at = 0

    # -- statements ------------------------------------------------------------------------------

    def parse(
        self, text: str, variables: Mapping[str, object] | None = None
    ) -> tuple[Statement, ...]:
        """The statements of a text.

        Args:
            variables: values of the `{{ name }}` placeholders.

        Raises:
            LanguageError: the text is no statement, or a placeholder has no value.
        """
        with alone(), _shallow():
            return parse(text, variables, dialect=self.settings.dialect)

    def plan(self, statement: Statement, parameters: Parameters = None) -> Plan:
        """What a statement would do. Sends nothing.

        Raises:
            InterfaceError: the session cannot be used any more.
            LanguageError, PlanningError, DataError: the statement is wrong.
        """
        with alone(), _shallow(), self._working(), self._running(None) as running:
            return running.plan(statement, parameters)

    def execute(
        self,
        statement: Statement,
        parameters: Parameters = None,
        *,
        dry_run: bool = False,
        stop: Stop | None = None,
        silent: bool = False,
    ) -> Result:
        """Run a statement; its rows are fetched as the result is read.

        Args:
            parameters: a sequence for `?`, a mapping for `:name`.
            dry_run: plan it, and give the plan as the result.
            stop: stops the statement, from now to the end of its result.
            silent: nobody asked for it, so that nobody is told how far it is.

        Raises:
            InterfaceError: the session cannot be used any more.
            Error: see `dicomsql.errors`.
        """
        with alone(), _shallow(), self._working(), self._running(stop, silent=silent) as running:
            plan = running.plan(statement, parameters)
            if dry_run:
                plan = _dry(plan)
            result = running.run(statement, plan)
            if running.is_left_open:
                left = weakref.finalize(result, self._dropped.append, running.dropped)
                left.atexit = False
            return result

    def execute_many(
        self,
        statement: Statement,
        sets: Sequence[Parameters],
        *,
        stop: Stop | None = None,
    ) -> Result:
        """Run a statement that gives no rows once for each set of parameters.

        - Calls: all sets are checked, and what they lose together is asked for once, before the
          first call is sent. They are sent side by side; where some fail, the others are made all
          the same, stay so, and the error tells which sets failed. Calls that change the same thing
          are made in turn, up to the first that fails.
        - Local tables: all sets or none; within a transaction, an error ends it.
        - COPY: set after set, up to the first that fails.

        Args:
            sets: at least one, each as `execute` takes it.
            stop: stops it.

        Returns:
            a result without rows, whose `affected` is the sum.

        Raises:
            ProgrammingError: the statement gives rows, or a set does not fit; nothing was sent.
            Error: see `dicomsql.errors`.
        """
        from dicomsql.session.many import run_many

        with alone(), _shallow(), self._working(), self._running(stop) as running:
            return run_many(running, statement, sets)

    def ingest(
        self,
        table: str,
        data: pa.RecordBatchReader,
        mode: str,
        *,
        temporary: bool = False,
        stop: Stop | None = None,
    ) -> int:
        """Write Arrow data into a local table as it comes, all or none; how many rows there were.

        Args:
            mode: `create`, `append`, `replace` or `create_append`; what is appended goes into the
                columns of the same names.
            temporary: the table that is made goes with the session.
            stop: stops it.

        Raises:
            Error: see `dicomsql.errors`.
        """
        from dicomsql.session.ingest import ingest

        with alone(), _shallow(), self._working(), self._running(stop) as running:
            return ingest(running, table, data, mode, temporary=temporary)

    def cancel(self, result: Result | None = None) -> None:
        """Stop statements, from another thread or a signal handler; the session can be used on.

        Args:
            result: of the one to stop; None stops all that run or have a result to be read.
        """
        if self._parts.is_foreign:
            return
        if result is not None:
            result.cancel()
            return
        with self._lock:
            stops = list(self._statements.values())
        for stop in stops:
            stop.cancel()

    # -- transactions ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction of the local tables.

        An error of a statement on local tables ends it: what is left is `rollback`.

        Raises:
            ProgrammingError: there is one.
        """
        self._transact(self._parts.engines.begin)

    def commit(self) -> None:
        """Keep what the transaction has done to local tables; outside of one, nothing is done.

        Raises:
            OperationalError: it cannot be kept; then all of it is rolled back.
        """
        if self.in_transaction:
            self._transact(self._parts.engines.commit)
        self._committed_at = self._parts.server_changes

    def rollback(self) -> None:
        """Take back what the transaction has done to local tables; nothing of it else."""
        if self.in_transaction:
            self._transact(self._parts.engines.rollback)
        self._committed_at = self._parts.server_changes

    @property
    def in_transaction(self) -> bool:
        """Whether changes of local tables are not committed yet."""
        return self._parts.engines.in_transaction

    @property
    def in_failed_transaction(self) -> bool:
        """Whether an error has ended the transaction, of which only a rollback is left."""
        return self._parts.engines.aborted

    @property
    def calls_since_commit(self) -> int:
        """Calls since the last commit or rollback that may have changed something on a server.

        A rollback does not take those back.
        """
        return self._parts.server_changes - self._committed_at

    # -- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Free connections, threads and the engine; may be called again.

        What runs is stopped, and a transaction that is open is rolled back.
        """
        if self._parts.is_foreign:
            self._parts.closed = True
            return
        self._parts.closed = True
        self.cancel()
        with self._lock:
            left = [r for r in self._statements if isinstance(r, Running)]
        for running in left:
            running.dropped()
        self._parts.close()

    def close_unused(self) -> None:
        """Close it at the end of the program, once other threads have read what they read.

        Not where one is at work with it otherwise, which ends later.
        """
        if self._parts.is_foreign:
            return
        while self._is_read_by_others():
            time.sleep(_LOOK)
        with self._lock:
            others = set(self._at_work) - {threading.get_ident()}
        if not others:
            self.close()

    @property
    def closed(self) -> bool:
        return self._parts.closed

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the session's own."""
        return self._parts.is_foreign

    # -- parts -----------------------------------------------------------------------------------

    @property
    def defaults(self) -> Mapping[str, str]:
        """The defaults of parameters as they are now, by name: `projectsId`, ..."""
        return dict(self._parts.current.defaults)

    @property
    def prefix(self) -> tuple[str, ...]:
        """The parts of the prefix that USE has set: (`google`, `healthcare`)."""
        return self._parts.current.use

    @property
    def current_settings(self) -> Mapping[str, object]:
        """What SET takes of ours, by name, with the values as they are now; None for none."""
        return self._parts.current.listed()

    @property
    def local_version(self) -> int | None:
        """Another number whenever local tables may be others; None while there is no engine."""
        engines = self._parts.engines
        return engines.version if engines.started else None

    @property
    def catalog(self) -> Catalog:
        """The provider documents."""
        return self._parts.catalog

    @property
    def engine(self) -> Engine:
        """The main engine, with the tables that statements made."""
        return self._parts.engines.main

    @contextmanager
    def _working(self) -> Iterator[None]:
        """A thread is at work with the session."""
        self._parts.check_usable()
        me = threading.get_ident()
        with self._lock:
            self._at_work[me] = self._at_work.get(me, 0) + 1
        try:
            while (dropped := self._next_dropped()) is not None:
                dropped()
            yield
        finally:
            with self._lock:
                self._at_work[me] -= 1
                if not self._at_work[me]:
                    del self._at_work[me]

    def _next_dropped(self) -> Callable[[], None] | None:
        try:
            return self._dropped.popleft()
        except IndexError:  # another thread took the last one
            return None

    @contextmanager
    def _running(self, stop: Stop | None, *, silent: bool = False) -> Iterator[Running]:
        """A statement, which ends with the block unless it leaves a result to be read."""
        stop = stop if stop is not None else Stop()
        running = Running(self._parts, stop, self._over, autocommit=self.autocommit, silent=silent)
        with self._lock:
            self._statements[running] = stop
        try:
            yield running
        except BaseException:
            running.end(usable=False)
            raise
        if not running.is_left_open:
            running.end()

    def _is_read_by_others(self) -> bool:
        with self._lock:
            left = [r.opened_result for r in self._statements if isinstance(r, Running)]
        return any(r is not None and r.is_read_by_another(_PATIENCE) for r in left)

    def _over(self, running: Running) -> None:
        with self._lock:
            self._statements.pop(running, None)

    def _transact(self, what: Callable[[Stop], None]) -> None:
        with alone(), self._working():
            stop = Stop()
            with self._lock:
                self._statements[what] = stop
            try:
                what(stop)
            finally:
                with self._lock:
                    self._statements.pop(what, None)


def _close_at_end(session: weakref.ref[Session]) -> None:
    """Have a session closed at the end of the program: it has something open from now on."""
    # What this imports is not needed by a session that opens nothing.
    from dicomsql.session.ending import close_at_end

    if (found := session()) is not None:
        close_at_end(found)


def _dry(plan: Plan) -> Plan:
    """What a dry run does instead: it shows the plan, even of what EXPLAIN would send."""
    if isinstance(plan, SettingPlan | ListPlan):
        return plan
    from dicomsql.planning.plan import ExplainPlan

    if isinstance(plan, ExplainPlan):
        return replace(plan, mode="dry")
    return ExplainPlan(plan, "dry", "text")
