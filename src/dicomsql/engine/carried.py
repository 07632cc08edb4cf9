"""How DuckDB's types go into Arrow where Arrow, or DuckDB on its way there, would lose something.

The column keeps its SQL type; its values are carried by another one that holds them whole, or the
statement fails:

- TIME WITH TIME ZONE, BIT and BIGNUM as text, which is what JSON is as well;
- UHUGEINT as HUGEINT is, by DuckDB: as DECIMAL(38,0). Of both, what has more digits is an error;
- INTERVAL in nanoseconds, of which there are 292 years; longer ones of hours and less are an error;
- VARIANT not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from dicomsql.errors import DataError, NotSupportedError
from dicomsql.result import ResultColumn

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["TOO_LONG", "carried", "check_digits", "check_whole", "columns_of"]

# What an interval in hours, minutes and seconds that is too long is told.
TOO_LONG = "An interval of hours, minutes or seconds is longer than 292 years: cast it to VARCHAR"

# Types by their ids, with what carries them.
_CARRIERS = {
    "time with time zone": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "VARCHAR",
    "uhugeint": "DECIMAL(38,0)",
}
_MAY_NEED_ONE = re.compile(r"\b(?:TIME WITH TIME ZONE|BIT|BIGNUM|UHUGEINT|INTERVAL)\b")
_NOWHERE = re.compile(r"\bVARIANT\b")
_CHANGES = re.compile(r"\b(?:TIME WITH TIME ZONE|BIT|UHUGEINT|VARIANT)\b")
_WIDE = re.compile(r"\bHUGEINT\b")
_HOURS = 2_562_047


def columns_of(relation: duckdb.DuckDBPyRelation) -> tuple[ResultColumn, ...]:
    """The columns of a query, with DuckDB's own types."""
    return tuple(
        ResultColumn(str(name), str(kind))
        for name, kind in zip(relation.columns, relation.types, strict=True)
    )


def carried(
    relation: duckdb.DuckDBPyRelation, columns: Iterable[ResultColumn]
) -> duckdb.DuckDBPyRelation:
    """The query with its values as Arrow holds them whole.

    Raises:
        NotSupportedError: a column has values that nothing carries.
    """
    columns = tuple(columns)
    for column in columns:
        if _NOWHERE.search(column.type):
            raise NotSupportedError(
                f"Column {column.name} is a {column.type}, which nothing outside of the engine "
                "reads: cast it to VARCHAR or JSON."
            )
    if not any(_MAY_NEED_ONE.search(column.type) for column in columns):
        return relation
    shown = []
    for place, (column, kind) in enumerate(zip(columns, relation.types, strict=True), 1):
        name = '"' + column.name.replace('"', '""') + '"'
        value, carrier = f"#{place}", _carrier(kind)
        if carrier is not None:
            value = f"CAST(#{place} AS {carrier})"
        elif kind.id == "interval":
            value = (
                f"CASE WHEN abs(datepart('hour', #{place})) >= {_HOURS} "
                f"THEN error('{TOO_LONG}') ELSE #{place} END"
            )
        shown.append(f"{value} AS {name}")
    return relation.project(", ".join(shown))


def check_whole(columns: Iterable[ResultColumn]) -> None:
    """Refuse columns that would not be the same if they came back out of Arrow.

    Raises:
        NotSupportedError: one of them would not.
    """
    changed = next((c for c in columns if _CHANGES.search(c.type)), None)
    if changed is not None:
        raise NotSupportedError(
            f"Column {changed.name} of a subquery is a {changed.type}, which cannot be kept for "
            "the rest of the query: cast it to VARCHAR."
        )


def check_digits(columns: Iterable[ResultColumn], data: pa.RecordBatch | pa.Table) -> None:
    """Refuse integers that have more digits than Arrow's numbers.

    Raises:
        DataError: there is one.
    """
    import pyarrow as pa

    for column, values in zip(columns, data.columns, strict=True):
        if not _WIDE.search(column.type):
            continue
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise DataError(
                f"Column {column.name} ({column.type}) holds an integer of more than 38 digits: "
                "cast it to VARCHAR."
            ) from None


def _carrier(kind: DuckDBPyType) -> str | None:
    """The type that carries one; None where it does so itself."""
    if kind.id in _CARRIERS:
        return _CARRIERS[kind.id]
    if kind.id not in {"list", "array", "struct", "map", "union", "tuple"}:
        return None
    # Of an array there is its size too, and of a union first which of the others it is.
    children = list(kind.children)[1 if kind.id == "union" else 0 :]
    size = f"[{children.pop()[1]}]" if kind.id == "array" else "[]"
    named = [(str(name), cast("DuckDBPyType", child)) for name, child in children]
    if not any(_carrier(child) for _, child in named):
        return None
    types = [_carrier(child) or str(child) for _, child in named]
    if kind.id in {"list", "array"}:
        return types[0] + size
    if kind.id in {"struct", "union"}:
        fields = zip(named, types, strict=True)
        types = ['"' + name.replace('"', '""') + '" ' + carrier for (name, _), carrier in fields]
    return f"{kind.id.upper()}({', '.join(types)})"
