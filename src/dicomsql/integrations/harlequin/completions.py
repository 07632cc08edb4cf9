"""What Harlequin completes beside what its catalog has shown: functions and DICOM's columns."""

from __future__ import annotations

from harlequin.autocomplete import HarlequinCompletion

import dicomsql
from dicomsql.integrations.harlequin.labels import short

__all__ = ["completions_of"]

# Harlequin's own for what is in the catalog, and for functions.
_COLUMN, _FUNCTION = 500, 1_000

_TABLES = ("studies", "series", "instances")
_FUNCTIONS = (
    "SELECT DISTINCT function_name, function_type FROM duckdb_functions() "
    "WHERE regexp_full_match(function_name, '[a-z][a-z0-9_]*') ORDER BY ALL"
)
_KINDS = {"aggregate": "agg", "table": "tbl", "macro": "fn", "table_macro": "tbl"}


def completions_of(connection: dicomsql.Connection) -> list[HarlequinCompletion]:
    """The functions, and the usual columns of studies, series and instances.

    Asks the engine and the documents; nothing is sent.
    """
    with connection.cursor(row_factory=dicomsql.tuple_row) as cursor:
        columns = {
            name: kind
            for table in _TABLES
            for name, kind, *_ in cursor.execute(f"DESCRIBE google.healthcare.{table}")
        }
        functions = {str(name): str(kind) for name, kind in cursor.execute(_FUNCTIONS)}
        functions["read_dicom"] = "table"  # which is none of the engine's
    return [
        *(HarlequinCompletion(n, short(kind), n, _COLUMN) for n, kind in columns.items()),
        *(
            HarlequinCompletion(n, _KINDS.get(kind, "fn"), n, _FUNCTION)
            for n, kind in functions.items()
        ),
    ]
