"""From a query's text to a `ReadPlan`: which calls give its tables, and what the engine runs.

The steps: resolve the names; rewrite comparisons that the engine would read otherwise; choose each
table's method and parameters, tables with constants first, then those that wait for the rows of
others; and render the text with the tables' names replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import PlanningError
from dicomsql.planning.answers import Context, Evaluate
from dicomsql.planning.binding import Binder, Planned, columns_for
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.cost import WALK_ABOVE
from dicomsql.planning.counts import Recount, recount
from dicomsql.planning.direct import is_plain, row_limit, shown_columns
from dicomsql.planning.facts import Equal
from dicomsql.planning.files import FileTable, call_place, file_scan
from dicomsql.planning.fill import Filler
from dicomsql.planning.joins import Narrowing, complete_places, narrowing, own_parameters
from dicomsql.planning.names import Names
from dicomsql.planning.proofs import completed
from dicomsql.planning.read_plan import Bind, Constant, FileScan, ReadPlan, Scan, Windows
from dicomsql.planning.rewrite import Rewriter
from dicomsql.planning.scan import ScanRequest, build_scan
from dicomsql.planning.scopes import read_once
from dicomsql.planning.sharing import shared_facts, value_binds, value_sources
from dicomsql.planning.stars import doubled, hide_columns
from dicomsql.planning.tables import Origin
from dicomsql.planning.values import quoted
from dicomsql.planning.windows import windows_for

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

__all__ = ["Evaluate", "Purpose", "plan_query"]

# Kinds of values that a text may fail to be.
_MAY_NOT_PARSE = frozenset(
    {
        Kind.DATE,
        Kind.TIME,
        Kind.DATETIME,
        Kind.INTEGER,
        Kind.UNSIGNED,
        Kind.DECIMAL,
        Kind.FLOAT,
    }
)


class Purpose(StrEnum):
    """What a query's rows are for."""

    # They are the statement's result, and nothing else is done with them.
    SHOW = "show"
    READ = "read"
    # The rows are written: those whose condition cannot be judged must stop the statement.
    WRITE = "write"


class _Waiting(StrEnum):
    """Whether a table waits for others whose rows would bind its parameters."""

    FOR_OTHERS = "for others"
    FOR_NONE = "for none"


def plan_query(
    text: QueryText,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    purpose: Purpose = Purpose.READ,
) -> ReadPlan:
    """Plan a query.

    Args:
        evaluate: computes a constant expression: SQL and its parameters to a value.

    Raises:
        PlanningError: a name is unknown, or a required parameter has no value.
        DataError: an identifier is compared with a number, or a date is none.
    """
    names = Names(text, catalog, context, evaluate)
    planner = _QueryPlanner(text, context, purpose, names, Binder(text, names, evaluate))
    return planner.plan()


