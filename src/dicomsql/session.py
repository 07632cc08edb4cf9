"""A session: what every face talks to. Text in, results out; settings and state in between.

    with Session(settings) as session:
        for statement in session.parse("SELECT ..."):
            result = session.execute(statement)

A session runs one statement at a time. Its parts are made when they are first needed, since a
statement that only asks the documents must not wait for the engine or the network.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dicomsql.config import PARAMETER_DEFAULTS, Settings, bytes_of, seconds_of
from dicomsql.errors import Error, InterfaceError, PlanningError, nearest
from dicomsql.language.parse import parse
from dicomsql.planning.answers import Context, ListPlan, SettingPlan
from dicomsql.result import Result, ResultColumn, Statistics

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.engine.duck import Engine
    from dicomsql.execution.audit import AuditLog
    from dicomsql.execution.run import Run
    from dicomsql.language.statements import Statement
    from dicomsql.planning.plan import ExplainPlan, Plan, ReadPlan, WritePlan
    from dicomsql.planning.text import Parameters
    from dicomsql.transport.base import Request, Response, Transport
    from dicomsql.transport.cache import Answers
    from dicomsql.transport.client import Client
    from dicomsql.transport.gate import Gate

# The engine's name for what SHOW ... WHERE looks through.
_LISTING = "dicomsql_listing"

# HTTP methods that change nothing.
_READS = frozenset({"GET", "HEAD"})

# Parameters that SET takes as the session's defaults.
_DEFAULTS = tuple(PARAMETER_DEFAULTS.values())

# Settings of our own that SET takes: those with names as values, and numbers with their least.
_CHOICES: dict[str, tuple[str, ...]] = {
    "on_error": ("fail", "skip"),
    "on_page_bound": ("error", "warn"),
}
_NUMBERS = {"max_calls": 1, "max_bytes": 1, "max_pages": 1, "parallel": 1, "allow_writes": 0}
# Takes a size with its unit too.
_BYTES = "max_bytes"
_CACHE = "cache"
_AWAIT = "await"
_APPROXIMATE = "approximate_counts"
# Settings that are true or false.
_SWITCHES = (_AWAIT, _APPROXIMATE)
_FLAGS: dict[object, bool] = {
    **dict.fromkeys(("true", "on", "yes", True), True),
    **dict.fromkeys(("false", "off", "no", False), False),
}


class Session:
    """One user's connection to servers and to an engine of its own.

    Parameters:
        settings: see `dicomsql.config.Settings`.
        consent: asks a person whether a write that loses or bills something may go on; None where
            there is nobody to ask.
        progress: takes a sentence for people while something takes long.
        stop_operation: asks, where a statement is cancelled that waits for an operation, whether
            the operation of that name is to be cancelled too; None where it goes on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consent: Callable[[str], bool] | None = None,
        progress: Callable[[str], None] | None = None,
        stop_operation: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._consent = consent
        self._progress = progress
        self._stop_operation = stop_operation
        self._use: tuple[str, ...] = ()
        self._defaults = settings.parameter_defaults()
        self._set: dict[str, Any] = {}
        self._cancel = threading.Event()
        self._busy = threading.RLock()
        self._catalog: Catalog | None = None
        self._engine: Engine | None = None
        self._transports: _Transports | None = None
        self._audit: AuditLog | None = None
        self._open_result: _OpenResult | None = None
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
        return parse(text, variables, dialect=self.settings.dialect)

    def plan(self, statement: Statement, parameters: Parameters = None) -> Plan:
        """What a statement would do. Sends nothing.

        Raises:
            LanguageError, PlanningError, DataError: the statement is wrong.
        """
        from dicomsql.planning.planner import plan_statement

        return plan_statement(statement, self.catalog, self._context(), self._evaluate, parameters)

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
        with _only_thread(self._busy):
            self._spool()
            self._cancel.clear()
            plan = self.plan(statement, parameters)
            if dry_run:
                plan = _dry(plan)
            return self._run(plan)

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

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
        tables = self._engine.local_tables() if self._engine is not None else frozenset[str]()
        return Context(
            use=self._use,
            defaults=tuple(self._defaults.items()),
            endpoint=endpoint,
            endpoints=tuple((n, c.endpoint) for n, c in self.settings.connected().items()),
            dialect=self.settings.dialect,
            wait=self._set.get(_AWAIT, self.settings.await_operations),
            local_tables=tables,
            approximate_counts=self._set.get(_APPROXIMATE, False),
        )

    def _evaluate(self, sql: str, values: tuple[tuple[str, object], ...]) -> Any:
        return self.engine.value(sql, values)

    def _has_function(self, name: str) -> bool:
        return self.engine.has_function(name)

    def _new_run(self, *, reading: bool = False) -> Run:
        """What a statement runs with.

        Args:
            reading: it only reads, so that kept answers may stand for its calls. What a write
                looks at first is always asked for: it decides what is lost.
        """
        from dicomsql.execution.run import Limits, Run

        statistics = Statistics()
        if self._transports is None:
            self._transports = _Transports(self.settings, self.catalog, self._cancel)
        self._transports.statistics = statistics
        limits = Limits(
            calls=self._set.get("max_calls", self.settings.max_calls),
            bytes=self._set.get("max_bytes", self.settings.max_bytes),
            pages=self._set.get("max_pages", self.settings.max_pages),
            parallel=self._set.get("parallel", self.settings.parallel) or 8,
            on_page_bound=self._set.get("on_page_bound", "error"),
            on_error=self._set.get("on_error", "fail"),
        )
        transport: Transport = self._transports
        age = self._set.get(_CACHE, self.settings.cache)
        if reading and age is not None:
            transport = self._transports.caching(age)
        return Run(
            transport=transport,
            engine_of=lambda: self.engine,
            gate=self._gate(),
            limits=limits,
            statistics=statistics,
            cancel=self._cancel,
            abort=self._transports.abort,
            progress=self._progress,
            documented=self.settings.endpoint is None and not self.settings.connected(),
        )

    # -- running ---------------------------------------------------------------------------------

    def _run(self, plan: Plan) -> Result:
        if isinstance(plan, ListPlan):
            return self._list(plan)
        if isinstance(plan, SettingPlan):
            self._apply(plan)
            return Result(None, iter(()))
        from dicomsql.planning.plan import EnginePlan, ExplainPlan, ReadPlan

        if isinstance(plan, ExplainPlan):
            return self._explain(plan)
        if isinstance(plan, EnginePlan):
            plan = ReadPlan(plan.sql, plan.values)
        if isinstance(plan, ReadPlan):
            return self._read(plan)
        return self._write(plan)

    def _read(self, plan: ReadPlan) -> Result:
        from dicomsql.engine.guards import check_statement
        from dicomsql.execution.reads import read

        check_statement(plan.sql, self._has_function)
        result = read(self._new_run(reading=True), plan)
        if result.columns is None:
            return result
        opened = _OpenResult(result, self._busy)
        self._open_result = opened
        return Result(
            result.columns, opened.batches(), statistics=result.statistics, close=opened.close
        )

    def _write(self, plan: WritePlan) -> Result:
        from dicomsql.execution.consent import Allowed
        from dicomsql.execution.writes import WriteContext, write

        if self._audit is None and self.settings.audit_log is not None:
            from dicomsql.execution.audit import AuditLog

            self._audit = AuditLog(self.settings.audit_log)
        allowed = Allowed(self._set.get("allow_writes"), self.settings.yes, self._consent)
        context = WriteContext(self.catalog, allowed, self._audit, self._stop_operation)
        try:
            return write(self._new_run(), plan, context)
        finally:
            if allowed.used:
                del self._set["allow_writes"]
            if self._transports is not None:
                # Operations go on after the call that began them.
                self._transports.forget(plan.base_url)

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
        return result.statistics, rows

    def _apply(self, plan: SettingPlan) -> None:
        """SET, RESET and USE."""
        if plan.name == "use":
            assert isinstance(plan.value, tuple)
            self._use = plan.value
            return
        name = plan.name.lower()
        parameter = next((p for p in _DEFAULTS if p.lower() == name), None)
        if parameter is not None:
            self._default(parameter, plan.value)
        elif name in _SWITCHES:
            if plan.value is None:
                self._set.pop(name, None)
            elif (flag := _FLAGS.get(_lowered(plan.value))) is None:
                raise PlanningError(f"SET {name} takes true or false.")
            else:
                self._set[name] = flag
        elif name == _CACHE:
            if plan.value is None:
                self._set.pop(name, None)
            else:
                self._set[name] = _age(plan.value)
        elif name in _CHOICES or name in _NUMBERS:
            if plan.value is None:
                self._set.pop(name, None)
            else:
                self._set[name] = _checked(name, plan.value)
        else:
            from dicomsql.engine.guards import check_setting

            check_setting(name)
            known = self.engine.settings()
            if name not in {setting.lower() for setting in known}:
                own = [*_DEFAULTS, *_CHOICES, *_NUMBERS, *_SWITCHES, _CACHE]
                raise PlanningError(
                    f"There is no setting {plan.name}.{nearest(plan.name, [*own, *known])} "
                    f"The settings are {', '.join(own)}, and those of the engine."
                )
            self.engine.set(name, plan.value)

    def _default(self, parameter: str, value: object | None) -> None:
        """SET or RESET of a parameter's default."""
        if value is None:
            value = self.settings.parameter_defaults().get(parameter)
        elif not isinstance(value, str) or not value:
            raise PlanningError(
                f"SET {parameter} takes a text that is not empty; RESET {parameter} takes it back."
            )
        if value is None:
            self._defaults.pop(parameter, None)
        else:
            self._defaults[parameter] = str(value)

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("The session is closed.")

    def _spool(self) -> None:
        """Read the rest of the last result, which the next statement would cut off."""
        opened, self._open_result = self._open_result, None
        if opened is not None:
            opened.spool()


