"""The dialect: connections, transactions and results, by PEP 249's names."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sqlalchemy import event, exc, pool
from sqlalchemy.engine import URL
from sqlalchemy.engine.default import DefaultDialect, DefaultExecutionContext

from dicomsql.errors import InterfaceError, NotSupportedError, without_literals
from dicomsql.integrations.sqlalchemy.compiler import Compiler, DdlCompiler, Preparer
from dicomsql.integrations.sqlalchemy.pool import ThreadPool
from dicomsql.integrations.sqlalchemy.reflection import Reflection, ServiceInspector
from dicomsql.integrations.sqlalchemy.types import COLUMN_TYPES, TypeCompiler
from dicomsql.integrations.sqlalchemy.url import connect_arguments
from dicomsql.version import __version__

if TYPE_CHECKING:
    from types import ModuleType

    from sqlalchemy.engine.interfaces import IsolationLevel


# The database that no other connection sees.
PRIVATE: Final = ":memory:"

# What the engine's transactions see is a snapshot, which is more than this level asks for.
_SNAPSHOT: Final = "REPEATABLE READ"
_AUTOCOMMIT: Final = "AUTOCOMMIT"


class ExecutionContext(DefaultExecutionContext):
    """One execution of a statement."""

    def create_server_side_cursor(self) -> Any:
        """A cursor for `stream_results`: every cursor gives its rows as they come."""
        return self._dbapi_connection.cursor()

    def fire_sequence(self, seq: Any, type_: Any) -> Any:
        """The next value of a sequence."""
        name = self.identifier_preparer.format_sequence(seq).replace("'", "''")
        return self._execute_scalar(f"SELECT nextval('{name}')", type_)


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

    def __init__(
        self, json_serializer: Any = None, json_deserializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._json_serializer = json_serializer
        self._json_deserializer = json_deserializer

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The DB-API module."""
        import dicomsql

        return dicomsql

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """One connection for each thread where it has tables of its own; else any for any."""
        shared = connect_arguments(url).get("database", PRIVATE) != PRIVATE
        return pool.QueuePool if shared else ThreadPool

    @classmethod
    def engine_created(cls, engine: Any) -> None:
        """Keep values out of errors and logs: they may be what identifies a patient."""
        if not connect_arguments(engine.url).get("show_phi"):
            engine.hide_parameters = True
            event.listen(engine, "handle_error", _hide_literals)
        if "alembic" in sys.modules:
            import dicomsql.integrations.sqlalchemy.alembic  # noqa: F401 - makes itself known

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `dicomsql.connect` that a URL stands for."""
        return [], connect_arguments(url)

    def initialize(self, connection: Any) -> None:
        """Nothing is asked: everything that SQLAlchemy wants to know is known."""
        self.server_version_info = self._get_server_version_info(None)
        self.default_schema_name = self._get_default_schema_name(None)
        self.default_isolation_level = self.get_default_isolation_level(
            connection.connection.dbapi_connection
        )

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:  # noqa: ARG002
        return tuple(int(part) for part in __version__.split(".") if part.isdigit())

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether the connection can be used; asks no server, since it connects to several."""
        return not dbapi_connection.closed

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002
        """Whether the connection was closed; a server that does not answer ends no connection."""
        return isinstance(e, InterfaceError) and connection is not None and connection.closed

    def get_isolation_level_values(self, dbapi_conn: Any) -> list[IsolationLevel]:  # noqa: ARG002
        """The levels: the engine has one, and can commit each statement by itself."""
        return [_SNAPSHOT, _AUTOCOMMIT]

    def get_default_isolation_level(self, dbapi_conn: Any) -> IsolationLevel:
        """The level that the URL asks for."""
        return self.get_isolation_level(dbapi_conn)

    def get_isolation_level(self, dbapi_connection: Any) -> IsolationLevel:
        """The level of a connection."""
        return _AUTOCOMMIT if dbapi_connection.autocommit else _SNAPSHOT

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """Change the level of a connection."""
        dbapi_connection.autocommit = level == _AUTOCOMMIT

    def reset_isolation_level(self, dbapi_conn: Any) -> None:
        """Go back to the level that connections begin with; a closed one has none."""
        if not dbapi_conn.closed:
            super().reset_isolation_level(dbapi_conn)  # type: ignore[no-untyped-call]

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Whether each statement of a connection is committed by itself."""
        return bool(dbapi_conn.autocommit)

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Take back what was done to tables of the engine, and warn of calls, which stay.

        SQLAlchemy does this whenever a connection goes back to its pool, so that it does not raise
        for what cannot be taken back.
        """
        # A closed connection took its transaction with it; the end of a program closes them all.
        if dbapi_connection.closed or (
            self.skip_autocommit_rollback and dbapi_connection.autocommit
        ):
            return
        try:
            dbapi_connection.rollback()
        except NotSupportedError as error:
            warnings.warn(str(error), exc.SAWarning, stacklevel=2)

    def do_savepoint(self, connection: Any, name: Any) -> NoReturn:  # noqa: ARG002
        """Raises NotSupportedError: `begin_nested` needs what the engine does not have."""
        _refuse("There are no savepoints: leave begin_nested() out, or use a connection of its own")

    def do_begin_twophase(self, connection: Any, xid: Any) -> NoReturn:  # noqa: ARG002
        """Raises NotSupportedError."""
        _refuse("There are no transactions in two phases: use begin()")

    def do_recover_twophase(self, connection: Any) -> list[Any]:  # noqa: ARG002
        """There are none to recover."""
        return []


def _refuse(why: str) -> NoReturn:
    raise exc.NotSupportedError(None, None, NotSupportedError(f"{why}."))


def _hide_literals(context: Any) -> None:
    """Take the literals out of the statement that SQLAlchemy repeats in its errors."""
    error = context.sqlalchemy_exception
    if error is not None and error.statement:
        error.statement = without_literals(error.statement)
