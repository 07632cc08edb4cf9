"""Turns Arrow columns into texts and into values that the JSON encoder takes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from math import isfinite, isnan
from operator import eq
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import types

if TYPE_CHECKING:
    import msgspec

    from dicomsql.result import ResultColumn

_UTC_NAMES = frozenset({"Etc/UTC", "UTC", "Z", "GMT", "Etc/GMT", "+00:00"})

# Decimals with more digits after the point than this are printed by Arrow with an exponent.
_PLAIN_SCALE = 5

# From so many rows on, Arrow's writer of csv earns its import.
_MANY_ROWS = 100


class ArrowPiece:
    """Rows of a record batch; a `dicomsql.output.pieces.Piece`."""

    def __init__(self, batch: pa.RecordBatch, columns: tuple[ResultColumn, ...]) -> None:
        self._batch = batch
        self._columns = columns
        self.count = batch.num_rows

    @property
    def numeric(self) -> list[bool]:
        return [is_number(array.type) for array in self._batch.columns]

    def head(self, count: int, /) -> ArrowPiece:
        return ArrowPiece(self._batch.slice(0, count), self._columns)

    def texts(self) -> list[list[str | None]]:
        return [array.to_pylist() for array in self._text_arrays()]

    def batch(self) -> pa.RecordBatch:
        return self._batch

    def json_lines(self, names: list[str]) -> bytes:
        values = [
            json_values(array, column.type)
            for array, column in zip(self._batch.columns, self._columns, strict=True)
        ]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        return json_encoder().encode_lines(rows)

    def plain_lines(self, delimiter: str) -> bytes | None:
        # A row of one empty field must be quoted, lest it be an empty line that readers skip.
        if len(self._columns) < 2 or self.count < _MANY_ROWS:
            return None
        import pyarrow.csv as pa_csv

        buffer = io.BytesIO()
        arrays = self._text_arrays()
        if any(map(_has_empty_text, arrays)):
            return None  # `""`, lest it be read as NULL
        # Positions name the columns here: a result may have two of one name.
        batch = pa.record_batch(arrays, names=[str(i) for i in range(len(arrays))])
        write = pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none")
        try:
            pa_csv.write_csv(batch, buffer, write)
        except pa.ArrowInvalid:
            return None  # a field needs quotes
        return buffer.getvalue()

    def _text_arrays(self) -> list[pa.Array]:
        return [
            texts(array, column.type)
            for array, column in zip(self._batch.columns, self._columns, strict=True)
        ]


def _has_empty_text(array: pa.StringArray) -> bool:
    """Whether a text of no letters is among the strings, found without Arrow's functions."""
    offsets = array.buffers()[1]
    if offsets is None or len(array) == 0:
        return False
    places = memoryview(offsets).cast("i")[array.offset : array.offset + len(array) + 1]
    # NULL takes no letters either.
    return any(map(eq, places, places[1:])) and (array.null_count == 0 or "" in array.to_pylist())


def texts(array: pa.Array, sql_type: str) -> pa.Array:
    """A column as strings, for the formats made of text.

    Timestamps are written as `2026-01-31 12:00:00Z`, binary values in base64, and lists, structs
    and maps as JSON. NULL stays NULL.
    """
    array = _storage(array)
    kind = array.type
    if types.is_timestamp(kind):
        return _timestamps(array)
    if types.is_time(kind):
        return _without_zeros(array.cast(pa.string()))
    if types.is_decimal(kind) and kind.scale > _PLAIN_SCALE:
        return pa.array([None if v is None else f"{v:f}" for v in array.to_pylist()], pa.string())
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.array([_base64(v) for v in array.to_pylist()], pa.string())
    if types.is_nested(kind) or types.is_interval(kind) or types.is_duration(kind):
        encode = json_encoder().encode
        values = json_values(array, sql_type)
        if not types.is_nested(kind):
            return pa.array(values, pa.string())
        return pa.array([None if v is None else encode(v).decode() for v in values], pa.string())
    # Casting imports Arrow's compute functions, which takes longer than most results.
    return array if types.is_string(kind) else array.cast(pa.string())


