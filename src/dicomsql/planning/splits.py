"""What helps a long search to its end: metrics that tell its size, and how it can be divided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicomsql.catalog.model import OffsetPaging
from dicomsql.planning.read_plan import Size, Split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Resource
    from dicomsql.planning.read_plan import Filter, Scan
    from dicomsql.planning.tables import Table

_STUDY = "StudyInstanceUID"


def with_size_and_split(scan: Scan, table: Table, catalog: Catalog) -> Scan:
    """A scan that knows where its size can be asked for, and how its longest search is divided."""
    method = scan.walk or scan.method
    if table.dicom is None or not isinstance(method.paging, OffsetPaging):
        return scan
    size = size_of(table, method, catalog)
    split = split_of(table, method, scan.filters, catalog)
    return replace(scan, size=size, split=split)


def size_of(table: Table, method: Method, catalog: Catalog) -> Size | None:
    """The metrics that tell how many rows a search without filters has; None where none do.

    They are of the same rows where they are found by the same path parameters.
    """
    assert table.dicom is not None
    for name, column in table.dicom.sizes:
        for candidate in _sibling(table, name, catalog).for_verb("select"):
            if set(candidate.required) == set(method.path_parameters):
                return Size(candidate, column)
    return None


def split_of(
    table: Table, method: Method, filters: Iterable[Filter], catalog: Catalog
) -> Split | None:
    """How a search is divided whose end offsets do not reach; None where it cannot be.

    A search within one study cannot: all of its rows have the same date.
    """
    dicom, paging = table.dicom, method.paging
    assert dicom is not None
    if not dicom.split or not isinstance(paging, OffsetPaging) or not paging.max_offset:
        return None
    parameter = next((p for p, keyword in dicom.identity if keyword == _STUDY), "")
    path = set(method.path_parameters)
    if parameter in path:
        return None
    low, high = _range(dicom.split, filters)
    if dicom.level == "study":
        return Split(dicom.split, low, high)
    listing = dict(dicom.tables).get("study", "")
    if not listing or not parameter:
        return None
    studies = _found_by(_sibling(table, listing, catalog).for_verb("select"), path)
    narrower = _found_by(table.methods, {*path, parameter})
    if studies is None or narrower is None:
        return None
    return Split(dicom.split, low, high, studies, narrower, parameter)


def _range(attribute: str, filters: Iterable[Filter]) -> tuple[str, str]:
    """The range that the scan's own filter leaves; both empty where there is none, or several."""
    for narrowing in filters:
        if narrowing.name == attribute and len(narrowing.values) == 1:
            low, dash, high = narrowing.values[0].partition("-")
            return low, high if dash else low
    return "", ""


def _found_by(methods: Iterable[Method], path: set[str]) -> Method | None:
    """The paged search that is found by exactly these path parameters."""
    for method in methods:
        if isinstance(method.paging, OffsetPaging) and set(method.path_parameters) == path:
            return method
    return None


def _sibling(table: Table, name: str, catalog: Catalog) -> Resource:
    return catalog.resource(table.resource.provider, table.resource.service, name)
