"""DuckDB's failures as errors of our tree, their text without values of the data.

DuckDB's own classes are lost where an error comes out of an Arrow stream; the kind always stands
at the head of the text (`Conversion Error: ...`), so that is what is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from dicomsql.engine.carried import TOO_LONG
from dicomsql.errors import (
    CancelledError,
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    nearest,
)
from dicomsql.planning.counts import NUMBERS, missing
from dicomsql.planning.views import UNREAD

HIDDEN = "…"


class _Words(Enum):
    """What the text of a kind of error is made of, where it is raised over rows."""

    STATEMENT = auto()  # names and texts of the statement and of what the system said
    MASKED = auto()  # a sentence that quotes a value of a row
    VALUES = auto()  # whatever a value of a row says


@dataclass(frozen=True, slots=True)
class _Kind:
    """What stands behind one of DuckDB's kinds of error.

    Attributes:
        prepared: its text repeats only the statement, if it is raised before there are rows.
    """

    error: type[DatabaseError]
    running: _Words = _Words.VALUES
    prepared: bool = False


def _of_statement(error: type[DatabaseError]) -> _Kind:
    return _Kind(error, _Words.STATEMENT, prepared=True)


_KINDS = {
    "parser": _of_statement(ProgrammingError),
    "syntax": _of_statement(ProgrammingError),
    "binder": _of_statement(ProgrammingError),
    "catalog": _of_statement(ProgrammingError),
    "dependency": _of_statement(ProgrammingError),
    "permission": _of_statement(ProgrammingError),
    "not implemented": _Kind(NotSupportedError, prepared=True),
    "io": _of_statement(OperationalError),
    "out of memory": _of_statement(OperationalError),
    "interrupt": _of_statement(CancelledError),
    "conversion": _Kind(DataError, _Words.MASKED),
    "out of range": _Kind(DataError, _Words.MASKED),
    "mismatch type": _Kind(DataError, _Words.MASKED),
    "invalid input": _Kind(ProgrammingError),
    "invalid type": _Kind(ProgrammingError),
    "constraint": _Kind(IntegrityError, _Words.MASKED),
    "internal": _Kind(InternalError),
}
_OTHER = _Kind(OperationalError)

# Errors without a value that are worth their words, whose kind has values in others: our macros',
# and one that says what is wrong with the statement.
_SPOKEN = re.compile(
    "|".join(
        (
            *(re.escape(missing(number)) for number in NUMBERS),
            r".*".join(map(re.escape, UNREAD.split("{name}"))),
            r"[\w.\"]+ is text and is compared with a column of numbers, which could match another "
            r"identifier\. Read that column as text\.",
            re.escape(TOO_LONG),
            "More than one row returned by a subquery used as an expression",
            r"CHECK constraint failed on table \"?\w+\"?",
        )
    )
)

# Kinds whose words may repeat values, in ours.
_OURS = {
    "transactioncontext": (
        "This conflicts with another connection to the same database, which changes the same rows "
        "or tables, or still reads a result: roll back, and try again once that has ended."
    ),
}

# How errors begin that do not say what to write instead, and what that is.
_ADVICE = {
    "invalid date field format": (
        "A date is written as DATE '2026-01-31'; DICOM's spelling, '20260131', is understood where "
        "it is compared with a column of a DICOM table."
    ),
    "Cannot change configuration option": (
        "Settings that decide what code runs and what can be reached stay as they are."
    ),
    "Unimplemented type for cast": (
        "Where a value is looked for in a list, write IN ? without brackets."
    ),
    "time field value out of range": "A time is written as TIME '13:45:00'.",
    "invalid timestamp field format": "It is written as TIMESTAMP '2026-01-31 13:45:00'.",
}

# How the engine names what is not there, and what it takes for near to it.
_NO_COLUMN = re.compile(
    r"Referenced column \"(?P<name>[^\"]*)\" not found in FROM clause!\s*"
    r"Candidate bindings: (?P<near>.*)"
    r"|Table \"(?P<table>[^\"]*)\" does not have a column named \"(?P<member>[^\"]*)\"\s*"
    r"Candidate bindings: :? ?(?P<nearer>.*)",
    re.DOTALL,
)
_NO_TABLE = re.compile(
    r"Table with name (?P<name>\S+) does not exist!(?:\s*Did you mean \"(?P<near>[^\"]*)\"\?)?"
)
# The engine's own tables, which nobody means.
_ITS_OWN = re.compile(r"(?:pg|duckdb|sqlite|pragma)_|information_schema|system\.", re.IGNORECASE)
_NO_FUNCTION = re.compile(
    r"(?P<kind>Table|Scalar) Function with name (?P<name>\S+) does not exist!"
    r"(?:\s*Did you mean \"(?P<near>[^\"]*)\"\?)?"
)

_HEAD = re.compile(r"(?:\w+(?:Exception|Error): )?([A-Za-z][A-Za-z ]*?) Error: ")
_PLACE = "\n\nLINE "
# From the first quote to the last: a value may hold quotes of its own, which are not escaped.
_QUOTED = re.compile(r"[\"'].*[\"']|[\"'].*", re.DOTALL)
# What may follow the last quote: the type, and the column, that a value was cast to and from; and
# what is wrong with a key.
_BEHIND = re.compile(
    r"(?: to (?:type )?[A-Z][A-Z0-9_ ]*(?:\([0-9, ]*\))?(?:\[\])*)?"
    r"(?: when casting from source column \w+| failed: value is out of range!)?"
    r"| violates (?:primary key|unique) constraint\.?"
    r"| does not exist in the referenced table"
)
_PARTS = re.compile(r"\"([^\"]*)\"|'([^']*)'")
# Numbers that are no part of a name.
_NUMBERS = re.compile(r"(?<![\w.])-?\d[\w.:+-]*")

# What lets values of rows into names and texts of a statement before it runs. The labels of an ENUM
# that are written are words of the statement.
_NAMES = r"\b(?:query|query_table)\"?\s*\(|\b(?:pivot|pivot_wider)\b|\benum\b(?!\s*\(\s*')"
_INDIRECT = re.compile(rf"\bgetvariable\"?\s*\(|{_NAMES}", re.IGNORECASE)
_OF_NAMES = re.compile(_NAMES, re.IGNORECASE)

# Makes something that later statements name; makes rows alone, whose columns the statement names.
_MAKES = re.compile(r"\b(?:CREATE|PREPARE)\b", re.IGNORECASE)
_MAKES_ROWS = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"(?:\w+|\"[^\"]*\")\s+AS\b",
    re.IGNORECASE,
)


def is_indirect(sql: str) -> bool:
    """Whether a statement may have names and texts that are values of rows."""
    return _INDIRECT.search(sql) is not None


def is_made_of_values(sql: str) -> bool:
    """Whether a statement may make what later ones name, with names or texts from values."""
    if not _MAKES.search(sql) or not is_indirect(sql):
        return False
    return _MAKES_ROWS.match(sql) is None or _OF_NAMES.search(sql) is not None


def same_words(error: BaseException, another: BaseException) -> bool:
    """Whether two errors say the same, wherever in their statement."""
    return str(error).partition(_PLACE)[0] == str(another).partition(_PLACE)[0]


def translated(
    error: BaseException, *, show_values: bool, sql: str = "", prepared: bool = False
) -> DatabaseError:
    """The error of our tree for one of DuckDB's, or for one that came through Arrow.

    Args:
        show_values: let values of the data into its text.
        sql: the statement, where it is known and names no values of rows.
        prepared: the statement was refused before there were rows, and names none of their values.
    """
    text = str(error)
    found = _HEAD.match(text)
    kind = _KINDS.get(found.group(1).lower(), _OTHER) if found else _OTHER
    if kind.error is CancelledError:
        return CancelledError("The statement was cancelled.")
    said = text[found.end() :] if found else text
    # A value may hold the marker too; the last one is DuckDB's.
    head, marker, place = said.rpartition(_PLACE)
    if not marker:
        head, place = said, ""
    # What a reader of ours raised is known to the scan that it belongs to; its trace is no text.
    head = head.split("Detail: Python exception")[0].strip()
    if show_values or (prepared and kind.prepared):
        head = _not_there(head)
        return kind.error(f"{head}\nLINE {place}".rstrip() if marker else head)
    if spoken := _SPOKEN.match(head):
        return kind.error(spoken[0].rstrip(".") + ".")
    if kind.running is _Words.STATEMENT and (line := _repeated(head, sql)):
        return kind.error(line)
    if kind.running is _Words.MASKED or prepared:
        return kind.error(_advised(_masked(head)))
    name = found.group(1).lower() if found else "unnamed"
    if name in _OURS:
        return kind.error(_OURS[name])
    return kind.error(
        f"The engine stopped with an error of the kind '{name}'. Its own words may repeat values "
        "of the data; --show-phi (in Python: connect(show_phi=True)) shows them."
    )


def _not_there(text: str) -> str:
    """The text, in our words where it says that a column or a function is not there."""
    from dicomsql.planning.files import FUNCTION

    if found := _NO_COLUMN.fullmatch(text):
        known = [first for first, _ in _PARTS.findall(found["near"] or found["nearer"] or "")]
        name, table = found["name"] or found["member"], found["table"]
        said = f"{table} has no column {name}." if table else f"There is no column {name} here."
        listed = f" Among those there: {', '.join(known)}." if known else ""
        return f"{said}{nearest(name, known) or listed}"
    if found := _NO_TABLE.fullmatch(text):
        near = found["near"] or ""
        known = [] if _ITS_OWN.match(near) else [near] * bool(near)
        return f"There is no table {found['name']} here.{nearest(found['name'], known)}"
    if found := _NO_FUNCTION.fullmatch(text):
        name = found["name"]
        if name.lower() == FUNCTION:
            return f"{FUNCTION} gives a table: it stands in FROM, with one argument."
        kind = "table function" if found["kind"] == "Table" else "function"
        # What the engine takes for near may be far.
        known = [FUNCTION] * (kind == "table function") + [found["near"]] * bool(found["near"])
        return f"There is no {kind} {name}.{nearest(name, known)}"
    return text


def _advised(text: str) -> str:
    """The text with what to write instead, where that is known."""
    advice = next((a for head, a in _ADVICE.items() if text.startswith(head)), "")
    return f"{text}. {advice}" if advice else text


def _repeated(head: str, sql: str) -> str:
    """The first line of a text if all that it quotes stands in the statement, else nothing."""
    line = head.partition("\n")[0]
    quoted = [first or second for first, second in _PARTS.findall(line)]
    return line if quoted and all(part in sql for part in quoted) else ""


def _masked(head: str) -> str:
    """The first line of a text without its values."""
    found = _QUOTED.search(head)
    line_end = head.find("\n")
    if found is None or 0 <= line_end < found.start():
        # Lines below the first repeat the value that did not fit.
        return _NUMBERS.sub(HIDDEN, head.partition("\n")[0]).strip()
    before, behind = head[: found.start()], head[found.end() :]
    kept = behind if _BEHIND.fullmatch(behind) else ""
    return f"{_NUMBERS.sub(HIDDEN, before)}{HIDDEN}{kept}".strip()
