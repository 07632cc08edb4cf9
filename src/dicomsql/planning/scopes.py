"""Which tables a query reads, where its names belong, and which conditions restrict each table.

A `Scope` is one SELECT with its sources. Names are resolved as DuckDB does it (innermost scope
first), with two rules of our own on top: an unqualified request parameter belongs to every table
that takes it, and an attribute that joined DICOM levels share belongs to the highest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import NotSupportedError
from dicomsql.planning.read_plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.catalog.model import Resource
    from dicomsql.planning.tables import Table, TableColumn

# Sides of a join whose ON restricts the joined table, and those whose ON restricts what is
# before it. A row of the other side is kept whether the condition holds or not.
_ON_RESTRICTS_JOINED = frozenset({"", "LEFT"})
_ON_RESTRICTS_BEFORE = frozenset({"", "RIGHT"})

_UNNAMED = "unnamed_subquery"

# What stands between a query and a table that it reads once.
_ONCE = (exp.Select, exp.Subquery, exp.From, exp.Join, exp.SetOperation, exp.Table, exp.Paren)


@dataclass(slots=True, eq=False)
class Source:
    """A table, or whatever else stands in FROM.

    Attributes:
        alias: the name that columns are qualified with, as written.
        node: its node in the tree.
        table: what the resource offers; None for everything that is no resource.
        known: lower-case names of its columns; None where they are not known here.
        position: its place among the sources of its scope.
    """

    alias: str
    node: exp.Expr
    scope: Scope
    position: int
    join: exp.Join | None = None
    table: Table | None = None
    known: frozenset[str] | None = None
    needed: dict[str, str] = field(default_factory=dict)
    star: bool = False

    @property
    def resource(self) -> Resource | None:
        return self.table.resource if self.table is not None else None

    @property
    def level(self) -> int:
        """The DICOM level of its rows, as `Table.level` has it; -1 for everything else."""
        return self.table.level if self.table is not None else -1

    @property
    def shown(self) -> bool:
        """Whether the query sees its columns: of a SEMI or ANTI join only the ON does."""
        return self.join is None or (self.join.kind or "").upper() not in {"SEMI", "ANTI"}

    @property
    def reshaped(self) -> bool:
        """Whether it is sampled or pivoted, so that conditions see other rows than its own."""
        return bool(self.node.args.get("sample") or self.node.args.get("pivots"))

    def place(self, name: str) -> TableColumn | None:
        """The parameter of that name which says where its rows are, not which of them is meant."""
        column = self.table.column(name) if self.table is not None else None
        if column is None or column.kind is not ColumnKind.PARAMETER:
            return None
        return column if column.attribute is None else None

    def has(self, name: str) -> bool | None:
        """Whether it has a column of that name; None where that is not known."""
        if self.table is not None:
            return self.table.column(name) is not None
        if self.known is None:
            return None
        return name.lower() in self.known


@dataclass(slots=True, eq=False)
class Scope:
    """One SELECT (or what stands in its place) with its sources, columns and conditions."""

    node: exp.Expr
    parent: Scope | None
    sources: list[Source] = field(default_factory=list)
    columns: list[exp.Column] = field(default_factory=list)
    stars: list[exp.Expr] = field(default_factory=list)
    children: list[Scope] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """How many SELECTs stand around it."""
        return self.parent.depth + 1 if self.parent is not None else 0

    def named(self, alias: str) -> Source | None:
        lowered = alias.lower()
        return next((s for s in self.sources if s.alias.lower() == lowered), None)

    def seen(self, column: exp.Column) -> list[Source]:
        """The sources whose columns a name without a qualifier may mean at its place."""
        return [
            s for s in self.sources if s.shown or (s.join is not None and is_inside(column, s.join))
        ]

    def of_resource(self, qualifiers: list[str]) -> Source | None:
        """The source whose resource is called so, in full or from the service on."""
        if not qualifiers:
            return None
        wanted = ".".join(q.lower() for q in qualifiers)
        for source in self.sources:
            full = source.resource.full_name.lower() if source.resource else ""
            if full == wanted or full.endswith("." + wanted):
                return source
        return None

    def select_aliases(self) -> frozenset[str]:
        """Names that the SELECT list gives; DuckDB lets conditions use them."""
        expressions = self.node.args.get("expressions") or []
        return frozenset(e.alias.lower() for e in expressions if e.alias)

    def where(self) -> list[exp.Expr]:
        """The conjuncts of WHERE."""
        where = self.node.args.get("where")
        return conjuncts(where.this) if where is not None else []

    def conditions(self, source: Source) -> Iterator[exp.Expr]:
        """Conjuncts that a row of `source` must satisfy to have any effect on the result.

        These are WHERE's, and those of each ON that cannot keep a row of this source whose
        condition fails. A row that WHERE rejects may be left out of the scan: it is on the inner
        side, or its absence makes NULLs that WHERE rejects as well.
        """
        yield from self.where()
        for other in self.sources:
            join = other.join
            if join is None or join.args.get("on") is None or join.method in {"ASOF", "POSITIONAL"}:
                continue
            side = (join.side or "").upper()
            kind = (join.kind or "").upper()
            if other is source:
                allowed = side in _ON_RESTRICTS_JOINED
            else:
                before = other.position > source.position
                allowed = before and side in _ON_RESTRICTS_BEFORE and kind != "ANTI"
            if allowed:
                yield from conjuncts(join.args["on"])

    def using(self) -> Iterator[tuple[Source, str]]:
        """(joined source, column name) of every USING."""
        for source in self.sources:
            for name in (source.join.args.get("using") or []) if source.join is not None else []:
                yield source, name.name

    def used_in_using(self, name: str) -> bool:
        return any(n.lower() == name.lower() for _, n in self.using())

    def merged(self, name: str) -> list[Source]:
        """The sources whose columns of that name USING makes one; those not known are among them.

        An attribute that several levels in front of the first such join have is the highest's.
        """
        joined = [s for s, n in self.using() if n.lower() == name.lower()]
        if not joined:
            return []
        before = self.sources[: joined[0].position]
        having = [s for s in before if s.has(name) is not False]
        highest = min((s.level for s in having if s.level >= 0), default=-1)
        return [*(s for s in having if s.level <= highest), *joined]


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a condition that must all hold."""
    if isinstance(node, exp.Paren):
        return conjuncts(node.this)
    if isinstance(node, exp.And):
        return conjuncts(node.this) + conjuncts(node.expression)
    return [node]


