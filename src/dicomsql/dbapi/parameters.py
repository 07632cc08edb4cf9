"""Parameters of statements: values that are bound, looked at before anything is done with them."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from dicomsql.errors import ProgrammingError

__all__ = ["Parameters", "call_text", "checked", "checked_sets", "is_table"]

Parameters = Sequence[object] | Mapping[str, object] | None

_PLAIN = (
    *(bool, int, float, Decimal, bytes, bytearray, memoryview, UUID),
    *(datetime.date, datetime.time, datetime.timedelta),
)
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
        return {name: _value(value, f":{name}") for name, value in parameters.items()}
    if isinstance(parameters, Sequence):
        return tuple(_value(value, str(n)) for n, value in enumerate(parameters, 1))
    raise ProgrammingError(
        f"The parameters are a {type(parameters).__name__}; write them as a list or tuple for `?`, "
        "or as a mapping for `:name`."
    )


def checked_sets(sets: Iterable[object]) -> list[Parameters]:
    """Many sets of parameters, as `executemany` takes them.

    Raises:
        ProgrammingError: they are none, or one of them does not fit.
    """
    if is_table(sets):
        raise ProgrammingError(f"A table is no set of parameters. {_LOAD}")
    if isinstance(sets, str | bytes | Mapping) or not isinstance(sets, Iterable):
        raise ProgrammingError("executemany takes a sequence of sets of parameters.")
    found: list[Parameters] = []
    for number, one in enumerate(sets, 1):
        try:
            found.append(checked(one) or ())  # type: ignore[arg-type]
        except ProgrammingError as error:
            raise ProgrammingError(f"Set {number}: {error}") from None
    return found


def is_table(value: object) -> bool:
    """Whether a value is a DataFrame, an Arrow table or a stream of rows."""
    return any(hasattr(value, n) for n in _TABLE_LIKE)


def _value(value: object, name: str) -> object:
    if value is None or isinstance(value, str):
        return _text(value, name) if value is not None else None
    kind = type(value)
    if (kind.__module__.partition(".")[0], kind.__name__) in _MISSING:
        return None
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, os.PathLike):
        return _value(os.fspath(value), name)
    if isinstance(value, Mapping):
        return {_value(k, name): _value(v, name) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_value(v, name) for v in value]
    if is_table(value):
        raise ProgrammingError(
            f"Parameter {name} is a table ({kind.__name__}); a parameter is one value. {_LOAD}"
        )
    if kind.__module__ == "numpy" and hasattr(value, "item"):
        return _value(_of_numpy(value, name), name)
    raise ProgrammingError(
        f"Parameter {name} is of the class {kind.__name__}, which is no value of SQL. Values are "
        "None, bool, int, float, Decimal, str, bytes, dates and times, UUID, and lists and "
        "mappings of them."
    )


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ProgrammingError(f"Parameter {name} holds a character that is none.") from None
    return str(value)


def _of_numpy(value: Any, name: str) -> object:
    """A scalar of NumPy's as Python's own."""
    if getattr(value, "shape", ()) != ():
        return value.tolist()
    if value.dtype.kind in "mM":
        raise ProgrammingError(
            f"Parameter {name} is NumPy's {value.dtype.name}; give datetime's datetime or "
            "timedelta instead (pandas: to_pydatetime())."
        )
    return value.item()


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
