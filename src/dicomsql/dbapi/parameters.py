"""Parameters of statements: values that are bound, looked at before anything is done with them."""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from dicomsql.dbapi.numbers import check_numbers
from dicomsql.errors import DataError, ProgrammingError

__all__ = ["Parameters", "call_text", "checked", "checked_sets", "is_table"]

Parameters = Sequence[object] | Mapping[str, object] | None

_PLAIN = (Decimal, bytes, bytearray, memoryview, UUID, datetime.date, datetime.time)
# Classes of values that need no look; of their subclasses they may.
_AS_THEY_ARE = {
    *(type(None), bool, int, float, Decimal, bytes, UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
}
_DEEPEST = 64
# Classes of packages that need not be there, by their names.
_MISSING = {("pandas", "NAType"), ("pandas", "NaTType")}
_TABLE_LIKE = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
_LOAD = (
    "Load it into a local table, cursor.adbc_ingest('cohort', frame), and write "
    "INSERT INTO ... SELECT ... FROM cohort, or join with it."
)

_PROCEDURE = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_NAME = re.compile(r"@{0,2}[A-Za-z_]\w*")


def checked(parameters: Parameters) -> Parameters:
    """The parameters with each value as the engine takes it.

    Raises:
        ProgrammingError: they are no sequence or mapping, or one of them is no value.
        DataError: one of them would not stay what it is.
    """
    if parameters is None:
        return None
    if isinstance(parameters, str | bytes):
        raise ProgrammingError(
            "The parameters are a text; write them as a list or tuple, or as a mapping."
        )
    if is_table(parameters):
        raise ProgrammingError(f"A table is no set of parameters. {_LOAD}")
    if isinstance(parameters, Mapping):
        for name in parameters:
            if not isinstance(name, str):
                raise ProgrammingError("The names of parameters are texts.")
        return {name: _bound(value, f":{name}") for name, value in parameters.items()}
    if isinstance(parameters, Sequence):
        return tuple(_bound(value, str(n)) for n, value in enumerate(parameters, 1))
    raise ProgrammingError(
        f"The parameters are of the class {type(parameters).__name__}; write them as a list or "
        "tuple for `?`, or as a mapping for `:name`."
    )


def checked_sets(sets: Iterable[object]) -> list[Parameters]:
    """Many sets of parameters, as `executemany` takes them.

    Raises:
        ProgrammingError: they are none, or one of them does not fit.
        DataError: a value would not stay what it is.
    """
    if is_table(sets):
        raise ProgrammingError(f"A table is no set of parameters. {_LOAD}")
    if isinstance(sets, str | bytes | Mapping) or not isinstance(sets, Iterable):
        raise ProgrammingError("executemany takes a sequence of sets of parameters.")
    found: list[Parameters] = []
    for number, one in enumerate(sets, 1):
        try:
            found.append(checked(one) or ())  # type: ignore[arg-type]
        except (DataError, ProgrammingError) as error:
            raise type(error)(f"Set {number}: {error}") from None
    return found


def is_table(value: object) -> bool:
    """Whether a value is a DataFrame, an Arrow table or a stream of rows."""
    return any(hasattr(value, n) for n in _TABLE_LIKE)


def _bound(value: object, name: str) -> object:
    """A value as the engine takes it, which it has to stay there."""
    made = _value(value, name, 0)
    if isinstance(made, list | dict | int | Decimal) and not isinstance(made, bool):
        check_numbers([made], name)
    return made


def _value(value: object, name: str, depth: int) -> object:
    if value is None or type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, str):
        return _text(value, name)
    kind = type(value)
    if (kind.__module__.partition(".")[0], kind.__name__) in _MISSING:
        return None
    if kind.__module__ == "numpy" and hasattr(value, "item"):
        return _of_numpy(value, name, depth)
    # Of a class of one's own it is the value that counts, not how that class shows it.
    if isinstance(value, int | float):
        return int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if isinstance(value, datetime.datetime | datetime.timedelta):
        return _of_pandas(value, name)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, os.PathLike):
        return _value(os.fspath(value), name, depth)
    if depth == _DEEPEST:
        raise ProgrammingError(
            f"Parameter {name} is nested more than {_DEEPEST} levels deep, or holds itself."
        )
    if isinstance(value, Mapping):
        return _struct(value, name, depth + 1)
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= _AS_THEY_ARE:
            return list(value)
        return [_value(v, name, depth + 1) for v in value]
    if is_table(value):
        raise ProgrammingError(
            f"Parameter {name} is a table ({kind.__name__}); a parameter is one value. {_LOAD}"
        )
    raise ProgrammingError(
        f"Parameter {name} is of the class {kind.__name__}, which is no value of SQL. Values are "
        "None, bool, int, float, Decimal, str, bytes, dates and times, UUID, and lists and "
        "mappings of them."
    )


