"""What the shell adds to an error or a result of the session: how its own commands help there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dicomsql.language.statements import Engine

if TYPE_CHECKING:
    from dicomsql.language.statements import Statement
    from dicomsql.session import Session

__all__ = ["advice", "notes_of"]

# What errors say -> what to do about it here.
_ADVICE = (
    (
        re.compile(r"placeholder"),
        "Parameters are given by programs; here, \\var NAME=VALUE sets what {{ NAME }} stands for.",
    ),
    (
        re.compile(r"give the session defaults"),
        "Here, \\defaults project=P location=L dataset=D store=S does.",
    ),
)
_MAKES_TABLE = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?P<temporary>TEMP(?:ORARY)?\s+)?(?P<kind>TABLE|VIEW)\s+"
    r"(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>\w+)(?!\s*\.|\w)",
    re.IGNORECASE,
)


def advice(error: Exception) -> str:
    """What can be done in the shell about an error; empty for what is not known."""
    text = str(error)
    return next((said for found, said in _ADVICE if found.search(text)), "")


def notes_of(statement: Statement, session: Session, *, told: bool) -> tuple[list[str], bool]:
    """What the maker of a local table or view has to know.

    Args:
        told: that tables in memory go with the shell has been said.

    Returns: sentences, and whether it has been said by now.
    """
    found = _MAKES_TABLE.match(statement.text) if isinstance(statement, Engine) else None
    if found is None:
        return [], told
    said = []
    name = found["name"]
    if len(session.prefix) == 2:
        service = session.catalog.service(*session.prefix)
        if name.lower() in service.resource_names:
            full = ".".join((*session.prefix, name.lower()))
            said.append(
                f"{name} is now the local {found['kind'].lower()}; the server's is {full}, and "
                f"{name} again after DROP {found['kind'].upper()} {name}"
            )
    if not told and not found["temporary"] and session.settings.database is None:
        said.append(
            "local tables and views are in memory and go with the shell; --database FILE keeps them"
        )
        told = True
    return said, told
