"""What a search gets from the other tables of a query: their conditions, and their rows' values.

A dataset of a lower level carries the attributes of the levels above it (PS3.3 section A.1.2), so
what holds for a study holds for its series and instances: where a row of the lower table has an
effect only together with a row of the higher one, the conditions on that one's attributes narrow
the lower search as well. Both tables have to read from one and the same place.

An attribute that equals a column of other rows is searched for by the values of these rows, where
they are few enough; whether they are is seen when they are known, and one walk without them is the
alternative. A value that a server would read otherwise cannot be searched for: then it is the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.planning.facts import Facts
from dicomsql.planning.joins import Narrowing, narrowing
from dicomsql.planning.pushdown import LITERAL, VALUES_A_LIST, names_of
from dicomsql.planning.tables import LEVELS

if TYPE_CHECKING:
    from dicomsql.catalog.model import Attribute, Method
    from dicomsql.planning.binding import Binder
    from dicomsql.planning.facts import InQuery, Joined
    from dicomsql.planning.read_plan import Bind, Constant
    from dicomsql.planning.scopes import Source
    from dicomsql.planning.tables import Table

__all__ = ["Place", "shared_facts", "value_binds", "value_sources"]

# The values of a table's parameters, by name.
Place = Callable[["Source"], Mapping[str, "Constant"]]


def shared_facts(source: Source, facts: Mapping[int, Facts], place: Place) -> Facts:
    """What holds for a search's rows, with what holds for the rows above that they are joined with.

    Args:
        facts: of each table by its source's id.
    """
    own = facts[id(source)]
    if source.reshaped:
        return Facts()
    if not _is_search(source):
        return own
    for other in source.scope.sources:
        if _is_below(source, other, own) and _same_place(source, other, own, place):
            names = _carried(source, other)
            own = replace(
                own.both(shared_facts(other, facts, place).of_constants(names)),
                joined=own.joined,
                queries=own.queries,
            )
    return own


def _is_search(source: Source) -> bool:
    table = source.table
    return table is not None and table.dicom is not None and table.dicom.source == "search"


def _is_below(source: Source, other: Source, facts: Facts) -> bool:
    """Whether each row of a source that has an effect belongs to a row of the other, above it."""
    if not _is_search(other) or other.reshaped or not 0 <= other.level < source.level:
        return False
    assert other.table is not None and other.table.dicom is not None
    parameter, keyword = other.table.dicom.identity[-1]
    return any(
        joined.others == (other,) and (_is_named(joined, parameter) or _is_named(joined, keyword))
        for name in (parameter.lower(), keyword.lower())
        for joined in facts.joined.get(name, [])
    )


def _same_place(source: Source, other: Source, facts: Facts, place: Place) -> bool:
    """Whether both tables read from one container: a copy elsewhere may hold other values."""
    assert source.table is not None and other.table is not None
    here, there = source.table.resource, other.table.resource
    if (here.provider, here.service) != (there.provider, there.service):
        return False
    mine, its = place(source), place(other)
    for name in _container(source.table):
        joins = facts.joined.get(name.lower(), [])
        if any(j.others == (other,) and _is_named(j, name) for j in joins):
            continue
        one, another = mine.get(name), its.get(name)
        if one is None or another is None or len(one.values) != 1 or one.values != another.values:
            return False
    return True


def _is_named(joined: Joined, name: str) -> bool:
    """Whether a join equates with the other table's column of that name; USING has one name."""
    column = joined.expression
    return column is None or (
        isinstance(column, exp.Column) and column.name.lower() == name.lower()
    )


def _container(table: Table) -> list[str]:
    """The path parameters that say where a table's rows are."""
    assert table.dicom is not None
    identity = dict(table.dicom.identity)
    names = [name for method in table.methods for name in method.path_parameters]
    return [name for name in dict.fromkeys(names) if name not in identity]


