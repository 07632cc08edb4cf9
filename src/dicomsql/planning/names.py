"""Where each name of a query belongs, and the edits that let the engine find it there.

On top of the engine's own rules: a resource's whole name qualifies its columns; an attribute that
joined DICOM levels share is the highest level's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.dicom.tags import lookup, meant
from dicomsql.errors import LanguageError, PlanningError, nearest
from dicomsql.planning.derived import shown
from dicomsql.planning.files import file_table
from dicomsql.planning.identifiers import COMPARING, compared
from dicomsql.planning.kinds import Kinds
from dicomsql.planning.scopes import Scope, Source, build, cte_of, output_names
from dicomsql.planning.stars import place_star
from dicomsql.planning.tables import Table, TableColumn
from dicomsql.planning.values import is_near, quoted

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import Context, Evaluate
    from dicomsql.planning.text import QueryText

Owner = tuple[Source, TableColumn | None]

# What starts like a number and is the whole of a tag; nobody else writes eight digits with zeros.
_TAG_AS_NUMBER = re.compile(r"(00[0-9a-f]{2})_?([0-9a-f]{4})(?!\w)", re.IGNORECASE)

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
        self._check_numbers()
        self._learn_columns()
        for scope in self.scopes:
            self._hide_values(scope)
        for scope in self.scopes:
            for column in scope.columns:
                self._place(column, scope)
            for star in scope.stars:
                place_star(star, scope, self.text)
            for _, name in scope.using():
                self._need_everywhere(name, scope)

    def _check_numbers(self) -> None:
        """Refuse a tag without its quotes, which the engine would read as a number."""
        if all(s.level < 0 for scope in self.scopes for s in scope.sources):
            return
        for literal in self.text.tree.find_all(exp.Literal):
            start = literal.meta.get("start")
            if literal.is_string or start is None:
                continue
            written = _TAG_AS_NUMBER.match(self.text.text, start)
            tag = lookup("".join(written.groups())) if written is not None else None
            if tag is not None and tag.keyword:
                raise self.text.error(
                    f"A number stands here. If the attribute {tag.keyword} is meant, write its "
                    f"keyword, or its tag in double quotes",
                    literal,
                )

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
        if (files := file_table(node, self.text, self.evaluate)) is not None:
            return files
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
                found = self._unqualified(name, at, column)
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
            found = self._unqualified(path, at, column)
            if found and found[0][1] is not None:
                return found
            found = self._unqualified(qualifiers[0], at, column)
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
        found = owners[0][1] if owners else None
        if found is not None:
            same = (found.name.lower(), found.parameter.lower())
            is_member = column.name.lower() not in same and not _is_path(found)
            return None if is_member and len(column.parts) > 1 else found
        for expression, at in shown(column, scope, self)[:1]:
            inner = expression.unnest()
            if isinstance(inner, exp.Column) and not isinstance(inner.this, exp.Star):
                return self._meaning(inner, at, depth + 1)
        return None

    def _qualified(
        self, column: exp.Column, qualifiers: list[str], name: str, scope: Scope
    ) -> list[Owner]:
        source = scope.named(qualifiers[-1]) if len(qualifiers) == 1 else None
        path = ""
        if source is None and len(qualifiers) > 1:
            source = scope.of_resource(qualifiers)
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

    def _unqualified(self, name: str, scope: Scope, column: exp.Column) -> list[Owner]:
        sources = scope.sources if scope.used_in_using(name) else scope.seen(column)
        having: list[Owner] = [
            (s, s.table.column(name) if s.table else None) for s in sources if s.has(name)
        ]
        if scope.used_in_using(name):
            merged = scope.merged(name)
            return [owner for owner in having if owner[0] in merged]
        tables = [(s, c) for s, c in having if c is not None]
        parameters = [(s, c) for s, c in tables if c.parameter]
        if parameters:
            # Bound alike in every table; read from the highest level, else the first.
            unseen = (s for s in scope.sources if s not in sources)
            places = ((s, s.place(name)) for s in unseen)
            return [
                *sorted(parameters, key=lambda f: f[0].level),
                *((s, c) for s, c in places if c is not None),
            ]
        if tables:
            # Of which level a private attribute is, nobody knows; the lowest has them all.
            choose = max if any(_is_private(c) for _, c in tables) else min
            return [choose(tables, key=lambda f: f[0].level)]
        if having:
            return having[:1]
        unknown = [s for s in sources if s.has(name) is None]
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
            rivals = [
                s for s in source.scope.seen(column) if s is not source and s.has(column.name)
            ]
            if any(s.table is not None and s.table.local for s in (source, *rivals) if rivals):
                raise self._ambiguous(column, (source, *rivals))
            if rivals:
                self.text.insert(start, quoted(source.alias) + ".")

    def _ambiguous(self, column: exp.Column, sources: tuple[Source, ...]) -> LanguageError:
        """The error for a name that files and another table have, whose values may differ."""
        written = " or ".join(f"{quoted(s.alias)}.{column.name}" for s in sources)
        return self.text.error(f"Several tables have {column.name}; write {written}", column)

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
            if at.of_resource([p.name for p in column.parts[:-1]]) is not None:
                return False
            known += [n for t in tables for n in t.names()]
            at = at.parent
        if meant(name) is not None:
            return False
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
            f"single quotes; double quotes and bare words are names of columns, such as a keyword "
            f"or the eight digits of a tag.",
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
        unseen = next((s for s in scope.sources if not s.shown and s.has(name)), None)
        if whole is not None:
            whole.star = True
        elif unseen is not None:
            kind = unseen.join.kind if unseen.join is not None else ""
            raise self.text.error(
                f"{name} is a column of {unseen.alias}, of which only the ON of its {kind} JOIN "
                f"sees anything; write the condition there",
                column,
            )
        elif tables:
            raise self.text.error(str(tables[0].unknown(name)), column)


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
