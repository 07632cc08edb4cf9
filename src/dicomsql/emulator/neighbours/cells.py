"""Values between BigQuery's JSON and Arrow: rows that come in, cells that go out."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Misfit", "arrow_schema", "arrow_table", "cells", "checked"]

_INTEGERS = (-(2**63), 2**63 - 1)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Misfit(Exception):
    """A value does not fit its column; names the column, never the value.

    Attributes:
        column: with the records above it.
    """

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The types under which the columns' values are kept."""
    import pyarrow as pa

    return pa.schema([pa.field(column.name, _arrow_type(column)) for column in columns])


def checked(
    columns: Sequence[Column], row: Mapping[str, Any], *, ignore_unknown: bool = False
) -> dict[str, Any]:
    """A row of BigQuery's JSON with its values as Python has them.

    Raises:
        Misfit: a value does not fit, one is missing that has to be there, or has no column.
    """
    return _record(columns, row, "", ignore_unknown)


def arrow_table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of BigQuery's JSON as a table.

    Raises:
        NeighbourError: INVALID_ARGUMENT for a value that does not fit its column.
    """
    import pyarrow as pa

    try:
        read = [_record(columns, row, "", ignore_unknown=False) for row in rows]
    except Misfit as error:
        raise NeighbourError("INVALID_ARGUMENT", f"{error.column}: {error}") from None
    return pa.Table.from_pylist(read, schema=arrow_schema(columns))


def cells(columns: Sequence[Column], table: pa.Table, moments: str) -> list[dict[str, Any]]:
    """Rows as BigQuery answers them: `{"f": [{"v": ...}]}`, all scalars as texts.

    Args:
        moments: how timestamps are written: `FLOAT64` (seconds), `INT64` (microseconds) or
            `ISO8601_STRING`.
    """
    return [_cells(columns, row, moments) for row in table.to_pylist()]


def _record(columns: Sequence[Column], row: Any, path: str, ignore_unknown: bool) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise Misfit(path.rstrip("."), "This field is a record.")
    values = {str(name).lower(): value for name, value in row.items()}
    found = {}
    for column in columns:
        found[column.name] = _value(
            column, values.pop(column.name.lower(), None), path + column.name, ignore_unknown
        )
    if values and not ignore_unknown:
        name = next(iter(values))
        shown = name if re.fullmatch(r"\w{1,300}", name) else "?"
        raise Misfit(path + shown, f"no such field: {shown}.")
    return found


def _value(column: Column, value: Any, path: str, ignore_unknown: bool) -> Any:
    if column.mode == "REPEATED":
        if value is None:
            return []
        if not isinstance(value, list):
            raise Misfit(path, "This field is repeated: a list is needed.")
        if any(member is None for member in value):
            raise Misfit(path, "Only a list without nulls can be kept.")
        return [_scalar(column, member, path, ignore_unknown) for member in value]
    if value is None:
        if column.mode == "REQUIRED":
            raise Misfit(path, "Missing required field.")
        return None
    return _scalar(column, value, path, ignore_unknown)


def _scalar(column: Column, value: Any, path: str, ignore_unknown: bool) -> Any:
    if column.type == "RECORD":
        return _record(column.fields, value, path + ".", ignore_unknown)
    if isinstance(value, list) or (isinstance(value, Mapping) and column.type != "JSON"):
        raise Misfit(path, f"This field is a {column.type}, no list and no record.")
    try:
        return _READERS[column.type](value)
    except (ValueError, OverflowError, TypeError, ArithmeticError, binascii.Error):
        raise Misfit(path, f"The value is no {column.type}.") from None


def _read_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    text.encode()  # half of a surrogate pair is no text
    return text


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if not _INTEGERS[0] <= number <= _INTEGERS[1]:
        raise ValueError
    return number


def _read_float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError
    return found


def _read_bytes(value: Any) -> bytes:
    return base64.b64decode(str(value), validate=True)


def _read_numeric(value: Any) -> decimal.Decimal:
    if isinstance(value, bool):
        raise ValueError
    with decimal.localcontext(prec=60):
        number = decimal.Decimal(str(value))
        if not number.is_finite() or abs(number) >= decimal.Decimal(10) ** 29:
            raise ValueError
        return number.quantize(decimal.Decimal(1).scaleb(-9), rounding=decimal.ROUND_HALF_UP)


def _read_date(value: Any) -> datetime.date:
    return datetime.date.fromisoformat(_dashed(value))


def _read_time(value: Any) -> datetime.time:
    text = str(value)
    if not re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{1,6})?", text):
        raise ValueError
    return datetime.time.fromisoformat(text)


def _read_datetime(value: Any) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(_dashed(value))
    if found.tzinfo is not None:
        raise ValueError
    return found


def _read_timestamp(value: Any) -> datetime.datetime:
    """ISO 8601, or seconds since 1970; without an offset it is UTC."""
    if isinstance(value, bool):
        raise ValueError
    text = str(value)
    if isinstance(value, int | float) or re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", text):
        return _EPOCH + datetime.timedelta(seconds=float(text))
    found = datetime.datetime.fromisoformat(_dashed(re.sub(r" ?UTC$", "+00:00", text)))
    return found.astimezone(datetime.UTC) if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _dashed(value: Any) -> str:
    """A text that begins with a date in its long form, the only one that BigQuery takes."""
    text = str(value)
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError
    return text


def _read_json(value: Any) -> str:
    """A text is JSON itself, as in a load; anything else is written as JSON."""
    if isinstance(value, str):
        json.loads(value)
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_READERS: dict[str, Callable[[Any], Any]] = {
    "STRING": _read_text,
    "INTEGER": _read_integer,
    "FLOAT": _read_float,
    "BOOLEAN": _read_flag,
    "BYTES": _read_bytes,
    "NUMERIC": _read_numeric,
    "DATE": _read_date,
    "TIME": _read_time,
    "DATETIME": _read_datetime,
    "TIMESTAMP": _read_timestamp,
    "JSON": _read_json,
}


def _arrow_type(column: Column) -> pa.DataType:
    import pyarrow as pa

    if column.type == "RECORD":
        kind = pa.struct([pa.field(f.name, _arrow_type(f)) for f in column.fields])
    else:
        kind = {
            "STRING": pa.string(),
            "INTEGER": pa.int64(),
            "FLOAT": pa.float64(),
            "BOOLEAN": pa.bool_(),
            "BYTES": pa.binary(),
            "NUMERIC": pa.decimal128(38, 9),
            "DATE": pa.date32(),
            "TIME": pa.time64("us"),
            "DATETIME": pa.timestamp("us"),
            "TIMESTAMP": pa.timestamp("us", "UTC"),
            "JSON": pa.string(),
        }[column.type]
    return pa.list_(kind) if column.mode == "REPEATED" else kind


def _cells(columns: Sequence[Column], row: Mapping[str, Any], moments: str) -> dict[str, Any]:
    return {"f": [{"v": _cell(column, row[column.name], moments)} for column in columns]}


def _cell(column: Column, value: Any, moments: str) -> Any:
    if column.mode == "REPEATED":
        return [{"v": _shown(column, member, moments)} for member in value or ()]
    return _shown(column, value, moments)


def _shown(column: Column, value: Any, moments: str) -> Any:
    if value is None:
        return None
    if column.type == "RECORD":
        return _cells(column.fields, value, moments)
    if column.type == "FLOAT":
        return _float(value)
    if column.type == "BOOLEAN":
        return "true" if value else "false"
    if column.type == "BYTES":
        return base64.b64encode(value).decode()
    if column.type == "NUMERIC":
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if column.type == "TIMESTAMP":
        return _moment(value, moments)
    if column.type in {"DATE", "TIME", "DATETIME"}:
        return str(value.isoformat())
    return str(value)


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _moment(value: datetime.datetime, moments: str) -> str:
    microseconds = (value - _EPOCH) // _MICROSECOND
    if moments == "INT64":
        return str(microseconds)
    if moments == "ISO8601_STRING":
        return value.astimezone(datetime.UTC).replace(tzinfo=None).isoformat() + "Z"
    return str(decimal.Decimal(microseconds).scaleb(-6))
