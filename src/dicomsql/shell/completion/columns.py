"""Columns that may be typed, and values that they may have: of documents, the engine, the query."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomsql.shell.completion.attributes import attributes
from dicomsql.shell.completion.match import Candidate, Form
from dicomsql.shell.completion.names import Names, about_text, required_word
from dicomsql.shell.completion.scope import Comparison, Derived, Table

if TYPE_CHECKING:
    from dicomsql.catalog.model import Resource
    from dicomsql.shell.completion.model import Place
    from dicomsql.shell.completion.values import Listing

__all__ = ["Columns", "Local"]

# Columns of local tables, (name, type), by the table's name.
Local = Mapping[str, tuple[tuple[str, str], ...]]

# Name, type, whether it is required, values that it may have, description.
_Field = tuple[str, str, bool, tuple[str, ...], str]

_WRITES = frozenset({"insert", "update", "replace"})
# The rank up to which columns are part of `*`.
_IN_STAR = 2

# Queries that show all columns of queries: a recursive one may show itself.
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the columns are for.

    Attributes:
        defaults: of parameters.
        local: the engine's tables, by their names in lower case.
        conditions: parameters that have no value yet stand first.
    """

    place: Place
    defaults: Mapping[str, str]
    local: Local
    conditions: bool


class Columns:
    """The columns of the tables of a query.

    Parameters:
        names: what resources there are.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._fields_known: dict[str, tuple[_Field, ...]] = {}

    def columns(
        self, place: Place, defaults: Mapping[str, str], local: Local, *, conditions: bool
    ) -> Iterator[Candidate]:
        """The columns of a query's tables.

        Args:
            defaults: of parameters.
            local: the engine's tables.
            conditions: parameters that have no value yet stand first.
        """
        lowered = {name.lower(): columns for name, columns in local.items()}
        asked = _Asked(place, defaults, lowered, conditions)
        path = place.typed.path
        for number, table in enumerate(place.tables):
            if path and not table.is_called(path):
                continue
            for candidate in self._of_table(table, asked):
                if place.given and candidate.low in place.given:
                    continue
                # What is required stays first, of whichever table it is; of the thousands of the
                # standard's, none stands before another.
                if number and 0 < candidate.rank <= _IN_STAR:
                    yield replace(candidate, rank=candidate.rank + 1)
                else:
                    yield candidate

    def aliases(self, place: Place) -> Iterator[Candidate]:
        """What columns may be qualified with."""
        if place.typed.path:
            return
        for table in place.tables:
            called = table.alias or (table.name[-1] if len(table.name) == 1 else "")
            if called:
                of = ".".join(table.name) if table.alias and table.name else "of this query"
                yield Candidate(called, about_text("table", of), 4)

    def values(self, place: Place) -> Iterator[Candidate]:
        """Values of a column that the standard or a document lists."""
        from dicomsql.shell.completion.terms import terms

        name = place.subject[-1].lower() if place.subject else ""
        resources = [r for table in self._subject_tables(place) if (r := self._resource(table))]
        if any(resource.dicom is not None for resource in resources):
            for term, meaning in terms(name):
                yield Candidate(term, meaning, 1, Form.TEXT)
        if place.verb not in _WRITES:
            return
        for resource in resources:
            for field, _, _, values, _ in self._fields(resource, place.verb):
                if field.lower() == name:
                    for value in values:
                        yield Candidate(value, f"a value of {field}", 1, Form.TEXT)

    def listing(self, place: Place, defaults: Mapping[str, str]) -> tuple[Listing, str] | None:
        """What lists the values of a parameter at a place, with a word for them.

        None where nothing does, where it must not, and where its own parameters have no values.
        """
        from dicomsql.shell.completion.values import Listing

        if not place.subject:
            return None
        name = place.subject[-1].lower()
        tables = [r for t in self._subject_tables(place) if (r := self._resource(t)) is not None]
        takers = [r for r in tables if _has_parameter(r, name)]
        if place.tables and not takers:
            return None
        services = [(r.provider, r.service) for r in takers] or self._names.services()
        values = {key.lower(): value for key, value in defaults.items()} | dict(place.equal)
        for resource in self._names.owners(name, services):
            for method in resource.for_verb("select"):
                required = [p for p in method.required if p.lower() != name]
                own = any(p.lower() == name for p in method.path_parameters)
                if own or not all(values.get(p.lower()) for p in required):
                    continue
                bound = tuple((p, values[p.lower()]) for p in required)
                listing = Listing(resource.full_name, resource.own_id, bound)
                return listing, resource.title.lower() or resource.name
        return None

    def places_of_copy(self, place: Place) -> tuple[str, ...]:
        """The parameters of the place of the store that COPY writes into."""
        resource = self._resource(place.tables[0]) if place.tables else None
        table = resource.dicom if resource is not None else None
        if resource is None or table is None or table.moves is None:
            return ()
        of, _, name = table.moves.store.rpartition(".")
        store = self._names.resource((resource.provider, resource.service, of))
        method = store.methods.get(name) if store is not None else None
        uids = {parameter for parameter, _ in table.identity}
        parameters = method.path_parameters if method is not None else ()
        return tuple(p for p in parameters if p not in uids)

    def _subject_tables(self, place: Place) -> Iterator[Table]:
        """The tables whose column is compared."""
        of = place.subject[:-1]
        for table in place.tables:
            if not of or table.is_called(of):
                yield table

    def _resource(self, table: Table) -> Resource | None:
        if table.derived is not None or not table.name or table.is_function:
            return None
        return self._names.resource(table.name)

    def _of_table(self, table: Table, asked: _Asked, depth: int = 0) -> Iterator[Candidate]:
        if table.derived is not None:
            yield from self._of_query(table.derived, asked, depth)
        elif table.is_function:
            if table.name and table.name[-1].lower() == "read_dicom":
                yield Candidate("path", "VARCHAR: the file", 2)
                for table_of_all in self._names.tables_of_level("instance")[:1]:
                    yield from attributes(table_of_all, all_=bool(asked.place.typed.text))
        elif len(table.name) == 1 and table.name[0].lower() in asked.local:
            for name, kind in asked.local[table.name[0].lower()]:
                yield Candidate(name, kind, 2)
        elif (resource := self._resource(table)) is not None:
            yield from self._of_resource(resource, table, asked)

    def _of_query(self, query: Derived, asked: _Asked, depth: int) -> Iterator[Candidate]:
        for name in query.columns:
            yield Candidate(name, "column of the query", 1)
        for table in query.stars if depth < _DEEPEST else ():
            # What stands in `*`, which parameters do not.
            for found in self._of_table(table, replace(asked, conditions=False), depth + 1):
                if found.rank <= _IN_STAR:
                    yield found

    def _of_resource(self, resource: Resource, table: Table, asked: _Asked) -> Iterator[Candidate]:
        place, conditions = asked.place, asked.conditions
        if place.verb == "insert" or (place.verb in _WRITES and not conditions):
            yield from self._written(resource, place.verb, asked.defaults)
            return
        said = _said_of(table, place.compared) if conditions else frozenset()
        yield from self._parameters(resource, said, asked)
        if resource.dicom is not None:
            yield from attributes(resource.dicom, all_=bool(place.typed.text))
            return
        for method in resource.for_verb("select"):
            for column in method.columns:
                about = about_text(str(column.type), column.description)
                yield Candidate(column.name, about, 2)

    def _parameters(
        self, resource: Resource, said: frozenset[str], asked: _Asked
    ) -> Iterator[Candidate]:
        """The request parameters of the methods of a verb, those that are lacking first."""
        methods = resource.for_verb(asked.place.verb) or resource.for_verb("select")
        needed = frozenset[str]().union(*(_lower(m.required) for m in methods[:1]))
        for method in methods[1:]:
            needed &= _lower(method.required)
        # What loses something takes its ids from the statement alone.
        explicit = any(m.consent is not None and m.consent.explicit for m in methods)
        seen = set(said)
        for method in methods:
            for parameter in method.parameters:
                low = parameter.name.lower()
                if low in seen:
                    continue
                seen.add(low)
                has_default = (
                    parameter.name in asked.defaults
                    and parameter.name != resource.own_id
                    and not explicit
                )
                word = required_word(needed=low in needed, has_default=has_default)
                rank = 4 if parameter.location == "path" else 6
                if asked.conditions and word == "required":
                    rank = 0
                elif asked.conditions and parameter.name == resource.own_id:
                    rank = 1
                word = word if asked.conditions else ""
                about = about_text(word or "parameter", parameter.description)
                yield Candidate(parameter.name, about, rank)

    def _written(
        self, resource: Resource, verb: str, defaults: Mapping[str, str]
    ) -> Iterator[Candidate]:
        """What an INSERT or UPDATE of a resource sets, required fields first."""
        for name, kind, needed, _, about in self._fields(resource, verb):
            has_default = name in defaults and name != resource.own_id
            word = required_word(needed=needed, has_default=has_default)
            yield Candidate(name, about_text(word or kind, about), 0 if word == "required" else 2)

    def _fields(self, resource: Resource, verb: str) -> tuple[_Field, ...]:
        """What a verb's methods take."""
        key = f"{resource.full_name} {verb}"
        if key not in self._fields_known:
            from dicomsql.catalog.about import Detail, describe_method

            found: dict[str, _Field] = {}
            for method in resource.for_verb(verb):
                # What an UPDATE writes to stands in its WHERE.
                places = frozenset() if verb == "insert" else {*method.path_parameters}
                listing = describe_method(self._names.catalog, method, Detail.EXTENDED)
                for name, kind, use, shape, about in listing.rows:
                    if name and use and use.startswith("input") and name not in places:
                        values = _values_of(shape or "")
                        needed = use == "input_required"
                        found.setdefault(name, (name, kind or "", needed, values, about or ""))
            self._fields_known[key] = tuple(found.values())
        return self._fields_known[key]


def _has_parameter(resource: Resource, name: str) -> bool:
    return any(
        p.name.lower() == name for method in resource.methods.values() for p in method.parameters
    )


def _said_of(table: Table, compared: Iterable[Comparison]) -> frozenset[str]:
    """The names that a query has said of a table, in lower case."""
    return frozenset(
        said.name[-1].lower()
        for said in compared
        if len(said.name) == 1 or table.is_called(said.name[:-1])
    )


def _values_of(shape: str) -> tuple[str, ...]:
    """The values that a field's schema lists."""
    try:
        found = json.loads(shape or "{}").get("enum", ())
    except (ValueError, AttributeError):
        return ()
    return tuple(str(value) for value in found)


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
