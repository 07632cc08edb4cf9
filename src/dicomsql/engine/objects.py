"""What statements made in an engine: names that queries have to find, and on which engine.

A query can run on any engine of the database unless it may depend on what one connection alone has:
TEMP objects, variables, a transaction that is not committed. Which names those are is asked of the
engine; whether a text has them is looked up among all of its words, those of texts and comments
too, since a name may be given to a function as text as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dicomsql.engine.duck import Engine, Values
    from dicomsql.planning.answers import View

__all__ = ["NOTHING", "Objects", "asked_apart", "objects_of"]

# Functions that tell of the connection, or take names as values; and what lists its objects.
_OF_CONNECTION = re.compile(
    r"\b(?:getvariable|setseed|random|currval|nextval|query|query_table)\b", re.IGNORECASE
)
_LISTS = re.compile(
    r"\b(?:temp|pg_temp|information_schema|enum_\w+|(?:duckdb|pragma|pg|sqlite)_\w+|txid_current)\b",
    re.IGNORECASE,
)

_WORD = re.compile(r"\w+")

# Names with whether they are bound to the connection that made them. What the engine has by itself
# and for us is left out; a reader that a statement has registered is named as the plan's scans are.
_TABLES = """
    SELECT lower(table_name), temporary FROM duckdb_tables() WHERE NOT internal
    UNION ALL SELECT lower(view_name), temporary FROM duckdb_views() WHERE NOT internal
"""
_OTHERS = """
    SELECT lower(sequence_name), temporary FROM duckdb_sequences()
    UNION ALL SELECT lower(type_name), database_name = 'temp' FROM duckdb_types() WHERE NOT internal
"""
_COLUMNS = """
    SELECT lower(table_name), column_name, data_type FROM duckdb_columns() WHERE NOT internal
    ORDER BY column_index
"""
_FUNCTIONS = """
    SELECT DISTINCT lower(function_name), database_name = 'temp' FROM duckdb_functions()
    WHERE NOT internal
"""


@dataclass(frozen=True, slots=True)
class Objects:
    """Lower-case names of what statements made.

    Attributes:
        tables: tables and views, by all spellings that find them.
        plain: the same, each by its own name alone.
        temporary: whatever is bound to its connection.
        derived: views and macros, which may rest on something that is.
        others: macros, types and sequences.
        views: (lower-case name, view) of those that planning reads in place of the engine.
    """

    tables: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    temporary: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    views: tuple[tuple[str, View], ...] = ()

    def named_in(self, sql: str) -> list[str]:
        """The tables whose names may stand in a text."""
        return sorted(_found(self.plain, sql))

    def bind(self, sql: str, *, in_transaction: bool) -> bool:
        """Whether a text may depend on what one connection alone has.

        Args:
            in_transaction: what was made, or changed, may not be committed.
        """
        if _OF_CONNECTION.search(sql):
            return True
        bound = self.temporary | self.derived if self.temporary else frozenset[str]()
        if in_transaction:
            bound = self.plain | self.others
        if (in_transaction or self.temporary) and _LISTS.search(sql):
            return True
        return bool(_found(bound, sql))


NOTHING = Objects()


def objects_of(engine: Engine, ours: Iterable[str]) -> Objects:
    """Ask an engine what statements made in its database, and on its connection.

    Args:
        ours: lower-case names of functions that are no statement's.
    """
    from dicomsql.engine.views import named

    known = frozenset(ours)
    tables = engine.rows(_TABLES)
    functions = [row for row in engine.rows(_FUNCTIONS) if row[0] not in known]
    others = [*engine.rows(_OTHERS), *functions]
    views = engine.rows("SELECT lower(view_name) FROM duckdb_views() WHERE NOT internal")
    names, defined = named(engine)
    return Objects(
        tables=names,
        plain=_names(tables),
        temporary=_names(row for row in (*tables, *others) if row[1]),
        derived=_names((*views, *functions)),
        others=_names(others),
        views=defined,
    )


def _found(names: frozenset[str], sql: str) -> set[str]:
    """Those of the names that may stand in a text."""
    lower = sql.lower()
    found = set(names.intersection(_WORD.findall(lower)))
    # Other names stand there in quotes, of which their own are doubled.
    found |= {n for n in names if not _WORD.fullmatch(n) and n.replace('"', '""') in lower}
    return found


def _names(rows: Iterable[tuple[object, ...]]) -> frozenset[str]:
    return frozenset(str(row[0]) for row in rows)


def asked_apart(
    engine: Engine, spare: Engine, names: Sequence[str], sql: str, values: Values
) -> object:
    """The value of a question about columns, asked where its failure ends no transaction.

    Args:
        engine: has the tables.
        spare: another one, which gets tables without rows in their place.
        names: the tables.

    Raises:
        DatabaseError: the question has no answer.
    """
    from dicomsql.planning.values import quoted

    tables: dict[str, list[str]] = {}
    for table, column, kind in engine.rows(_COLUMNS) if names else ():
        if table in names:
            tables.setdefault(str(table), []).append(f"{quoted(str(column))} {kind}")
    made: list[str] = []
    try:
        for table, columns in tables.items():
            spare.rows(f"CREATE TEMP TABLE {quoted(table)} ({', '.join(columns)})")
            made.append(table)
        return spare.value(sql, values)
    finally:
        for table in made:
            spare.rows(f"DROP TABLE temp.{quoted(table)}")
