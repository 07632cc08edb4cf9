"""Reflection of the engine's own tables, from the engine's catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import reflection

from dicomsql.integrations.sqlalchemy.types import type_of

DEFAULT_SCHEMA = "main"

# Tables of the database itself, and those that end with the connection.
_HERE = "database_name = current_database()"
_TEMPORARY = "database_name = 'temp'"
_ANYWHERE = f"({_HERE} OR {_TEMPORARY})"

# The rows of an index's `expressions`, each an expression or a quoted name.
_EXPRESSION = re.compile(r"'((?:[^']|'')*)'|([^,\[\]\s][^,\[\]]*)")
_PLAIN_NAME = re.compile(r'"((?:[^"]|"")+)"|(\w+)')
_CAST = re.compile(r"CAST\((\(.*\)) AS [^()]+(?:\([^()]*\))?\)", re.DOTALL)
_CHECK = re.compile(r"CHECK\s*\((.*)\)\s*", re.DOTALL | re.IGNORECASE)


class LocalTables:
    """Answers of the inspector that concern the engine alone."""

    def _get_default_schema_name(self, connection: Any) -> str:  # noqa: ARG002
        return DEFAULT_SCHEMA

    # -- names -----------------------------------------------------------------------------------

    def local_schemas(self, connection: Any) -> list[str]:
        """The engine's schemas, the default one first."""
        return _names(
            connection,
            f"SELECT schema_name FROM duckdb_schemas() WHERE {_HERE} AND schema_name NOT IN "
            "('information_schema', 'pg_catalog') ORDER BY schema_name <> 'main', schema_name",
        )

    def local_tables(self, connection: Any, schema: str | None) -> list[str]:
        """The tables of a schema that stay."""
        return _names(
            connection,
            f"SELECT table_name FROM duckdb_tables() WHERE {_HERE} AND NOT internal "
            "AND schema_name = ? ORDER BY table_name",
            schema or DEFAULT_SCHEMA,
        )

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_temp_table_names(
        self, connection: Any, schema: str | None = None, **_kw: Any  # noqa: ARG002
    ) -> list[str]:
        """The tables that end with the connection."""
        return _names(
            connection,
            f"SELECT table_name FROM duckdb_tables() WHERE {_TEMPORARY} ORDER BY table_name",
        )

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_view_names(self, connection: Any, schema: str | None = None, **_kw: Any) -> list[str]:
        """The views of a schema; services have none."""
        return _names(
            connection,
            f"SELECT view_name FROM duckdb_views() WHERE {_HERE} AND NOT internal "
            "AND schema_name = ? ORDER BY view_name",
            schema or DEFAULT_SCHEMA,
        )

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_temp_view_names(
        self, connection: Any, schema: str | None = None, **_kw: Any  # noqa: ARG002
    ) -> list[str]:
        """The views that end with the connection."""
        return _names(
            connection,
            f"SELECT view_name FROM duckdb_views() WHERE {_TEMPORARY} AND NOT internal "
            "ORDER BY view_name",
        )

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_view_definition(
        self, connection: Any, view_name: str, schema: str | None = None, **_kw: Any
    ) -> str:
        """The statement that made a view."""
        found = _names(
            connection,
            f"SELECT sql FROM duckdb_views() WHERE {_ANYWHERE} AND NOT internal "
            "AND lower(view_name) = lower(?) AND schema_name = ?",
            view_name,
            schema or DEFAULT_SCHEMA,
        )
        if not found:
            raise exc.NoSuchTableError(_shown(schema, view_name))
        return found[0]

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_sequence_names(
        self, connection: Any, schema: str | None = None, **_kw: Any
    ) -> list[str]:
        """The sequences of a schema."""
        return _names(
            connection,
            f"SELECT sequence_name FROM duckdb_sequences() WHERE {_HERE} AND schema_name = ? "
            "ORDER BY sequence_name",
            schema or DEFAULT_SCHEMA,
        )

    def has_sequence(
        self, connection: Any, sequence_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Whether there is a sequence of that name."""
        return sequence_name in self.get_sequence_names(connection, schema, **kw)

    def has_local(self, connection: Any, name: str, schema: str | None) -> bool:
        """Whether there is a table or view of that name."""
        return bool(
            _names(
                connection,
                f"SELECT table_name FROM duckdb_columns() WHERE {_ANYWHERE} AND NOT internal "
                "AND lower(table_name) = lower(?) AND schema_name = ? LIMIT 1",
                name,
                schema or DEFAULT_SCHEMA,
            )
        )

    # -- tables ----------------------------------------------------------------------------------

    def local_columns(self, connection: Any, name: str, schema: str | None) -> list[dict[str, Any]]:
        """The columns of a table or view.

        Raises:
            NoSuchTableError: there is none of that name.
        """
        rows = connection.exec_driver_sql(
            "SELECT column_name, data_type, is_nullable, column_default, comment, is_generated, "
            "generation_expression "
            f"FROM duckdb_columns() WHERE {_ANYWHERE} AND NOT internal "
            "AND lower(table_name) = lower(?) AND schema_name = ? ORDER BY column_index",
            (name, schema or DEFAULT_SCHEMA),
        ).fetchall()
        if not rows:
            raise exc.NoSuchTableError(_shown(schema, name))
        columns = []
        for column, kind, nullable, default, comment, generated, expression in rows:
            about = {
                "name": column,
                "type": type_of(kind),
                "nullable": bool(nullable),
                "default": default,
                "comment": comment,
                "autoincrement": str(default or "").startswith("nextval("),
            }
            if generated:
                about["default"] = None
                about["computed"] = {"sqltext": _computed(expression), "persisted": False}
            columns.append(about)
        return columns

    def local_comment(
        self, connection: Any, name: str, schema: str | None
    ) -> dict[str, str | None]:
        """The comment on a table or view."""
        self._check_local(connection, name, schema)
        found = [
            row[0]
            for kind in ("table", "view")
            for row in connection.exec_driver_sql(
                f"SELECT comment FROM duckdb_{kind}s() WHERE {_ANYWHERE} "
                f"AND lower({kind}_name) = lower(?) AND schema_name = ?",
                (name, schema or DEFAULT_SCHEMA),
            )
        ]
        return {"text": found[0] if found else None}

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> dict[str, Any]:
        """The primary key; a resource has none, since one row may come from several places."""
        for columns, *_ in self._constraints(connection, table_name, schema, "PRIMARY KEY"):
            return {"constrained_columns": columns, "name": None}
        return {"constrained_columns": [], "name": None}

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_unique_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[dict[str, Any]]:
        """The constraints by which values are unique."""
        found = self._constraints(connection, table_name, schema, "UNIQUE")
        return [{"name": None, "column_names": columns} for columns, *_ in found]

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_check_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[dict[str, Any]]:
        """The conditions on rows."""
        checks = []
        for _, text, *_ in self._constraints(connection, table_name, schema, "CHECK"):
            condition = _CHECK.fullmatch(text)
            checks.append({"name": None, "sqltext": condition[1] if condition else text})
        return checks

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_foreign_keys(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[dict[str, Any]]:
        """The keys of other tables, which are always in the same schema."""
        found = self._constraints(connection, table_name, schema, "FOREIGN KEY")
        return [
            {
                "name": None,
                "constrained_columns": columns,
                "referred_schema": schema,
                "referred_table": table,
                "referred_columns": referred,
                "options": {},
            }
            for columns, _, table, referred in found
        ]

    @reflection.cache  # type: ignore[untyped-decorator]
    def get_indexes(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[dict[str, Any]]:
        """The indexes that were made as such."""
        if not self._check_local(connection, table_name, schema):
            return []
        rows = connection.exec_driver_sql(
            f"SELECT index_name, is_unique, expressions FROM duckdb_indexes() WHERE {_ANYWHERE} "
            "AND lower(table_name) = lower(?) AND schema_name = ? ORDER BY index_name",
            (table_name, schema or DEFAULT_SCHEMA),
        )
        return [_index(*row) for row in rows]

    def _constraints(
        self, connection: Any, table: str, schema: str | None, kind: str
    ) -> Iterator[Any]:
        """(columns, text, table that is referred to, its columns) of a table's constraints.

        The engine makes up their names anew, whatever they were made with, so that none is shown.
        """
        if not self._check_local(connection, table, schema):
            return iter(())
        rows = connection.exec_driver_sql(
            "SELECT constraint_column_names, constraint_text, referenced_table, "
            f"referenced_column_names FROM duckdb_constraints() WHERE {_ANYWHERE} "
            "AND lower(table_name) = lower(?) AND schema_name = ? AND constraint_type = ? "
            "ORDER BY constraint_index",
            (table, schema or DEFAULT_SCHEMA, kind),
        )
        return iter(rows.fetchall())

    def _check_local(self, connection: Any, name: str, schema: str | None) -> bool:
        """Whether a table is the engine's; it has to exist."""
        if not self.has_table(connection, name, schema):  # type: ignore[attr-defined]
            raise exc.NoSuchTableError(_shown(schema, name))
        return schema is None or "." not in schema


def _computed(expression: str) -> str:
    """What a column is computed by, without the cast to its type that the engine puts around."""
    found = _CAST.fullmatch(expression)
    return found[1] if found else expression


def _index(name: str, unique: bool, expressions: str) -> dict[str, Any]:
    """An index from its row; an expression that is no column stands as such."""
    texts = [
        (quoted or plain).replace("''", "'").strip()
        for quoted, plain in _EXPRESSION.findall(expressions)
    ]
    names = [
        (found[1] or found[2]).replace('""', '"') if (found := _PLAIN_NAME.fullmatch(text)) else None
        for text in texts
    ]
    about: dict[str, Any] = {"name": name, "unique": bool(unique), "column_names": names}
    if None in names:
        about["expressions"] = [n or t for n, t in zip(names, texts, strict=True)]
    return about


def _names(connection: Any, sql: str, *values: str) -> list[str]:
    return [str(row[0]) for row in connection.exec_driver_sql(sql, values)]


def _shown(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name
