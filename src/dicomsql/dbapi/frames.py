"""DataFrames of other packages, made of our rows: exact, or an error that says what to do.

The packages are there if their users want them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dicomsql.errors import DataError, InterfaceError, NotSupportedError, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas
    import polars
    import pyarrow as pa

    from dicomsql.errors import Error
    from dicomsql.result import ResultColumn

__all__ = ["needed", "to_pandas", "to_polars"]


def needed(package: str, method: str) -> Any:
    """A package that a method needs.

    Raises:
        InterfaceError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise InterfaceError(
            f"{method}() needs {package}: install it (pip install {package}), or take the rows as "
            "Arrow (fetch_arrow_table)."
        ) from None


def to_pandas(table: pa.Table, columns: Sequence[ResultColumn]) -> pandas.DataFrame:
    """A table as a DataFrame of pandas; what can stay in its buffers stays there.

    Where there are NULLs, integers and booleans are pandas' nullable ones (Int64, boolean ...),
    since its plain ones would make floating-point numbers of them; integers in lists and structs
    are Python's own then.

    Raises:
        DataError: pandas has no such value.
        NotSupportedError: pandas has no such type.
    """
    import pyarrow as pa

    try:
        return _whole(table)
    except pa.ArrowNotImplementedError:
        wrong = _first_wrong(table, columns, _series)
        raise _no_type("pandas", wrong) from None
    except (pa.ArrowException, ValueError, OverflowError):
        wrong = _first_wrong(table, columns, _series)
        raise DataError(
            f"{wrong} holds a value that pandas has none for, such as a year after 9999 or "
            "nanoseconds. Take the rows as Arrow (fetch_arrow_table), or cast the column to "
            "VARCHAR."
        ) from None


def to_polars(table: pa.Table, columns: Sequence[ResultColumn]) -> polars.DataFrame:
    """A table as a DataFrame of polars, on the same buffers.

    Raises:
        ProgrammingError: two columns have the same name.
        NotSupportedError: polars has no such type.
    """
    import polars
    from polars.exceptions import PanicException, PolarsError

    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ProgrammingError(
            f"Two columns are called {twice}, of which a DataFrame of polars can have one. Give "
            "them names of their own with AS, or take the rows as Arrow (fetch_arrow_table)."
        )
    try:
        made = polars.from_arrow(table)
    except (PolarsError, PanicException, ValueError, TypeError):
        raise _no_type("polars", _first_wrong(table, columns, polars.from_arrow)) from None
    assert isinstance(made, polars.DataFrame)
    return made


def _no_type(package: str, column: str) -> Error:
    return NotSupportedError(
        f"{column} is of a type that {package} has none for: cast it to VARCHAR, or take the rows "
        "as Arrow (fetch_arrow_table)."
    )


def _first_wrong(
    table: pa.Table, columns: Sequence[ResultColumn], make: Callable[[Any], object]
) -> str:
    """The first column that a conversion fails for, for people."""
    for column, values in zip(columns, table.columns, strict=True):
        try:
            make(values)
        except Exception:  # noqa: BLE001  whichever it is, the conversion of the whole has failed
            return f"Column {column.name} ({column.type})"
    return "One of the columns"


def _whole(table: pa.Table) -> pandas.DataFrame:
    if not any(map(_needs_care, table.columns)):
        frame: pandas.DataFrame = table.to_pandas()
        return frame
    import pandas

    # By their places, as two columns may have one name.
    made = pandas.DataFrame(dict(enumerate(map(_series, table.columns))), copy=False)
    made.columns = pandas.Index(table.column_names)
    return made


def _series(values: pa.ChunkedArray) -> pandas.Series[Any]:
    import pandas
    import pyarrow.types as of

    if not _needs_care(values):
        made: pandas.Series[Any] = values.to_pandas()
    elif of.is_nested(values.type):
        made = pandas.Series(values.to_pylist(), dtype=object)
    else:
        made = values.to_pandas(types_mapper=_nullable)
    return made


def _nullable(kind: pa.DataType) -> Any:
    """pandas' type of integers or booleans that has NULL."""
    import pandas

    name = str(kind)
    if name == "bool":
        return pandas.BooleanDtype()
    return pandas.api.types.pandas_dtype(name.replace("ui", "UI", 1).replace("i", "I", 1))


def _needs_care(values: pa.ChunkedArray) -> bool:
    """Whether a column holds integers or booleans, nested too, and NULLs among them."""
    return _may_need_care(values.type) and any(map(_has_holes, values.chunks))


def _may_need_care(kind: pa.DataType) -> bool:
    import pyarrow.types as of

    if of.is_nested(kind):
        return any(_may_need_care(kind.field(n).type) for n in range(kind.num_fields))
    return bool(of.is_integer(kind) or of.is_boolean(kind))


def _has_holes(values: pa.Array) -> bool:
    import pyarrow.types as of

    kind = values.type
    if of.is_struct(kind):
        return any(map(_has_holes, values.flatten()))
    if of.is_map(kind):
        return _has_holes(values.keys) or _has_holes(values.items)
    if of.is_union(kind):
        return any(_has_holes(values.field(n)) for n in range(kind.num_fields))
    if of.is_nested(kind):
        return _has_holes(values.flatten())
    return bool(_may_need_care(kind) and values.null_count)