def json_values(array: pa.Array, sql_type: str) -> list[Any]:
    """A column as values that `json_encoder` writes as JSON of their own type.

    Text of a JSON column is embedded as the JSON that it is.
    """
    array = _storage(array)
    kind = array.type
    if sql_type == "JSON":
        return [None if v is None else _embedded(v) for v in array.to_pylist()]
    if sql_type == "JSON[]":
        lists = array.to_pylist()
        return [
            None if v is None else [None if x is None else _embedded(x) for x in v] for v in lists
        ]
    if types.is_temporal(kind) and not types.is_interval(kind) and not types.is_duration(kind):
        said = texts(array, sql_type)
        if types.is_timestamp(kind):
            said = _compute().replace_substring(said, " ", "T", max_replacements=1)
        return list(said.to_pylist())
    convert = _converter(kind)
    values: list[Any] = array.to_pylist()
    if types.is_floating(kind) and all(v is None or isfinite(v) for v in values):
        return values
    return values if convert is None else [None if v is None else convert(v) for v in values]


@cache
def json_encoder() -> msgspec.json.Encoder:
    """Writes decimals as numbers and binary values in base64; `json_values` has done the rest."""
    import msgspec

    return msgspec.json.Encoder(decimal_format="number")


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers, which tables align to the right."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _storage(array: pa.Array) -> pa.Array:
    """The column in a plain type: enumerations as their texts, extensions as what they hold."""
    if types.is_dictionary(array.type):
        return array.cast(array.type.value_type)
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())
    return array.storage if isinstance(array.type, pa.BaseExtensionType) else array


def _compute() -> Any:
    """Arrow's functions: a fifth of its import, and only times need them."""
    import pyarrow.compute

    return pyarrow.compute


def _timestamps(array: pa.Array) -> pa.Array:
    kind = array.type
    if kind.tz in _UTC_NAMES:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    said = _without_zeros(array.cast(pa.string()))
    if kind.tz is not None and kind.tz not in _UTC_NAMES:
        said = _compute().replace_substring_regex(said, r"([+-]\d\d)(\d\d)$", r"\1:\2")
    return said


def _without_zeros(said: pa.Array) -> pa.Array:
    """Times without fractions of a second that are zero."""
    return _compute().replace_substring_regex(said, r"\.0+(Z|[+-]\d{4})?$", r"\1")


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")


def _embedded(text: str) -> msgspec.Raw | str:
    """JSON text as part of other JSON, on one line; text that is not JSON stays a string."""
    import msgspec

    raw = text.encode()
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except msgspec.DecodeError:
        return text
    # A line's end inside would tear a row of jsonl apart.
    if b"\n" in raw or b"\r" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    return msgspec.Raw(raw)


@cache
def _converter(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes Arrow's Python value one that JSON has; None where it already is."""
    if types.is_floating(kind):
        return _number
    if types.is_interval(kind):
        return _interval_text
    if types.is_duration(kind):
        return lambda value: json_encoder().encode(value).decode().strip('"')
    if types.is_map(kind):
        item = _converter(kind.item_type) or _same
        return lambda pairs: {str(k): None if v is None else item(v) for k, v in pairs}
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _converter(kind.value_type)
        if inner is None:
            return None
        return lambda values: [None if v is None else inner(v) for v in values]
    if types.is_struct(kind):
        fields = {field.name: _converter(field.type) for field in kind}
        if not any(fields.values()):
            return None
        return lambda value: {
            name: value[name] if value[name] is None else (convert or _same)(value[name])
            for name, convert in fields.items()
        }
    return None


def _number(value: float) -> float | str:
    """A number of JSON, or the name of what JSON has none for: null would be NULL."""
    if isfinite(value):
        return value
    return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _same(value: Any) -> Any:
    return value


def _interval_text(value: Any) -> str:
    """A MonthDayNano as an ISO 8601 duration."""
    seconds, fraction = divmod(abs(value.nanoseconds), 1_000_000_000)
    sign = "-" if value.nanoseconds < 0 else ""
    parts = f"{value.months}M" if value.months else ""
    parts += f"{value.days}D" if value.days else ""
    if value.nanoseconds:
        digits = f".{fraction:09d}".rstrip("0") if fraction else ""
        parts += f"T{sign}{seconds}{digits}S"
    return "P" + (parts or "T0S")
