"""From a query's text to a `ReadPlan`: which calls give its tables, and what the engine runs.

The steps: resolve the names; rewrite comparisons that the engine would read otherwise; choose each
table's method and parameters, tables with constants first, then those that wait for the rows of
others; and render the text with the tables' names replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import PlanningError
from dicomsql.planning.answers import Context
from dicomsql.planning.binding import Binder, Evaluate, Planned, columns_for
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.facts import Equal, Facts
from dicomsql.planning.names import Names
from dicomsql.planning.plan import Bind, Constant, ReadPlan, Scan
from dicomsql.planning.rewrite import Rewriter
from dicomsql.planning.scan import ScanRequest, build_scan
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import Table, TableColumn
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

# Calls for which a bind join may be cheaper than one walk of all that the walk would give.
_WALK_ABOVE = 100

# Parts of a SELECT after which the number of its rows is not that of its table's.
_CHANGES_ROWS = (
    *("group", "having", "distinct", "order", "qualify", "windows", "joins", "laterals"),
    *("pivots", "sample"),
)


class Purpose(StrEnum):
    """What a query's rows are for."""

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
    names = Names(text, catalog, context)
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

    def plan(self) -> ReadPlan:
        self.names.resolve()
        sources = [s for scope in reversed(self.names.scopes) for s in scope.sources if s.table]
        Rewriter(self.text, self.names, self.binder.evaluate).rewrite()
        self.binder.find_facts(sources)
        if self.purpose is Purpose.WRITE:
            self._need_raw_values()
        self._plan_sources(sources)
        sql = self.text.render()
        scans = tuple(self._finished(p) for p in self.binder.done.values())
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
        )

    # -- scans -----------------------------------------------------------------------------------

    def _plan_sources(self, sources: list[Source]) -> None:
        """Plan tables with constants first, then those that wait for rows of others."""
        waiting = sorted(sources, key=lambda s: (-s.scope.depth, s.level))
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
        if mode is _Waiting.FOR_OTHERS and any(
            plain is None or name in fallback or self._could_narrow(other)
            for other, name in found.waiting
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
        self._check_determined(source, method, names, fallback)
        # The statement wins: what a bind determines is not left to a default.
        must = any(p in fallback for b in binds for p in b.parameters)
        if method is plain and not must:
            binds = ()
        walk = plain if binds and not must and plain is not method else None
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
        for planned in done.values():
            # Whatever a bind reads is read again by the query.
            if any(planned.scan.name + " " in bind.sql + " " for bind in binds):
                planned.kept = True
        facts = Facts() if source.reshaped else self.binder.facts[id(source)]
        given = {c.parameter for c in constants}
        if self._is_plain(source, [e for name, e in used.items() if name in given]):
            self.plain.add(id(source))
        request = ScanRequest(
            name=f"scan_{len(done) + 1}",
            alias=source.alias,
            table=table,
            method=method,
            constants=constants,
            binds=binds,
            facts=facts,
            needed=tuple(source.needed.values()),
            star=source.star,
            walk=walk,
            walk_above=_WALK_ABOVE,
            endpoint=self.context.endpoint,
            limit=self._limit(source),
        )
        scan = build_scan(request)
        narrow = bool(scan.filters or scan.binds or scan.limit is not None) or any(
            c.origin != "session" and c.parameter in _own_names(table) for c in scan.constants
        )
        done[id(source)] = Planned(source, scan, narrow, id(source) in self.names.outer)
        # At once, since a bind may render the text around this table next.
        self._name_table(source)
        if all(s.table is None or id(s) in done for s in source.scope.sources):
            self.names.hide_columns(source.scope, {i: p.scan for i, p in done.items()})

    def _check_determined(
        self,
        source: Source,
        method: Method,
        bound: set[str],
        fallback: Mapping[str, Constant],
    ) -> None:
        """Refuse a default for a parameter that the statement determines in a way too complex.

        The rows that the default does not fetch would be missing in silence.
        """
        for name in method.required:
            if name in bound or name not in fallback:
                continue
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
        return session | self.binder.inherited(source)

    def _raise_missing(self, source: Source) -> NoReturn:
        table = source.table
        assert table is not None
        constants, _ = self.binder.constants(source)
        fallback = self._fallback(source)
        raise none_fits(table.resource, table.methods, "select", list(constants), list(fallback))

    def _could_narrow(self, source: Source) -> bool:
        """Whether a source that is not planned yet will have few rows, as far as can be told."""
        if source.table is None:
            return True
        facts = self.binder.facts[id(source)]
        own = {c for n in _own_names(source.table) for c in columns_for(source, n)}
        matched = {k for k, a in source.table.attributes.items() if a.match}
        return any(n in own or n in matched for n in (*facts.equal, *facts.between))

    def _is_plain(self, source: Source, used: list[Equal]) -> bool:
        """Whether the query's rows are the table's: nothing to check, nothing that changes them."""
        select = self.text.tree
        if not isinstance(select, exp.Select) or source.scope.node is not select:
            return False
        if len(self.names.scopes) > 1 or source.reshaped:
            return False
        if any(select.args.get(part) for part in _CHANGES_ROWS):
            return False
        plain = exp.Column | exp.Star | exp.Literal | exp.Placeholder
        if not all(isinstance(e.unalias(), plain) for e in select.expressions):
            return False
        consumed = {id(e.condition) for e in used}
        return all(id(c) in consumed for c in source.scope.where())

    def _direct(self, sources: list[Source]) -> tuple[tuple[str, str], ...]:
        """The result's columns where they are just columns of one table, else nothing."""
        if len(sources) != 1 or self.purpose is Purpose.WRITE:
            return ()
        (source,) = sources
        scan = self.binder.done[id(source)].scan
        select = self.text.tree
        limited = select.args.get("limit") is not None or select.args.get("offset") is not None
        if id(source) not in self.plain or scan.binds or len(source.scope.sources) != 1:
            return ()
        if limited and (scan.limit is None or select.args.get("offset") is not None):
            return ()
        shown = []
        given = {c.name.lower(): c.name for c in scan.columns}
        for expression in select.expressions:
            column = expression.unalias()
            if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
                return ()
            name = given.get(column.name.lower())
            if name is None or len(column.parts) > 1:
                return ()
            shown.append((expression.alias if isinstance(expression, exp.Alias) else name, name))
        return tuple(shown)

    def _limit(self, source: Source) -> int | None:
        """Rows that are enough, where the query's rows are the table's."""
        select = self.text.tree
        limit = select.args.get("limit")
        if id(source) not in self.plain or not isinstance(limit, exp.Limit):
            return None
        options = limit.args.get("limit_options")
        if limit.expressions or (options is not None and options.args.get("percent")):
            return None
        count = _whole(limit.expression, self.text.values)
        offset = select.args.get("offset")
        skipped = _whole(offset.expression, self.text.values) if offset is not None else 0
        return count + skipped if count is not None and skipped is not None else None

    def _name_table(self, source: Source) -> None:
        node = source.node
        assert isinstance(node, exp.Table)
        parts = [p for p in node.parts if "start" in p.meta]
        start, end = parts[0].meta["start"], parts[-1].meta["end"] + 1
        name = self.binder.done[id(source)].scan.name
        if not node.args.get("alias"):
            name = f"{name} AS {quoted(source.alias)}"
        self.text.replace(start, end, name)

    def _finished(self, planned: Planned) -> Scan:
        once = self.purpose is Purpose.READ and not planned.kept and _read_once(planned.source.node)
        return replace(planned.scan, stream=once)

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
                attribute = column.attribute
                if attribute.part is Part.VALUE and attribute.kind in _MAY_NOT_PARSE:
                    found.append((owners[0][0], column))
        return found

    def _need_raw_values(self) -> None:
        for source, column in self._judged():
            source.needed.setdefault(f"{column.name}_raw".lower(), f"{column.name}_raw")

    def _guards(self) -> tuple[tuple[str, str], ...]:
        guards = []
        for source, column in self._judged():
            name, raw = quoted(column.name), quoted(f"{column.name}_raw")
            scan = self.binder.done[id(source)].scan.name
            sql = f"SELECT count(*) FROM {scan} WHERE {name} IS NULL AND {raw} IS NOT NULL"  # noqa: S608
            guards.append((sql, column.name))
        return tuple(dict.fromkeys(guards))

    def _residual(self) -> str:
        conditions = []
        for scope in self.names.scopes:
            if any(s.table for s in scope.sources):
                conditions += [c.sql(dialect="duckdb") for c in scope.where()]
        return " AND ".join(conditions)


def _own_names(table: Table) -> set[str]:
    """Parameters that narrow a table below all that its container holds."""
    names = {p for p, _ in table.dicom.identity} if table.dicom is not None else set()
    return names | {table.resource.own_id} - {""}


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


def _whole(node: exp.Expr | None, values: Mapping[str, object]) -> int | None:
    """The value of a row count, where it is a number as it stands or a placeholder's."""
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        return int(node.this)
    if isinstance(node, exp.Placeholder):
        value = values.get(str(node.this or ""))
        return value if type(value) is int and value >= 0 else None
    return None


_ONCE = (exp.Select, exp.Subquery, exp.From, exp.Join, exp.SetOperation, exp.Table, exp.Paren)


def _read_once(node: exp.Expr) -> bool:
    """Whether the engine reads a table once: it stands in FROM all the way up to the query."""
    if node.args.get("pivots"):
        return False
    at = node.parent
    while at is not None:
        if not isinstance(at, _ONCE) or isinstance(at.parent, exp.Lateral):
            return False
        at = at.parent
    return True
