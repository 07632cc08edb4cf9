"""Runs statements one at a time, from text to result.

A session's parts are made when they are first needed, since a statement that only asks the
documents must not wait for the engine or the network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dicomsql.closing import Closing
from dicomsql.config import Settings
from dicomsql.errors import InterfaceError, alone, separate
from dicomsql.language.parse import parse
from dicomsql.planning.answers import Context, ListPlan, SettingPlan
from dicomsql.result import Result, ResultColumn, Statistics
from dicomsql.session.results import OpenResult, only_thread
from dicomsql.session.settings import Current

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.engine.duck import Engine
    from dicomsql.execution.audit import AuditLog
    from dicomsql.execution.run import Run
    from dicomsql.language.statements import Statement
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import CopyPlan, ExplainPlan, Plan, WritePlan
    from dicomsql.planning.read_plan import ReadPlan
    from dicomsql.session.transports import Transports
    from dicomsql.transport.base import Transport
    from dicomsql.transport.gate import Gate

# The engine's name for what SHOW ... WHERE looks through.
_LISTING = "dicomsql_listing"

# Seconds between two reports on how far a COPY is, on a terminal and elsewhere.
_SHOWN_EVERY = 0.2
_TOLD_EVERY = 10.0


class Session(Closing):
    """One user's connection to servers and to an engine of its own.

    Parameters:
        settings: see `dicomsql.config.Settings`.
        consent: asks a person whether a write that loses or bills something may go on; None where
            there is nobody to ask.
        progress: takes a sentence for people while something takes long.
        lines: takes a line on how far a COPY is every ten seconds, where `progress` is None.
        stop_operation: asks, where a statement is cancelled that waits for an operation, whether
            the operation of that name is to be cancelled too; None where it goes on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consent: Callable[[str], bool] | None = None,
        progress: Callable[[str], None] | None = None,
        lines: Callable[[str], None] | None = None,
        stop_operation: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._consent = consent
        self._progress = progress
        self._lines = lines
        self._stop_operation = stop_operation
        self._current = Current(settings)
        self._cancel = threading.Event()
        self._proven: set[tuple[str, str, str]] = set()
        self._busy = threading.RLock()
        self._catalog: Catalog | None = None
        self._engine: Engine | None = None
        self._transports: Transports | None = None
        self._audit: AuditLog | None = None
        self._open_result: OpenResult | None = None
        self._closed = False

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
        with alone():
            return parse(text, variables, dialect=self.settings.dialect)

    def plan(self, statement: Statement, parameters: Parameters = None) -> Plan:
        """What a statement would do. Sends nothing.

        Where the engine runs, the rest of a result that is still being read is fetched before.

        Raises:
            InterfaceError: another thread uses the session right now.
            LanguageError, PlanningError, DataError: the statement is wrong.
        """
        from dicomsql.planning.planner import plan_statement

        self._check_open()
        with alone(), only_thread(self._busy):
            context = self._context()
            return plan_statement(statement, self.catalog, context, self._evaluate, parameters)

    def execute(
        self,
        statement: Statement,
        parameters: Parameters = None,
        *,
        dry_run: bool = False,
    ) -> Result:
        """Run a statement; its rows are fetched as the result is read.

        Args:
            parameters: a sequence for `?`, a mapping for `:name`.
            dry_run: plan it, and give the plan as the result.

        Raises:
            InterfaceError: another thread uses the session right now.
            Error: see `dicomsql.errors`.
        """
        self._check_open()
        with alone(), only_thread(self._busy):
            self._spool()
            self._cancel.clear()
            plan = self.plan(statement, parameters)
            if dry_run:
                plan = _dry(plan)
            result = self._run(plan)
            separate(result.failure)
            return result

    def cancel(self) -> None:
        """Stop the statement that runs, from another thread or a signal handler."""
        self._cancel.set()
        if self._transports is not None:
            self._transports.abort()
        if self._engine is not None:
            self._engine.interrupt()

    def close(self) -> None:
        """Free connections, threads and the engine; may be called again."""
        self._closed = True
        if self._open_result is not None:
            self._open_result.close()
            self._open_result = None
        if self._transports is not None:
            self._transports.close()
            self._transports = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def close_unused(self) -> None:
        """Close it at the end of the program, unless another thread is at work with it."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._cancel.set()
            self.close()
        finally:
            self._busy.release()

    @property
    def closed(self) -> bool:
        return self._closed

    # -- parts -----------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The provider documents."""
        if self._catalog is None:
            from dicomsql.catalog.load import Catalog

            named = self.settings.connections.values()
            self._catalog = Catalog.open(
                self.settings.providers,
                connections={c.name: (c.service, c.endpoint) for c in named},
            )
        return self._catalog

    @property
    def engine(self) -> Engine:
        """The engine, with the tables that statements made."""
        if self._engine is None:
            from dicomsql.engine.duck import Engine
            from dicomsql.session.ending import close_at_end

            close_at_end(self)
            self._engine = Engine(show_values=self.settings.show_phi)
        return self._engine

    def _gate(self) -> Gate:
        from dicomsql.transport.connect import gate_for

        return gate_for(self.settings)

    def _context(self) -> Context:
        endpoint = ""
        if self.settings.endpoint or self.settings.local is not None:
            from dicomsql.transport.connect import base_url_for

            endpoint = base_url_for(self.settings, ())
        tables = frozenset[str]()
        if self._engine is not None:
            self._spool()
            tables = self._engine.local_tables()
        return Context(
            use=self._current.use,
            defaults=tuple(self._current.defaults.items()),
            endpoint=endpoint,
            endpoints=tuple((n, c.endpoint) for n, c in self.settings.connected().items()),
            dialect=self.settings.dialect,
            wait=self._current.wait,
            local_tables=tables,
            approximate_counts=self._current.approximate_counts,
        )

    def _evaluate(self, sql: str, values: tuple[tuple[str, object], ...]) -> Any:
        self._spool()
        return self.engine.value(sql, values)

    def _has_function(self, name: str) -> bool:
        return self.engine.has_function(name)

    def _new_run(self, *, reading: bool = False) -> Run:
        """What a statement runs with.

        Args:
            reading: it only reads, so that kept answers may stand for its calls. What a write
                looks at first is always asked for: it decides what is lost.
        """
        from dicomsql.execution.run import Run
        from dicomsql.session.ending import close_at_end

        close_at_end(self)
        statistics = Statistics()
        if self._transports is None:
            from dicomsql.session.transports import Transports

            self._transports = Transports(self.settings, self.catalog, self._cancel)
        self._transports.statistics = statistics
        transport: Transport = self._transports
        age = self._current.cache
        if reading and age is not None:
            transport = self._transports.caching(age)
        return Run(
            transport=transport,
            engine_of=lambda: self.engine,
            gate=self._gate(),
            limits=self._current.limits(),
            statistics=statistics,
            cancel=self._cancel,
            abort=self._transports.abort,
            progress=self._progress,
            documented=self.settings.endpoint is None and not self.settings.connected(),
            proven=self._proven,
            wait=self._transports.wait,
        )

    # -- running ---------------------------------------------------------------------------------

    def _run(self, plan: Plan) -> Result:
        if isinstance(plan, ListPlan):
            return self._list(plan)
        if isinstance(plan, SettingPlan):
            self._current.apply(plan, lambda: self.engine)
            return Result(None, iter(()))
        from dicomsql.planning.plan import EnginePlan, ExplainPlan, WritePlan
        from dicomsql.planning.read_plan import ReadPlan

        if isinstance(plan, ExplainPlan):
            return self._explain(plan)
        if isinstance(plan, EnginePlan):
            plan = ReadPlan(plan.sql, plan.values)
        if isinstance(plan, ReadPlan):
            return self._read(plan)
        return self._write(plan) if isinstance(plan, WritePlan) else self._copy(plan)

    def _read(self, plan: ReadPlan) -> Result:
        from dicomsql.engine.guards import check_statement
        from dicomsql.execution.reads import read

        check_statement(plan.sql, self._has_function)
        return self._opened(read(self._new_run(reading=True), plan))

    def _write(self, plan: WritePlan) -> Result:
        from dicomsql.execution.consent import Allowed
        from dicomsql.execution.writes import WriteContext, write

        allowed = Allowed(self._current.allow_writes, self.settings.yes, self._consent)
        context = WriteContext(self.catalog, allowed, self._audit_log(), self._stop_operation)
        try:
            return write(self._new_run(), plan, context)
        finally:
            if allowed.used:
                self._current.use_up_writes()
            if self._transports is not None:
                # Operations go on after the call that began them.
                self._transports.forget(plan.base_url)

    def _copy(self, plan: CopyPlan) -> Result:
        from dicomsql.copying.run import CopyContext, copy
        from dicomsql.execution.consent import Allowed
        from dicomsql.planning.plan import ExportPlan

        allowed = Allowed(self._current.allow_writes, self.settings.yes, self._consent)
        show, every = self._progress, _SHOWN_EVERY
        if show is None:
            show, every = self._lines, _TOLD_EVERY
        context = CopyContext(allowed, self._audit_log(), show, every)
        with ExitStack() as stack:
            stack.callback(lambda: self._current.use_up_writes() if allowed.used else None)
            run = self._new_run(reading=isinstance(plan, ExportPlan))
            if not isinstance(plan, ExportPlan) and plan.settings.parallel:
                assert self._transports is not None
                stack.enter_context(self._transports.resized(plan.settings.parallel))
            return self._opened(copy(run, plan, context))

    def _opened(self, result: Result) -> Result:
        """A result that may still be read when the next statement begins."""
        if result.columns is None:
            return result
        opened = OpenResult(result, self._busy)
        self._open_result = opened
        return Result(
            result.columns,
            opened.batches(),
            message=result.message,
            affected=result.affected,
            statistics=result.statistics,
            close=opened.close,
            summary=result.summary,
            failure=result.failure,
        )

    def _audit_log(self) -> AuditLog | None:
        """The audit log, where there is to be one; opened before what goes into it is done."""
        if self._audit is None and self.settings.audit_log is not None:
            from dicomsql.execution.audit import AuditLog

            self._audit = AuditLog(self.settings.audit_log)
        return self._audit

    def _list(self, plan: ListPlan) -> Result:
        listing = plan.listing
        columns = tuple(ResultColumn(name, "VARCHAR") for name in listing.columns)
        if not plan.condition:
            return Result(columns, iter(()), rows=listing.rows)
        import pyarrow as pa

        arrays = [pa.array([r[i] for r in listing.rows], pa.string()) for i in range(len(columns))]
        self.engine.register(_LISTING, pa.table(arrays, names=list(listing.columns)))
        try:
            # The condition is the user's own text, for an engine that is theirs.
            rows = self.engine.rows(f"SELECT * FROM {_LISTING} WHERE {plan.condition}")  # noqa: S608
        finally:
            self.engine.unregister(_LISTING)
        return Result(columns, iter(()), rows=tuple(rows))

    def _explain(self, plan: ExplainPlan) -> Result:
        from dicomsql.execution.report import report_document, report_lines
        from dicomsql.planning.explain import Reveal, explain_json, explain_lines
        from dicomsql.planning.plan import WritePlan

        gate = self._gate()
        reveal = Reveal.VALUES if self.settings.show_phi else Reveal.NAMES
        if plan.format == "json":
            ran = report_document(*self._measured(plan.plan)) if plan.mode == "analyze" else None
            text = explain_json(plan.plan, gate.show_value, reveal, ran)
            return Result((ResultColumn("plan", "JSON"),), iter(()), rows=((text,),))
        lines = explain_lines(plan.plan, gate.show_value, reveal)
        if isinstance(plan.plan, WritePlan) and plan.mode == "explain":
            lines += self._sized(plan.plan)
        if plan.mode == "analyze":
            lines += report_lines(*self._measured(plan.plan), lines)
        rows = tuple((line,) for line in lines)
        return Result((ResultColumn("plan", "VARCHAR"),), iter(()), rows=rows)

    def _sized(self, plan: WritePlan) -> list[str]:
        """What a write would touch, from the reads that size it."""
        from dicomsql.execution.consent import describe, how_to_allow, is_needed, measure
        from dicomsql.execution.write_calls import calls_of

        run = self._new_run()
        try:
            calls = calls_of(run, plan, self.catalog)
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

    def _measured(self, plan: Plan) -> tuple[Statistics, int]:
        """EXPLAIN ANALYZE: run the statement, for what it takes and the number of its rows."""
        result = self._run(plan)
        rows = sum(batch.num_rows for batch in result.batches())
        if result.failure is not None:
            raise result.failure
        return result.statistics, rows

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("The session is closed.")

    def _spool(self) -> None:
        """Read the rest of the last result, which the next statement would cut off."""
        opened, self._open_result = self._open_result, None
        if opened is not None:
            opened.spool()


def _dry(plan: Plan) -> Plan:
    """What a dry run does instead: it shows the plan, even of what EXPLAIN would send."""
    if isinstance(plan, SettingPlan | ListPlan):
        return plan
    from dicomsql.planning.plan import ExplainPlan

    if isinstance(plan, ExplainPlan):
        return replace(plan, mode="dry")
    return ExplainPlan(plan, "dry", "text")
