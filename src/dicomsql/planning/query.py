"""From a query's text to a `ReadPlan`: which calls give its tables, and what the engine runs.

The steps, in the order of this module: find the tables and where each name belongs; rewrite what
the engine would read otherwise (qualified resource names, shared attributes, DICOM's dates);
choose each table's method and parameters, tables with constants first, then those that are bound
by others; and render the text with the tables' names replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import PlanningError, nearest
from dicomsql.planning.facts import Equal, FactFinder, Facts, InQuery, Joined, Value
from dicomsql.planning.plan import Bind, Constant, Context, ReadPlan, Scan
from dicomsql.planning.rewrite import rewrite_comparisons, rewrite_functions
from dicomsql.planning.scan import ScanRequest, build_scan
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.scopes import Scope, Source, build
from dicomsql.planning.tables import Table, TableColumn
from dicomsql.planning.text import QueryText

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method

Evaluate = Callable[[str, tuple[tuple[str, object], ...]], Value]

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
WALK_ABOVE = 100


class Purpose(StrEnum):
    """What a query's rows are for."""

    READ = "read"
    # The rows are written: those whose condition cannot be judged must stop the statement.
    WRITE = "write"


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
    return _QueryPlanner(text, catalog, context, evaluate, purpose).plan()


@dataclass(slots=True)
class _Planned:
    """A source with the scan that was planned for it."""

    source: Source
    scan: Scan
    narrow: bool
    materialise: bool = False


