"""Arrow columns as Python values, by their SQL types: exact, or an error.

pyarrow's own conversion does most of it. What it would make slowly (dates, moments), otherwise
where pandas happens to be installed (nanoseconds), or not at all as people know it (integers of
128 bits, bits) is made here from the numbers that the buffers hold.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dicomsql.errors import DataError, NotSupportedError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from dicomsql.result import ResultColumn

__all__ = ["check_arrow", "columns_of", "empty_schema"]

_DAY_0 = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY = 86_400_000_000

# Microseconds of one unit of Arrow's; nanoseconds are fewer than one.
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

# What Arrow does not carry over: an offset, and the upper half of the numbers.
_NOT_IN_ARROW = re.compile(r"\b(?:TIME WITH TIME ZONE|UHUGEINT)\b")
_WIDE = re.compile(r"\bU?HUGEINT\b")


def columns_of(columns: Iterable[ResultColumn], batch: pa.RecordBatch) -> list[list[Any]]:
    """The values of a batch, column by column.

    Raises:
        DataError: a value is none that Python has, such as a date after the year 9999.
        NotSupportedError: Python has no such values at all.
    """
    return [_values(c, array) for c, array in zip(columns, batch.columns, strict=True)]


def check_arrow(columns: Iterable[ResultColumn]) -> None:
    """Make sure that Arrow holds what the columns do.

    Raises:
        NotSupportedError: it would lose some of it.
    """
    lossy = next((c for c in columns if _NOT_IN_ARROW.search(c.type)), None)
    if lossy is not None:
        raise NotSupportedError(
            f"Column {lossy.name} is a {lossy.type}, which Arrow does not hold whole: cast it to "
            "VARCHAR."
        )


def empty_schema(columns: Iterable[ResultColumn]) -> pa.Schema:
    """The Arrow schema of columns of which there is no row, as the engine would give it."""
    import duckdb
    import pyarrow as pa

    # Each by itself: a type that the engine gives a name to only in results is text here.
    with duckdb.connect() as engine:
        return pa.schema([(c.name, _arrow_type(engine, c.type)) for c in columns])


def _arrow_type(engine: duckdb.DuckDBPyConnection, name: str) -> pa.DataType:
    import duckdb
    import pyarrow as pa

    if name == "JSON":
        return pa.string()
    try:
        # A type's name is no value; what the engine prints it also reads.
        table = engine.sql(f"SELECT CAST(NULL AS {name}) AS x").to_arrow_table()
    except duckdb.Error:
        return pa.null()
    return table.schema.field(0).type


def _values(column: ResultColumn, array: pa.Array) -> list[Any]:
    name = column.type
    convert = _BY_NAME.get(name)
    if convert is None and _WIDE.search(name):
        convert = _nested_integers
    if convert is None:
        convert = _BY_KIND.get(_kind(array.type), _plain)
    try:
        return convert(array)
    except (OverflowError, ValueError):
        raise DataError(
            f"Column {column.name} ({name}) holds a value that Python has none for: outside of "
            "the years 1 to 9999, or with nanoseconds. Take the rows as Arrow "
            f"(fetch_arrow_table), or CAST({column.name} AS VARCHAR)."
        ) from None
    except _NoValues:
        raise NotSupportedError(
            f"Column {column.name} is a {name}, which has no values in Python: cast it to VARCHAR "
            "or JSON."
        ) from None


class _NoValues(Exception):
    """A type without values in Python."""


def _kind(kind: pa.DataType) -> str:
    """`timestamp` of `timestamp[us, tz=UTC]`."""
    return str(kind).partition("[")[0]


def _plain(array: pa.Array) -> list[Any]:
    return list(array.to_pylist())


def _numbers(array: pa.Array) -> list[Any]:
    """The numbers that stand for dates and times."""
    import pyarrow as pa

    return list(array.view(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist())


def _dates(array: pa.Array) -> list[Any]:
    of_ordinal = datetime.date.fromordinal
    return [None if v is None else of_ordinal(v + _DAY_0) for v in _numbers(array)]


def _microseconds(array: pa.Array) -> list[Any]:
    unit = array.type.unit
    numbers = _numbers(array)
    if unit == "us":
        return numbers
    if unit != "ns":
        each = _MICROSECONDS[unit]
        return [None if v is None else v * each for v in numbers]
    if any(v is not None and v % 1_000 for v in numbers):
        raise ValueError
    return [None if v is None else v // 1_000 for v in numbers]


def _moments(array: pa.Array) -> list[Any]:
    delta = datetime.timedelta
    # The session's time zone is UTC.
    epoch = _EPOCH if array.type.tz is None else _EPOCH_UTC
    return [None if v is None else epoch + delta(0, 0, v) for v in _microseconds(array)]


def _times(array: pa.Array) -> list[Any]:
    return [None if v is None else _time(v) for v in _microseconds(array)]


def _time(microseconds: int) -> datetime.time:
    seconds, rest = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return datetime.time(hour, minute, second, rest)


def _integers(array: pa.Array) -> list[Any]:
    # Arrow has no integers of 128 bits, so that they come as decimals.
    return [None if v is None else int(v) for v in array.to_pylist()]


def _unsigned(array: pa.Array) -> list[Any]:
    # The upper half of them comes with a sign.
    return [None if v is None else int(v) % (1 << 128) for v in array.to_pylist()]


def _nested_integers(array: pa.Array) -> list[Any]:
    return [_as_integers(v) for v in array.to_pylist()]


def _as_integers(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else value
    if isinstance(value, dict):
        return {k: _as_integers(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_as_integers, value))
    return value


def _bits(array: pa.Array) -> list[Any]:
    """Zeros and ones as text: the first byte says how many bits of the second are none."""
    return [
        None if v is None else "".join(f"{byte:08b}" for byte in v[1:])[v[0] :]
        for v in array.to_pylist()
    ]


def _big_number(stored: bytes) -> int:
    """DuckDB's BIGNUM: three bytes of head, then the number; below zero all are inverted."""
    if stored[0] & 0x80:
        return int.from_bytes(stored[3:], "big")
    return -int.from_bytes(bytes(b ^ 0xFF for b in stored[3:]), "big")


def _big_numbers(array: pa.Array) -> list[Any]:
    return [None if v is None else _big_number(v) for v in array.to_pylist()]


def _none_at_all(array: pa.Array) -> list[Any]:
    if array.null_count != len(array):
        raise _NoValues
    return [None] * len(array)


_BY_NAME: dict[str, Callable[[pa.Array], list[Any]]] = {
    "HUGEINT": _integers,
    "UHUGEINT": _unsigned,
    "BIT": _bits,
    "BIGNUM": _big_numbers,
    "VARIANT": _none_at_all,
    # Its offset is lost on the way.
    "TIME WITH TIME ZONE": _none_at_all,
}
_BY_KIND: dict[str, Callable[[pa.Array], list[Any]]] = {
    "date32": _dates,
    "timestamp": _moments,
    "time64": _times,
}
