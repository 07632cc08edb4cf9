"""Statements of the engine that are refused: for what they mean later, for what they reach.

What is asked of a server is worked out from the text of a query, as the engine reads it by itself:
`=` compares texts letter by letter, and `year` is the engine's. What a statement made or set before
is not looked at.

Extensions are code that others wrote, fetched from the network: no statement installs or loads one.
Where files are switched off, DuckDB itself refuses most; it would still write beside its database
and where it spills, and read both, so that statements that write files are refused here, and so is
every function that gives a table of what is not known to be no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dicomsql.errors import NotSupportedError, PlanningError
from dicomsql.planning.reach import NO_FILES

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "UNKNOWN",
    "check_functions",
    "check_reach",
    "check_setting",
    "check_statement",
    "reaching",
]

# The kind of a statement that the engine parses and does not name.
UNKNOWN = "UNKNOWN"

# Kinds of statements that fetch or load extensions.
_EXTENDS = frozenset({"LOAD", "UPDATE_EXTENSIONS", UNKNOWN})
# Kinds that read and write files, and words that say so in a statement that is prepared.
_WRITES_FILES = frozenset({"COPY", "EXPORT", "ATTACH", "COPY_DATABASE"})
_PREPARED = re.compile(r"\b(?:COPY|EXPORT|IMPORT|ATTACH|INSTALL|LOAD)\b", re.IGNORECASE)
_WRAPS = frozenset({"PREPARE", "EXPLAIN", "MULTI", "PRAGMA"})
# Keeps what it is told in a file of the user's folder.
_SECRET = re.compile(r"\s*CREATE\b[^;(]*\bSECRET\b", re.IGNORECASE)

# Texts and names as they are, then comments.
_PIECES = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|(\$\w*\$).*?\2)|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_TEXTS = re.compile(r"'(?:[^']|'')*'|(\$\w*\$).*?\1", re.DOTALL)
_SETS = re.compile(
    r"\s*(?:PRAGMA|SET|RESET)\s+(?:(?:GLOBAL|SESSION|LOCAL)\s+)?([\"']?)(\w+)\1", re.IGNORECASE
)
_KEEPS = re.compile(r"\s*(?:CREATE|ALTER)\b.*\bCOLLATE\b", re.IGNORECASE | re.DOTALL)
_DEFINES = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:TEMP|TEMPORARY|PERSISTENT)\s+)?(?:MACRO|FUNCTION)\s+"
    r"(?:IF\s+NOT\s+EXISTS\s+)?(?:(?:\w+|\"(?:[^\"]|\"\")+\")\s*\.\s*)*"
    r"(\w+|\"(?:[^\"]|\"\")+\")\s*\(",
    re.IGNORECASE,
)


# Functions that give tables and read no files: of what is given, and of the database itself. What
# runs a text as a query (`query`) is none of them, since that could read anything.
_HARMLESS = re.compile(
    r"range|generate_series|unnest|repeat|repeat_row|summary|json_each|json_tree"
    r"|histogram|histogram_values|pg_timezone_names|icu_calendar_names"
    r"|duckdb_\w+|pragma_\w+|checkpoint|force_checkpoint"
)
# A function's name with what may follow it, when it is called.
_CALLED = re.compile(r"(\w+)\"?\s*(?:\(|/\*|--)")
_FUNCTIONS = """
    SELECT DISTINCT lower(function_name) FROM duckdb_functions()
    WHERE function_type IN ('table', 'table_macro') AND internal
"""
# Names of what statements made, with the texts that run where one is used.
_MADE = """
    SELECT lower(function_name), macro_definition FROM duckdb_functions()
    WHERE NOT internal AND macro_definition IS NOT NULL
    UNION ALL SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal
    UNION ALL SELECT lower(table_name), sql FROM duckdb_triggers()
"""


def reaching(connection: duckdb.DuckDBPyConnection) -> tuple[frozenset[str], frozenset[str]]:
    """What may read files in a database, in lower case.

    Returns:
        Functions of the engine; and what was made of them in the database: macros, views, tables
        that have triggers.
    """
    found = {str(name) for (name,) in connection.execute(_FUNCTIONS).fetchall()}
    functions = frozenset(name for name in found if not _HARMLESS.fullmatch(name))
    texts = connection.execute(_MADE).fetchall()
    made: set[str] = set()
    while new := {n for n, sql in texts if n not in made and _reaches(str(sql), functions, made)}:
        made |= new
    return functions, frozenset(made)


def check_functions(sql: str, functions: Collection[str], made: Collection[str]) -> None:
    """Refuse a text that may read a file.

    Also one that says so in a literal: what is one and what is none is the engine's to know.

    Args:
        functions, made: as `reaching` gives them.

    Raises:
        NotSupportedError: it names one of these.
    """
    if _reaches(sql, functions, made):
        raise NotSupportedError(NO_FILES)


def _reaches(sql: str, functions: Collection[str], made: Collection[str]) -> bool:
    lower = sql.lower()
    if any(found[1] in functions for found in _CALLED.finditer(lower)):
        return True
    return bool(made) and any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", lower) for n in made)


def check_setting(name: str) -> None:
    """Refuse a setting by which equality would mean something else.

    Raises:
        PlanningError: it is one.
    """
    if name.lower() == "default_collation":
        raise PlanningError(
            "default_collation cannot be changed: it decides which texts are equal, and servers "
            "know nothing of it. Write COLLATE behind the column in the query instead."
        )


def check_reach(sql: str, kinds: Collection[str], *, files: bool) -> None:
    """Refuse a statement that reaches what statements may not reach.

    Args:
        kinds: the engine's words for what the text holds.
        files: other files may be read and written.

    Raises:
        NotSupportedError: it fetches or loads an extension, or touches files that are switched off.
    """
    plain = _TEXTS.sub("''", _PIECES.sub(lambda piece: piece[1] or " ", sql))
    wrapped = bool(_WRAPS.intersection(kinds)) and _PREPARED.search(plain) is not None
    if _EXTENDS.intersection(kinds) or (wrapped and re.search(r"(?i)\b(INSTALL|LOAD)\b", plain)):
        raise NotSupportedError(
            "Extensions of the engine are never fetched or loaded: they are code from the network, "
            "which would run beside patients' data."
        )
    if files:
        return
    if _WRITES_FILES.intersection(kinds) or wrapped or _SECRET.match(plain):
        raise NotSupportedError(NO_FILES)


def check_statement(sql: str, is_built_in: Callable[[str], bool]) -> None:
    """Refuse a statement that changes what later ones mean.

    Args:
        is_built_in: whether the engine, or we, have a function of that name.

    Raises:
        PlanningError: it sets a collation, makes a column that keeps one, or a function whose name
            is taken.
    """
    plain = _PIECES.sub(lambda piece: piece[1] or " ", sql)
    if found := _SETS.match(plain):
        check_setting(found[2])
    if _KEEPS.match(_TEXTS.sub("''", plain)):
        raise PlanningError(
            "What is made here cannot keep a COLLATE: it decides which texts are equal, and later "
            "statements would not show it. Write COLLATE in the query that compares."
        )
    if found := _DEFINES.match(plain):
        name = found[1].strip('"').replace('""', '"')
        if is_built_in(name):
            raise PlanningError(
                f"There is a function {name} already, whose meaning conditions on servers' tables "
                "rest on. Give the macro another name."
            )
