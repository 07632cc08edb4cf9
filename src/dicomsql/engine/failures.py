"""DuckDB's failures as errors of our tree, their text without values of the data.

DuckDB's own classes are lost where an error comes out of an Arrow stream; the kind always stands
at the head of the text (`Conversion Error: ...`), so that is what is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicomsql.errors import (
    CancelledError,
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

HIDDEN = "…"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What stands behind one of DuckDB's kinds of error.

    Attributes:
        of_statement: its text repeats the statement and names of tables, never a value of a row.
    """

    error: type[DatabaseError]
    of_statement: bool = False


_KINDS = {
    "parser": _Kind(ProgrammingError, of_statement=True),
    "syntax": _Kind(ProgrammingError, of_statement=True),
    "binder": _Kind(ProgrammingError, of_statement=True),
    "catalog": _Kind(ProgrammingError, of_statement=True),
    "dependency": _Kind(ProgrammingError, of_statement=True),
    "permission": _Kind(ProgrammingError, of_statement=True),
    "not implemented": _Kind(NotSupportedError, of_statement=True),
    "io": _Kind(OperationalError, of_statement=True),
    "out of memory": _Kind(OperationalError, of_statement=True),
    "interrupt": _Kind(CancelledError, of_statement=True),
    "conversion": _Kind(DataError),
    "out of range": _Kind(DataError),
    "mismatch type": _Kind(DataError),
    "invalid input": _Kind(ProgrammingError),
    "invalid type": _Kind(ProgrammingError),
    "constraint": _Kind(IntegrityError),
    "internal": _Kind(InternalError),
}
_OTHER = _Kind(OperationalError)

_HEAD = re.compile(r"(?:\w+(?:Exception|Error): )?([A-Za-z][A-Za-z ]*?) Error: ")
_PLACE = "\n\nLINE "
# Quoted text, and numbers that are no part of a name.
_VALUES = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?<![\w.])-?\d[\w.:+-]*")


def translated(error: BaseException, *, show_values: bool) -> DatabaseError:
    """The error of our tree for one of DuckDB's, or for one that came through Arrow.

    Args:
        show_values: let values of the data into its text.
    """
    text = str(error)
    found = _HEAD.match(text)
    kind = _KINDS.get(found.group(1).lower(), _OTHER) if found else _OTHER
    if kind.error is CancelledError:
        return CancelledError("The statement was cancelled.")
    head, marker, place = (text[found.end() :] if found else text).partition(_PLACE)
    # What a reader of ours raised is known to the scan that it belongs to; its trace is no text.
    head = head.split("Detail: Python exception")[0].strip()
    if kind.of_statement or show_values:
        return kind.error(f"{head}\nLINE {place}".rstrip() if marker else head)
    # Lines below the first repeat the value that did not fit.
    return kind.error(_VALUES.sub(HIDDEN, head.split("\n", 1)[0]).strip())
