"""One statement for many sets of values, on the engine's connection and within a transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dicomsql.planning.parameters import numbered

if TYPE_CHECKING:
    import duckdb

__all__ = ["At", "repeat"]

# An INSERT that has none of these words writes as many rows for each set.
_VARIES = re.compile(
    r"\b(?:SELECT|FROM|TABLE|CONFLICT|IGNORE|REPLACE|RETURNING|WITH|MERGE)\b", re.IGNORECASE
)
_INSERT = re.compile(r"\s*INSERT\b", re.IGNORECASE)


class At:
    """Which of the sets is being written.

    Attributes:
        number: of the set, from 0.
    """

    def __init__(self) -> None:
        self.number = 0


def repeat(
    connection: duckdb.DuckDBPyConnection,
    statement: duckdb.Statement,
    sql: str,
    sets: Sequence[dict[str, object]],
    *,
    at: At,
    check: Callable[[], None],
) -> int | None:
    """Run a statement for each of the sets.

    Args:
        statement, sql: the same statement, parsed and as text.
        check: raises where the statement was told to stop.

    Returns:
        The number of rows that were written; None where each set writes as many as any other.
    """
    if _INSERT.match(sql) and not _VARIES.search(sql):
        text, names = numbered(sql)
        # It is prepared once, which halves the time of each.
        values = [_Set(at, place, [one[name] for name in names]) for place, one in enumerate(sets)]
        if names:
            connection.executemany(text, values)
            return None
    written = 0
    for at.number, values_of_one in enumerate(sets):
        check()
        ((count,),) = connection.execute(statement, values_of_one or None).fetchall()
        written += int(count)
    return written


class _Set(list[object]):
    """The values of a set, which tells when it is read: each is just before it is written."""

    def __init__(self, at: At, place: int, values: list[object]) -> None:
        super().__init__(values)
        self._at = at
        self._place = place

    def __iter__(self) -> Iterator[Any]:
        self._at.number = self._place
        return super().__iter__()
