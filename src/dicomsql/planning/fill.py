"""Columns that a search does not give: from the metadata, counted from a level below, or rendered.

The search gives what it can. A second scan reads the whole datasets of just those studies or series
that are left once the conditions which need no more are applied (`planning/restrictions.py`), and
the query finds a derived table in the place of the search, its rows joined with the rest by their
UIDs. Rows for which nothing was read have NULL there; they have no effect on the result, since the
query checks all of its conditions again. A row that should have an answer and has none ends the
statement (`plan.Check`).

What is rendered is fetched last, for what is left then; where the query does nothing with it but
show it, for the rows of its result alone (`planning/pictures.py`).

An attribute of a study or a series is the same in all of its instances (PS3.3 section A.1.2); where
they disagree it is the least of their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomsql.errors import PlanningError
from dicomsql.planning.choice import choose, none_fits
from dicomsql.planning.cost import WALK_ABOVE
from dicomsql.planning.facts import Facts
from dicomsql.planning.pictures import Pictures, Use, handle, joined_pictures, use_of
from dicomsql.planning.read_plan import Bind, Check, Constant, Scan, ScanColumn
from dicomsql.planning.scan import ScanRequest, build_scan
from dicomsql.planning.tables import COUNTED, LEVELS, PREVIEW, UIDS, Origin, Table
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.planning.binding import Binder
    from dicomsql.planning.restrictions import Restriction
    from dicomsql.planning.scopes import Source

_PLURAL = {"study": "studies", "series": "series", "instance": "instances"}


@dataclass(frozen=True, slots=True)
class Filled:
    """A search with what it lacks.

    Attributes:
        scan: the search; its rows are read more than once where there are `fills`.
        fills: the scans of what it lacks, which wait for its rows.
        columns: all that the query finds in the derived table.
        derived: the derived table, in parentheses.
        pictures: the scans of pictures that wait for the rows of the query's result.
    """

    scan: Scan
    fills: tuple[Scan, ...]
    columns: tuple[ScanColumn, ...]
    derived: str
    pictures: tuple[Scan, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """Columns that come from one further resource.

    Attributes:
        called: the level whose UIDs a call takes.
        joined: the level whose UIDs tell which row of the search a value belongs to.
        columns: what the search lacks.
        fetched: names of the columns that the further scan needs for them.
        values: the expression of each of `columns` over the rows of one search row.
        why: for people.
    """

    resource: str
    called: str
    joined: str
    columns: tuple[ScanColumn, ...]
    fetched: tuple[str, ...]
    values: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Filler:
    """Plans the further scans of the searches of one query.

    Attributes:
        shows: the rows of the query are the statement's result, so that what they show may be
            fetched once they are known.
    """

    binder: Binder
    shows: bool

    def fill(self, source: Source, request: ScanRequest, scan: Scan, number: int) -> Filled | None:
        """What a scan lacks, and the scans that have it; None where it lacks nothing.

        Args:
            request: that the scan came from.
            number: of the first further scan's name.

        Raises:
            PlanningError: nothing that the document names has the column.
        """
        table = request.table
        origins = [table.origin(c.name) for c in scan.columns]
        if table.dicom is None or all(o is Origin.ROW for o in origins):
            return None
        places = self._places_by_row(scan)
        keys = [UIDS[level] for level in LEVELS[: table.level + 1]]
        own = [c.name for c, o in zip(scan.columns, origins, strict=True) if o is Origin.ROW]
        needed = tuple(dict.fromkeys([*own, *keys, *places]))
        searched = build_scan(replace(request, needed=needed, star=False))
        found = {c.name.lower() for c in searched.columns}
        restriction = self.binder.restrictions.of(source, found, (*keys, *places))
        fills: list[Scan] = []
        joins: list[str] = []
        shown = {c.name: f"searched.{quoted(c.name)}" for c in searched.columns}
        for part in _parts(table, scan.columns, origins):
            name = self.binder.names.own("scan", number + len(fills))
            made = self._scan(
                part, source, searched, places=places, restriction=restriction, name=name
            )
            fills.append(made)
            alias = f"filled_{len(fills)}"
            how = "JOIN" if restriction.picked else "LEFT JOIN"
            joins.append(f" {how} {_rows(part, made, places, alias)}")
            shown |= {c.name: f"{alias}.{quoted(c.name)}" for c in part.columns}
        rows = f"{searched.name} AS searched{''.join(joins)}"
        if Origin.RENDERED not in origins:
            derived = f"(SELECT {_items(scan.columns, shown)} FROM {rows})"  # noqa: S608
            return Filled(searched, tuple(fills), scan.columns, derived)
        pictures = Pictures(self.binder, source, table, searched, places)
        use = use_of(source, self.binder.names) if self.shows else Use.MORE
        if use is not Use.MORE:
            later = pictures.later(use)
            shown[PREVIEW] = handle(later, dict(pictures.columns))
            derived = f"(SELECT {_items(scan.columns, shown)} FROM {rows})"  # noqa: S608
            return Filled(searched, tuple(fills), scan.columns, derived, (later,))
        whole = searched.name
        if fills:
            listed = {c.name: c for c in (*searched.columns, *scan.columns) if c.name in shown}
            whole = f"(SELECT {_items(listed.values(), shown)} FROM {rows})"  # noqa: S608
        known = {name.lower() for name in shown}
        left = self.binder.restrictions.of(source, known, (*keys, *places))
        now = pictures.now(left, whole, narrowed=_narrowed(searched, left))
        return Filled(
            searched,
            (*fills, now),
            scan.columns,
            joined_pictures(now, whole, scan.columns, dict(pictures.columns), picked=left.picked),
        )

    def _places_by_row(self, scan: Scan) -> tuple[str, ...]:
        """Parameters around the identity (a store, ...) that are not one value for all rows."""
        dicom = scan.dicom
        assert dicom is not None
        identity = {parameter for parameter, _ in dicom.identity}
        bound = {p for bind in scan.binds for p in bind.parameters}
        several = {c.parameter for c in scan.constants if len(c.values) != 1}
        return tuple(
            p for p in scan.method.path_parameters if p not in identity and p in bound | several
        )

    def _scan(
        self,
        part: _Part,
        source: Source,
        searched: Scan,
        *,
        places: tuple[str, ...],
        restriction: Restriction,
        name: str,
    ) -> Scan:
        """The further scan, bound to what is left of the search."""
        names = self.binder.names
        own = source.table.resource if source.table is not None else None
        assert own is not None
        resource = names.catalog.resource(own.provider, own.service, part.resource)
        methods = resource.for_verb("select")
        table = Table(resource, methods)
        constants = {
            c.parameter: c
            for c in searched.constants
            if len(c.values) == 1 and c.parameter in searched.method.path_parameters
        }
        identity = _identity(table)
        called = [identity[uid] for uid in _uids(part.called)]
        uids = {*identity.values(), *_identity(Table(own, ())).values()}
        fixed = {p: c for p, c in constants.items() if p not in uids}
        method = choose(methods, {*fixed, *places, *called}, ())
        if method is None or not set(called) <= set(method.path_parameters):
            raise none_fits(resource, methods, "select", [*fixed, *called], ())
        binds: tuple[Bind, ...] = ()
        walk = choose(methods, {*fixed, *places}, ()) if not places else None
        if walk is not None and not _narrowed(searched, restriction):
            method, walk = walk, None
        else:
            binds = (self._bind(source, searched, part, restriction, (*called, *places)),)
        join_columns = [identity.get(uid, uid) for uid in _uids(part.joined)]
        scan = build_scan(
            ScanRequest(
                name=name,
                alias=source.alias,
                table=table,
                method=method,
                constants=tuple(
                    Constant(p, c.values, c.origin)
                    for p, c in fixed.items()
                    if method.parameter(p) is not None
                ),
                binds=binds,
                facts=Facts(),
                needed=(*join_columns, *places, *part.fetched),
                star=False,
                walk=walk if walk is not method else None,
                walk_above=WALK_ABOVE,
                endpoint=names.context.base_url(method),
                limit=None,
            )
        )
        reasons = (*scan.reasons, part.why, _extent(searched, restriction, part))
        check = self._check(source, searched, part, restriction, scan=scan, places=places)
        return replace(scan, reasons=reasons, check=check)

    def _wanted(
        self,
        source: Source,
        searched: Scan,
        restriction: Restriction,
        names: tuple[str, ...],
    ) -> str:
        """The rows of the search that are left, as a derived table."""
        alias = quoted(source.alias)
        listed = ", ".join(f"{alias}.{quoted(n)}" for n in names)
        clauses = restriction.clauses
        return f"(SELECT {listed} FROM {searched.name} AS {alias}{clauses}) AS wanted"  # noqa: S608

    def _bind(
        self,
        source: Source,
        searched: Scan,
        part: _Part,
        restriction: Restriction,
        parameters: tuple[str, ...],
    ) -> Bind:
        uids = _uids(part.called)
        names = (*uids, *parameters[len(uids) :])
        listed = ", ".join(map(quoted, names))
        wanted = self._wanted(source, searched, restriction, names)
        sql = f"{restriction.head}SELECT DISTINCT {listed} FROM {wanted}"  # noqa: S608
        shown = f"{source.alias}.{uids[-1]} that is left"
        return Bind(parameters, sql, self.binder.text.values_in(sql), shown)

    def _check(
        self,
        source: Source,
        searched: Scan,
        part: _Part,
        restriction: Restriction,
        *,
        scan: Scan,
        places: tuple[str, ...],
    ) -> Check:
        pairs = _pairs(part, scan, places)
        names = tuple(left for left, _ in pairs)
        wanted = self._wanted(source, searched, restriction, names)
        same = " AND ".join(f"given.{quoted(r)} = wanted.{quoted(x)}" for x, r in pairs)
        sql = (
            f"{restriction.head}SELECT count(*) FROM (SELECT DISTINCT * FROM {wanted}) AS wanted "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT 1 FROM {scan.name} AS given WHERE {same})"
        )
        things = _PLURAL[part.joined]
        message = (
            f"{{count}} of the {things} that {searched.resource} found have nothing in "
            f"{scan.resource}; the store may have changed while it was read. Run it again."
        )
        return Check(sql, self.binder.text.values_in(sql), message)


def _parts(table: Table, columns: tuple[ScanColumn, ...], origins: list[Origin]) -> Iterator[_Part]:
    """What a search lacks, by the resource that has it."""
    dicom = table.dicom
    assert dicom is not None
    full = table.resource.full_name
    found = list(zip(columns, origins, strict=True))
    lacking = tuple(c for c, origin in found if origin is Origin.METADATA)
    if lacking:
        # Whole series are read for single instances: one call gives many of them.
        wanted = LEVELS[min(table.level, 1) :: -1]
        metadata = dict(dicom.metadata)
        called = next((level for level in wanted if level in metadata), None)
        if called is None:
            raise PlanningError(
                f"{full} has no column {lacking[0].name}: its search does not return it, and no "
                f"table has the metadata.",
                resource=full,
            )
        yield _Part(
            resource=metadata[called],
            called=called,
            joined=dicom.level,
            columns=lacking,
            fetched=tuple(c.name for c in lacking),
            values=tuple(f"min({quoted(c.name)})" for c in lacking),
            why=f"the search does not return {_listed(lacking)}",
        )
    groups: dict[tuple[str, str], list[ScanColumn]] = {}
    for column, origin in found:
        if origin is Origin.COUNTED:
            counted = COUNTED[column.name]
            groups.setdefault((counted.of, counted.rows), []).append(column)
    for (of, rows), group in groups.items():
        resource = dict(dicom.tables).get(rows)
        if resource is None:
            raise PlanningError(
                f"{full} has no column {group[0].name}: its search does not return it, and no "
                f"table has the {_PLURAL[rows]} to count it from.",
                resource=full,
            )
        members = tuple(COUNTED[c.name].member for c in group)
        yield _Part(
            resource=resource,
            called=of,
            joined=of,
            columns=tuple(group),
            fetched=tuple(dict.fromkeys([*filter(None, members), UIDS[rows]])),
            values=tuple(map(_counted, members)),
            why=f"the search does not return {_listed(tuple(group))}: counted from the "
            f"{_PLURAL[rows]}",
        )


def _items(columns: Iterable[ScanColumn], shown: Mapping[str, str]) -> str:
    """The items of a SELECT list: each column with the expression that gives it."""
    return ", ".join(f"{shown[c.name]} AS {quoted(c.name)}" for c in columns)


def _counted(member: str) -> str:
    if not member:
        return "count(*)"
    name = quoted(member)
    return f"list(DISTINCT {name} ORDER BY {name}) FILTER ({name} IS NOT NULL)"


def _listed(columns: tuple[ScanColumn, ...]) -> str:
    return ", ".join(c.name for c in columns)


def _narrowed(searched: Scan, restriction: Restriction) -> bool:
    """Whether less than all that there is is left of a search."""
    assert searched.dicom is not None
    own = {parameter for parameter, _ in searched.dicom.identity}
    return bool(
        restriction.conditions
        or restriction.first
        or searched.limit is not None
        or searched.filters
        or searched.alternatives
        or searched.binds
        or any(c.parameter in own for c in searched.constants)
    )


def _extent(searched: Scan, restriction: Restriction, part: _Part) -> str:
    """How much of the store is read, for people."""
    things = _PLURAL[part.called]
    if not _narrowed(searched, restriction):
        return f"read for all {things} of the store: nothing narrows the search"
    left = restriction.conditions or restriction.first
    return f"read for the {things} that {'are left' if left else 'the search finds'}"


def _rows(part: _Part, scan: Scan, places: tuple[str, ...], alias: str) -> str:
    pairs = _pairs(part, scan, places)
    keys = ", ".join(quoted(r) for _, r in pairs)
    values = ", ".join(
        f"{value} AS {quoted(c.name)}" for c, value in zip(part.columns, part.values, strict=True)
    )
    rows = f"SELECT {keys}, {values} FROM {scan.name} GROUP BY {keys}"  # noqa: S608
    same = " AND ".join(f"searched.{quoted(x)} = {alias}.{quoted(r)}" for x, r in pairs)
    return f"({rows}) AS {alias} ON {same}"


def _pairs(part: _Part, scan: Scan, places: tuple[str, ...]) -> list[tuple[str, str]]:
    """(column of the search, column of the further scan) that are the same for the same thing."""
    assert scan.dicom is not None
    identity = {uid: parameter for parameter, uid in scan.dicom.identity}
    pairs = [(uid, identity.get(uid, uid)) for uid in _uids(part.joined)]
    return [*pairs, *((p, p) for p in places)]


def _uids(level: str) -> tuple[str, ...]:
    return tuple(UIDS[x] for x in LEVELS[: LEVELS.index(level) + 1])


def _identity(table: Table) -> dict[str, str]:
    """Attribute -> the parameter that means the same."""
    assert table.dicom is not None
    return {uid: parameter for parameter, uid in table.dicom.identity}
