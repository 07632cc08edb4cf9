"""Joins between the levels: which table begins, and what one says of the place of another.

The table that the query says most of is read first, and what it gives binds the others. A UID is
one study's, series' or instance's in the world (PS3.5 section 9), so rows of two tables that agree
in a series agree in its study too: a join by the series alone binds the study with it, which the
path of a call needs. Both tables have to read from the same place, since a copy of a series under
another study would be another store's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.facts import Facts, Joined
from dicomsql.planning.read_plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.planning.scopes import Source
    from dicomsql.planning.tables import Table


class Narrowing(IntEnum):
    """How far a query narrows a table by itself, most first."""

    BY_IDENTITY = 0  # it names rows by their UIDs
    BY_IDENTIFIER = 1  # the server finds few rows by an identifier or a name
    BY_SEARCH = 2  # the server can leave rows out
    BY_ENGINE = 3  # only the engine can tell which rows are wanted
    NOT_AT_ALL = 4


def narrowing(source: Source, facts: Facts) -> Narrowing:
    """How far the conditions on a table narrow it."""
    table = source.table
    if table is None:
        return Narrowing.BY_ENGINE
    if table.local:
        return Narrowing.BY_IDENTITY
    said = {*facts.equal, *facts.between, *facts.pattern}
    if said & _own_names(table):
        return Narrowing.BY_IDENTITY
    searched = {name: a for name, a in table.attributes.items() if a.match and name in said}
    if any(name in facts.equal and not _is_code(table, name) for name in searched):
        return Narrowing.BY_IDENTIFIER
    if searched:
        return Narrowing.BY_SEARCH
    containers = {p.name.lower() for m in table.methods for p in m.parameters}
    if facts.either or said - containers:
        return Narrowing.BY_ENGINE
    return Narrowing.NOT_AT_ALL


def own_parameters(table: Table) -> frozenset[str]:
    """Parameters that narrow a table below all that its container holds."""
    names = {p for p, _ in table.dicom.identity} if table.dicom is not None else set()
    return frozenset(names | {table.resource.own_id} - {""})


def complete_places(sources: list[Source], facts: Mapping[int, Facts]) -> None:
    """Let a join by a UID stand for joins by the UIDs above it as well.

    Args:
        facts: of each source by its id; the joins are added to them.
    """
    for source in sources:
        mine = facts[id(source)]
        for other, uid in list(_joins_by_uid(source, mine)):
            for higher in _uids_above(source, uid):
                known = [o for j in mine.joined.get(higher.lower(), []) for o in j.others]
                if other in known or not same_place(source, other, facts):
                    continue
                mine.joined.setdefault(higher.lower(), []).append(Joined(None, None, (other,)))
                # The other's rows have to hold it, whether the query names it or not.
                other.needed.setdefault(higher.lower(), higher)


def _joins_by_uid(source: Source, facts: Facts) -> list[tuple[Source, str]]:
    """(other search or metadata table, UID's keyword in lower case) of equalities of one UID."""
    found = []
    for column, joins in facts.joined.items():
        uid = _uid(source, column)
        for joined in joins if uid else ():
            if len(joined.others) != 1 or joined.others[0] is source:
                continue
            other = joined.others[0]
            theirs = joined.expression
            if theirs is not None and not isinstance(theirs, exp.Column):
                continue
            name = theirs.name if theirs is not None else column
            if uid == _uid(other, name):
                found.append((other, uid))
    return found


def _uid(source: Source, name: str) -> str:
    """The keyword in lower case of the UID that a column of a source is; empty for none."""
    table = source.table
    column = table.column(name) if table is not None else None
    if table is None or table.dicom is None or column is None:
        return ""
    means = dict(table.dicom.identity).get(column.parameter, "")
    if column.kind is not ColumnKind.PARAMETER:
        means = column.name if column.parameter else ""
    return means.lower()


def _uids_above(source: Source, uid: str) -> list[str]:
    """The keywords of the UIDs of the levels above one, in a source's own order."""
    assert source.table is not None and source.table.dicom is not None
    keywords = [keyword for _, keyword in source.table.dicom.identity]
    lowered = [keyword.lower() for keyword in keywords]
    return keywords[: lowered.index(uid)] if uid in lowered else []


def same_place(source: Source, other: Source, facts: Mapping[int, Facts]) -> bool:
    """Whether two tables read from the same container, as far as the statement tells."""
    assert source.table is not None and other.table is not None
    here, there = source.table.resource, other.table.resource
    if (here.provider, here.service) != (there.provider, there.service):
        return False
    identity = {p for p, _ in source.table.dicom.identity} if source.table.dicom else set()
    for method in source.table.methods:
        for name in method.path_parameters:
            if name in identity:
                continue
            if not says_alike(source, other, name, facts):
                return False
    return True


def says_alike(source: Source, other: Source, name: str, facts: Mapping[int, Facts]) -> bool:
    """Whether the statement gives two tables' parameter one value, or leaves both to the session.

    Of several values the rows of one may be joined with those of another.
    """
    joins = facts[id(source)].joined.get(name.lower(), [])
    if any(j.others == (other,) for j in joins):
        return True
    mine, its = said(facts[id(source)], name), said(facts[id(other)], name)
    return not joins and mine == its and (mine is None or len(mine) == 1)


def said(facts: Facts, name: str) -> frozenset[object] | None:
    """The values that a query gives a parameter; None where it leaves it to the session."""
    found = facts.equal.get(name.lower(), [])
    return frozenset(v for equal in found for v in equal.values) if found else None


def _own_names(table: Table) -> frozenset[str]:
    """Lower-case names of the columns that say which of the rows are meant."""
    names = {p.lower() for p in own_parameters(table)}
    if table.dicom is not None:
        names |= {keyword.lower() for _, keyword in table.dicom.identity}
    return frozenset(names)


def _is_code(table: Table, name: str) -> bool:
    """Whether an attribute is a code (modality, sex), of which many rows have the same."""
    column = table.column(name)
    return column is None or column.attribute is None or column.attribute.vr == "CS"
