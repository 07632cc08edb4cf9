"""Arrow columns as Python values, by their SQL types: exact, or an error.

pyarrow's own conversion does most of it. What it would make slowly (dates, moments), otherwise
where pandas happens to be installed (nanoseconds), or not at all as people know it (integers of
128 bits, which are decimals there; what the engine carries as text) is made here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dicomsql.dbapi.nested import nested
from dicomsql.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.result import ResultColumn

__all__ = ["columns_of"]

_DAY_0 = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY = 86_400_000_000

# Microseconds of one unit of Arrow's; nanoseconds are fewer than one.
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}

# Types that are made here, also where they are parts of others.
_OURS = re.compile(r"\b(?:U?HUGEINT|BIGNUM|DATE|TIME\w*)\b")


def columns_of(columns: Iterable[ResultColumn], batch: pa.RecordBatch) -> list[list[Any]]:
    """The values of a batch, column by column.

    Raises:
        DataError: a value is none that Python has, such as a date after the year 9999.
    """
    return [_values(c, array) for c, array in zip(columns, batch.columns, strict=True)]


def _values(column: ResultColumn, array: pa.Array) -> list[Any]:
    name = column.type
    try:
        return _converted(name, array)
    except (OverflowError, ValueError):
        raise DataError(
            f"Column {column.name} ({name}) holds a value that Python has none for: outside of "
            "the years 1 to 9999, or with nanoseconds. Take the rows as Arrow "
            f"(fetch_arrow_table), or CAST({column.name} AS VARCHAR)."
        ) from None


def _converted(name: str, array: pa.Array) -> list[Any]:
    convert = _BY_NAME.get(name)
    if convert is None and _OURS.search(name):
        made = nested(name, array, _converted)
        if made is not None:
            return made
    if convert is None:
        convert = _BY_KIND.get(_kind(array.type), _plain)
    return convert(array)


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


def _big_numbers(array: pa.Array) -> list[Any]:
    return [None if v is None else int(v) for v in array.to_pylist()]


def _offset_times(array: pa.Array) -> list[Any]:
    of_text = datetime.time.fromisoformat
    return [None if v is None else of_text(v) for v in array.to_pylist()]


_BY_NAME: dict[str, Callable[[pa.Array], list[Any]]] = {
    "HUGEINT": _integers,
    "UHUGEINT": _integers,
    "BIGNUM": _big_numbers,
    "TIME WITH TIME ZONE": _offset_times,
}
_BY_KIND: dict[str, Callable[[pa.Array], list[Any]]] = {
    "date32": _dates,
    "timestamp": _moments,
    "time64": _times,
}