def kept_answers() -> Answers:
    """The answers that `SET cache` keeps on this machine."""
    from dicomsql.transport.cache import Answers

    return Answers()


def _dry(plan: Plan) -> Plan:
    """What a dry run does instead: it shows the plan, even of what EXPLAIN would send."""
    if isinstance(plan, SettingPlan | ListPlan):
        return plan
    from dicomsql.planning.plan import ExplainPlan

    if isinstance(plan, ExplainPlan):
        return replace(plan, mode="dry")
    return ExplainPlan(plan, "dry", "text")


@contextmanager
def _only_thread(busy: threading.RLock) -> Iterator[None]:
    """Refuse what another thread does at the same time: the engine has one result open at a time.

    Raises:
        InterfaceError: another thread is at it.
    """
    if not busy.acquire(blocking=False):
        raise InterfaceError(
            "A connection is used by one thread at a time; open one for each thread."
        )
    try:
        yield
    finally:
        busy.release()


class _OpenResult:
    """A result that may still be read when the next statement begins."""

    def __init__(self, result: Result, busy: threading.RLock) -> None:
        self._result = result
        self._busy = busy
        self._source: Iterator[Any] = result.batches()
        self._kept: deque[Any] = deque()
        self._error: Exception | None = None

    def batches(self) -> Iterator[Any]:
        """The rows, from the source or from what was kept of it."""
        while True:
            if self._kept:
                yield self._kept.popleft()
            elif self._error is not None:
                raise self._error
            else:
                with _only_thread(self._busy):
                    batch = next(self._source, None)
                if batch is None:
                    return
                yield batch

    def spool(self) -> None:
        """Keep the rest of the rows; an error among them is that of who reads them."""
        try:
            self._kept.extend(self._source)
        except Error as error:
            self._error = error

    def close(self) -> None:
        """Stop what still runs for the result."""
        self._kept.clear()
        self._source = iter(())
        self._result.close()