@dataclass(slots=True)
class _QueryPlanner:
    text: QueryText
    context: Context
    purpose: Purpose
    names: Names
    binder: Binder
    # The tables whose rows are the query's own, by the id of their source.
    plain: set[int] = field(default_factory=set)
    recounts: list[Recount] = field(default_factory=list)
    filler: Filler = field(init=False)

    def __post_init__(self) -> None:
        self.filler = Filler(self.binder, shows=self.purpose is Purpose.SHOW)

    def plan(self) -> ReadPlan:
        self.names.resolve()
        if self.purpose is not Purpose.WRITE:
            self.recounts = recount(self.text, self.names)
        sources = [s for scope in reversed(self.names.scopes) for s in scope.sources if s.table]
        Rewriter(self.text, self.names, self.binder.evaluate).rewrite()
        self.binder.find_facts(sources)
        self.names.check_shared(self.binder.facts)
        complete_places(sources, self.binder.facts)
        if self.purpose is Purpose.WRITE:
            self._need_raw_values()
        self._plan_sources(sources)
        sql = self.text.render()
        files = tuple(self._files())
        scans = tuple(
            s for p in self.binder.done.values() if not p.local for s in self._finished(p)
        )
        guards = self._guards() if self.purpose is Purpose.WRITE else ()
        direct = self._direct(sources)
        if direct:
            # What only a condition names was used up by the call itself.
            shown = {name for _, name in direct}
            kept = tuple(c for c in scans[0].columns if c.name in shown)
            scans = (replace(scans[0], columns=kept),)
        return ReadPlan(
            sql,
            self.text.values_in(sql),
            scans,
            self._residual(),
            direct,
            guards,
            windows=self._windows(sources, scans),
            notes=tuple(self._notes(sources)),
            keeps=tuple(self.binder.keeps.values()),
            files=files,
            pictures=tuple(
                picture
                for planned in self.binder.done.values()
                if planned.filled is not None
                for picture in planned.filled.pictures
            ),
        )

    def _direct(self, sources: list[Source]) -> tuple[tuple[str, str], ...]:
        """The result's columns where the only scan's rows are the result, else nothing."""
        if len(sources) != 1 or id(sources[0]) not in self.plain or self.purpose is Purpose.WRITE:
            return ()
        if self.binder.done[id(sources[0])].local:
            return ()
        return shown_columns(self.text, sources[0], self.binder.done[id(sources[0])].scan)

    def _notes(self, sources: list[Source]) -> Iterator[str]:
        """What the user has to know of the result."""
        yield from (r.note for r in self.recounts if r.note)
        for source in sources:
            assert source.table is not None
            yield from filter(None, map(source.table.caution, source.needed.values()))

    def _windows(self, sources: list[Source], scans: tuple[Scan, ...]) -> Windows | None:
        """The ranges that find the newest few rows, where these are all that is wanted."""
        if len(sources) != 1 or len(scans) != 1 or self.purpose is Purpose.WRITE:
            return None
        return windows_for(
            sources[0],
            scans[0],
            self.text,
            self.names,
            evaluate=self.binder.evaluate,
        )

    # -- scans -----------------------------------------------------------------------------------

    def _plan_sources(self, sources: list[Source]) -> None:
        """Plan tables with constants first, then those that wait for rows of others."""
        facts = self.binder.facts
        waiting = sorted(
            sources, key=lambda s: (-s.scope.depth, narrowing(s, facts[id(s)]), s.level)
        )
        while waiting:
            planned = [s for s in waiting if self._try(s, _Waiting.FOR_OTHERS)]
            if not planned:
                # They wait for each other: one that can do without has to begin.
                first = next((s for s in waiting if self._try(s, _Waiting.FOR_NONE)), None)
                if first is None:
                    self._raise_missing(waiting[0])
                planned = [first]
            waiting = [s for s in waiting if s not in planned]

    def _try(self, source: Source, mode: _Waiting) -> bool:
        """Plan a source if all that it needs is there; False where it has to wait."""
        table = source.table
        assert table is not None
        constants, used = self.binder.constants(source)
        fallback = self._fallback(source)
        plain = choose(table.methods, constants.keys(), fallback.keys())
        found = self.binder.binds(source, constants, fallback.keys())
        if mode is _Waiting.FOR_OTHERS and (
            any(
                plain is None or name in fallback or self._could_narrow(other)
                for other, name in found.waiting
            )
            or any(True for _ in value_sources(source, self.binder))
        ):
            return False
        names = {p for b in found.ready for p in b.parameters}
        method = choose(table.methods, {*constants, *names}, fallback.keys()) or plain
        if method is None:
            if found.waiting:
                return False
            self._raise_missing(source)
        binds = tuple(
            b for b in found.ready if all(method.parameter(p) is not None for p in b.parameters)
        )
        self._check_determined(source, method, {*constants, *names}, fallback)
        # The statement wins: what a bind determines is not left to a default.
        must = any(p in fallback for b in binds for p in b.parameters)
        if method is plain and not must:
            binds = ()
        walk = plain if binds and not must and plain is not method else None
        if not binds and (values := value_binds(source, method, self.binder)):
            binds, walk = values, method
        self._add(
            source,
            method,
            binds=binds,
            walk=walk,
            constants=_for_method(method, constants, fallback, binds),
            used=used,
        )
        return True

    def _add(
        self,
        source: Source,
        method: Method,
        *,
        binds: tuple[Bind, ...],
        walk: Method | None,
        constants: tuple[Constant, ...],
        used: Mapping[str, Equal],
    ) -> None:
        table = source.table
        assert table is not None
        done = self.binder.done
        facts = shared_facts(source, self.binder.facts, self._place)
        given = {c.parameter for c in constants}
        if is_plain(source, self.names, [e for name, e in used.items() if name in given]):
            self.plain.add(id(source))
        request = ScanRequest(
            name=self.names.own("files" if table.local else "scan", self._scans_made() + 1),
            alias=source.alias,
            table=table,
            method=method,
            constants=constants,
            binds=binds,
            facts=facts,
            needed=tuple(source.needed.values()),
            star=source.star,
            walk=walk,
            walk_above=WALK_ABOVE,
            endpoint=self.context.base_url(method),
            limit=row_limit(self.text) if id(source) in self.plain else None,
        )
        scan = completed(build_scan(request), table, self.names.catalog)
        if walk is not None and self._is_narrowed_alike(scan):
            scan = replace(scan, walk_above=1, size=None)
        filled = self.filler.fill(source, request, scan, self._scans_made() + 2)
        if filled is not None:
            scan = completed(filled.scan, table, self.names.catalog)
            filled = replace(filled, scan=scan)
        scans = (scan, *filled.fills) if filled is not None else (scan,)
        texts = [b.sql + " " for s in scans for b in s.binds]
        for planned in done.values():
            # Whatever a bind reads is read again by the query.
            if any(f"{s.name} " in sql for s in planned.scans for sql in texts):
                planned.kept = True
        narrow = (
            bool(scan.filters or scan.alternatives or scan.binds or scan.limit is not None)
            or narrowing(source, facts) is not Narrowing.NOT_AT_ALL
            or any(
                c.origin != "session" and c.parameter in own_parameters(table)
                for c in scan.constants
            )
        )
        kept = bool(filled is not None and filled.fills) or id(source) in self.names.outer
        done[id(source)] = Planned(source, scan, narrow, kept, filled)
        # At once, since a bind may render the text around this table next.
        self._name_table(source)
        if all(s.table is None or id(s) in done for s in source.scope.sources):
            shown = {i: replace(p.scan, columns=p.columns) for i, p in done.items()}
            hide_columns(source.scope, shown, self.text, self._is_same)

    def _is_same(self, source: Source, rival: Source, name: str) -> bool:
        return self.names.is_same(source, rival, name, self.binder.facts)

    def _is_narrowed_alike(self, scan: Scan) -> bool:
        """Whether the server finds no more in a walk than for each row that the binds come from.

        That is so where all that narrows those rows narrows the walk as well.
        """
        givers = [
            planned
            for planned in self.binder.done.values()
            if any(f"{s.name} " in f"{b.sql} " for s in planned.scans for b in scan.binds)
        ]
        if len(givers) != 1 or not scan.filters:
            return False
        (giver,) = givers
        given = giver.scan
        if giver.filled is not None or given.alternatives or given.binds:
            return False
        columns = {c.name.lower() for c in giver.columns}
        said = self.binder.restrictions.of(giver.source, columns).conditions
        return set(given.filters) <= set(scan.filters) and len(said) == len(given.filters)

    def _scans_made(self) -> int:
        return sum(len(p.scans) for p in self.binder.done.values())

    def _check_determined(
        self,
        source: Source,
        method: Method,
        given: set[str],
        fallback: Mapping[str, Constant],
    ) -> None:
        """Refuse a default for a parameter that the statement determines in a way too complex.

        The rows that the default does not fetch would be missing in silence.
        """
        for name in method.required:
            if name in given or name not in fallback:
                continue
            if self.binder.in_some_branches(source, name) - {*fallback[name].values}:
                raise PlanningError(
                    f"{name} of {source.alias} has a value in some branches of an OR and none in "
                    f"others, for which a default would be taken. Give it in each branch, or "
                    f"outside of the OR."
                )
            for column in columns_for(source, name):
                for joined in self.binder.facts[id(source)].joined.get(column, []):
                    if len(joined.others) > 1:
                        raise PlanningError(
                            f"{name} of {source.alias} is joined with an expression over several "
                            f"tables, from which it cannot be bound. Join it with a column or an "
                            f"expression of one table, or give it a value."
                        )

    def _fallback(self, source: Source) -> dict[str, Constant]:
        """Values for parameters that the query itself leaves open."""
        table = source.table
        assert table is not None
        defaults = usable_defaults(table.resource, table.methods, dict(self.context.defaults))
        session = {n: Constant(n, (value,), "session") for n, value in defaults.items()}
        if self.context.open_parameters:
            required = {name for method in table.methods for name in method.required}
            session = {n: Constant(n, (n,), "open") for n in required} | session
        return session | self.binder.inherited(source)

    def _place(self, source: Source) -> dict[str, Constant]:
        """The values of a source's parameters, as far as they are known before any call."""
        constants, _ = self.binder.constants(source)
        return self._fallback(source) | constants

    def _raise_missing(self, source: Source) -> NoReturn:
        table = source.table
        assert table is not None
        constants, _ = self.binder.constants(source)
        fallback = self._fallback(source)
        error = none_fits(table.resource, table.methods, "select", list(constants), list(fallback))
        view = self.text.view_at(source.node)
        if view is None:
            raise error
        raise PlanningError(
            f"In the view {view.name}: {error}",
            resource=error.resource,
            missing=error.missing,
            given=error.given,
        )

    def _could_narrow(self, source: Source) -> bool:
        """Whether a source that is not planned yet will have few rows, as far as can be told."""
        if source.table is None:
            return True
        facts = self.binder.facts[id(source)]
        return narrowing(source, facts) is not Narrowing.NOT_AT_ALL

    def _name_table(self, source: Source) -> None:
        node = source.node
        assert isinstance(node, exp.Table)
        parts = [p for p in node.parts if "start" in p.meta]
        start, end = parts[0].meta["start"], parts[-1].meta["end"] + 1
        if source.table is not None and source.table.local:
            start, end = call_place(node, self.text)
        planned = self.binder.done[id(source)]
        name = planned.place
        twice = doubled(source, replace(planned.scan, columns=planned.columns))
        if twice:
            listed = ", ".join(map(quoted, twice))
            name = f"(SELECT * EXCLUDE ({listed}) FROM {name})"  # noqa: S608
        if not node.args.get("alias"):
            name = f"{name} AS {quoted(source.alias)}"
        self.text.replace(start, end, name)

    def _files(self) -> Iterator[FileScan]:
        for planned in self.binder.done.values():
            if isinstance(table := planned.source.table, FileTable):
                (scan,) = self._finished(planned)
                yield file_scan(scan, table)

    def _finished(self, planned: Planned) -> Iterator[Scan]:
        once = (
            self.purpose is not Purpose.WRITE
            and not planned.kept
            and read_once(planned.source.node)
        )
        reasons = tuple(self._reasons(planned))
        for scan in planned.scans:
            mine = reasons if scan is planned.scan else ()
            yield replace(scan, stream=once, reasons=(*mine, *scan.reasons))

    def _reasons(self, planned: Planned) -> Iterator[str]:
        """Why a table is read as it is."""
        if (view := self.text.view_at(planned.source.node)) is not None:
            yield f"the view {view.name} reads it"
        yield from (r.reason for r in self.recounts if r.source is planned.source)
        if planned.scan.dicom is None or planned.source.scope.where() == []:
            return
        if not _narrows(planned.scan):
            yield "the server can check none of the conditions on it, so all its rows are read"

    # -- what the engine checks ------------------------------------------------------------------

    def _judged(self) -> list[tuple[Source, TableColumn]]:
        """Typed attributes in conditions, whose value may not be of its type."""
        found: list[tuple[Source, TableColumn]] = []
        for scope in self.names.scopes:
            for node in _condition_columns(scope):
                owners = self.names.owners(node, scope)
                column = owners[0][1] if owners else None
                if column is None or column.attribute is None:
                    continue
                attribute, table = column.attribute, owners[0][0].table
                if table is None or table.origin(column.name) is Origin.COUNTED:
                    continue
                if attribute.part is Part.VALUE and attribute.kind in _MAY_NOT_PARSE:
                    found.append((owners[0][0], column))
        return found

    def _need_raw_values(self) -> None:
        for source, column in self._judged():
            source.needed.setdefault(f"{column.name}_raw".lower(), f"{column.name}_raw")

    def _guards(self) -> tuple[tuple[str, str], ...]:
        guards = []
        judged = self._judged()
        unsure = {n.lower() for _, c in judged for n in (c.name, f"{c.name}_raw")}
        for source, column in judged:
            planned = self.binder.done[id(source)]
            # A row that other conditions reject is not written, whatever this value is.
            others = {c.name.lower() for c in planned.columns} - unsure
            left = self.binder.restrictions.of(source, others)
            name, raw = quoted(column.name), quoted(f"{column.name}_raw")
            lost = f"{name} IS NULL AND {raw} IS NOT NULL"
            if column.type.endswith("]"):
                lost = f"{lost} OR len({name}) <> list_count({name})"
            # A guard has no values of placeholders.
            plain = [c for c in left.conditions if not self.text.values_in(left.head + c)]
            where = " AND ".join([f"({lost})", *plain])
            head = left.head if plain else ""
            sql = f"{head}SELECT count(*) FROM {planned.place} AS {quoted(source.alias)}"  # noqa: S608
            guards.append((f"{sql} WHERE {where}", column.name))
        return tuple(dict.fromkeys(guards))

    def _residual(self) -> str:
        shown: list[exp.Expr] = []
        for scope in self.names.scopes:
            # A condition shows the subqueries inside of it with theirs.
            around = {id(node) for node in _ancestors(scope.node)}
            if any(s.table for s in scope.sources) and not any(id(c) in around for c in shown):
                shown += scope.where()
        return " AND ".join(c.sql(dialect="duckdb") for c in shown)


