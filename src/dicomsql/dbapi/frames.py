"""Tables of other packages: what is made of ours, and what ours is made of.

The packages are there if their users want them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dicomsql.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

__all__ = ["needed", "reader_of", "to_pandas"]


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


def to_pandas(table: pa.Table) -> pandas.DataFrame:
    """A table as a DataFrame; what can stay in its buffers stays there."""
    frame: pandas.DataFrame = table.to_pandas()
    return frame


def reader_of(data: object) -> pa.RecordBatchReader:
    """The rows of a table of another package, as they come.

    Raises:
        ProgrammingError: it is none that tells its rows by the Arrow PyCapsule interface.
    """
    import pyarrow as pa

    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(data)]).to_reader()
    raise ProgrammingError(
        f"A {type(data).__name__} is no table: give a DataFrame of pandas or polars, an Arrow "
        "table or reader, or a cursor."
    )