@dataclass(slots=True)
class _QueryPlanner:
    text: QueryText
    catalog: Catalog
    context: Context
    evaluate: Evaluate
    purpose: Purpose
    scopes: list[Scope] = field(default_factory=list)
    done: dict[int, _Planned] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)
    shared_twice: set[int] = field(default_factory=set)

    def plan(self) -> ReadPlan:
        self.scopes = build(self.text.tree, self._table_of)
        sources = [s for scope in reversed(self.scopes) for s in scope.sources if s.table]
        for scope in self.scopes:
            for column in scope.columns:
                self._place(column, scope)
            for star in scope.stars:
                self._mark_star(star, scope)
            for _, name in scope.using():
                self._need_everywhere(name, scope)
        rewrite_comparisons(self.text, self.scopes, self._owner)
        rewrite_functions(self.text)
        finder = FactFinder(self.text, self._owners, self.evaluate)
        for source in sources:
            self.facts[id(source)] = finder.find(source)
        if self.purpose is Purpose.WRITE:
            self._need_raw_values()
        self._plan_sources(sources)
        sql = self.text.render()
        scans = tuple(self._finished(p) for p in self.done.values())
        guards = self._guards() if self.purpose is Purpose.WRITE else ()
        return ReadPlan(sql, self.text.values_in(sql), scans, self._residual(), guards)

    # -- names -----------------------------------------------------------------------------------

    def _table_of(self, node: exp.Table) -> Table | None:
        """The resource that a table node names; None for CTEs and for what is the engine's."""
        parts = tuple(p.name for p in node.parts if isinstance(p, exp.Identifier))
        if not parts or len(parts) != len(node.parts):
            return None  # a table function or a file
        if len(parts) == 1:
            name = parts[0].lower()
            if _is_cte(node, name) or name in self.context.local_tables:
                return None
            if not self.context.use or "." in parts[0] or "/" in parts[0]:
                return None
        try:
            resource = self.catalog.resolve(parts, self.context.use)
        except PlanningError as error:
            if len(parts) <= 2 and not self.context.use:
                return None  # the engine's own schema, or a name that only it can judge
            raise self.text.error(str(error), node) from None
        return Table(resource, resource.for_verb("select"))

    def _owners(
        self, column: exp.Column, scope: Scope
    ) -> list[tuple[Source, TableColumn | None]]:
        """The sources that a column may restrict, the one that it reads from first."""
        name = column.name
        qualifiers = [p.name for p in column.parts[:-1]]
        at: Scope | None = scope
        while at is not None:
            if qualifiers:
                found = self._qualified(qualifiers, name, at)
            else:
                found = self._unqualified(name, at)
            if found:
                return found
            at = at.parent
        if len(qualifiers) == 1:
            # `labels.env`: a member of a column, which only the engine understands.
            at = scope
            while at is not None:
                found = self._unqualified(qualifiers[0], at)
                if found and found[0][1] is not None:
                    return [found[0]]
                at = at.parent
        return []

    def _qualified(
        self, qualifiers: list[str], name: str, scope: Scope
    ) -> list[tuple[Source, TableColumn | None]]:
        source = scope.named(qualifiers[-1]) if len(qualifiers) == 1 else None
        if source is None and len(qualifiers) > 1:
            wanted = ".".join(q.lower() for q in qualifiers)
            for candidate in scope.sources:
                full = candidate.resource.full_name.lower() if candidate.resource else ""
                if full == wanted or full.endswith("." + wanted):
                    source = candidate
                    break
            if source is None:
                source = scope.named(qualifiers[0])
                name = qualifiers[1]
        if source is None:
            return []
        if source.table is None:
            return [(source, None)]
        column = source.table.column(name)
        if column is None:
            raise source.table.unknown(name)
        return [(source, column)]

    def _unqualified(self, name: str, scope: Scope) -> list[tuple[Source, TableColumn | None]]:
        having = [(s, s.table.column(name) if s.table else None) for s in scope.sources if s.has(name)]
        tables = [(s, c) for s, c in having if c is not None]
        if scope.used_in_using(name):
            return having
        parameters = [(s, c) for s, c in tables if c.parameter]
        if parameters:
            # Bound alike in every table; read from the highest level, else the first.
            return sorted(parameters, key=lambda f: (f[0].table.level if f[0].table else 0))
        if tables:
            return [min(tables, key=lambda f: (f[0].table.level if f[0].table else 0))]
        if having:
            return having[:1]
        unknown = [s for s in scope.sources if s.has(name) is None]
        if unknown and name.lower() not in scope.select_aliases():
            # A resource's column would have been found, so it is the other source's.
            return [(unknown[0], None)]
        return []

    def _owner(self, column: exp.Column, scope: Scope) -> tuple[Source, TableColumn | None] | None:
        found = self._owners(column, scope)
        return found[0] if found else None

    def _place(self, column: exp.Column, scope: Scope) -> None:
        """Note that a column is needed, and qualify it where the engine would not find it."""
        owners = self._owners(column, scope)
        if not owners:
            self._check_known(column, scope)
            return
        source, found = owners[0]
        if found is None:
            return
        if source.scope is not scope:
            self.shared_twice.add(id(source))
        for owner, its in owners if source.scope.used_in_using(column.name) else owners[:1]:
            if its is not None:
                owner.needed[its.name.lower()] = its.name
        parts = column.parts
        try:
            start = parts[0].meta["start"]
        except KeyError:
            return
        if len(parts) > 2 and source.scope.named(parts[0].name) is None:
            end = parts[-2].meta["end"] + 1
            self.text.replace(start, end, _quoted(self._alias(source)))
        elif len(parts) == 1 and not source.scope.used_in_using(column.name):
            rivals = [s for s in source.scope.sources if s is not source and s.has(column.name)]
            if rivals:
                self.text.insert(start, _quoted(self._alias(source)) + ".")

    def _need_everywhere(self, name: str, scope: Scope) -> None:
        """A USING column is read from every table that has it."""
        for source in scope.sources:
            column = source.table.column(name) if source.table is not None else None
            if column is not None:
                source.needed.setdefault(column.name.lower(), column.name)

    def _check_known(self, column: exp.Column, scope: Scope) -> None:
        """Raise where a name can belong to nothing at all."""
        name = column.name
        at: Scope | None = scope
        tables: list[Table] = []
        while at is not None:
            if any(s.has(name) is None for s in at.sources) or name.lower() in at.select_aliases():
                return
            tables += [s.table for s in at.sources if s.table is not None]
            at = at.parent
        if column.table:
            aliases = [s.alias for s in scope.sources]
            if tables and scope.named(column.table) is None:
                raise self.text.error(
                    f"No table of this query is called {column.table}."
                    f"{nearest(column.table, aliases)}",
                    column,
                )
            return
        # A name that is a table's alias is its whole row.
        whole = scope.named(name)
        if whole is not None:
            whole.star = True
        elif tables and not _is_lambda_name(column):
            raise self.text.error(str(tables[0].unknown(name)), column)

    def _alias(self, source: Source) -> str:
        return source.alias

    # -- stars -----------------------------------------------------------------------------------

    def _starred(self, star: exp.Expr, scope: Scope) -> list[Source]:
        """The sources whose columns a star (or COLUMNS) shows."""
        if isinstance(star, exp.Column) and star.table:
            source = scope.named(star.table)
            return [source] if source is not None else []
        return scope.sources

    def _mark_star(self, star: exp.Expr, scope: Scope) -> None:
        for source in self._starred(star, scope):
            source.star = True

    def _hide_columns(self, star: exp.Expr, scope: Scope) -> None:
        """Keep parameters, and attributes that a higher level shows already, out of a star."""
        if isinstance(star, exp.Columns):
            return
        qualified = isinstance(star, exp.Column)
        inner = star.this if isinstance(star, exp.Column) else star
        hidden: list[str] = []
        shown: dict[str, int] = {}
        sources = [s for s in self._starred(star, scope) if id(s) in self.done]
        for source in sorted(sources, key=lambda s: s.table.level if s.table else -1):
            planned = self.done[id(source)]
            assert source.table is not None
            usual = {n.lower() for n in source.table.usual(planned.scan.method)}
            if planned.scan.shape != "rows":
                usual = {c.name.lower() for c in planned.scan.columns}
            for column in planned.scan.columns:
                lowered = column.name.lower()
                again = (
                    not qualified
                    and source.table.level > shown.get(lowered, source.table.level)
                    and not scope.used_in_using(lowered)
                )
                if lowered not in usual or again:
                    if scope.used_in_using(lowered) and not qualified:
                        name = _quoted(column.name)
                        if name not in hidden and not any(
                            lowered in {n.lower() for n in s.table.usual(self.done[id(s)].scan.method)}
                            for s in sources if s.table
                        ):
                            hidden.append(name)
                        continue
                    prefix = "" if qualified else _quoted(source.alias) + "."
                    hidden.append(prefix + _quoted(column.name))
                elif source.table.level >= 0:
                    shown.setdefault(lowered, source.table.level)
        if not hidden or "end" not in inner.meta:
            return
        end = inner.meta["end"] + 1
        names = ", ".join(hidden)
        if not inner.args.get("except_"):
            self.text.insert(end, f" EXCLUDE ({names})")
            return
        keyword = self.text.token_between(end, len(self.text.text), frozenset({"EXCLUDE", "EXCEPT"}))
        assert keyword is not None
        following = next(t for t in self.text.tokens if t.start > keyword.end)
        if following.text == "(":
            self.text.insert(following.end + 1, f"{names}, ")
        else:
            self.text.insert(following.start, f"({names}, ")
            self.text.insert(following.end + 1, ")")

    # -- scans -----------------------------------------------------------------------------------

    def _plan_sources(self, sources: list[Source]) -> None:
        """Plan tables with constants first, then those that wait for rows of others."""
        waiting = sorted(sources, key=lambda s: s.table.level if s.table else -1)
        waiting.sort(key=lambda s: -self._depth(s.scope))
        while waiting:
            progress = False
            for source in list(waiting):
                if self._try(source):
                    waiting.remove(source)
                    progress = True
            if not progress:
                raise self._missing(waiting[0])

    def _depth(self, scope: Scope) -> int:
        depth = 0
        while scope.parent is not None:
            scope, depth = scope.parent, depth + 1
        return depth

    def _given(self, source: Source) -> tuple[dict[str, Constant], dict[str, Equal]]:
        """Constants of the statement by parameter, and the conditions that they use up."""
        assert source.table is not None
        constants: dict[str, Constant] = {}
        used: dict[str, Equal] = {}
        for name in self._parameter_names(source):
            equal = self._equal_for(source, name)
            if equal is not None:
                values = tuple(dict.fromkeys(_text(v) for v in equal.values))
                constants[name] = Constant(name, values, "statement", equal.listed)
                used[name] = equal
        return constants, used

    def _parameter_names(self, source: Source) -> list[str]:
        assert source.table is not None
        names = [p.name for m in source.table.methods for p in m.parameters]
        return list(dict.fromkeys(names))

    def _columns_for(self, source: Source, parameter: str) -> list[str]:
        """Lower-case names of the columns that mean a parameter."""
        names = [parameter.lower()]
        dicom = source.table.dicom if source.table else None
        if dicom is not None:
            names += [kw.lower() for param, kw in dicom.identity if param == parameter]
        return names

    def _equal_for(self, source: Source, parameter: str) -> Equal | None:
        facts = self.facts[id(source)]
        columns = self._columns_for(source, parameter)
        found = [e for c in columns for e in facts.equal.get(c, [])]
        for column in columns:
            # An equality with another table's column carries that column's constants over.
            for joined in facts.joined.get(column, []):
                found += self._carried(joined, column)
        # One value says more than a list.
        return min(found, key=lambda e: len(e.values)) if found else None

    def _carried(self, joined: Joined, column: str) -> list[Equal]:
        other = joined.others[0]
        facts = self.facts.get(id(other))
        if facts is None or len(joined.others) > 1:
            return []
        if joined.expression is None:
            name = column
        elif isinstance(joined.expression, exp.Column):
            name = joined.expression.name.lower()
        else:
            return []
        found = [e for e in facts.equal.get(name, [])]
        if not found and other.table is not None:
            meant = other.table.column(name)
            if meant is not None and meant.parameter:
                for alias in self._columns_for(other, meant.parameter):
                    found += facts.equal.get(alias, [])
        return found

    def _inherited(self, source: Source) -> dict[str, Constant]:
        """Unqualified parameters of the queries around, for what this one leaves open."""
        found: dict[str, Constant] = {}
        names = {n.lower(): n for n in self._parameter_names(source)}
        finder = FactFinder(self.text, self._owners, self.evaluate)
        at = source.scope.parent
        while at is not None:
            for condition in at.where():
                if not isinstance(condition, exp.EQ) or not isinstance(condition.this, exp.Column):
                    continue
                column = condition.this
                value = finder.literal(condition.expression)
                name = names.get(column.name.lower())
                if not column.table and name and name not in found and value and value[0] is not None:
                    found[name] = Constant(name, (_text(value[0]),), "query")
            at = at.parent
        return found

    def _try(self, source: Source) -> bool:
        """Plan a source if all that it needs is there; False where it has to wait."""
        table = source.table
        assert table is not None
        methods = table.methods
        constants, used = self._given(source)
        inherited = self._inherited(source)
        defaults = usable_defaults(table.resource, methods, dict(self.context.defaults))
        fallback: dict[str, Constant] = {
            name: Constant(name, (value,), "session") for name, value in defaults.items()
        }
        fallback |= inherited
        plain = choose(methods, constants.keys(), fallback.keys())
        binds, pending = self._binds(source, constants)
        if pending and (plain is None or any(p.narrow for p in self._pending_sources(pending))):
            return False
        bound: Method | None = None
        if binds:
            bound = choose(methods, {*constants, *(p for b in binds for p in b.parameters)}, fallback)
        if bound is None and plain is None:
            if pending:
                return False
            raise none_fits(table.resource, methods, "select", list(constants), list(fallback))
        method = bound or plain
        assert method is not None
        used_binds = tuple(
            b for b in binds if all(method.parameter(p) is not None for p in b.parameters)
        )
        if plain is not None and (method is plain or not used_binds):
            method, used_binds = plain, ()
        for bind in used_binds:
            self._keep_for(bind)
        request = ScanRequest(
            name=f"scan_{len(self.done) + 1}",
            alias=source.alias,
            table=table,
            method=method,
            constants=_for_method(method, constants, fallback),
            binds=used_binds,
            facts=self.facts[id(source)],
            needed=tuple(source.needed.values()),
            star=source.star,
            walk=plain if used_binds and plain is not method else None,
            walk_above=WALK_ABOVE,
            endpoint=self.context.endpoint,
            limit=self._limit(source, used),
        )
        scan = build_scan(request)
        narrow = bool(scan.filters or scan.binds or scan.limit is not None) or any(
            c.parameter not in dict(self.context.defaults) and c.parameter in _own_names(table)
            for c in scan.constants
        )
        self.done[id(source)] = _Planned(source, scan, narrow, id(source) in self.shared_twice)
        # At once, since a bind may render the text around this table next.
        self._name_table(source)
        if all(s.table is None or id(s) in self.done for s in source.scope.sources):
            for star in source.scope.stars:
                self._hide_columns(star, source.scope)
        return True

    def _pending_sources(self, pending: list[Source]) -> list[_Pending]:
        return [_Pending(self._could_narrow(s)) for s in pending]

    def _could_narrow(self, source: Source) -> bool:
        """Whether a source that is not planned yet will have few rows, as far as can be told."""
        if source.table is None:
            return True
        facts = self.facts[id(source)]
        own = {c for n in _own_names(source.table) for c in self._columns_for(source, n)}
        matched = {k for k, a in source.table.attributes.items() if a.match}
        return any(n in own or n in matched for n in (*facts.equal, *facts.between))

    def _binds(
        self, source: Source, constants: Mapping[str, Constant]
    ) -> tuple[list[Bind], list[Source]]:
        """Binds that are ready, and the sources whose rows further ones would need."""
        ready: list[Bind] = []
        pending: list[Source] = []
        facts = self.facts[id(source)]
        groups: dict[int, tuple[Source, list[tuple[str, str]]]] = {}
        for name in self._parameter_names(source):
            if name in constants:
                continue
            for column in self._columns_for(source, name):
                for query in facts.queries.get(column, []):
                    inside = self._inside(query.node)
                    open_ones = [s for s in inside if id(s) not in self.done]
                    pending += open_ones
                    if not open_ones:
                        ready.append(self._query_bind(name, query))
                for joined in facts.joined.get(column, []):
                    if len(joined.others) != 1 or source in self._feeds(joined.others[0]):
                        continue
                    other = joined.others[0]
                    open_ones = [s for s in self._feeds(other) if id(s) not in self.done]
                    pending += open_ones
                    if not open_ones and self._is_narrow(other, source, name):
                        sql = self._expression(joined, column, other)
                        groups.setdefault(id(other), (other, []))[1].append((name, sql))
        for other, pairs in groups.values():
            unique = dict(pairs)
            ready.append(self._join_bind(other, tuple(unique), tuple(unique.values())))
        taken: set[str] = set()
        chosen = []
        for bind in ready:
            if not taken & set(bind.parameters):
                chosen.append(bind)
                taken |= set(bind.parameters)
        return chosen, pending

    def _is_narrow(self, other: Source, source: Source, parameter: str) -> bool:
        """Whether binding to a source may save calls, or is the only way."""
        planned = self.done.get(id(other))
        if planned is None or planned.narrow:
            return True
        assert source.table is not None
        # A parameter that every method requires has to be bound, however many rows there are.
        return all(parameter in m.required for m in source.table.methods)

    def _feeds(self, source: Source) -> list[Source]:
        """The resources whose rows make up a source: itself, or those inside its subquery."""
        if source.table is not None:
            return [source]
        if isinstance(source.node, exp.Table) and source.node.name:
            cte = _cte(source.node, source.node.name.lower())
            return self._inside(cte) if cte is not None else []
        return self._inside(source.node)

    def _inside(self, node: exp.Expr) -> list[Source]:
        """The resources that a part of the tree reads, those of CTEs that it names included."""
        found: list[Source] = []
        for scope in self.scopes:
            for source in scope.sources:
                at: exp.Expr | None = source.node
                while at is not None and at is not node:
                    at = at.parent
                if at is None:
                    continue
                if source.table is not None:
                    found.append(source)
                elif isinstance(source.node, exp.Table) and source.node is not node:
                    found += [s for s in self._feeds(source) if s not in found]
        return found

    def _expression(self, joined: Joined, column: str, other: Source) -> str:
        if joined.place is None:
            found = other.table.column(column) if other.table is not None else None
            name = found.name if found is not None else column
            other.needed.setdefault(name.lower(), name) if found is not None else None
            return f"{_quoted(other.alias)}.{_quoted(name)}"
        return self.text.render(*joined.place)

    def _join_bind(
        self, other: Source, parameters: tuple[str, ...], expressions: tuple[str, ...]
    ) -> Bind:
        shown = [f"v{i}" for i in range(1, len(expressions) + 1)]
        listed = ", ".join(f"{e} AS {v}" for e, v in zip(expressions, shown, strict=True))
        sql = f"{self._with()}SELECT DISTINCT {listed} FROM {self._from(other)}"
        of = ", ".join(expressions).replace('"', "")
        return Bind(parameters, sql, self.text.values_in(sql), of)

    def _query_bind(self, parameter: str, query: InQuery) -> Bind:
        inner = self.text.render(*query.place)
        sql = f"{self._with()}SELECT DISTINCT * FROM {inner} AS q"
        return Bind((parameter,), sql, self.text.values_in(sql), "the subquery")

    def _with(self) -> str:
        """The statement's own WITH clause, in case that a bind's text names a CTE."""
        found = self.text.tree.args.get("with_")
        if found is None:
            return ""
        start = next(t.start for t in self.text.tokens if t.text.upper() == "WITH")
        last = found.expressions[-1]
        _, inner_end = self.text.span(last)
        depth_end = next(
            (
                t.end + 1
                for t in self.text.tokens
                if t.start >= inner_end - 1
                and t.text == ")"
                and self._closes(start, t.end + 1)
            ),
            inner_end,
        )
        return self.text.render(start, depth_end) + " "

    def _closes(self, start: int, end: int) -> bool:
        inside = [t.text for t in self.text.tokens if start <= t.start and t.end < end]
        return inside.count("(") == inside.count(")")

    def _from(self, other: Source) -> str:
        planned = self.done.get(id(other))
        if planned is not None:
            return f"{planned.scan.name} AS {_quoted(other.alias)}"
        if isinstance(other.node, exp.Table):
            return f"{_quoted(other.node.name)} AS {_quoted(other.alias)}"
        start, end = self.text.group_around(self.text.span(other.node.this)[0])
        return f"{self.text.render(start, end)} AS {_quoted(other.alias)}"

    def _keep_for(self, bind: Bind) -> None:
        """Whatever a bind reads is read again by the query, so it is kept."""
        for planned in self.done.values():
            if planned.scan.name + " " in bind.sql + " ":
                planned.materialise = True

    def _missing(self, source: Source) -> PlanningError:
        table = source.table
        assert table is not None
        constants, _ = self._given(source)
        defaults = usable_defaults(table.resource, table.methods, dict(self.context.defaults))
        return none_fits(
            table.resource, table.methods, "select", list(constants), list(defaults)
        )

    def _limit(self, source: Source, used: Mapping[str, Equal]) -> int | None:
        """Rows that are enough, where nothing is left to check and nothing changes the number."""
        select = self.text.tree
        if not isinstance(select, exp.Select) or source.scope.node is not select:
            return None
        limit = select.args.get("limit")
        blocking = ("group", "having", "distinct", "order", "qualify", "windows", "joins",
                    "laterals", "pivots", "sample")
        if limit is None or any(select.args.get(b) for b in blocking) or len(self.scopes) > 1:
            return None
        plain = exp.Column | exp.Star | exp.Literal | exp.Placeholder
        if not all(isinstance(e.unalias(), plain) for e in select.expressions):
            return None
        consumed = {id(e.condition) for e in used.values()}
        if any(id(c) not in consumed for c in source.scope.where()):
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
        name = self.done[id(source)].scan.name
        if not node.args.get("alias"):
            name = f"{name} AS {_quoted(source.alias)}"
        self.text.replace(start, end, name)

    def _finished(self, planned: _Planned) -> Scan:
        once = self.purpose is Purpose.READ and not planned.materialise and _read_once(planned.source.node)
        return replace(planned.scan, stream=once)

    def _judged(self) -> list[tuple[Source, TableColumn]]:
        """Typed attributes in conditions, whose value may not be of its type."""
        found = []
        for scope in self.scopes:
            where = scope.node.args.get("where")
            for node in where.find_all(exp.Column) if where is not None else ():
                owner = self._owner(node, scope)
                if owner is None or owner[1] is None or owner[1].attribute is None:
                    continue
                attribute = owner[1].attribute
                if attribute.part is Part.VALUE and attribute.kind in _MAY_NOT_PARSE:
                    found.append((owner[0], owner[1]))
        return found

    def _need_raw_values(self) -> None:
        for source, column in self._judged():
            source.needed.setdefault(f"{column.name}_raw".lower(), f"{column.name}_raw")

    def _guards(self) -> tuple[tuple[str, str], ...]:
        guards = []
        for source, column in self._judged():
            planned = self.done[id(source)]
            name = _quoted(column.name)
            raw = _quoted(f"{column.name}_raw")
            sql = (
                f"SELECT count(*) FROM {planned.scan.name} "
                f"WHERE {name} IS NULL AND {raw} IS NOT NULL"
            )
            guards.append((sql, column.name))
        return tuple(dict.fromkeys(guards))

    def _residual(self) -> str:
        conditions = []
        for scope in self.scopes:
            if not any(s.table for s in scope.sources):
                continue
            conditions += [c.sql(dialect="duckdb") for c in scope.where()]
        return " AND ".join(conditions)