def _carried(source: Source, other: Source) -> frozenset[str]:
    """Lower-case names of the other's columns that a lower source's rows carry unchanged."""
    assert source.table is not None and source.table.dicom is not None
    assert other.table is not None and other.table.dicom is not None
    parameters = {keyword: name for name, keyword in other.table.dicom.identity}
    found: set[str] = set()
    for attribute in source.table.dicom.attributes:
        column = attribute_column(attribute.keyword)
        if column is not None and LEVELS.index(column.level) <= other.level:
            found.update(names_of(column, parameters.get(attribute.keyword, "")))
    return frozenset(found)


# -- values of other rows --------------------------------------------------------------------------


def value_sources(source: Source, binder: Binder) -> Iterator[Source]:
    """The tables, not planned yet, whose few rows a search would be narrowed by."""
    for attribute in _searchable(source):
        for _, _, feeds in _givers(source, attribute, binder):
            yield from (s for s in feeds if id(s) not in binder.done)


def value_binds(source: Source, method: Method, binder: Binder) -> tuple[Bind, ...]:
    """The bind that narrows a search by the values of other rows, where one does.

    It is none where the call's path names a study already, or where few rows are left without it.
    """
    table = source.table
    if table is None or table.dicom is None:
        return ()
    facts = binder.facts[id(source)]
    in_path = {p for p, _ in table.dicom.identity} & set(method.path_parameters)
    if in_path or narrowing(source, facts) <= Narrowing.BY_IDENTIFIER:
        return ()
    for attribute in _searchable(source):
        for column, giver, feeds in _givers(source, attribute, binder):
            if any(id(s) not in binder.done for s in feeds):
                continue
            bind = binder.value_bind(source, attribute.keyword, column, giver)
            if bind is None:
                continue
            together = VALUES_A_LIST if "list" in attribute.match else 1
            fits = table.dicom.sendable or LITERAL
            return (replace(bind, together=together, separator=table.dicom.separator, fits=fits),)
    return ()


def _searchable(source: Source) -> list[Attribute]:
    """Attributes that a search finds by their exact value, the UIDs before the others."""
    table = source.table
    if not _is_search(source) or table is None or table.dicom is None or source.reshaped:
        return []
    uids = [keyword for _, keyword in reversed(table.dicom.identity)]
    found = []
    for attribute in table.dicom.attributes:
        column = attribute_column(attribute.keyword)
        # Names are spelled in too many ways to be searched for by values that nobody has seen.
        if column is None or column.kind is not Kind.TEXT or column.many:
            continue
        if {"exact", "list"} & set(attribute.match):
            found.append(attribute)
    return sorted(found, key=lambda a: uids.index(a.keyword) if a.keyword in uids else len(uids))


def _givers(
    source: Source, attribute: Attribute, binder: Binder
) -> Iterator[tuple[str, Joined | InQuery, list[Source]]]:
    """(column, join or subquery, the resources behind it) of what gives an attribute's values."""
    table = source.table
    assert table is not None and table.dicom is not None
    if binder.text.tree.find(exp.Collate) is not None:
        return  # what is collated anywhere may equal more than what is spelled alike
    facts = binder.facts[id(source)]
    parameters = {keyword: name for name, keyword in table.dicom.identity}
    column = attribute_column(attribute.keyword)
    assert column is not None
    for name in names_of(column, parameters.get(attribute.keyword, "")):
        for query in facts.queries.get(name, []):
            feeds = binder.resources_in(query.node)
            if _are_few(feeds, binder):
                yield name, query, feeds
        for joined in facts.joined.get(name, []):
            other = binder.bindable(joined, source)
            if other is None:
                continue
            feeds = binder.feeds(other)
            if _are_few(feeds, binder):
                yield name, joined, feeds


def _are_few(feeds: list[Source], binder: Binder) -> bool:
    """Whether resources are narrowed enough for their values to be searched for one by one."""
    for source in feeds:
        planned = binder.done.get(id(source))
        if planned is not None and (planned.scan.binds or planned.scan.limit is not None):
            continue
        if narrowing(source, binder.facts[id(source)]) > Narrowing.BY_IDENTIFIER:
            return False
    return True