def disjuncts(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a condition of which one must hold."""
    if isinstance(node, exp.Paren):
        return disjuncts(node.this)
    if isinstance(node, exp.Or):
        return disjuncts(node.this) + disjuncts(node.expression)
    return [node]


def build(tree: exp.Expr, resolve: Callable[[exp.Table], Table | None]) -> list[Scope]:
    """The scopes of a query, outer before inner.

    Args:
        resolve: gives the resource's table for a table node that names one, else None.
    """
    scopes: list[Scope] = []

    def visit(node: exp.Expr, scope: Scope | None) -> None:
        if isinstance(node, exp.Select) or (scope is None and not isinstance(node, exp.Query)):
            inner = Scope(node, scope)
            if scope is not None:
                scope.children.append(inner)
            scopes.append(inner)
            scope = inner
            for part in _from_parts(node):
                _collect(part, None, scope, resolve)
        elif isinstance(node, exp.Returning) or _is_written(node):
            return  # they belong to the table that is written, which is the engine's
        elif isinstance(node, exp.Column) and not _names_argument(node):
            assert scope is not None or not node.table
            if scope is not None:
                (scope.stars if isinstance(node.this, exp.Star) else scope.columns).append(node)
        elif scope is not None and (
            isinstance(node, exp.Columns)
            or (isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count | exp.Column))
        ):
            scope.stars.append(node)
        for child in node.iter_expressions():
            visit(child, scope)

    visit(tree, None)
    return scopes


def _is_written(node: exp.Expr) -> bool:
    """Whether a name says which column is written: on the left of SET, in the list of an INSERT."""
    parent = node.parent
    if isinstance(parent, exp.EQ):
        return isinstance(parent.parent, exp.Update | exp.OnConflict) and parent.this is node
    # That of a MERGE; another has no columns there, but names.
    return isinstance(parent, exp.Insert) and isinstance(node, exp.Tuple) and parent.this is node


def _names_argument(column: exp.Column) -> bool:
    """Whether a name is a table function's argument's: `read_csv(..., header = true)`."""
    equality = column.parent
    if not isinstance(equality, exp.EQ) or equality.this is not column:
        return False
    function = equality.parent
    return isinstance(function, exp.Func) and isinstance(function.parent, exp.Table)


def _from_parts(node: exp.Expr) -> list[exp.Expr]:
    """What stands in FROM of a SELECT; a PIVOT or TABLE statement is its own FROM.

    A write of a table of the engine's reads that table, and what stands in FROM or USING.
    """
    if isinstance(node, exp.Select):
        parts = [node.args.get("from_"), *(node.args.get("joins") or [])]
        parts += node.args.get("laterals") or []
        return [p for p in parts if p is not None]
    if isinstance(node, exp.Update | exp.Delete | exp.Merge):
        using = node.args.get("using") or []
        using = using if isinstance(using, list) else [using]
        return [p for p in (node.this, node.args.get("from_"), *using) if p is not None]
    if isinstance(node, exp.Pivot) and isinstance(node.this, exp.Expr):
        return [node.this]
    return [node] if isinstance(node, exp.Table) else []


def _collect(
    node: exp.Expr,
    join: exp.Join | None,
    scope: Scope,
    resolve: Callable[[exp.Table], Table | None],
) -> None:
    """Add the sources that one part of FROM holds."""
    if isinstance(node, exp.From):
        _collect(node.this, None, scope, resolve)
    elif isinstance(node, exp.Join):
        _collect(node.this, node, scope, resolve)
    elif isinstance(node, exp.Paren) or (
        isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias
    ):
        _collect(node.this, join, scope, resolve)
        for inner in node.args.get("joins") or []:
            _collect(inner, inner, scope, resolve)
    else:
        table = resolve(node) if isinstance(node, exp.Table) else None
        if join is not None and join.method == "NATURAL":
            tables = (table, *(s.table for s in scope.sources))
            joined = next((t for t in tables if t is not None), None)
            if joined is not None:
                raise NotSupportedError(
                    "NATURAL JOIN depends on every column that two tables share; "
                    f"say which ones join {joined.resource.full_name} with USING (...)."
                )
        known = None
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            known = output_names(node)
        alias = node.alias_or_name
        if not alias and isinstance(node, exp.Subquery):
            alias = _unnamed(scope)
        elif not alias and isinstance(node, exp.Table):
            alias = _function_name(node.this)
        scope.sources.append(
            Source(alias, node, scope, len(scope.sources), join, table=table, known=known)
        )
        if table is not None and (node.args.get("pivots") or isinstance(scope.node, exp.Pivot)):
            scope.sources[-1].star = True
        for inner in node.args.get("joins") or []:
            _collect(inner, inner, scope, resolve)


def _unnamed(scope: Scope) -> str:
    """The name that the engine gives to a derived table that has none."""
    before = sum(s.alias.startswith(_UNNAMED) and not s.node.alias for s in scope.sources)
    return f"{_UNNAMED}{before + 1 if before else ''}"


def _function_name(function: exp.Expr) -> str:
    """The name of a table function, by which its columns can be qualified; empty for none.

    Of those that the parser knows by one name only, this is not told: `range` is its
    `generate_series`.
    """
    if isinstance(function, exp.Anonymous):
        return function.name.lower()
    if isinstance(function, exp.ReadCSV | exp.ReadParquet):
        return str(function.sql_name()).lower()
    return ""


def cte_of(node: exp.Expr, name: str) -> exp.Expr | None:
    """The CTE that a one-part name means at a node, or None."""
    at = node.parent
    while at is not None:
        found = at.args.get("with_")
        for cte in found.expressions if found is not None else []:
            if cte.alias.lower() == name:
                return cte  # type: ignore[no-any-return]
        at = at.parent
    return None


def output_names(*around: exp.Expr) -> frozenset[str] | None:
    """Lower-case names of the columns of a derived table or a CTE; None where a star hides them.

    Args:
        around: it, and what stands around it and may name the columns anew.
    """
    select: exp.Expr = around[0].this
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    expressions = select.args.get("expressions") or []
    if not expressions or any(e.is_star or isinstance(e, exp.Columns) for e in expressions):
        return None
    names = [e.alias_or_name.lower() for e in expressions]
    for node in around:
        alias = node.args.get("alias")
        new = (alias.args.get("columns") or []) if alias is not None else []
        names[: len(new)] = [n.name.lower() for n in new]
    return frozenset(n for n in names if n)


def read_once(node: exp.Expr) -> bool:
    """Whether the engine reads a table once: it stands in FROM all the way up to the query."""
    if node.args.get("pivots"):
        return False
    at = node.parent
    while at is not None:
        if not isinstance(at, _ONCE) or isinstance(at.parent, exp.Lateral):
            return False
        at = at.parent
    return True


def correlated(
    query: exp.Expr,
    scope: Scope,
    owners: Callable[[exp.Column, Scope], Sequence[tuple[Source, object]]],
) -> bool:
    """Whether a subquery reads columns of the query around it."""
    inside = [c for c in _descendants(scope) if is_inside(c.node, query)]
    for one in inside:
        for column in one.columns:
            found = owners(column, one)
            if found and found[0][0].scope not in inside:
                return True
    return False


def is_inside(node: exp.Expr, ancestor: exp.Expr) -> bool:
    """Whether a node is another one, or stands somewhere below it."""
    at: exp.Expr | None = node
    while at is not None:
        if at is ancestor:
            return True
        at = at.parent
    return False


def _descendants(scope: Scope) -> list[Scope]:
    found = []
    for child in scope.children:
        found.append(child)
        found += _descendants(child)
    return found
