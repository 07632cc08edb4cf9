"""The few letters by which Harlequin shows the type of a column or of an item of its catalog."""

from __future__ import annotations

__all__ = ["short"]

_LABELS = {
    **dict.fromkeys(("VARCHAR", "ENUM"), "s"),
    "UUID": "id",
    **dict.fromkeys(("BLOB", "BIT"), "0b"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM"), "##"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "##"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "#.#"),
    "BOOLEAN": "t/f",
    "DATE": "d",
    **dict.fromkeys(("TIME", "TIME WITH TIME ZONE", "TIME_NS"), "t"),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "ts"),
    "TIMESTAMP WITH TIME ZONE": "tz",
    "INTERVAL": "|-|",
    **dict.fromkeys(("JSON", "STRUCT", "UNION", "VARIANT"), "{}"),
    "MAP": "{m}",
}


def short(type_name: str) -> str:
    """The label of a type as DuckDB spells it; `?` for one that has none."""
    if type_name.endswith("]"):
        return "[]"
    return _LABELS.get(type_name.partition("(")[0], "?")
