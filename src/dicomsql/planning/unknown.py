"""What is said of names that belong to nothing: what was meant, or how it is written here.

A name that stands where a value is expected may be a patient's, in quotes of the wrong kind; it is
kept out of errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.tags import lookup, meant
from dicomsql.errors import LanguageError, nearest
from dicomsql.planning.identifiers import COMPARING, compared
from dicomsql.planning.values import is_near

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import Table
    from dicomsql.planning.text import QueryText

# What starts like a number and is the whole of a tag; nobody else writes eight digits with zeros.
_TAG_AS_NUMBER = re.compile(r"(00[0-9a-f]{2})_?([0-9a-f]{4})(?!\w)", re.IGNORECASE)

# What people look for who know other models; a patient is part of each study (PS3.3 section 7.2).
_PATIENTS = frozenset({"patient", "patients"})
_NO_PATIENTS = (
    "There is no table of patients: PatientID, PatientName and the like are columns of studies, as "
    "in SELECT DISTINCT PatientID FROM google.healthcare.studies"
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Refuses the names of one query that are nothing's."""

    text: QueryText

    def check_numbers(self, scopes: list[Scope]) -> None:
        """Refuse a tag without its quotes, which the engine would read as a number."""
        if all(s.level < 0 for scope in scopes for s in scope.sources):
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

    def check_table(self, catalog: Catalog, node: exp.Table, name: str) -> None:
        """Refuse the bare name of a resource: the engine would say that there is no such table."""
        found: dict[str, bool] = {}
        for provider in catalog.providers():
            for entry in catalog.entries(provider.name):
                service = catalog.service(provider.name, entry.name)
                if name in service.resource_names:
                    methods = catalog.resource(provider.name, entry.name, name).methods
                    has_server = any(m.servers for m in methods.values())
                    found[f"{provider.name}.{entry.name}"] = has_server
        if not found:
            self.check_patients(node, name)
            return
        # A service whose server is known is what was meant, rather than one that needs an endpoint.
        full = max(found, key=lambda service: found[service])
        raise self.text.error(
            f"There is no table {name}; write {full}.{name}, or USE {full} before.", node
        )

    def check_patients(self, node: exp.Table, name: str) -> None:
        """Refuse a table of patients, and say where they are."""
        if name in _PATIENTS:
            raise self.text.error(_NO_PATIENTS, node)

    def check(self, column: exp.Column, scope: Scope) -> None:
        """Refuse a name that can belong to nothing at all; that of a table is its whole row."""
        name = column.name
        start = column.parts[0].meta.get("start", 0)
        if len(column.parts) == 1 and start and self.text.text[start - 1] == "@":
            raise self.text.error(
                "@ before a name is no parameter here: parameters are ? and :name, and --var fills "
                "{{ name }}",
                column,
            )
        at: Scope | None = scope
        tables: list[Table] = []
        while at is not None:
            if any(s.has(name) is None for s in at.sources) or name.lower() in at.select_aliases():
                return
            tables += [s.table for s in at.sources if s.table is not None]
            at = at.parent
        if tables and self.may_be_value(column, scope):
            raise self.no_value(tables[0], column)
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
            unknown = str(tables[0].unknown(name))
            if all(s.table is None for s in scope.sources) and scope.sources:
                unknown = (
                    f"No table of this subquery has a column {name}"
                    f"{columns_of(scope.sources)}, nor has the query around it: {unknown}"
                )
            raise self.text.error(unknown, column)

    def no_value(self, table: Table, column: exp.Column) -> LanguageError:
        return self.text.error(
            f"{table.resource.full_name} has no column of that name. If it is a value, write it in "
            f"single quotes; double quotes and bare words are names of columns, such as a keyword "
            f"or the eight digits of a tag.",
            column,
        )

    def hide_values(self, scope: Scope) -> None:
        """Keep names out of errors that may be a patient's: text without single quotes."""
        for column in scope.columns:
            if self.may_be_value(column, scope) and "start" in column.parts[0].meta:
                self.text.hide(column)

    def may_be_value(self, column: exp.Column, scope: Scope) -> bool:
        """Whether a name that is no column's stands where a value is expected."""
        if is_bound_name(column):
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


def columns_of(sources: list[Source]) -> str:
    """The columns of files and of the engine's tables, as a part of an error's sentence.

    A file without a header has values for names: what does not look like a word stays out.
    """
    parts = []
    for source in sources:
        if source.known is None:
            continue
        words = sorted(n for n in source.known if n.replace("_", "").isalpha())
        more = len(source.known) - len(words)
        if more:
            words.append(f"{more} more")
        parts.append(f"{source.alias or 'it'} has {', '.join(words) or 'none'}")
    return f" ({'; '.join(parts)})" if parts else ""


def is_bound_name(column: exp.Column) -> bool:
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


def _row_of(name: str, scope: Scope) -> Source | None:
    """The table of this query, or of one around it, that is called so."""
    at: Scope | None = scope
    while at is not None:
        found = at.named(name)
        if found is not None:
            return found
        at = at.parent
    return None
