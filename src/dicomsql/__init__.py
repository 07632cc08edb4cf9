"""SQL over DICOM stores: the DB-API 2.0 module (PEP 249).

    import dicomsql

    with dicomsql.connect(local="./data", project="p", location="us-central1") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM google.healthcare.datasets")
        print(cursor.fetchall())

Importing it imports nothing heavy: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dicomsql.version import __version__

if TYPE_CHECKING:
    from dicomsql import aio
    from dicomsql.dbapi.connection import Connection, connect
    from dicomsql.dbapi.cursor import Cursor
    from dicomsql.dbapi.rows import (
        RowFactory,
        TupleRow,
        class_row,
        dict_row,
        namedtuple_row,
        tuple_row,
    )
    from dicomsql.dbapi.types import (
        BINARY,
        DATE,
        DATETIME,
        NESTED,
        NUMBER,
        ROWID,
        STRING,
        TIME,
        TIMESTAMP,
        Binary,
        Date,
        DateFromTicks,
        Time,
        TimeFromTicks,
        Timestamp,
        TimestampFromTicks,
    )
    from dicomsql.errors import (
        DatabaseError,
        DataError,
        Error,
        IntegrityError,
        InterfaceError,
        InternalError,
        NotSupportedError,
        OperationalError,
        ProgrammingError,
        Warning,
    )

apilevel = "2.0"
# Threads may share the module and connections, but not cursors.
threadsafety = 2
paramstyle = "qmark"

_PLACES = {
    "dicomsql.dbapi.connection": ("Connection", "connect"),
    "dicomsql.dbapi.cursor": ("Cursor",),
    "dicomsql.dbapi.rows": (
        *("RowFactory", "TupleRow", "class_row", "dict_row", "namedtuple_row", "tuple_row"),
    ),
    "dicomsql.dbapi.types": (
        *("BINARY", "DATE", "DATETIME", "NESTED", "NUMBER", "ROWID", "STRING"),
        *("TIME", "TIMESTAMP"),
        *("Binary", "Date", "DateFromTicks", "Time", "TimeFromTicks"),
        *("Timestamp", "TimestampFromTicks"),
    ),
    "dicomsql.errors": (
        *("DataError", "DatabaseError", "Error", "IntegrityError", "InterfaceError"),
        *("InternalError", "NotSupportedError", "OperationalError", "ProgrammingError"),
        "Warning",
    ),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "BINARY",
    "DATE",
    "DATETIME",
    "NESTED",
    "NUMBER",
    "ROWID",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "RowFactory",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "TupleRow",
    "Warning",
    "__version__",
    "aio",
    "apilevel",
    "class_row",
    "connect",
    "dict_row",
    "namedtuple_row",
    "paramstyle",
    "threadsafety",
    "tuple_row",
]


def __getattr__(name: str) -> Any:
    if name == "aio":
        return import_module("dicomsql.aio")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'dicomsql' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
