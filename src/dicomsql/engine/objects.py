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
    from collections.abc import Iterable

    from dicomsql.engine.duck import Engine
    from dicomsql.planning.answers import View

__all__ = [
    "NOTHING",
    "Functions",
    "Objects",
    "functions_of",
    "makes_functions",
    "objects_of",
]

# Lower-case names of macros, with whether they are bound to the connection.
Functions = tuple[tuple[str, bool], ...]

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
_OTHERS = """
    SELECT lower(sequence_name), temporary FROM duckdb_sequences()
    UNION ALL SELECT lower(type_name), database_name = 'temp' FROM duckdb_types() WHERE NOT internal
"""
# What makes or drops something that is no macro, for certain.
_NO_FUNCTIONS = re.compile(
    r"(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?|DROP\s+|ALTER\s+|COMMENT\s+ON\s+)"
    r"(?:TABLE|VIEW|SEQUENCE|(?:UNIQUE\s+)?INDEX|COLUMN)\b",
    re.IGNORECASE,
)
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


def makes_functions(sql: str) -> bool:
    """Whether a statement that makes or drops something may make or drop macros."""
    return _NO_FUNCTIONS.match(sql.lstrip()) is None


def functions_of(engine: Engine, ours: Iterable[str]) -> Functions:
    """Ask an engine which macros statements made; that takes longer than all else together.

    Args:
        ours: lower-case names of functions that are no statement's.
    """
    known = frozenset(ours)
    return tuple((str(n), bool(t)) for n, t in engine.rows(_FUNCTIONS) if n not in known)


def objects_of(engine: Engine, functions: Functions) -> Objects:
    """Ask an engine what statements made in its database, and on its connection.

    Args:
        functions: the macros, as `functions_of` gives them.
    """
    from dicomsql.engine.views import listed, spelled

    tables = listed(engine)
    plain = [(table.name.lower(), table.temporary) for table in tables]
    others = [*engine.rows(_OTHERS), *functions]
    views = [(table.name.lower(),) for table in tables if table.is_view]
    names, defined = spelled(tables)
    return Objects(
        tables=names,
        plain=_names(plain),
        temporary=_names(row for row in (*plain, *others) if row[1]),
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
