"""The newest few rows by growing ranges of dates, rather than by all that there are.

`ORDER BY StudyDate DESC LIMIT n` wants the newest rows. Every row of a range of days sorts before
every row of the ranges before it in time, so once the ranges that were searched give n rows to the
user's own query, no further one can change its answer. What has no date sorts last and is in no
range: only the search without one finds it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.planning.direct import limit_of
from dicomsql.planning.read_plan import Scan, Windows

if TYPE_CHECKING:
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText

# Days before today that the ranges reach back to.
_DAYS = (7, 30, 120, 365, 4 * 365, 16 * 365, 64 * 365)

# Parts of a SELECT after which its rows are not a selection of its table's.
_MAKES_ROWS = (
    *("group", "having", "distinct", "qualify", "windows", "joins", "laterals", "pivots"),
    *("sample", "with_", "connect"),
)

# The engine's own setting of where NULL sorts, and the value that the ranges rest on.
_NULL_ORDER = "SELECT current_setting('default_null_order')"
_LAST = "NULLS_LAST"


def windows_for(
    source: Source,
    scan: Scan,
    text: QueryText,
    names: Names,
    *,
    evaluate: Callable[[str, tuple[tuple[str, object], ...]], object],
) -> Windows | None:
    """The ranges by which a query's only scan is searched, newest first; None where it is not.

    Args:
        evaluate: computes a constant expression.
    """
    dicom, select, enough = scan.dicom, text.tree, limit_of(text)
    if dicom is None or dicom.source != "search" or not enough or scan.binds:
        return None
    if not isinstance(select, exp.Select) or source.scope.node is not select or source.reshaped:
        return None
    if len(source.scope.sources) != 1 or any(select.args.get(part) for part in _MAKES_ROWS):
        return None
    if _makes_rows(select):
        return None
    name = _newest_by(select, source, names)
    if name is None or not _takes_ranges(source, name):
        return None
    if any(f.name == name for alternative in scan.alternatives for f in alternative):
        return None
    if any(_is_selective(f.name, name, f.operation) for f in scan.filters):
        return None
    own = next((f for f in scan.filters if f.name == name), None)
    if own is not None and (own.operation != "range" or len(own.values) != 1):
        return None
    if evaluate(_NULL_ORDER, ()) != _LAST:
        return None
    low, _, high = own.values[0].partition("-") if own is not None else ("", "", "")
    ranges = _ranges(names.context.today, low, high)
    return Windows(scan.name, name, ranges, enough) if len(ranges) > 1 else None


def _ranges(today: datetime.date, low: str, high: str) -> tuple[str, ...]:
    """Growing ranges back from today, cut to a range of their own.

    Without one the last step is empty: the search without a range, for what has no date.
    """
    found: list[str] = []
    end = ""  # open: what is dated in the future is the newest
    for days in _DAYS:
        start = (today - datetime.timedelta(days=days)).strftime("%Y%m%d")
        found.append(f"{start}-{end}")
        end = (today - datetime.timedelta(days=days + 1)).strftime("%Y%m%d")
    if not low and not high:
        return (*found, "")
    found.append(f"-{end}")
    clipped = []
    for given in found:
        first, _, last = given.partition("-")
        first = max(first, low)
        last = min(filter(None, (last, high)), default="")
        if not (first and last and first > last):
            clipped.append(f"{first}-{last}")
    return tuple(clipped)


def _newest_by(select: exp.Select, source: Source, names: Names) -> str | None:
    """The keyword of the date by which a query's rows are sorted first, newest first."""
    order = select.args.get("order")
    if order is None or not order.expressions or order.args.get("siblings"):
        return None
    first = order.expressions[0]
    if not isinstance(first, exp.Ordered):
        return None
    if not first.args.get("desc") or first.args.get("nulls_first") or first.args.get("with_fill"):
        return None
    key = first.this
    if not isinstance(key, exp.Column):
        return None
    shown = _aliased(source.scope, key)
    if shown is None:
        return None
    owners = names.owners(shown, source.scope)
    if len(owners) != 1 or owners[0][0] is not source:
        return None
    column = owners[0][1]
    attribute = column.attribute if column is not None else None
    if column is None or attribute is None or column.name.lower() != shown.name.lower():
        return None
    is_date = attribute.kind is Kind.DATE and attribute.part is Part.VALUE and not attribute.many
    return column.name if is_date else None


def _aliased(scope: Scope, key: exp.Column) -> exp.Column | None:
    """The column that a sort key means: an alias of the SELECT list comes before a column."""
    if key.table or key.name.lower() not in scope.select_aliases():
        return key
    for expression in scope.node.args.get("expressions") or []:
        if expression.alias.lower() == key.name.lower():
            shown = expression.unalias()
            return shown if isinstance(shown, exp.Column) else None
    return None


def _takes_ranges(source: Source, name: str) -> bool:
    assert source.table is not None
    found = source.table.attributes.get(name.lower())
    return found is not None and "range" in found.match


def _is_selective(name: str, date: str, operation: str) -> bool:
    """Whether a filter leaves so little that one search for all of it costs less than several.

    A code (modality, sex) has few values, each with many rows; an identifier or a name has many.
    """
    if name == date:
        return operation != "range"
    column = attribute_column(name)
    return column is None or column.vr != "CS"


def _makes_rows(select: exp.Select) -> bool:
    """Whether the SELECT aggregates, looks over several rows, or gives several rows for one.

    A function that sqlglot does not know may do any of these.
    """
    kinds = (exp.AggFunc, exp.Window, exp.UDTF, exp.Explode, exp.Unnest, exp.Anonymous)
    order = select.args.get("order")
    parts = [*select.expressions, *(order.expressions if order is not None else [])]
    return any(part.find(*kinds) is not None for part in parts)
