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
    from dicomsql.dbapi.connection import Connection, connect
    from dicomsql.dbapi.cursor import Cursor
    from dicomsql.dbapi.types import (
        BINARY,
        DATETIME,
        NUMBER,
        ROWID,
        STRING,
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
# Threads may share the module, but not connections.
threadsafety = 1
paramstyle = "qmark"

_PLACES = {
    "dicomsql.dbapi.connection": ("Connection", "connect"),
    "dicomsql.dbapi.cursor": ("Cursor",),
    "dicomsql.dbapi.types": (
        *("BINARY", "DATETIME", "NUMBER", "ROWID", "STRING"),
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
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
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
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "__version__",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'dicomsql' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
