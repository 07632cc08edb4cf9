"""Where each name of a query belongs, and the edits that let the engine find it there.

On top of the engine's own rules: a resource's whole name qualifies its columns; an attribute that
DICOM levels share which are joined by their UIDs is the highest level's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import PlanningError
from dicomsql.language.statements import dotted
from dicomsql.planning.agreement import Agreement
from dicomsql.planning.arguments import Arguments
from dicomsql.planning.derived import names_of, shown
from dicomsql.planning.files import file_table
from dicomsql.planning.joins import said, same_place, says_alike
from dicomsql.planning.kinds import Kinds
from dicomsql.planning.projection import narrow_star, seen_names, unseen_items
from dicomsql.planning.scopes import Scope, Source, build, cte_of, output_names
from dicomsql.planning.stars import place_star, starred
from dicomsql.planning.tables import Table, TableColumn
from dicomsql.planning.unknown import Unknown, columns_of, is_bound_name
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import Context, Evaluate
    from dicomsql.planning.facts import Facts
    from dicomsql.planning.text import QueryText

Owner = tuple[Source, TableColumn | None]

# Nested derived tables through which a column is followed to the attribute that it shows.
_DEEPEST = 32

_WORD = re.compile(r"\w+")


@dataclass(slots=True)
class Names:
    """The names of one query.

    Attributes:
        scopes: the query's SELECTs, outer before inner.
        outer: ids of the sources that an inner query reads as well.
        kinds: finds types of what is the engine's own.
        unknown: refuses names that are nothing's.
        arguments: gives views the parameters that they leave open.
    """

    text: QueryText
    catalog: Catalog
    context: Context
    evaluate: Evaluate
    scopes: list[Scope] = field(default_factory=list)
    outer: set[int] = field(default_factory=set)
    kinds: Kinds = field(init=False)
    unknown: Unknown = field(init=False)
    arguments: Arguments = field(init=False)
    # Items of lists around views' texts that nothing asks for, by their ids.
    _cut: set[int] = field(default_factory=set)
    _agreements: dict[int, Agreement] = field(default_factory=dict)
    _words: frozenset[str] | None = None
    # Names without a table that several have, with the one that they are read from.
    _shared: list[tuple[exp.Expr, Source, tuple[Source, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = Kinds(self.text, self, self.evaluate)
        self.unknown = Unknown(self.text)
        self.arguments = Arguments(self.text, self.evaluate)

    def resolve(self) -> None:
        """Find the scopes, note which columns each table has to give, and qualify names.

        Raises:
            LanguageError, PlanningError: a name belongs to nothing.
        """
        self.scopes = build(self.text.tree, self.table_of)
        self.unknown.check_numbers(self.scopes)
        self._learn_columns()
        self._check_views()
        self._leave_out_unseen()
        for scope in self.scopes:
            self.unknown.hide_values(scope)
        for scope in self.scopes:
            for column in scope.columns:
                self._place(column, scope)
            self._place_stars(scope)
            for source, name in scope.using():
                self._need_everywhere(name, scope)
                self._note_merged(source, name)

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

    def _check_views(self) -> None:
        """Refuse a view whose query lacks a column that it had when the view was made."""
        for source in [s for scope in self.scopes for s in scope.sources]:
            inset = self.text.inset_of(source.node)
            view = inset.text.view if inset is not None else None
            shows = next((s for s in self.scopes if s.node.parent is source.node), None)
            if view is None or not view.shows or shows is None or len(shows.sources) != 1:
                continue
            listed = {name.lower() for name in names_of(shows.sources[0], self) or ()}
            # What has no name of its own is called by the engine as it likes.
            lacking = [n for n in view.shows if n.lower() not in listed and n.isidentifier()]
            if listed and "" not in listed and lacking:
                raise PlanningError(
                    f"The view {view.name} has changed: its query has no column {lacking[0]} any "
                    f"more. CREATE OR REPLACE VIEW makes it anew."
                )

    def _leave_out_unseen(self) -> None:
        """Cut what nothing asks for out of the lists that stand around views' texts."""
        for scope in self.scopes:
            parent = scope.node.parent
            inset = self.text.inset_of(parent) if parent is not None else None
            if inset is None or inset.text.view is None or not inset.text.view.shows:
                continue
            items = list(scope.node.expressions)
            unseen = {id(item) for item in unseen_items(scope, self.scopes, self._cut)}
            if not unseen:
                continue
            spans = [self.text.span(item) for item in items]
            kept = [
                self.text.text[start:end]
                for item, (start, end) in zip(items, spans, strict=True)
                if id(item) not in unseen
            ]
            self.text.replace(spans[0][0], spans[-1][1], ", ".join(kept))
            for item in items:
                if id(item) in unseen:
                    columns = {id(c) for c in item.find_all(exp.Column)}
                    scope.columns = [c for c in scope.columns if id(c) not in columns]
            self._cut |= unseen

    def _place_stars(self, scope: Scope) -> None:
        """Note what stars show, as far as the query around them can see it."""
        plain = len(scope.stars) == 1 and type(scope.stars[0]) is exp.Star
        plain = plain and not any(scope.stars[0].args.values())
        seen = seen_names(scope, self.scopes, self._cut) if plain else None
        for star in scope.stars:
            if seen is not None:
                narrow_star(starred(star, scope), seen)
            else:
                place_star(star, scope, self.text)

    def own(self, kind: str, number: int | str) -> str:
        """A name for a table of ours, which nothing else in the query or the engine has."""
        if self._words is None:
            self._words = frozenset(_WORD.findall(self.text.text.lower()))
        name = f"{kind}_{number}"
        while name in self._words or name in self.context.local_tables:
            name += "_"
        return name

    def table_of(self, node: exp.Table) -> Table | None:
        """The resource that a table node names; None for CTEs and for what is the engine's."""
        if (files := file_table(node, self.text, self.evaluate)) is not None:
            return files
        parts = tuple(p.name for p in node.parts if isinstance(p, exp.Identifier))
        if not parts or len(parts) != len(node.parts):
            return None  # a table function or a file
        if dotted(parts).lower() in self.context.local_tables:
            return None
        if len(parts) == 1:
            name = parts[0].lower()
            if cte_of(node, name) is not None:
                return None
            if "." in parts[0] or "/" in parts[0]:
                return None
            if not self.context.use:
                self.unknown.check_table(self.catalog, node, name)
                return None
        try:
            resource = self.catalog.resolve(parts, self.context.use)
        except PlanningError as error:
            if len(parts) <= 2 and not self.context.use:
                return None  # the engine's own schema, or a name that only it can judge
            self.unknown.check_patients(node, parts[-1].lower())
            raise self.text.error(str(error), node) from None
        return Table(resource, resource.for_verb("select"))

    # -- columns ---------------------------------------------------------------------------------

    def owners(self, column: exp.Column, scope: Scope) -> list[Owner]:
        """The sources that a column may restrict, the one that it reads from first."""
        if is_bound_name(column):
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
        if found is None and self.unknown.may_be_value(column, scope):
            raise self.unknown.no_value(source.table, column)
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
        if is_bound_name(column) or self.arguments.place(column, scope):
            return
        owners = self.owners(column, scope)
        if not owners:
            self.unknown.check(column, scope)
            return
        source, found = owners[0]
        if source.scope is not scope:
            self._check_given_inside(column, scope)
            self.outer.add(id(source))
        if found is None:
            self._check_seen(column, source, scope)
            return
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
            if rivals and not _is_output(column, source.scope):
                self._shared.append((column, source, tuple(rivals)))
                self.text.insert(start, quoted(source.alias) + ".")

    def _check_given_inside(self, column: exp.Column, scope: Scope) -> None:
        """Refuse a subquery whose only column is none of its own tables'.

        It is read from the query around it then, where `PatientID IN (SELECT PatientID FROM f)` is
        true of every row as long as f has any.
        """
        items = scope.node.args.get("expressions") or []
        if len(column.parts) > 1 or len(items) != 1 or not scope.sources:
            return
        if isinstance(scope.node.parent, exp.Exists):
            return
        inside = list(items[0].find_all(exp.Column))
        if all(c is not column for c in inside):
            return
        for each in inside:
            owners = self.owners(each, scope)
            if not owners or owners[0][0].scope is scope or len(each.parts) > 1:
                return
        raise self.text.error(
            f"No table of this subquery has a column {column.name}{columns_of(scope.sources)}. It "
            f"would be the outer query's, the same for every row of the subquery; if that is "
            f"meant, write the outer table's name before it",
            column,
        )

    def _check_seen(self, column: exp.Column, source: Source, scope: Scope) -> None:
        """Refuse a subquery's column of what may lack it, where the query around it has it."""
        if len(column.parts) > 1 or source.scope is not scope or source.known is not None:
            return
        name, at = column.name, scope.parent
        while at is not None and not any(s.table is not None and s.has(name) for s in at.sources):
            at = at.parent
        if at is not None and not shown(column, scope, self):
            raise self.text.error(
                f"Whether {source.alias or 'the subquery'} has a column {name} shows only when it "
                f"is read, and the query around it has one; write the name of the table that is "
                f"meant before it",
                column,
            )

    def check_shared(self, facts: Mapping[int, Facts]) -> None:
        """Refuse a name without a table that several have and whose values may differ.

        Args:
            facts: of each resource of the query, by the id of its source.

        Raises:
            LanguageError: it is ambiguous.
        """
        for column, source, rivals in self._shared:
            name = column.name
            if source.place(name) is not None and _is_condition(column, source.scope):
                continue  # it binds every table that takes it
            if not all(self.is_same(source, rival, name, facts) for rival in rivals):
                several = (source, *rivals)
                written = " or ".join(f"{quoted(s.alias)}.{name}" for s in several)
                text = f"Several tables have {name}, which may differ in them; write {written}"
                raise self.text.error(text, column)

    def is_same(self, source: Source, rival: Source, name: str, facts: Mapping[int, Facts]) -> bool:
        """Whether a column has the value that another source of the SELECT has by that name.

        Where an outer join leaves the other source without a row, it is still the column's.
        """
        if any(s.table is not None and s.table.local for s in (source, rival)):
            return False
        agreement = self.agreement(source.scope)
        if agreement.is_equated(source, rival, name):
            return True
        place = source.place(name)
        if place is not None and rival.place(name) is not None:
            known = said(facts[id(source)], name) or place.parameter in dict(self.context.defaults)
            return bool(known) and says_alike(source, rival, name, facts)
        return agreement.is_identified(source, rival, name) and (
            same_place(source, rival, facts) or same_place(rival, source, facts)
        )

    def agreement(self, scope: Scope) -> Agreement:
        """What the joins of a SELECT equate."""
        if id(scope) not in self._agreements:
            self._agreements[id(scope)] = Agreement(scope, self.owners)
        return self._agreements[id(scope)]

    def _need_everywhere(self, name: str, scope: Scope) -> None:
        """A USING column is read from every table that the join takes it from."""
        for source in scope.merged(name):
            column = source.table.column(name) if source.table is not None else None
            if column is not None:
                source.needed.setdefault(column.name.lower(), column.name)

    def _note_merged(self, source: Source, name: str) -> None:
        """Note which sources in front of a USING join have its column: they have to agree in it."""
        before = source.scope.sources[: source.position]
        merged = {id(s) for s in source.scope.merged(name)}
        joined = {id(s) for s, n in source.scope.using() if n.lower() == name.lower()}
        first = next((s for s in before if id(s) in merged), None)
        rivals = [
            s for s in before if s is not first and id(s) not in joined and s.has(name) and s.shown
        ]
        if first is not None and rivals and source.join is not None:
            column = next(n for n in source.join.args["using"] if n.name.lower() == name.lower())
            self._shared.append((column, first, tuple(rivals)))


def _is_output(column: exp.Column, scope: Scope) -> bool:
    """Whether a name stands by itself in ORDER BY and is one that the SELECT list gives.

    There the engine takes the list's column before any table's.
    """
    ordered = column.parent
    order = ordered.parent if isinstance(ordered, exp.Ordered) else None
    if order is None or order is not scope.node.args.get("order"):
        return False
    items = scope.node.args.get("expressions") or []
    return any(item.alias_or_name.lower() == column.name.lower() for item in items)


def _is_condition(column: exp.Expr, scope: Scope) -> bool:
    """Whether a column stands in WHERE or in an ON."""
    parts = [scope.node.args.get("where")]
    parts += [s.join.args.get("on") for s in scope.sources if s.join is not None]
    return any(c is column for p in parts if p is not None for c in p.walk())


def _is_path(column: TableColumn) -> bool:
    return column.attribute is not None and bool(column.attribute.path)


def _is_private(column: TableColumn) -> bool:
    return column.attribute is not None and column.attribute.part is Part.PRIVATE
