"""Which of a search's attributes are not taken for absent at sight, and what would show them.

A server that leaves out of its searches what the document says they return gives NULL where there
is a value, and nothing in the answer tells the two apart; but whole datasets do. So an attribute
that is empty in all rows which come first is looked up in the metadata of one of them
(`execution/proofs.py`). A server that the document is of is known to return what it is asked for;
there only that is in doubt which no study or series can be without.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsql.catalog.model import OffsetPaging
from dicomsql.dicom.columns import Part
from dicomsql.planning.read_plan import ColumnKind, Doubt, Proof, RowShape, Within
from dicomsql.planning.splits import with_size_and_split
from dicomsql.planning.tables import COUNTED, LEVELS, UIDS, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.read_plan import Scan
    from dicomsql.planning.tables import Table


def completed(scan: Scan, table: Table, catalog: Catalog) -> Scan:
    """A scan with what helps it to its end, and with what shows that its rows are whole."""
    return _with_proof(with_size_and_split(scan, table, catalog), table, catalog)


def _with_proof(scan: Scan, table: Table, catalog: Catalog) -> Scan:
    """A search that knows how to find out whether the server returns what it should."""
    dicom = table.dicom
    if dicom is None or dicom.source != "search" or scan.shape is not RowShape.ROWS:
        return scan
    doubts = tuple(_doubts(scan, table))
    if not doubts:
        return scan
    around = set((scan.walk or scan.method).path_parameters) - {p for p, _ in dicom.identity}
    searches = []
    for level in LEVELS[table.level + 1 :]:
        # Series are found within their study, instances within their series.
        above = LEVELS[: LEVELS.index(level)]
        search = _within(table, dict(dicom.tables).get(level, ""), above, around, catalog)
        if search is None or not isinstance(search.method.paging, OffsetPaging):
            return replace(scan, proof=Proof(doubts))
        searches.append(search)
    metadata = _within(table, dict(dicom.metadata).get(LEVELS[-1], ""), LEVELS, around, catalog)
    if metadata is None:
        return replace(scan, proof=Proof(doubts))
    return replace(scan, proof=Proof(doubts, tuple(searches), metadata, _asked(table)))


def _doubts(scan: Scan, table: Table) -> Iterator[Doubt]:
    """The columns whose values may be missing although there are some."""
    servers = scan.method.servers
    documented = bool(servers) and scan.base_url == servers[0]
    for column in scan.columns:
        found = table.column(column.source)
        if column.kind is not ColumnKind.ATTRIBUTE or found is None or found.attribute is None:
            continue
        if table.origin(column.name) is not Origin.ROW or found.attribute.part in _WHOLE:
            continue
        keyword = table.keyword(found.attribute)
        counted = COUNTED.get(keyword)
        if counted is not None:
            yield Doubt(column.name, counted.member)
        elif keyword not in UIDS.values() and not documented:
            yield Doubt(column.name, column.source)


_WHOLE = frozenset({Part.DATASET, Part.DROPPED, Part.PRIVATE})


def _asked(table: Table) -> tuple[str, ...]:
    """What the search of the level returns where it is asked for."""
    listed = table.attributes.values()
    asked = (a.keyword for a in listed if a.returned == "include")
    return tuple(k for k in asked if k not in COUNTED and k not in UIDS.values())


def _within(
    table: Table, resource: str, levels: tuple[str, ...], around: set[str], catalog: Catalog
) -> Within | None:
    """The method of a resource whose path names just one thing of each of these levels."""
    here = table.resource
    dicom = catalog.resource(here.provider, here.service, resource).dicom if resource else None
    if dicom is None:
        return None
    named = {uid: parameter for parameter, uid in dicom.identity}
    ids = tuple(named.get(UIDS[level], "") for level in levels)
    methods = catalog.resource(here.provider, here.service, resource).for_verb("select")
    for method in methods:
        if set(method.path_parameters) == {*ids, *around}:
            return Within(method, ids)
    return None