def _narrows(scan: Scan) -> bool:
    """Whether a scan's calls give less than all that their container holds."""
    identity = {p for p, _ in scan.dicom.identity} if scan.dicom is not None else set()
    given = any(c.parameter in identity for c in scan.constants)
    return bool(given or scan.filters or scan.alternatives or scan.binds or scan.limit is not None)


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    at = node.parent
    while at is not None:
        yield at
        at = at.parent


def _for_method(
    method: Method,
    constants: Mapping[str, Constant],
    fallback: Mapping[str, Constant],
    binds: tuple[Bind, ...],
) -> tuple[Constant, ...]:
    """The method's parameters that have a value; by default only those that it requires."""
    bound = {p for b in binds for p in b.parameters}
    found = []
    for p in method.parameters:
        if p.name in bound:
            continue
        constant = constants.get(p.name) or (fallback.get(p.name) if p.required else None)
        if constant is not None:
            found.append(constant)
    return tuple(found)


def _condition_columns(scope: Scope) -> list[exp.Column]:
    """The columns of a SELECT's conditions: WHERE, QUALIFY, HAVING and ON."""
    parts = [scope.node.args.get(name) for name in ("where", "having", "qualify")]
    parts += [s.join.args.get("on") for s in scope.sources if s.join is not None]
    inside = {id(c) for p in parts if p is not None for c in p.find_all(exp.Column)}
    return [c for c in scope.columns if id(c) in inside]
