"""Columns of tables: put together, checked, and as BigQuery's JSON has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError

__all__ = ["TYPES", "from_json", "merged", "to_json"]

_PLAIN = ("STRING", "BYTES", "NUMERIC", "TIMESTAMP", "DATE", "TIME", "DATETIME", "JSON")
# The names of types that BigQuery takes, and the one that it gives back.
TYPES = {
    **{name: name for name in _PLAIN},
    **dict.fromkeys(("INTEGER", "INT64"), "INTEGER"),
    **dict.fromkeys(("FLOAT", "FLOAT64"), "FLOAT"),
    **dict.fromkeys(("BOOLEAN", "BOOL"), "BOOLEAN"),
    **dict.fromkeys(("RECORD", "STRUCT"), "RECORD"),
}
_MODES = ("NULLABLE", "REQUIRED", "REPEATED")
_NAME = re.compile(r"[^\W\d]\w{0,299}")
_DEEPEST = 15  # levels of records, as BigQuery has them


def merged(
    first: Sequence[Column], second: Sequence[Column], where: str = ""
) -> tuple[Column, ...]:
    """The columns of both, those of `first` before what `second` adds.

    Raises:
        NeighbourError: INVALID_ARGUMENT where both have a column of one name and two types.
    """
    if first == second:
        return tuple(first)
    found = {column.name.lower(): column for column in first}
    for column in second:
        known = found.get(column.name.lower())
        if known is None:
            found[column.name.lower()] = column
        elif known != column:
            found[column.name.lower()] = _both(known, column, where)
    return tuple(found.values())


def to_json(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """As `TableSchema.fields` has them."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "mode": column.mode,
            **({"fields": to_json(column.fields)} if column.fields else {}),
        }
        for column in columns
    ]


def from_json(fields: Any, where: str = "schema.fields", depth: int = 1) -> tuple[Column, ...]:
    """From `TableSchema.fields`.

    Raises:
        NeighbourError: INVALID_ARGUMENT where they are no columns; UNIMPLEMENTED for a type that is
            not emulated.
    """
    if not isinstance(fields, list) or depth > _DEEPEST:
        raise NeighbourError("INVALID_ARGUMENT", f"{where} has to be a list, {_DEEPEST} deep.")
    found: dict[str, Column] = {}
    for number, field in enumerate(fields):
        at = f"{where}[{number}]"
        if not isinstance(field, Mapping) or not isinstance(field.get("name"), str):
            raise NeighbourError("INVALID_ARGUMENT", f"{at} has no name.")
        name = field["name"]
        if not _NAME.fullmatch(name) or name.lower() in found:
            raise NeighbourError(
                "INVALID_ARGUMENT",
                f"Invalid field name at {at}: up to 300 letters, digits and underscores, none"
                " twice.",
            )
        kind = TYPES.get(str(field.get("type", "")).upper())
        if kind is None:
            raise NeighbourError(
                "UNIMPLEMENTED", f"The type of {at} is not emulated; there are {sorted(TYPES)}."
            )
        mode = str(field.get("mode") or "NULLABLE").upper()
        if mode not in _MODES:
            raise NeighbourError("INVALID_ARGUMENT", f"Invalid mode at {at}.")
        below: tuple[Column, ...] = ()
        if kind == "RECORD":
            below = from_json(field.get("fields"), f"{at}.fields", depth + 1)
            if not below:
                raise NeighbourError("INVALID_ARGUMENT", f"The record at {at} has no fields.")
        found[name.lower()] = Column(name, kind, mode, below)
    return tuple(found.values())


def _both(first: Column, second: Column, where: str) -> Column:
    at = where + first.name
    repeated = {first.mode == "REPEATED", second.mode == "REPEATED"}
    if first.type != second.type or len(repeated) > 1:
        raise NeighbourError(
            "INVALID_ARGUMENT",
            f"The column {at} is {first.mode} {first.type} in the table and"
            f" {second.mode} {second.type} in the rows.",
        )
    # what is required becomes nullable where a row need not have it
    mode = first.mode if first.mode == second.mode or True in repeated else "NULLABLE"
    return Column(first.name, first.type, mode, merged(first.fields, second.fields, f"{at}."))
