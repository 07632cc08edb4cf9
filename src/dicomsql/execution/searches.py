"""Which calls a scan comes to: its parameters' values, its filters, and a walk where it costs less.

The values of binds come from rows of earlier scans, so that only now their number is known.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from dicomsql.catalog.model import OffsetPaging
from dicomsql.errors import ApiError, EndpointError, NotSupportedError
from dicomsql.execution.calls import make_request, single
from dicomsql.planning.cost import walk_is_cheaper

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.planning.read_plan import Bind, Constant, Filter, Scan, Size

# Characters of a URL's list of values: servers and what stands before them take 8,000 in all.
_LIST_LENGTH = 6_000
# Calls from which on it is worth another one to learn the size of the walk.
_ASK_SIZE_ABOVE = 8
# Places whose sizes are asked for at most, to decide on a walk.
_SIZES = 4
# What a server may take for a wildcard or a list in a filter's value (PS3.4 section C.2.2.2).
_SPECIAL = frozenset("*?\\,")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scan.

    Attributes:
        values: its parameters.
        filters: (name, value) pairs that narrow it further.
        member: it stands for a member of a list, which may be missing on the server.
        place: the values of its path; only rows of the same place can be the same.
    """

    method: Method
    values: dict[str, str]
    filters: Pairs
    member: bool
    place: tuple[str, ...] = ()


def calls_of(run: Run, scan: Scan) -> list[Call]:
    """The calls of a scan, each combination of its parameters' values once, place by place.

    Raises:
        BudgetError: there would be more than the statement may make.
        NotSupportedError: a value cannot be sent as a filter, and the scan cannot do without.
    """
    read = [(bind, _rows(run, bind)) for bind in scan.binds]
    bound = [(bind, _texts(bind, rows)) for bind, rows in read]
    method, constants = scan.method, scan.constants
    unsendable = any(not _is_sendable(scan, b, rows) for b, rows in bound) or not all(
        _fits(bind, rows) for bind, rows in read
    )
    if scan.walk is not None and (unsendable or _is_walk_chosen(run, scan, bound)):
        if unsendable:
            _tell(run, scan, "one walk, as some of the values cannot be searched for")
        method, bound = scan.walk, []
        names = {p.name for p in method.parameters}
        constants = tuple(c for c in constants if c.parameter in names)
    elif unsendable:
        raise NotSupportedError(
            f"{scan.resource} cannot be searched for each of the values of its join: one of them "
            f"has a character that servers take for a wildcard or a list (one of * ? \\ and the "
            f"comma). Join without it, or leave such values out."
        )
    sets = [list(_together(bind, rows)) for bind, rows in bound]
    if bound and scan.walk is None:
        calls = math.prod(map(len, sets))
        _tell(run, scan, f"{calls:,} bound call{'s' * (calls != 1)}")
    searches = list(_searches(scan))
    total = math.prod(len(s) for s in (*sets, *(c.values for c in constants))) * len(searches)
    run.check_budget(total, f"Reading {scan.resource}")
    in_path = method.path_parameters
    member = any(p in in_path for bind, _ in bound for p in bind.parameters) or any(
        c.set_of and c.parameter in in_path for c in constants
    )
    fixed = [[(c.parameter, v) for v in c.values] for c in constants]
    places: dict[tuple[str, ...], list[Call]] = {}
    for combination in itertools.product(*sets):
        merged = {k: v for row in combination for k, v in row.items()}
        for given in itertools.product(*fixed):
            values = {**dict(given), **merged}
            place = tuple(values.get(name, "") for name in in_path)
            group = places.setdefault(place, [])
            group += (Call(method, values, pairs, member, place) for pairs in searches)
    return [call for group in places.values() for call in group]


def size_of(run: Run, size: Size, scan: Scan, values: Mapping[str, str]) -> int | None:
    """The number of a scan's rows that metrics tell of; None where they do not.

    Metrics only guide, so a server that has none or refuses them is no error.
    """
    method = size.method
    given = {k: v for k, v in values.items() if method.parameter(k) is not None}
    if any(name not in given for name in method.required):
        return None
    found: object = None
    try:
        request = make_request(method, scan.base_url, given)
        page = single(run, replace(request, scan=scan.name))
        found = msgspec.json.decode(page.body)
    except (ApiError, EndpointError, msgspec.DecodeError, RecursionError):
        return None
    path = next((c.path for c in method.columns if c.name == size.column), ())
    for name in path or (size.column,):
        found = found.get(name) if isinstance(found, dict) else None
    try:
        return int(str(found)) if found is not None else None
    except ValueError:
        return None


