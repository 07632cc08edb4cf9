"""Where each name of a query belongs, and the edits that let the engine find it there.

On top of the engine's own rules: a resource's whole name qualifies its columns; an attribute that
joined DICOM levels share is the highest level's; parameters stay out of `*`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import LanguageError, PlanningError, nearest
from dicomsql.planning.identifiers import COMPARING, compared
from dicomsql.planning.kinds import Kinds
from dicomsql.planning.plan import ColumnKind
from dicomsql.planning.scopes import Scope, Source, build, cte_of, output_names
from dicomsql.planning.tables import Table, TableColumn
from dicomsql.planning.values import is_near, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import Context
    from dicomsql.planning.binding import Evaluate
    from dicomsql.planning.plan import Scan
    from dicomsql.planning.text import QueryText

Owner = tuple[Source, TableColumn | None]

# Nested derived tables through which a column is followed to the attribute that it shows.
_DEEPEST = 32


@dataclass(slots=True)
class Names:
    """The names of one query.

    Attributes:
        scopes: the query's SELECTs, outer before inner.
        outer: ids of the sources that an inner query reads as well.
        kinds: finds types of what is the engine's own.
    """

    text: QueryText
    catalog: Catalog
    context: Context
    evaluate: Evaluate
    scopes: list[Scope] = field(default_factory=list)
    outer: set[int] = field(default_factory=set)
    kinds: Kinds = field(init=False)

    def __post_init__(self) -> None:
        self.kinds = Kinds(self.text, self, self.evaluate)

    def resolve(self) -> None:
        """Find the scopes, note which columns each table has to give, and qualify names.

        Raises:
            LanguageError, PlanningError: a name belongs to nothing.
        """
        self.scopes = build(self.text.tree, self.table_of)
        self._learn_columns()
        for scope in self.scopes:
            self._hide_values(scope)
        for scope in self.scopes:
            for column in scope.columns:
                self._place(column, scope)
            for star in scope.stars:
                self._place_star(star, scope)
            for _, name in scope.using():
                self._need_everywhere(name, scope)

    def _learn_columns(self) -> None:
        """Ask the engine for the columns of its own sources beside resources."""
        sources = [s for scope in self.scopes for s in scope.sources]
        if all(s.table is None for s in sources):
            return
        for source in sources:
            columns = self.kinds.columns(source)
            if columns is not None:
                source.known = frozenset(columns)
            elif source.table is None and isinstance(source.node, exp.Table):
                cte = cte_of(source.node, source.node.name.lower())
                if cte is not None:
                    source.known = output_names(cte, source.node)

    def table_of(self, node: exp.Table) -> Table | None:
        """The resource that a table node names; None for CTEs and for what is the engine's."""
        parts = tuple(p.name for p in node.parts if isinstance(p, exp.Identifier))
        if not parts or len(parts) != len(node.parts):
            return None  # a table function or a file
        if len(parts) == 1:
            name = parts[0].lower()
            if cte_of(node, name) is not None or name in self.context.local_tables:
                return None
            if "." in parts[0] or "/" in parts[0]:
                return None
            if not self.context.use:
                self._check_meant(node, name)
                return None
        try:
            resource = self.catalog.resolve(parts, self.context.use)
        except PlanningError as error:
            if len(parts) <= 2 and not self.context.use:
                return None  # the engine's own schema, or a name that only it can judge
            raise self.text.error(str(error), node) from None
        return Table(resource, resource.for_verb("select"))

    def _check_meant(self, node: exp.Table, name: str) -> None:
        """Refuse the bare name of a resource: the engine would say that there is no such table."""
        found: dict[str, bool] = {}
        for provider in self.catalog.providers():
            for entry in self.catalog.entries(provider.name):
                service = self.catalog.service(provider.name, entry.name)
                if name in service.resource_names:
                    methods = self.catalog.resource(provider.name, entry.name, name).methods
                    has_server = any(m.servers for m in methods.values())
                    found[f"{provider.name}.{entry.name}"] = has_server
        if not found:
            return
        # A service whose server is known is what was meant, rather than one that needs an endpoint.
        full = max(found, key=lambda service: found[service])
        raise self.text.error(
            f"There is no table {name}; write {full}.{name}, or USE {full} before.", node
        )

    # -- columns ---------------------------------------------------------------------------------

    def owners(self, column: exp.Column, scope: Scope) -> list[Owner]:
        """The sources that a column may restrict, the one that it reads from first."""
        if _is_bound_name(column):
            return []
        name = column.name
        qualifiers = [p.name for p in column.parts[:-1]]
        at: Scope | None = scope
        while at is not None:
            if qualifiers:
                found = self._qualified(column, qualifiers, name, at)
            else:
                found = self._unqualified(name, at)
            if found:
                return found
            at = at.parent
        return self._inside_column(column, qualifiers, scope) if qualifiers else []

    def _inside_column(
        self, column: exp.Column, qualifiers: list[str], scope: Scope
    ) -> list[Owner]:
        """The owner of a name that leads into a column: a path into sequences, or `labels.env`."""
        path = ".".join([*qualifiers, column.name])
        at: Scope | None = scope
        while at is not None:
            found = self._unqualified(path, at)
            if found and found[0][1] is not None:
                return found
            found = self._unqualified(qualifiers[0], at)
            if found and found[0][1] is not None and len(qualifiers) == 1:
                self._check_member(column, path, *found[0])
                return [found[0]]
            at = at.parent
        return []

    def _check_member(
        self, column: exp.Column, path: str, source: Source, found: TableColumn | None
    ) -> None:
        """Refuse what a sequence's items cannot hold; other members only the engine understands."""
        attribute = found.attribute if found is not None else None
        if attribute is not None and attribute.kind is Kind.SEQUENCE:
            assert source.table is not None
            raise self.text.error(str(source.table.unknown(path)), column)

    def meaning(self, column: exp.Column, scope: Scope) -> TableColumn | None:
        """The resource's column whose value a column shows, through derived tables and CTEs."""
        return self._meaning(column, scope, 0)

    def _meaning(self, column: exp.Column, scope: Scope, depth: int) -> TableColumn | None:
        owners = self.owners(column, scope)
        if depth > _DEEPEST:
            return None
        if not owners:
            shown = self._projected(scope, column.name) if not column.table else None
            return self._meaning(shown, scope, depth + 1) if shown is not None else None
        source, found = owners[0]
        if found is not None:
            same = (found.name.lower(), found.parameter.lower())
            is_member = column.name.lower() not in same and not _is_path(found)
            return None if is_member and len(column.parts) > 1 else found
        inner = self.inner(source)
        if inner is None:
            return None
        shown = self._projected(inner, column.name)
        if shown is not None:
            return self._meaning(shown, inner, depth + 1)
        through = self.through_star(column.name, inner)
        return self._meaning(through, inner, depth + 1) if through is not None else None

    def through_star(self, name: str, inner: Scope) -> exp.Column | None:
        """The column that a star of a derived table's SELECT shows under a name."""
        for star in inner.node.args.get("expressions") or []:
            if not isinstance(star, exp.Column) and _is_star(star):
                return exp.column(name)
            if _is_star(star) and any(s.has(name) is not False for s in self._starred(star, inner)):
                return exp.column(name, table=self._starred(star, inner)[0].alias)
        return None

    def _projected(self, scope: Scope, name: str) -> exp.Column | None:
        """The column that a SELECT shows under a name of its own."""
        for expression in scope.node.args.get("expressions") or []:
            if expression.alias_or_name.lower() == name.lower():
                shown = expression.unalias()
                same = isinstance(shown, exp.Column) and shown is not expression
                inner = isinstance(shown, exp.Column) and not isinstance(shown.this, exp.Star)
                return shown if inner and (same or scope.sources) else None
        return None

    def inner(self, source: Source) -> Scope | None:
        """The SELECT that a derived table or a CTE stands for."""
        node: exp.Expr | None = source.node
        if isinstance(node, exp.Table):
            node = cte_of(node, node.name.lower())
        if node is None:
            return None
        alias = source.node.args.get("alias")
        own = node.args.get("alias")
        if any(a is not None and a.args.get("columns") for a in (alias, own)):
            return None
        node = node.this
        while isinstance(node, exp.SetOperation | exp.Subquery):
            node = node.this
        return next((s for s in self.scopes if s.node is node), None)

    def _qualified(
        self, column: exp.Column, qualifiers: list[str], name: str, scope: Scope
    ) -> list[Owner]:
        source = scope.named(qualifiers[-1]) if len(qualifiers) == 1 else None
        path = ""
        if source is None and len(qualifiers) > 1:
            source = _whole_name(qualifiers, scope)
            if source is None:
                source = scope.named(qualifiers[0])
                path = ".".join([*qualifiers[1:], name])
                name = qualifiers[1]
        if source is None:
            return []
        if source.table is None:
            return [(source, None)]
        found = source.table.column(path) if path else None
        if found is not None:
            return [(source, found)]
        found = source.table.column(name)
        if found is None and self._may_be_value(column, scope):
            raise self._no_value(source.table, column)
        if found is None:
            raise self.text.error(str(source.table.unknown(name)), column)
        if path:
            self._check_member(column, path, source, found)
        return [(source, found)]

    def _unqualified(self, name: str, scope: Scope) -> list[Owner]:
        having: list[Owner] = [
            (s, s.table.column(name) if s.table else None) for s in scope.sources if s.has(name)
        ]
        if scope.used_in_using(name):
            merged = scope.merged(name)
            return [owner for owner in having if owner[0] in merged]
        tables = [(s, c) for s, c in having if c is not None]
        parameters = [(s, c) for s, c in tables if c.parameter]
        if parameters:
            # Bound alike in every table; read from the highest level, else the first.
            return sorted(parameters, key=lambda f: f[0].level)
        if tables:
            # Of which level a private attribute is, nobody knows; the lowest has them all.
            choose = max if any(_is_private(c) for _, c in tables) else min
            return [choose(tables, key=lambda f: f[0].level)]
        if having:
            return having[:1]
        unknown = [s for s in scope.sources if s.has(name) is None]
        if unknown and name.lower() not in scope.select_aliases():
            # A resource's column would have been found, so it is the other source's.
            return [(unknown[0], None)]
        return []

    def _place(self, column: exp.Column, scope: Scope) -> None:
        """Note that a column is needed, and qualify it where the engine would not find it."""
        if _is_bound_name(column):
            return
        owners = self.owners(column, scope)
        if not owners:
            self._check_known(column, scope)
            return
        source, found = owners[0]
        if found is None:
            return
        if source.scope is not scope:
            self.outer.add(id(source))
        for owner, its in owners if source.scope.used_in_using(column.name) else owners[:1]:
            if its is not None:
                owner.needed[its.name.lower()] = its.name
        parts = column.parts
        if "start" not in parts[0].meta:
            return
        start = parts[0].meta["start"]
        if len(parts) > 1 and _is_path(found) and "end" in parts[-1].meta:
            # The engine knows the path as one column.
            named = f"{quoted(source.alias)}.{quoted(found.name)}"
            self.text.replace(start, parts[-1].meta["end"] + 1, named)
        elif len(parts) > 2 and source.scope.named(parts[0].name) is None:
            self.text.replace(start, parts[-2].meta["end"] + 1, quoted(source.alias))
        elif len(parts) == 1 and not source.scope.used_in_using(column.name):
            rivals = [s for s in source.scope.sources if s is not source and s.has(column.name)]
            if rivals:
                self.text.insert(start, quoted(source.alias) + ".")

    def _hide_values(self, scope: Scope) -> None:
        """Keep names out of errors that may be a patient's: text without single quotes."""
        for column in scope.columns:
            if self._may_be_value(column, scope) and "start" in column.parts[0].meta:
                self.text.hide(column)

    def _may_be_value(self, column: exp.Column, scope: Scope) -> bool:
        """Whether a name that is no column's stands where a value is expected."""
        if _is_bound_name(column):
            return False
        row = _row_of(column.parts[0].name, scope)
        if row is not None and (len(column.parts) != 2 or row.has(column.name) is not False):
            return False
        name = column.name if row is not None else column.parts[0].name
        at: Scope | None = scope
        known: list[str] = []
        while at is not None:
            tables = [s.table for s in at.sources if s.table is not None]
            if any(s.has(name) for s in at.sources) or name.lower() in at.select_aliases():
                return False
            if _whole_name([p.name for p in column.parts[:-1]], at) is not None:
                return False
            known += [n for t in tables for n in t.names()]
            at = at.parent
        quoted_names = [p for p in column.parts if p.args.get("quoted")]
        if not any(p.args.get("quoted") for p in column.parts) and is_near(name, known):
            return False
        odd = any(
            not p.name.replace(".", "_").replace(":", "_").isidentifier() for p in quoted_names
        )
        return odd or _is_opposite(column)

    def _no_value(self, table: Table, column: exp.Column) -> LanguageError:
        return self.text.error(
            f"{table.resource.full_name} has no column of that name. If it is a value, write it in "
            f"single quotes; double quotes and bare words are names of columns.",
            column,
        )

    def _need_everywhere(self, name: str, scope: Scope) -> None:
        """A USING column is read from every table that the join takes it from."""
        for source in scope.merged(name):
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
        if tables and self._may_be_value(column, scope):
            raise self._no_value(tables[0], column)
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
        whole = _row_of(name, scope)
        if whole is not None:
            whole.star = True
        elif tables:
            raise self.text.error(str(tables[0].unknown(name)), column)

    # -- stars -----------------------------------------------------------------------------------

    def _starred(self, star: exp.Expr, scope: Scope) -> list[Source]:
        """The sources whose columns a star (or COLUMNS) shows."""
        if not isinstance(star, exp.Column) or not star.table:
            return scope.sources
        qualifiers = [p.name for p in star.parts[:-1]]
        source = _whole_name(qualifiers, scope) if len(qualifiers) > 1 else None
        source = source or scope.named(star.table)
        return [source] if source is not None else []

    def _place_star(self, star: exp.Expr, scope: Scope) -> None:
        """Note that all usual columns are needed, and shorten a whole name in front of a star."""
        sources = self._starred(star, scope)
        for source in sources:
            source.star = True
        if isinstance(star, exp.Column) and len(star.parts) > 2 and len(sources) == 1:
            start, end = star.parts[0].meta["start"], star.parts[-2].meta["end"] + 1
            self.text.replace(start, end, quoted(sources[0].alias))

    def hide_columns(self, scope: Scope, scans: Mapping[int, Scan]) -> None:
        """Keep out of a scope's stars what they do not show, when all its scans are known.

        Args:
            scans: by the id of their source.
        """
        for star in scope.stars:
            if not isinstance(star, exp.Columns):
                self._hide(star, scope, scans)

    def doubled(self, source: Source, scan: Scan) -> list[str]:
        """Columns of a scan that only a star wants and that a join's USING takes from others.

        The engine would not know which of them is meant.
        """
        names = {n.lower() for _, n in source.scope.using()} - source.needed.keys()
        rivals = {n for n in names if source not in source.scope.merged(n)}
        return [c.name for c in scan.columns if c.name.lower() in rivals]

    def _hide(self, star: exp.Expr, scope: Scope, scans: Mapping[int, Scan]) -> None:
        inner = star.this if isinstance(star, exp.Column) else star
        if "end" not in inner.meta:
            return
        excluded = {e.name.lower() for e in inner.args.get("except_") or []}
        hidden = [n for name, n in self._hidden(star, scope, scans) if name not in excluded]
        if not hidden:
            return
        end = inner.meta["end"] + 1
        names = ", ".join(dict.fromkeys(hidden))
        if not inner.args.get("except_"):
            self.text.insert(end, f" EXCLUDE ({names})")
            return
        words = frozenset({"EXCLUDE", "EXCEPT"})
        keyword = self.text.token_between(end, len(self.text.text), words)
        assert keyword is not None
        following = next(t for t in self.text.tokens if t.start > keyword.end)
        if following.text == "(":
            self.text.insert(following.end + 1, f"{names}, ")
        else:
            self.text.insert(following.start, f"({names}, ")
            self.text.insert(following.end + 1, ")")

    def _hidden(
        self, star: exp.Expr, scope: Scope, scans: Mapping[int, Scan]
    ) -> list[tuple[str, str]]:
        """(lower-case name, name for EXCLUDE) of what a star does not show.

        These are parameters and columns that only a condition needs, and attributes that a
        higher level shows already.
        """
        qualified = isinstance(star, exp.Column)
        sources = [s for s in self._starred(star, scope) if id(s) in scans]
        usual = {id(s): _usual(s, scans[id(s)]) for s in sources}
        anywhere = frozenset[str]().union(*usual.values())
        hidden: list[tuple[str, str]] = []
        shown: dict[str, int] = {}
        for source in sorted(sources, key=lambda s: s.level):
            scan = scans[id(source)]
            doubled = self.doubled(source, scan)
            for column in scan.columns:
                name = column.name.lower()
                if column.name in doubled:
                    continue
                if not qualified and scope.used_in_using(name):
                    # USING merges them to one column, which has no table's name.
                    if name not in anywhere:
                        hidden.append((name, quoted(column.name)))
                    continue
                again = not qualified and source.level > shown.get(name, source.level)
                if name not in usual[id(source)] or again:
                    prefix = "" if qualified else quoted(source.alias) + "."
                    hidden.append((name, prefix + quoted(column.name)))
                elif source.level >= 0:
                    shown.setdefault(name, source.level)
        return hidden


