"""What a COPY's query names: its rows, put together by study, each study with its stores.

The engine sorts them, so that one study at a time is in memory, however many there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomsql.errors import InternalError, ProgrammingError
from dicomsql.execution.reads import ReadRun, WindowRun
from dicomsql.planning.cost import estimate
from dicomsql.transport.base import encode_segment

if TYPE_CHECKING:
    from dicomsql.copying.source import Place
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import Named
    from dicomsql.planning.read_plan import ReadPlan

__all__ = ["Group", "Row", "Values", "groups", "why_not"]

# The values of the columns that a layout names, in its order.
Values = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One of the query's rows.

    Attributes:
        study, series, instance: UIDs; the last are empty where the query has no such column, and
            all may be where the row is NULL there.
        values: of further columns.
    """

    place: Place
    study: str
    series: str
    instance: str
    values: Values


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one study of one store."""

    place: Place
    study: str
    rows: tuple[Row, ...]


def groups(
    run: Run, query: ReadPlan, named: Named, further: Sequence[str]
) -> Generator[Group, None, None]:
    """The query's rows, each once.

    Args:
        further: columns whose values are wanted too.

    Raises: what the query does.
    """
    with closing(_rows(run, query, named, further)) as sorted_rows:
        for (place, study), rows in itertools.groupby(
            sorted_rows, lambda row: (row.place, row.study)
        ):
            yield Group(place, study, tuple(rows))


def why_not(named: Named, row: Row) -> str:
    """Why nothing can be asked for what a row names; empty where it can be."""
    columns = (named.study, named.series, named.instance)
    for column, uid in zip(columns, (row.study, row.series, row.instance), strict=True):
        if not column:
            continue
        if not uid:
            return f"the query's row has no {column}"
        try:
            encode_segment(column, uid)
        except ProgrammingError:
            return f"the query's row has a {column} that is no UID"
    for name, value in row.place:
        try:
            encode_segment(name, value)
        except ProgrammingError:
            return f"the query's row does not say by {name} in which store it is"
    return ""


def _rows(
    run: Run, query: ReadPlan, named: Named, further: Sequence[str]
) -> Generator[Row, None, None]:
    """The rows, distinct and sorted by store, study, series and instance."""
    uids = [c for c in (named.study, named.series, named.instance) if c]
    columns = [*(column for _, column in named.places), *uids, *further]
    texts = ", ".join(f"CAST({_quoted(column)} AS VARCHAR)" for column in columns)
    sql = f"SELECT DISTINCT {texts} FROM ({_text(query)}\n) ORDER BY ALL"  # noqa: S608
    plan = replace(query, sql=sql, direct=())
    active = WindowRun(run, plan) if plan.windows is not None else ReadRun(run, plan)
    if plan.scans:
        run.check_budget(estimate(query).least, "The statement")
    for note in plan.notes:
        run.note(note)
    try:
        if active.open() is None:
            raise InternalError("The query of a COPY gives no rows.")
        at_uids = len(named.places)
        at_rest = at_uids + len(uids)
        for batch in active.batches():
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                place = tuple((name, row[n] or "") for n, (name, _) in enumerate(named.places))
                given = [(uid or "").strip("\0 ") for uid in row[at_uids:at_rest]]
                study, series, instance = (*given, "", "")[:3]
                yield Row(place, study, series, instance, tuple(row[at_rest:]))
    finally:
        active.close()


def _text(query: ReadPlan) -> str:
    """The query as the engine runs it."""
    if not query.direct:
        return query.sql
    # The rows of its only scan are its own, which has no more columns than those.
    shown = ", ".join(f"{_quoted(name)} AS {_quoted(as_)}" for as_, name in query.direct)
    return f"SELECT {shown} FROM {_quoted(query.scans[0].name)}"  # noqa: S608


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
