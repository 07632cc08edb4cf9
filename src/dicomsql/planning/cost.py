"""What a way to get rows costs, and what a plan is estimated to take before its first call.

The cost is `requests + rows / 1,000`: a request takes about as long as a thousand rows of an
answer. An `Estimate` holds what is certain: at least so many requests, and at most so many where
a bound is known. Both rest on the plan alone; nothing is asked of a server here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from dicomsql.catalog.model import OffsetPaging, TokenPaging
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.planning.read_plan import ColumnKind, RowShape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomsql.catalog.model import Method
    from dicomsql.planning.read_plan import Filter, ReadPlan, Scan

# Rows of an answer that take about as long as one more request.
ROWS_A_REQUEST = 1_000

# Combinations of bound values from which on one walk is taken where nothing tells its size.
WALK_ABOVE = 100

# Bytes of one member of an answer: a DICOM JSON attribute with its tag and VR, one that holds
# items, a whole dataset, and a member of a plain object.
_ATTRIBUTE, _SEQUENCE, _DATASET, _MEMBER = 60, 400, 12_000, 60
# Bytes of a small picture.
_PICTURE = 20_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scan or a plan takes, as far as it is certain before the first call.

    Attributes:
        least, most: requests; `most` is None where no bound is known.
        row_bytes: of one row in an answer, roughly.
        rows: the most there can be; None where no bound is known.
        page: rows of one answer at most; 0 where an answer is not paged.
    """

    least: int
    most: int | None
    row_bytes: int = 0
    rows: int | None = None
    page: int = 0

    @property
    def most_bytes(self) -> int | None:
        """Bytes of the rows at most, roughly; None where their number has no bound."""
        return self.rows * self.row_bytes if self.rows is not None else None


def walk_is_cheaper(combinations: int, rows: int, page: int) -> bool:
    """Whether reading all rows costs less than a call for each of the combinations.

    Args:
        combinations: calls that the bound values come to.
        rows: rows of the walk.
        page: rows of one of its answers at most; 0 for all of them in one.
    """
    return walk_cost(rows, page) < combinations


def walk_cost(rows: int, page: int) -> float:
    """The cost of reading so many rows page by page."""
    return max(1, ceil(rows / page) if page else 1) + rows / ROWS_A_REQUEST


def estimate(plan: ReadPlan) -> Estimate:
    """What a read plan's scans take together."""
    parts = [estimate_scan(scan) for scan in (*plan.scans, *plan.pictures)]
    windows = len(plan.windows.ranges) if plan.windows is not None else 0
    least = sum(p.least for p in parts)
    bounds = [p.most for p in parts]
    known = [b for b in bounds if b is not None]
    most = sum(known) + windows if len(known) == len(bounds) else None
    sizes = [p.most_bytes for p in parts]
    total = sum(s for s in sizes if s is not None)
    whole = total if all(s is not None for s in sizes) else None
    return Estimate(least, most, 1, whole)


def estimate_scan(scan: Scan) -> Estimate:
    """What one scan takes."""
    if scan.picture is not None:
        # One that is refused as a small one may be asked for as it is.
        each = 2 if scan.picture.query else 1
        most = scan.limit * each if scan.limit is not None else None
        return Estimate(0, most, _PICTURE, scan.limit)
    calls = prod(len(c.values) for c in scan.constants)
    searches = _searches(scan)
    page = page_size(scan.method)
    width = row_bytes(scan)
    rows = _most_rows(scan, calls * searches)
    if scan.binds:
        # How many values are bound shows once the rows that they come from are there.
        return Estimate(0, None, width, None, page)
    total = calls * searches
    if scan.method.paging is None:
        return Estimate(total, total, width, total if rows is not None else None, page)
    if not total:
        return Estimate(0, 0, width, 0, page)
    # A scan that may end early makes at least its first call; any other makes all of them.
    least = min(total, 1) if scan.limit is not None else total
    if rows is None:
        return Estimate(least, None, width, None, page)
    each = ceil(rows / page) if page and scan.limit is not None else 1
    surely = isinstance(scan.method.paging, OffsetPaging) and not scan.method.paging.capped
    proof = scan.proof.calls if scan.proof is not None else 0
    most = total * max(1, each) + proof if surely else None
    return Estimate(least, most, width, rows, page)


def page_size(method: Method) -> int:
    """Rows of one of a method's answers at most; 0 where it is not paged, or no bound is known."""
    paging = method.paging
    if isinstance(paging, TokenPaging):
        return paging.max_size
    return paging.max_limit if isinstance(paging, OffsetPaging) else 0


def row_bytes(scan: Scan) -> int:
    """Bytes of one row of a scan's answers, roughly, by what is asked for."""
    dicom = scan.dicom
    if dicom is None:
        members = sum(c.kind is ColumnKind.ROW for c in scan.columns)
        asked = any(name == scan.method.fields for name, _ in scan.query)
        return _MEMBER * max(1, members if asked else len(scan.method.columns))
    if dicom.source == "metadata" or scan.shape is not RowShape.ROWS:
        return _DATASET
    size = _ATTRIBUTE * sum(a.returned == "default" for a in dicom.attributes)
    for name, value in scan.query:
        if name == dicom.include:
            size += sum(_asked_bytes(v, dicom.include_all) for v in value.split(","))
    return size


def _asked_bytes(keyword: str, everything: str) -> int:
    if keyword == everything:
        return _DATASET
    column = attribute_column(keyword)
    return _SEQUENCE if column is None or column.sql_type == "JSON" else _ATTRIBUTE


def _searches(scan: Scan) -> int:
    """The searches that a scan's filters come to for one combination of its parameters."""
    shared = _product(scan.filters)
    if not scan.alternatives:
        return shared
    return shared * sum(_product(alternative) for alternative in scan.alternatives)


def _product(filters: Iterable[Filter]) -> int:
    return prod(len(f.values) for f in filters)


def _most_rows(scan: Scan, calls: int) -> int | None:
    """The most rows that the calls can give: a limit, or one for each UID that is asked for."""
    if scan.limit is not None:
        return scan.limit
    dicom = scan.dicom
    if dicom is None:
        return None if scan.method.object_key or scan.method.paging is not None else calls
    own = _own_uid(scan)
    if dicom.source != "search" or not own:
        return None
    given = any(c.parameter in own for c in scan.constants)
    exact = any(f.name in own and f.operation == "exact" for f in scan.filters)
    return calls if given or exact else None


def _own_uid(scan: Scan) -> frozenset[str]:
    """The names of the UID that tells a row of a search from all others."""
    assert scan.dicom is not None
    identity = scan.dicom.identity
    return frozenset(identity[-1]) if identity else frozenset()