@dataclass(frozen=True, slots=True)
class _Pending:
    narrow: bool


def _own_names(table: Table) -> set[str]:
    """Parameters that narrow a table below all that its container holds."""
    names = {p for p, _ in table.dicom.identity} if table.dicom is not None else set()
    return names | {table.resource.own_id} - {""}


def _for_method(
    method: Method, constants: Mapping[str, Constant], fallback: Mapping[str, Constant]
) -> tuple[Constant, ...]:
    """The method's parameters that have a value; from the session only those it requires."""
    found = []
    for p in method.parameters:
        constant = constants.get(p.name) or (fallback.get(p.name) if p.required else None)
        if constant is not None:
            found.append(constant)
    return tuple(found)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _whole(node: exp.Expr | None, values: Mapping[str, object]) -> int | None:
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        return int(node.this)
    if isinstance(node, exp.Placeholder):
        value = values.get(str(node.this or ""))
        return value if isinstance(value, int) else None
    return None


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name.islower() else '"' + name.replace('"', '""') + '"'


def _cte(node: exp.Expr, name: str) -> exp.Expr | None:
    """The CTE that a one-part name means at a node, or None."""
    at = node.parent
    while at is not None:
        found = at.args.get("with_")
        for cte in found.expressions if found is not None else []:
            if cte.alias.lower() == name:
                return cte  # type: ignore[no-any-return]
        at = at.parent
    return None


def _is_cte(node: exp.Expr, name: str) -> bool:
    return _cte(node, name) is not None


def _is_lambda_name(column: exp.Column) -> bool:
    at = column.parent
    while at is not None:
        if isinstance(at, exp.Lambda) and any(e.name == column.name for e in at.expressions):
            return True
        at = at.parent
    return False


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