def _rows(run: Run, bind: Bind) -> list[tuple[object, ...]]:
    """The values of a bind; NULL equals nothing, and an empty text is no row's."""
    rows = run.engine.rows(bind.sql, bind.values)
    return [row for row in rows if all(v is not None and str(v) != "" for v in row)]


def _texts(bind: Bind, rows: list[tuple[object, ...]]) -> list[dict[str, str]]:
    return [{p: str(v) for p, v in zip(bind.parameters, row, strict=True)} for row in rows]


def _fits(bind: Bind, rows: list[tuple[object, ...]]) -> bool:
    """Whether all values may be searched for; a number equals other texts than its own."""
    if not bind.fits:
        return True
    fits = re.compile(bind.fits)
    return all(isinstance(v, str) and fits.fullmatch(v) is not None for row in rows for v in row)


def _is_sendable(scan: Scan, bind: Bind, rows: list[dict[str, str]]) -> bool:
    """Whether each value of a filter means itself to the server."""
    filtered = [p for p in bind.parameters if scan.method.parameter(p) is None]
    special = _SPECIAL | set(bind.separator)
    return not any(special & set(row[p]) for p in filtered for row in rows)


def _together(bind: Bind, rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """The values of a bind for one call each, joined into lists where calls take those."""
    if bind.together <= 1 or len(bind.parameters) != 1:
        yield from rows
        return
    (name,) = bind.parameters
    taken: list[str] = []
    length = 0
    for row in rows:
        added = len(quote(row[name], safe="")) + len(quote(bind.separator, safe=""))
        if taken and (len(taken) >= bind.together or length + added > _LIST_LENGTH):
            yield {name: bind.separator.join(taken)}
            taken, length = [], 0
        taken.append(row[name])
        length += added
    if taken:
        yield {name: bind.separator.join(taken)}


def _searches(scan: Scan) -> Iterator[Pairs]:
    """The filters of each search: those that all share, with each of the alternatives."""
    found: dict[Pairs, None] = {}
    for alternative in scan.alternatives or ((),):
        filters = (*scan.filters, *alternative)
        for values in itertools.product(*(f.values for f in filters)):
            found[_pairs(filters, values)] = None
    yield from found


def _pairs(filters: Iterable[Filter], values: Iterable[str]) -> Pairs:
    pairs: dict[tuple[str, str], None] = {}
    for narrowing, value in zip(filters, values, strict=True):
        pairs[narrowing.name, value] = None
        pairs.update(dict.fromkeys(narrowing.query))
    return tuple(pairs)


def _is_walk_chosen(run: Run, scan: Scan, bound: list[tuple[Bind, list[dict[str, str]]]]) -> bool:
    """Whether one walk over all rows costs less than a call for each combination."""
    assert scan.walk is not None
    calls = math.prod(sum(1 for _ in _together(bind, rows)) for bind, rows in bound)
    if scan.size is not None and calls > _ASK_SIZE_ABOVE:
        rows = _walk_size(run, scan, scan.size)
        if rows is not None:
            paging = scan.walk.paging
            page = paging.max_limit if isinstance(paging, OffsetPaging) else 0
            walked = walk_is_cheaper(calls, rows, page)
            told = f"the metrics tell of {rows:,} row{'s' * (rows != 1)} of the walk"
            _tell(run, scan, f"{_taken(calls, walked=walked)}, as {told}")
            return walked
    walked = calls > scan.walk_above
    told = f"those are {'' if walked else 'not '}more than {scan.walk_above:,}"
    _tell(run, scan, f"{_taken(calls, walked=walked)}, as {told}")
    return walked


def _taken(calls: int, *, walked: bool) -> str:
    bound = f"{calls:,} bound call{'s' * (calls != 1)}"
    return f"one walk in place of {bound}" if walked else f"{bound} in place of a walk"


def _tell(run: Run, scan: Scan, decision: str) -> None:
    """Put down, for who asks afterwards, what was decided now that the values are known."""
    run.scan(scan).decide(decision)


def _walk_size(run: Run, scan: Scan, size: Size) -> int | None:
    """The rows of the walk in all places together."""
    needed = set(size.method.required)
    taken: list[Constant] = [c for c in scan.constants if c.parameter in needed]
    if math.prod(len(c.values) for c in taken) > _SIZES:
        return None
    total = 0
    for values in itertools.product(*([(c.parameter, v) for v in c.values] for c in taken)):
        rows = size_of(run, size, scan, dict(values))
        if rows is None:
            return None
        total += rows
    return total
