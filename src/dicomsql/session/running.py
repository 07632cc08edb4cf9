"""One statement on its way: planned, run, and over when its result is read or closed.

It looks at the session's settings once, at its beginning; calls of its own transport view are
counted and stopped apart from others'; its engine is one of the pool, or the main one.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dicomsql.errors import separate
from dicomsql.language.statements import Explain, Query
from dicomsql.planning.answers import Context, ListPlan, SettingPlan
from dicomsql.result import Result, ResultColumn, Statistics
from dicomsql.session.results import OpenResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomsql.engine.duck import Engine
    from dicomsql.execution.run import Run
    from dicomsql.execution.writes import WriteContext
    from dicomsql.language.statements import Statement
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import CopyPlan, ExplainPlan, Plan, WritePlan
    from dicomsql.planning.read_plan import ReadPlan
    from dicomsql.session.parts import Parts
    from dicomsql.session.stopping import Stop
    from dicomsql.session.transports import StatementCalls
    from dicomsql.transport.base import Transport

__all__ = ["Running"]

# Seconds between two reports on how far a COPY is, on a terminal and elsewhere.
SHOWN_EVERY = 0.2
TOLD_EVERY = 10.0

# The engine's words for statements that write local tables, or make and drop them; and for those
# of them after which there are the same tables.
_WRITES = frozenset(
    {"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "DROP", "ALTER", "COPY", "EXECUTE"}
)
OF_ROWS = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "COPY"})
_READS = frozenset({"SELECT", "EXPLAIN", ""})
_TRANSACTION = "TRANSACTION"


class Running:
    """A statement of a session.

    Parameters:
        parts: the session's.
        stop: stops it.
        over: is called once with the statement, when nothing of it is left.
        autocommit: a local table is written without a transaction around.
        silent: nobody is told how far it is.
    """

    def __init__(
        self,
        parts: Parts,
        stop: Stop,
        over: Callable[[Running], None],
        *,
        autocommit: bool = True,
        silent: bool = False,
    ) -> None:
        self._parts = parts
        self._stop = stop
        self._over: Callable[[Running], None] | None = over
        self._autocommit = autocommit
        self._progress = None if silent else parts.progress
        self._now = parts.current.snapshot()
        self._engines = parts.engines
        # A signal may interrupt the thread that holds it.
        self._lock = threading.RLock()
        self._leased: Engine | None = None
        # The main engine, while this statement holds it.
        self._main: Engine | None = None
        self._calls: list[StatementCalls] = []
        # Whether all that the engine was asked while planning will be answered alike next time.
        self._lasting = True
        stop.when_cancelled(self._wake)
        self._left_open = False
        self._opened_result: OpenResult | None = None

    # -- planning --------------------------------------------------------------------------------

    def plan(self, statement: Statement, parameters: Parameters) -> Plan:
        """The statement's plan, as it was made before or anew."""
        from dicomsql.planning.planner import plan_statement

        parts, context = self._parts, self._context()
        # The version, from before the engine is asked anything.
        key = None
        if isinstance(statement, Query):
            key = parts.plans.key(statement, context, parameters, self._engines.version)
            if (found := parts.plans.find(key)) is not None:
                return found
        plan = plan_statement(statement, parts.catalog, context, self._evaluate, parameters)
        if key is not None and self._lasting and not getattr(plan, "files", ()):
            parts.plans.keep(key, plan)
        return plan

    def _context(self) -> Context:
        settings = self._parts.settings
        objects = self._engines.objects(self._stop)
        endpoint = ""
        if settings.endpoint or settings.local is not None:
            from dicomsql.transport.connect import base_url_for

            endpoint = base_url_for(settings, ())
        return Context(
            use=self._now.use,
            defaults=tuple(self._now.defaults.items()),
            endpoint=endpoint,
            endpoints=tuple((n, c.endpoint) for n, c in settings.connected().items()),
            dialect=settings.dialect,
            wait=self._now.wait,
            local_tables=objects.tables,
            views=objects.views,
            files=settings.files,
            approximate_counts=self._now.approximate_counts,
        )

    def _evaluate(self, sql: str, values: tuple[tuple[str, object], ...]) -> Any:
        from dicomsql.session.plans import is_lasting

        self._lasting = self._lasting and is_lasting(sql)
        return self._engines.ask(sql, values, self._spare, self._stop)

    # -- running ---------------------------------------------------------------------------------

    def run(self, statement: Statement, plan: Plan) -> Result:
        """Do what the plan says; the rows come as the result is read."""
        result = self._run(statement, plan)
        separate(result.failure)
        return result

    def write_many(self, statement: Statement, plans: Sequence[WritePlan]) -> Result:
        """Do what the plans of one statement say as one write; see `execution.writes`."""
        from dicomsql.execution.writes import write_many

        with ExitStack() as stack:
            if self._engines.binds(_texts(statement, plans[0]), self._stop):
                stack.enter_context(self._holding())
            context = stack.enter_context(self._writing(plans[0]))
            return write_many(self._new_run(), plans, context)

    @contextmanager
    def transaction(self, *, objects: bool = True) -> Iterator[Engine]:
        """All of a block's changes of local tables or none, where no transaction is open yet.

        Within one that is open, an error ends it. Gives the main engine.

        Args:
            objects: the block may make or drop some, beside what its statements tell of.
        """
        engines = self._engines
        with self._holding() as engine:
            engines.check_usable()
            began = not engines.in_transaction
            if began:
                engines.begin(self._stop)
            try:
                yield engine
            except BaseException:
                if began:
                    engines.rollback(self._stop)
                raise
            finally:
                engines.changes(objects=objects)
            if began and self._autocommit:
                engines.commit(self._stop)

    def check_table(self, name: str) -> None:
        """Refuse a name whose rows nobody writes one by one.

        Raises:
            PlanningError: it is a materialized view.
        """
        from dicomsql.planning.views import check_written

        check_written(name, self._engines.objects(self._stop).views)

    def end(self, *, usable: bool = True) -> None:
        """Give back what the statement used; may be called again.

        Args:
            usable: nothing of it is left on its engine.
        """
        with self._lock:
            over, self._over = self._over, None
            engine, self._leased = self._leased, None
            calls, self._calls = self._calls, []
        for view in calls:
            view.close()
        if engine is not None:
            self._engines.give_back(engine, usable=usable and not self._stop.cancelled)
        if over is not None:
            self._stop.forget(self._wake)
            over(self)

    def dropped(self) -> None:
        """Nobody has the result that was left open any more."""
        if self._opened_result is not None:
            self._opened_result.close()

    @property
    def opened_result(self) -> OpenResult | None:
        """The result that was left to be read."""
        return self._opened_result

    @property
    def is_left_open(self) -> bool:
        """Whether a result is still to be read, whose closing ends the statement."""
        return self._left_open

    def _run(self, statement: Statement, plan: Plan) -> Result:
        if isinstance(plan, ListPlan):
            return self._list(plan)
        if isinstance(plan, SettingPlan):
            self._parts.current.apply(plan, lambda p: self._engines.set(p, self._stop))
            return Result(None, iter(()))
        from dicomsql.planning.plan import EnginePlan, ExplainPlan, WritePlan
        from dicomsql.planning.read_plan import ReadPlan

        if isinstance(plan, ExplainPlan):
            return self._explain(statement, plan)
        if isinstance(plan, EnginePlan):
            plan = ReadPlan(plan.sql, plan.values)
        if isinstance(plan, ReadPlan) and not isinstance(statement, Query):
            return self._local(plan)
        with ExitStack() as stack:
            if self._engines.binds(_texts(statement, plan), self._stop):
                stack.enter_context(self._holding())
            if isinstance(plan, ReadPlan):
                return self._read(plan)
            return self._write(plan) if isinstance(plan, WritePlan) else self._copy(plan)

    def _local(self, plan: ReadPlan) -> Result:
        """A statement of the engine: about its tables, or about itself."""
        with self._holding() as engine:
            kind = engine.kind(plan.sql)
            if kind == _TRANSACTION:
                return self._transaction(plan.sql)
            self._engines.check_usable()
            began = not self._autocommit and kind in _WRITES and not self._engines.in_transaction
            if began:
                self._engines.begin(self._stop)
            try:
                return self._read(plan)
            except BaseException:
                if began:
                    self._engines.rollback(self._stop)
                raise
            finally:
                if kind not in _READS:
                    made = kind not in OF_ROWS or bool(plan.after)
                    self._engines.changes(objects=made, sql=plan.sql)

    def _transaction(self, sql: str) -> Result:
        """BEGIN, COMMIT and ROLLBACK, as the session's methods do it."""
        word = sql.split(maxsplit=1)[0].strip(";").upper()
        if word in {"BEGIN", "START"}:
            self._engines.begin(self._stop)
        elif not self._engines.in_transaction:
            pass
        elif word in {"COMMIT", "END"}:
            self._engines.commit(self._stop)
        else:
            self._engines.rollback(self._stop)
        return Result(None, iter(()))

    def _read(self, plan: ReadPlan) -> Result:
        from dicomsql.engine.guards import check_statement
        from dicomsql.execution.reads import read

        check_statement(plan.sql, lambda name: self._engine_of().has_function(name))
        run = self._new_run(reading=True)
        if self._main is not None:
            self._engines.check_usable()
        return self._opened(read(run, plan))

    def _write(self, plan: WritePlan) -> Result:
        from dicomsql.execution.writes import write

        with self._writing(plan) as context:
            return self._opened(write(self._new_run(), plan, context))

    @contextmanager
    def _writing(self, plan: WritePlan) -> Iterator[WriteContext]:
        """What a write needs; what it was allowed is used up if it used it."""
        from dicomsql.execution.consent import Allowed
        from dicomsql.execution.writes import WriteContext

        parts = self._parts
        taken = parts.current.take_writes()
        allowed = Allowed(taken, parts.settings.yes, parts.consent)
        try:
            yield WriteContext(parts.catalog, allowed, parts.audit, parts.stop_operation)
        finally:
            if not allowed.used:
                parts.current.give_back_writes(taken)
            # Operations go on after the call that began them.
            parts.transports.forget(plan.base_url)

    def _copy(self, plan: CopyPlan) -> Result:
        from dicomsql.copying.run import CopyContext, copy
        from dicomsql.execution.consent import Allowed
        from dicomsql.planning.plan import ExportPlan

        parts = self._parts
        taken = parts.current.take_writes()
        allowed = Allowed(taken, parts.settings.yes, parts.consent)
        show, every, lines = parts.progress, SHOWN_EVERY, parts.lines
        if show is None and lines is not None:
            show, every = (lambda standing: lines(str(standing))), TOLD_EVERY
        context = CopyContext(allowed, parts.audit, show, every)
        with ExitStack() as stack:
            stack.callback(lambda: parts.current.give_back_writes(None if allowed.used else taken))
            run = self._new_run(reading=isinstance(plan, ExportPlan))
            if not isinstance(plan, ExportPlan) and plan.settings.parallel:
                stack.enter_context(parts.transports.resized(plan.settings.parallel))
            return self._opened(copy(run, plan, context))

    def _list(self, plan: ListPlan) -> Result:
        listing = plan.listing
        columns = tuple(ResultColumn(name, "VARCHAR") for name in listing.columns)
        if not plan.condition:
            return Result(columns, iter(()), rows=listing.rows)
        import pyarrow as pa

        arrays = [pa.array([r[i] for r in listing.rows], pa.string()) for i in range(len(columns))]
        engine = self._spare()
        # No word of the condition means what this is called.
        name = f"dicomsql_listing_{uuid4().hex}"
        engine.register(name, pa.table(arrays, names=list(listing.columns)))
        try:
            # The condition is the user's own text, for an engine that is theirs.
            rows = engine.rows(f"SELECT * FROM {name} WHERE {plan.condition}")  # noqa: S608
        finally:
            engine.unregister(name)
        return Result(columns, iter(()), rows=tuple(rows))

    # -- EXPLAIN ---------------------------------------------------------------------------------

    def _explain(self, statement: Statement, plan: ExplainPlan) -> Result:
        from dicomsql.execution.report import report_document, report_lines
        from dicomsql.planning.explain import Reveal, explain_json, explain_lines
        from dicomsql.planning.plan import WritePlan

        inner = statement.statement if isinstance(statement, Explain) else statement
        gate = self._parts.gate()
        reveal = Reveal.VALUES if self._parts.settings.show_phi else Reveal.NAMES
        if plan.format == "json":
            ran = None
            if plan.mode == "analyze":
                ran = report_document(*self._measured(inner, plan.plan))
            text = explain_json(plan.plan, gate.show_value, reveal, ran)
            return Result((ResultColumn("plan", "JSON"),), iter(()), rows=((text,),))
        lines = explain_lines(plan.plan, gate.show_value, reveal)
        if isinstance(plan.plan, WritePlan) and plan.mode == "explain":
            lines += self._sized(plan.plan)
        if plan.mode == "analyze":
            lines += report_lines(*self._measured(inner, plan.plan), lines)
        rows = tuple((line,) for line in lines)
        return Result((ResultColumn("plan", "VARCHAR"),), iter(()), rows=rows)

    def _sized(self, plan: WritePlan) -> list[str]:
        """What a write would touch, from the reads that size it."""
        from dicomsql.execution.consent import describe, how_to_allow, is_needed, measure
        from dicomsql.execution.write_calls import calls_of

        run = self._new_run()
        try:
            calls = calls_of(run, plan, self._parts.catalog)
            lines = [f"  sized   {len(calls):,} call{'s' * (len(calls) != 1)}"]
            if plan.method.consent is not None and calls:
                values = [c.values for c in calls]
                size = measure(run, plan, values)
                lines.append(f"  touches {describe(plan, values, size)}")
                needed = is_needed(plan, values, size)
                lines.append(
                    f"  allow   {how_to_allow(size) if needed else 'This needs no consent.'}"
                )
            return lines
        finally:
            run.close()

    def _measured(self, statement: Statement, plan: Plan) -> tuple[Statistics, int]:
        """EXPLAIN ANALYZE: run the statement, for what it takes and the number of its rows."""
        result = self._run(statement, plan)
        rows = sum(batch.num_rows for batch in result.batches())
        self._left_open = False
        if result.failure is not None:
            raise result.failure
        return result.statistics, rows

    # -- what it uses ----------------------------------------------------------------------------

    def _holding(self) -> _Holding:
        return _Holding(self)

    def _engine_of(self) -> Engine:
        return self._main if self._main is not None else self._spare()

    def _spare(self) -> Engine:
        """The statement's engine out of the pool."""
        with self._lock:
            if self._leased is None:
                self._leased = self._engines.lease(self._stop)
            return self._leased

    def _wake(self) -> None:
        """Wake what waits for a server, or computes."""
        for calls in list(self._calls):
            calls.abort()
        with self._lock:
            if self._leased is not None:
                self._leased.interrupt()
        self._engines.interrupt(self._stop)

    def _new_run(self, *, reading: bool = False) -> Run:
        """What a statement runs with.

        Args:
            reading: it only reads, so that kept answers may stand for its calls. What a write
                looks at first is always asked for: it decides what is lost.
        """
        from dicomsql.execution.run import Run

        # The same to its end, also where that comes after the engine was held.
        main = self._main
        parts, statistics = self._parts, Statistics()
        calls = parts.transports.calls(self._stop.flag, statistics)
        self._calls.append(calls)
        transport: Transport = calls
        age = self._now.cache
        if reading and age is not None:
            transport = calls.caching(age)
        settings = parts.settings
        return Run(
            transport=transport,
            engine_of=self._spare if main is None else lambda: main,
            gate=parts.gate(),
            limits=self._now.limits(),
            statistics=statistics,
            cancel=self._stop.flag,
            abort=calls.abort,
            progress=self._progress,
            documented=settings.endpoint is None and not settings.connected(),
            proven=parts.proven,
            wait=calls.wait,
        )

    def _opened(self, result: Result) -> Result:
        """A result that may still be read when other statements begin."""
        if result.columns is None or result.rows is not None:
            return result

        def end() -> None:
            try:
                result.close()
            finally:
                self.end()

        opened = OpenResult(
            result.batches(), self._stop, end, self._engines.spilled, self._parts.check_process
        )
        self._left_open = True
        self._opened_result = opened
        if self._main is not None:
            self._engines.keep_open(opened)
        return Result(
            result.columns,
            opened,
            schema=result.schema,
            message=result.message,
            affected=result.affected,
            statistics=result.statistics,
            close=opened.close,
            cancel=self._stop.cancel,
            summary=result.summary,
            failure=result.failure,
            of_note=result.of_note,
        )


def _texts(statement: Statement, plan: Plan) -> str:
    """What of a statement the engine may get to see, with what views have become."""
    texts = [statement.text]
    for sql in (getattr(plan, name, None) for name in ("sql", "query", "source", "rows")):
        texts.append(sql if isinstance(sql, str) else str(getattr(sql, "sql", "") or ""))
    texts += [keep.sql for keep in getattr(plan, "keeps", ())]
    texts += [bind.sql for scan in getattr(plan, "scans", ()) for bind in scan.binds]
    return "\n".join(texts)


class _Holding:
    """The main engine for a block of a statement; a further one in it is the same."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def __enter__(self) -> Engine:
        running = self._running
        self._hold = running._engines.hold(running._stop)
        engine = self._hold.__enter__()
        self._before, running._main = running._main, engine
        return engine

    def __exit__(self, *error: Any) -> None:
        self._running._main = self._before
        self._hold.__exit__(*error)
