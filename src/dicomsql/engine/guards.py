"""Statements of the engine that would change what equality, or a function, means in later ones.

What is asked of a server is worked out from the text of a query, as the engine reads it by itself:
`=` compares texts letter by letter, and `year` is the engine's. What a statement made or set before
is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from dicomsql.errors import PlanningError

__all__ = ["check_setting", "check_statement"]

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
