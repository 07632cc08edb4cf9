"""Types both ways: the engine's type names as SQLAlchemy's types, and the DDL of those."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import types
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import GenericTypeCompiler
from sqlalchemy.types import TypeEngine

# DECIMAL alone has three decimals in the engine and would round the rest away.
_ANY_NUMBER = "DECIMAL(38, 12)"

_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_ENUM = re.compile(r"ENUM\((.*)\)", re.DOTALL)
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_LIST = re.compile(r"\[\d*\]$")


class EngineType(types.UserDefinedType[Any]):
    """A type of the engine that SQLAlchemy has none for, such as `STRUCT(a INTEGER)`.

    Parameters:
        name: as the engine spells it.
    """

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_kw: Any) -> str:
        """The name in DDL."""
        return self.name


class EngineInteger(types.Integer):
    """An integer of the engine that SQLAlchemy has no type for, such as `HUGEINT`."""

    __visit_name__ = "engine_integer"

    def __init__(self, name: str = "HUGEINT") -> None:
        super().__init__()
        self.name = name


_SIMPLE: dict[str, Callable[[], TypeEngine[Any]]] = {
    "BIGINT": types.BIGINT,
    "BLOB": types.BLOB,
    "BOOLEAN": types.BOOLEAN,
    "DATE": types.DATE,
    "DOUBLE": types.DOUBLE,
    "FLOAT": types.REAL,
    "INTEGER": types.INTEGER,
    # None stands for no value, as everywhere else; JSON.NULL is the null of JSON.
    "JSON": lambda: types.JSON(none_as_null=True),
    "SMALLINT": types.SMALLINT,
    "TIME": types.TIME,
    "TIME WITH TIME ZONE": lambda: types.TIME(timezone=True),
    "TIMESTAMP": types.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": lambda: types.TIMESTAMP(timezone=True),
    # As the provider documents spell it.
    "TIMESTAMPTZ": lambda: types.TIMESTAMP(timezone=True),
    "UUID": types.UUID,
    "VARCHAR": types.VARCHAR,
}
_INTEGERS = frozenset(
    ("TINYINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
)


def type_of(name: str) -> TypeEngine[Any]:
    """The type that the engine spells so, in the way of `duckdb_columns()`."""
    if _LIST.search(name):
        item, dimensions = name, 0
        while found := _LIST.search(item):
            item, dimensions = item[: found.start()], dimensions + 1
        return types.ARRAY(type_of(item), dimensions=dimensions)
    if name in _SIMPLE:
        return _SIMPLE[name]()
    if name in _INTEGERS:
        return EngineInteger(name)
    if found := _DECIMAL.fullmatch(name):
        return types.DECIMAL(int(found[1]), int(found[2]))
    if found := _ENUM.fullmatch(name):
        return types.Enum(*(t.replace("''", "'") for t in _TEXT.findall(found[1])))
    return EngineType(name)


class TypeCompiler(GenericTypeCompiler):
    """The names that types have in DDL and casts."""

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        # FLOAT has 32 bits in the engine, where SQLAlchemy's Float means Python's float.
        return "DOUBLE"

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        return "DOUBLE"

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:
        return self.visit_DECIMAL(type_, **kw)

    def visit_DECIMAL(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        if type_.precision is None:
            return _ANY_NUMBER
        return f"DECIMAL({type_.precision}, {type_.scale or 0})"

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_TIME(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        return "TIME WITH TIME ZONE" if type_.timezone else "TIME"

    def visit_large_binary(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        return "BLOB"

    visit_BINARY = visit_VARBINARY = visit_BLOB = visit_large_binary

    def visit_JSON(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002
        return "JSON"

    def visit_uuid(self, type_: Any, **kw: Any) -> str:
        if not type_.native_uuid:
            return super().visit_uuid(type_, **kw)
        return "UUID"

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:
        return str(self.process(type_.item_type, **kw)) + "[]" * (type_.dimensions or 1)

    def visit_engine_integer(self, type_: EngineInteger, **kw: Any) -> str:  # noqa: ARG002
        return type_.name


class _Uuid(types.Uuid[Any]):
    """UUIDs come as text."""

    def result_processor(self, dialect: Dialect, coltype: Any) -> Any:
        if not (self.native_uuid and dialect.supports_native_uuid):
            return super().result_processor(dialect, coltype)  # type: ignore[no-untyped-call]
        kind: Callable[[str], Any] = uuid.UUID if self.as_uuid else str
        return lambda value: None if value is None else kind(str(value))

    def literal_processor(self, dialect: Dialect) -> Any:
        if not (self.native_uuid and dialect.supports_native_uuid):
            return super().literal_processor(dialect)  # type: ignore[no-untyped-call]
        return lambda value: f"UUID '{uuid.UUID(str(value))}'"


class _Date(types.Date):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: f"DATE '{value.isoformat()}'"


class _Time(types.Time):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: f"{'TIMETZ' if value.tzinfo else 'TIME'} '{value.isoformat()}'"


class _DateTime(types.DateTime):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return _timestamp


class _Float(types.Float[Any]):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return _double


class _Numeric(types.Numeric[Any]):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return _decimal


class _Bytes(types.LargeBinary):
    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: "'" + "".join(f"\\x{b:02X}" for b in bytes(value)) + "'::BLOB"


class _Json(types.JSON):
    def literal_processor(self, dialect: Dialect) -> Any:
        text = self.bind_processor(dialect)  # type: ignore[no-untyped-call]

        def literal(value: Any) -> str:
            made = text(value)
            return "NULL" if made is None else f"{_quoted(made)}::JSON"

        return literal


def _timestamp(value: Any) -> str:
    # An Interval is kept as a time after its epoch.
    if isinstance(value, timedelta):
        value = types.Interval.epoch + value
    kind = "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"
    return f"{kind} '{value.isoformat(sep=' ')}'"


def _decimal(value: Any) -> str:
    if not isinstance(value, Decimal):
        return str(value)
    if not value.is_finite():
        return _double(value)
    text = format(value, "f")
    return text if "." in text else f"{text}.0"


def _double(value: Any) -> str:
    """A number that the engine takes for a DOUBLE, where `0.1` is a DECIMAL to it."""
    number = float(value)
    if not math.isfinite(number):
        return f"'{number}'::DOUBLE"
    text = repr(number)
    return text if "e" in text else f"{text}e0"


class _JsonIndex(types.JSON.JSONIndexType):
    """A key or an index as the engine's path."""

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: _json_path((value,))

    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: _quoted(_json_path((value,)))


class _JsonPath(types.JSON.JSONPathType):
    """A sequence of keys and indexes as the engine's path."""

    def bind_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return _json_path

    def literal_processor(self, dialect: Dialect) -> Any:  # noqa: ARG002
        return lambda value: _quoted(_json_path(value))


def _json_path(steps: Any) -> str:
    if isinstance(steps, str):
        return steps
    if any(isinstance(step, str) and '"' in step for step in steps):
        # What cannot stand in quotes can stand in a JSON pointer (RFC 6901).
        texts = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return "".join(f"/{text}" for text in texts)
    return "$" + "".join(f"[{s}]" if isinstance(s, int) else f'."{s}"' for s in steps)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


COLUMN_TYPES: dict[type[TypeEngine[Any]], type[TypeEngine[Any]]] = {
    types.Date: _Date,
    types.DateTime: _DateTime,
    types.Float: _Float,
    types.JSON: _Json,
    types.LargeBinary: _Bytes,
    types.Numeric: _Numeric,
    types.Time: _Time,
    types.Uuid: _Uuid,
    types.JSON.JSONIndexType: _JsonIndex,
    types.JSON.JSONPathType: _JsonPath,
}