class _Transports:
    """The transports of a session, one for each service, opened at the first call."""

    def __init__(self, settings: Settings, catalog: Catalog, cancel: threading.Event) -> None:
        self._settings = settings
        self._connected = settings.connected()
        self._catalog = catalog
        self._cancel = cancel
        self._clients: dict[tuple[str, str], Client] = {}
        self._answers: Answers | None = None
        self._lock = threading.Lock()
        self.statistics = Statistics()

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request through the transport of its service."""
        if request.method in _READS:
            return self._client(request).send(request, stream=stream)
        try:
            return self._client(request).send(request, stream=stream)
        finally:
            self.forget(request.base_url)

    def caching(self, age: float) -> Transport:
        """These transports, with answers kept for that many seconds in front of them."""
        from dicomsql.transport.cache import CachingTransport

        return CachingTransport(self, self._kept(), age, self._who, self._count_kept)

    def forget(self, base_url: str) -> None:
        """Empty what was kept of a server, whether or not answers are kept now."""
        self._kept().forget(base_url)

    def abort(self) -> None:
        for client in list(self._clients.values()):
            client.abort()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        if self._answers is not None:
            self._answers.sweep()

    def _kept(self) -> Answers:
        if self._answers is None:
            self._answers = kept_answers()
        return self._answers

    def _who(self, request: Request) -> str | None:
        """Who asks; None of the emulator in this process, whose folders share one name."""
        name = ".".join(request.resource.split(".")[:2])
        if self._settings.local is not None and name not in self._connected:
            return None
        return self._client(request).identity()

    def _client(self, request: Request) -> Client:
        provider, service, resource = request.resource.split(".")[:3]
        with self._lock:
            client = self._clients.get((provider, service))
            if client is None:
                from dicomsql.transport.connect import open_transport

                methods = self._catalog.resource(provider, service, resource).methods.values()
                client = open_transport(
                    self._settings,
                    hosts=tuple({server for m in methods for server in m.servers}),
                    scopes=self._catalog.provider(provider).scopes,
                    parallel=self._catalog.service(provider, service).parallel,
                    cancel=self._cancel,
                    on_response=self._count,
                    connection=self._connected.get(f"{provider}.{service}"),
                )
                self._clients[provider, service] = client
            return client

    def _count_kept(self, request: Request) -> None:
        with self._lock:
            self.statistics.from_cache += 1
            if (scan := self.statistics.scan(request.scan)) is not None:
                scan.from_cache += 1

    def _count(
        self,
        request: Request,
        status: int,  # noqa: ARG002 - the transport names its arguments
        received: int,
        seconds: float,  # noqa: ARG002
        attempt: int,  # noqa: ARG002
    ) -> None:
        with self._lock:
            self.statistics.requests += 1
            self.statistics.bytes_received += received
            if (scan := self.statistics.scan(request.scan)) is not None:
                scan.requests += 1
                scan.bytes_received += received


def _age(value: object) -> float | None:
    """The seconds that SET cache asks for; None for none."""
    if value is False:
        return None
    try:
        return seconds_of(str(value))
    except InterfaceError as error:
        raise PlanningError(f"SET {error}") from None


def _checked(name: str, value: object) -> object:
    """A setting's value, if it is one that the setting takes."""
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise PlanningError(f"SET {name} takes {' or '.join(_CHOICES[name])}.")
    elif name == _BYTES and isinstance(value, str):
        try:
            return bytes_of(value)
        except InterfaceError as error:
            raise PlanningError(f"SET {name}: it {error}") from None
    elif not isinstance(value, int) or isinstance(value, bool) or value < _NUMBERS[name]:
        raise PlanningError(f"SET {name} takes a whole number from {_NUMBERS[name]} on.")
    return value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