def _struct(value: Mapping[Any, Any], name: str, depth: int) -> dict[object, object]:
    made = {_value(k, name, depth): _value(v, name, depth) for k, v in value.items()}
    if len(set(map(str, made))) < len(value):
        raise ProgrammingError(
            f"Parameter {name} has a mapping of which two keys are one name as texts."
        )
    return made


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ProgrammingError(f"Parameter {name} holds a character that is none.") from None
    return str.__str__(value)


def _of_pandas(value: Any, name: str) -> object:
    """A moment or duration, of pandas too, as Python's own."""
    exact = getattr(value, "to_pydatetime", None) or getattr(value, "to_pytimedelta", None)
    if exact is None:
        return value
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise _nanoseconds(name)
    try:
        return exact()
    except (OverflowError, ValueError, NotImplementedError):
        raise _out_of_range(name) from None


def _of_numpy(value: Any, name: str, depth: int) -> object:
    """A scalar or an array of NumPy's as Python's own."""
    if depth > _DEEPEST:
        raise ProgrammingError(f"Parameter {name} is nested more than {_DEEPEST} levels deep.")
    if getattr(value, "shape", ()) != ():
        return [_value(v, name, depth + 1) for v in value]
    if value.dtype.kind in "mM":
        return _moment_of_numpy(value, name)
    plain = value.item()
    if type(plain) is type(value):
        # Wider than a float of Python's.
        nearest = float(plain)
        if math.isnan(nearest) or nearest == plain:
            return nearest
        raise DataError(f"Parameter {name} has more digits than a floating-point number (DOUBLE).")
    return _value(plain, name, depth + 1)


def _moment_of_numpy(value: Any, name: str) -> object:
    if str(value) == "NaT":
        return None
    unit = value.dtype.str.partition("[")[2].rstrip("]").lstrip("0123456789")
    if not unit or (value.dtype.kind == "m" and unit in {"Y", "M"}):
        raise ProgrammingError(
            f"Parameter {name} is NumPy's {value.dtype.name}, of no length that is certain: give a "
            "datetime.timedelta instead."
        )
    if unit in {"ns", "ps", "fs", "as"}:
        exact = value.astype(f"{value.dtype.kind}8[us]")
        if exact.astype(value.dtype) != value:
            raise _nanoseconds(name)
        value = exact
    plain = value.item()
    if isinstance(plain, int):
        raise _out_of_range(name)
    return plain


def _nanoseconds(name: str) -> DataError:
    return DataError(
        f"Parameter {name} has nanoseconds, which Python's values have not: round it to "
        "microseconds, or give it as text and CAST it in the statement (AS TIMESTAMP_NS)."
    )


def _out_of_range(name: str) -> DataError:
    return DataError(
        f"Parameter {name} is a moment or duration beyond Python's (the years 1 to 9999): give it "
        "as text and CAST it in the statement."
    )


def call_text(
    procedure: str, parameters: Mapping[str, object] | Sequence[object]
) -> tuple[str, Parameters]:
    """The EXEC that calls a method, and the values of its placeholders.

    Raises:
        ProgrammingError: a name is none, or parameters come without names.
    """
    if not isinstance(procedure, str) or not _PROCEDURE.fullmatch(procedure):
        raise ProgrammingError(
            "callproc takes the name of a method, such as "
            "google.healthcare.dicom_stores.search_for_studies."
        )
    if not isinstance(parameters, Mapping):
        if not isinstance(parameters, str) and isinstance(parameters, Sequence) and not parameters:
            return f"EXEC {procedure}", None
        raise ProgrammingError(
            f"Parameters of a method have names: give a mapping. SHOW METHODS and DESCRIBE tell "
            f"those of {procedure}."
        )
    given = checked(parameters)
    assert isinstance(given, Mapping)
    set_to: list[str] = []
    values: list[object] = []
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            raise ProgrammingError(f"{procedure}: {name!r} is no name of a parameter.")
        set_to.append(f"{name if name.startswith('@') else f'@{name}'} = ?")
        values.append(value)
    return f"EXEC {procedure} {', '.join(set_to)}".rstrip(), tuple(values) or None
