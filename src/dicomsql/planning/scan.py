"""One table's scan: its columns, what is pushed to the server, and how its rows are asked for."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.dicom.columns import Kind, Part
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.errors import PlanningError
from dicomsql.planning.plan import Bind, ColumnKind, Constant, Filter, RowShape, Scan, ScanColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import Attribute, Method
    from dicomsql.planning.facts import Facts, Value
    from dicomsql.planning.tables import Table

# Alternatives of one filter that are worth a call each; above, one walk is.
_ALTERNATIVES = 16
_IDENTIFIERS = 100

# Characters that a server may take for a wildcard, a list or a separator (PS3.4 section C.2.2.2).
_SPECIAL = re.compile(r"[*?\\,\x00-\x1f\x7f]")
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


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
    filters = _filters(request) if table.dicom is not None and table.dicom.include else ()
    return Scan(
        name=request.name,
        alias=request.alias,
        resource=table.resource.full_name,
        method=method,
        base_url=request.endpoint or (method.servers[0] if method.servers else ""),
        constants=request.constants,
        binds=request.binds,
        filters=filters,
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
    names = list(request.needed)
    if request.star:
        if shape is RowShape.PAGES:
            names += [c.name for c in method.page_columns]
        else:
            names += table.usual(method)
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
    assert table.dicom is not None
    include = table.dicom.include
    asked: list[str] = []
    for column in columns:
        if column.kind is ColumnKind.PARAMETER:
            keyword = dict(table.dicom.identity).get(column.source)
        else:
            attribute = attribute_column(column.source)
            if attribute is None:
                continue
            if attribute.part in {Part.DATASET, Part.DROPPED}:
                return ((include, "all"),)
            keyword = table.keyword(attribute)
        listed = table.attributes.get((keyword or "").lower())
        if listed is not None and listed.returned == "include" and listed.keyword not in asked:
            asked.append(listed.keyword)
        if attribute_needs_offset(column.source) and "TimezoneOffsetFromUTC" not in asked:
            asked.append("TimezoneOffsetFromUTC")
    return tuple((include, keyword) for keyword in asked)


def attribute_needs_offset(name: str) -> bool:
    """Whether a column's value depends on the dataset's own time zone."""
    column = attribute_column(name)
    return column is not None and column.part is Part.UTC


def _filters(request: ScanRequest) -> tuple[Filter, ...]:
    """What the server can check, from the facts; never more calls than one walk is worth."""
    table = request.table
    in_path = set(request.method.path_parameters)
    dicom = table.dicom
    assert dicom is not None
    identity = {keyword: parameter for parameter, keyword in dicom.identity}
    found: list[Filter] = []
    calls = 1
    for attribute in dicom.attributes:
        if identity.get(attribute.keyword) in in_path:
            continue
        made = _filter(attribute, request.facts, identity.get(attribute.keyword, ""))
        if made is None:
            continue
        most = _IDENTIFIERS if attribute.keyword in identity else _ALTERNATIVES
        if len(made.values) > most or calls * len(made.values) > _IDENTIFIERS:
            continue
        calls *= max(1, len(made.values))
        found.append(made)
    return tuple(found)


def _filter(attribute: Attribute, facts: Facts, parameter: str) -> Filter | None:
    name = attribute.keyword
    kind = attribute_column(name)
    is_date = kind is not None and kind.kind is Kind.DATE
    if "exact" in attribute.match:
        keys = [name.lower(), *([parameter.lower()] if parameter else [])]
        equals = [e for k in keys for e in facts.equal.get(k, [])]
        for equal in sorted(equals, key=lambda e: len(e.values)):
            values = [_dicom_date(v) if is_date else _plain(v) for v in equal.values]
            if all(v is not None for v in values):
                unique = dict.fromkeys(v for v in values if v is not None)
                return Filter(name, tuple(unique), "exact")
    if "range" in attribute.match and is_date:
        lows, highs = [], []
        for between in facts.between.get(name.lower(), []):
            low, high = _dicom_date(between.low), _dicom_date(between.high)
            lows += [low] if low else []
            highs += [high] if high else []
        if lows or highs:
            low, high = max(lows, default=""), min(highs, default="")
            if not (low and high and low > high):
                return Filter(name, (f"{low}-{high}",), "range")
    return None


def _plain(value: Value) -> str | None:
    """A value that every server takes literally, else None."""
    if not isinstance(value, str) or not value.strip() or _SPECIAL.search(value):
        return None
    return value if value == value.strip() else None


def _dicom_date(value: Value) -> str | None:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC)  # the engine's own time zone
    if isinstance(value, datetime.date):
        return value.strftime("%Y%m%d")
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    return "".join(match.groups()) if match else None