def _is_opposite(column: exp.Column) -> bool:
    """Whether a name is compared with a column."""
    side: exp.Expr = column
    while side.parent is not None and not isinstance(side.parent, COMPARING):
        if isinstance(side.parent, exp.Query | exp.Connector | exp.Not):
            return False
        side = side.parent
    if side.parent is None:
        return False
    others = [other for pair in compared(side.parent) for other in pair]
    return any(
        isinstance(inner, exp.Column) and inner is not column
        for other in others
        if all(inner is not column for inner in other.find_all(exp.Column))
        for inner in other.find_all(exp.Column)
    )


def _is_path(column: TableColumn) -> bool:
    return column.attribute is not None and bool(column.attribute.path)


def _is_private(column: TableColumn) -> bool:
    return column.attribute is not None and column.attribute.part is Part.PRIVATE


def _row_of(name: str, scope: Scope) -> Source | None:
    """The table of this query, or of one around it, that is called so."""
    at: Scope | None = scope
    while at is not None:
        found = at.named(name)
        if found is not None:
            return found
        at = at.parent
    return None


def _whole_name(qualifiers: list[str], scope: Scope) -> Source | None:
    """The source whose resource is called so, in full or from the service on."""
    wanted = ".".join(q.lower() for q in qualifiers)
    for source in scope.sources:
        full = source.resource.full_name.lower() if source.resource else ""
        if full == wanted or full.endswith("." + wanted):
            return source
    return None


def _usual(source: Source, scan: Scan) -> frozenset[str]:
    """Lower-case names of what `*` shows of a scan."""
    assert source.table is not None
    if scan.shape != "rows":
        return frozenset(c.name.lower() for c in scan.columns if c.kind is ColumnKind.ROW)
    return frozenset(n.lower() for n in source.table.usual(scan.method))


def _is_star(expression: exp.Expr) -> bool:
    return expression.is_star or isinstance(expression, exp.Columns)


def _is_bound_name(column: exp.Column) -> bool:
    """Whether a name is the variable of a lambda or of a list comprehension around it."""
    first = column.parts[0].name
    at = column.parent
    while at is not None:
        if isinstance(at, exp.Lambda) and any(e.name == first for e in at.expressions):
            return True
        if isinstance(at, exp.Comprehension):
            variable = at.args.get("expression")
            if variable is not None and variable.name == first:
                return True
        at = at.parent
    return False
