"""The dialect: connections, transactions and results, by PEP 249's names."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import exc, pool
from sqlalchemy.engine import URL
from sqlalchemy.engine.default import DefaultDialect, DefaultExecutionContext

from dicomsql.errors import InterfaceError, NotSupportedError
from dicomsql.integrations.sqlalchemy.compiler import (
    AGGREGATE_ORDER_BY,
    Compiler,
    DdlCompiler,
    Preparer,
)
from dicomsql.integrations.sqlalchemy.reflection import Reflection, ServiceInspector
from dicomsql.integrations.sqlalchemy.types import COLUMN_TYPES, TypeCompiler
from dicomsql.integrations.sqlalchemy.url import connect_arguments
from dicomsql.version import __version__

if TYPE_CHECKING:
    from types import ModuleType


class ExecutionContext(DefaultExecutionContext):
    """One execution of a statement."""

    dialect: Dialect

    def create_server_side_cursor(self) -> Any:
        """A cursor for `stream_results`: every cursor gives its rows as they come."""
        return self._dbapi_connection.cursor()

    def fire_sequence(self, seq: Any, type_: Any) -> Any:
        """The next value of a sequence."""
        name = self.identifier_preparer.format_sequence(seq).replace("'", "''")
        return self._execute_scalar(f"SELECT nextval('{name}')", type_)

    def post_exec(self) -> None:
        """Remember what was written at servers, which no rollback takes back."""
        statistics = self.cursor.statistics  # type: ignore[attr-defined]
        if self.cursor.rowcount > 0 and statistics is not None and statistics.requests:
            self.dialect.wrote(self._dbapi_connection, self.cursor.rowcount)


class Dialect(Reflection, DefaultDialect):
    """`dicomsql://`: tables of the engine, and the resources of providers as tables of services."""

    name = "dicomsql"
    driver = "dicomsql"

    statement_compiler = Compiler
    ddl_compiler = DdlCompiler
    type_compiler_cls = TypeCompiler
    preparer = Preparer
    execution_ctx_cls = ExecutionContext
    inspector = ServiceInspector
    colspecs = COLUMN_TYPES

    default_paramstyle = "qmark"
    supports_statement_cache = True
    supports_server_side_cursors = True
    aggregate_order_by_style = AGGREGATE_ORDER_BY

    supports_alter = False
    supports_comments = True
    supports_sequences = True
    supports_native_boolean = True
    supports_native_decimal = True
    supports_native_uuid = True
    returns_native_bytes = True
    # `/` divides integers as it does all numbers.
    div_is_floordiv = False

    supports_default_values = True
    supports_default_metavalue = True
    supports_empty_insert = False
    supports_multivalues_insert = True
    postfetch_lastrowid = False
    insert_returning = update_returning = delete_returning = True
    use_insertmanyvalues = True
    # WITH stands before the query of an INSERT, not before the INSERT.
    cte_follows_insert = True

    # The engine does not say how many rows of its own tables a statement wrote.
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False

    def __init__(
        self, json_serializer: Any = None, json_deserializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._json_serializer = json_serializer
        self._json_deserializer = json_deserializer
        # Connections -> the rows that they wrote at servers since they were last committed.
        self._written: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The DB-API module."""
        import dicomsql

        return dicomsql

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:  # noqa: ARG003
        """One connection for each thread: a connection has its own engine, with its own tables."""
        return pool.SingletonThreadPool

    @classmethod
    def engine_created(cls, engine: Any) -> None:
        """Keep values out of errors and logs: they may be what identifies a patient."""
        engine.hide_parameters = engine.url.query.get("show_phi") is None or not (
            connect_arguments(engine.url)["show_phi"]
        )

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `dicomsql.connect` that a URL stands for."""
        return [], connect_arguments(url)

    def initialize(self, connection: Any) -> None:  # noqa: ARG002 - SQLAlchemy's name
        """Nothing is asked: everything that SQLAlchemy wants to know is known."""
        self.server_version_info = self._get_server_version_info(None)
        self.default_schema_name = self._get_default_schema_name(None)

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:  # noqa: ARG002
        return tuple(int(part) for part in __version__.split(".") if part.isdigit())

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether the connection can be used; asks no server, since it connects to several."""
        return not dbapi_connection.closed

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002
        """Whether the connection was closed; a server that does not answer ends no connection."""
        return isinstance(e, InterfaceError) and connection is not None and connection.closed

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit what was done to tables of the engine; calls are done already."""
        self._written.pop(_own(dbapi_connection), None)
        dbapi_connection.commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Take back what can be taken back, and warn of what cannot.

        SQLAlchemy does this whenever a connection goes back to its pool, so that it never raises
        for want of something to take back.
        """
        written = self._written.pop(_own(dbapi_connection), 0)
        with suppress(NotSupportedError):
            dbapi_connection.rollback()
        if written:
            warnings.warn(
                f"Rows that were written at a server ({written:,}) stay: a call cannot be rolled "
                "back. Commit after such a write.",
                exc.SAWarning,
                stacklevel=2,
            )

    def wrote(self, dbapi_connection: Any, rows: int) -> None:
        """Remember that rows were written at a server."""
        own = _own(dbapi_connection)
        self._written[own] = self._written.get(own, 0) + rows


def _own(connection: Any) -> Any:
    """The connection of the DB-API itself, behind what a pool gives out for it."""
    return getattr(connection, "dbapi_connection", connection)
