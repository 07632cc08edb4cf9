"""PEP 249's type objects and constructors."""

from __future__ import annotations

import datetime
import time

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:
    """The local date of a moment in seconds since the epoch."""
    return datetime.date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:
    """The local time of a moment in seconds since the epoch."""
    return datetime.time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """The local date and time of a moment in seconds since the epoch."""
    return datetime.datetime(*time.localtime(ticks)[:6])


class TypeObject:
    """Equals the type codes (DuckDB's type names) of one family of types.

    `DECIMAL(18,3)` and `ENUM('a', 'b')` are of the family of their head, and so are `INTEGER[]` and
    `STRUCT(a INTEGER)`, whose values hold others.
    """

    def __init__(self, name: str, *codes: str) -> None:
        self._name = name
        self._codes = frozenset(codes)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TypeObject):
            return self._codes == other._codes
        if not isinstance(other, str):
            return NotImplemented
        head = _LIST if other.endswith("]") else other.partition("(")[0].rstrip()
        return head in self._codes

    def __hash__(self) -> int:
        return hash(self._codes)

    def __repr__(self) -> str:
        return self._name


_LIST = "LIST"
_DATES = ("DATE",)
_TIMES = ("TIME", "TIME_NS", "TIME WITH TIME ZONE")
_TIMESTAMPS = (
    *("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
    *("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"),
)

# NULL alone has no type; it is what a text may be.
STRING = TypeObject("STRING", "VARCHAR", "JSON", "UUID", "ENUM", "BIT", '"NULL"')
BINARY = TypeObject("BINARY", "BLOB", "GEOMETRY")
NUMBER = TypeObject(
    "NUMBER",
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    *("FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN"),
)
DATE = TypeObject("DATE", *_DATES)
TIME = TypeObject("TIME", *_TIMES)
TIMESTAMP = TypeObject("TIMESTAMP", *_TIMESTAMPS)
DATETIME = TypeObject("DATETIME", *_DATES, *_TIMES, *_TIMESTAMPS, "INTERVAL")
# Lists, structs and maps, which PEP 249 knows nothing of.
NESTED = TypeObject("NESTED", _LIST, "ARRAY", "STRUCT", "TUPLE", "MAP", "UNION", "VARIANT", "TYPE")
# No table here has row ids.
ROWID = TypeObject("ROWID")
