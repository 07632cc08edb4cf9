"""One table's scan: its columns, what is pushed to the server, and how its rows are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.dicom.columns import Part
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.errors import PlanningError
from dicomsql.planning.pushdown import Pushed, push
from dicomsql.planning.read_plan import Bind, ColumnKind, Constant, RowShape, Scan, ScanColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.planning.facts import Facts
    from dicomsql.planning.tables import Table


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """All that decides about a scan; see `plan.Scan` for the fields that go into it as they are.

    Attributes:
        needed: the columns that the query names.
        star: it asks for the usual ones as well.
    """

    name: str
    alias: str
    table: Table
    method: Method
    constants: tuple[Constant, ...]
    binds: tuple[Bind, ...]
    facts: Facts
    needed: tuple[str, ...]
    star: bool
    walk: Method | None
    walk_above: int
    endpoint: str
    limit: int | None


def build_scan(request: ScanRequest) -> Scan:
    """The scan that a request comes to.

    Raises:
        PlanningError: the chosen method does not give a column that the query names.
    """
    table, method = request.table, request.method
    shape = _shape(request)
    columns = _columns(request, shape)
    pushed = _pushed(request)
    return Scan(
        name=request.name,
        alias=request.alias,
        resource=table.resource.full_name,
        method=method,
        base_url=request.endpoint or (method.servers[0] if method.servers else ""),
        constants=request.constants,
        binds=request.binds,
        filters=pushed.filters,
        alternatives=pushed.alternatives,
        query=_projection(request, columns, shape),
        columns=columns,
        shape=shape,
        limit=request.limit,
        walk=request.walk,
        walk_above=request.walk_above,
        dicom=table.dicom,
    )


def _shape(request: ScanRequest) -> RowShape:
    method = request.method
    if not _gives_json(method):
        return RowShape.BODY
    rows = {c.name.lower() for c in method.columns}
    pages = {c.name.lower() for c in method.page_columns}
    if pages and any(n.lower() in pages - rows for n in request.needed):
        return RowShape.PAGES
    return RowShape.ROWS


def _gives_json(method: Method) -> bool:
    return "json" in method.accept


def _columns(request: ScanRequest, shape: RowShape) -> tuple[ScanColumn, ...]:
    table, method = request.table, request.method
    names: list[str] = []
    if request.star:
        # They come first: `*` shows them in this order whatever else the query names.
        if shape is RowShape.PAGES:
            names += [c.name for c in method.page_columns]
        else:
            names += table.usual(method)
    names += request.needed
    if not names:
        names = [_cheapest(table, method)]
    chosen: dict[str, ScanColumn] = {}
    for name in names:
        column = table.column(name)
        if column is None:
            raise table.unknown(name)
        if column.kind is ColumnKind.ROW:
            offered = method.page_columns if shape is RowShape.PAGES else method.columns
            mine = next((c for c in offered if c.name.lower() == name.lower()), None)
            if mine is None:
                raise PlanningError(
                    f"{table.resource.full_name}.{method.name} does not give the column "
                    f"{column.name}; it gives {', '.join(c.name for c in offered)}.",
                    resource=table.resource.full_name,
                )
            made = ScanColumn(mine.name, ColumnKind.ROW, mine.name, str(mine.type))
        else:
            made = ScanColumn(column.name, column.kind, column.name, column.type)
        chosen.setdefault(made.name.lower(), made)
    return tuple(chosen.values())


def _cheapest(table: Table, method: Method) -> str:
    """A column that says that a row is there, where the query names none."""
    if table.dicom is not None and table.dicom.identity:
        by_level = dict(table.dicom.identity)
        return list(by_level.values())[-1]
    if method.row_name:
        return method.row_name
    if method.columns:
        return method.columns[0].name
    return method.parameters[0].name


def _projection(
    request: ScanRequest, columns: tuple[ScanColumn, ...], shape: RowShape
) -> tuple[tuple[str, str], ...]:
    """Query parameters that ask for just the columns that are needed."""
    table, method = request.table, request.method
    if table.dicom is not None:
        return _included(table, columns) if table.dicom.include else ()
    given = {c.parameter.lower() for c in request.constants}
    if not method.fields or shape is not RowShape.ROWS or method.fields.lower() in given:
        return ()
    members = [c.source for c in columns if c.kind is ColumnKind.ROW]
    # Rows are told apart by their name, and one without any of the fields would be left out.
    if method.row_name and method.row_name not in members:
        members.insert(0, method.row_name)
    if not members or len(members) >= len(method.columns):
        return ()
    selected = ",".join(members)
    if method.object_key:
        selected = f"{method.object_key.removeprefix('$.').replace('.', '/')}({selected})"
        paging = method.paging
        if paging is not None and hasattr(paging, "response_token"):
            selected += f",{paging.response_token}"
    return ((method.fields, selected),)


def _included(table: Table, columns: tuple[ScanColumn, ...]) -> tuple[tuple[str, str], ...]:
    """What the search is asked for beside what every answer has; only what the server takes."""
    dicom = table.dicom
    assert dicom is not None
    asked: list[str] = []
    for column in columns:
        if column.kind is ColumnKind.PARAMETER:
            asked.append(dict(dicom.identity).get(column.source, ""))
            continue
        attribute = attribute_column(column.source)
        if attribute is None:
            continue
        if attribute.part in {Part.DATASET, Part.DROPPED}:
            return ((dicom.include, dicom.include_all),) if dicom.include_all else ()
        asked.append(table.keyword(attribute))
        if attribute_needs_offset(column.source):
            asked.append("TimezoneOffsetFromUTC")
    return tuple((dicom.include, k) for k in dict.fromkeys(asked) if _is_asked_for(table, k))


def _is_asked_for(table: Table, keyword: str) -> bool:
    """Whether a search gives an attribute where it is asked for, and not of itself."""
    listed = table.attributes.get(keyword.lower())
    if listed is not None:
        return listed.returned == "include"
    return bool(keyword) and table.dicom is not None and table.dicom.include_any


def attribute_needs_offset(name: str) -> bool:
    """Whether a column's value depends on the dataset's own time zone."""
    column = attribute_column(name)
    return column is not None and column.part is Part.UTC


def _pushed(request: ScanRequest) -> Pushed:
    """What the server can check, but for what the call's path and binds fix already."""
    dicom = request.table.dicom
    if dicom is None:
        return Pushed()
    bound = {name for bind in request.binds for name in bind.parameters}
    return push(dicom, request.facts, bound.union(request.method.path_parameters))
