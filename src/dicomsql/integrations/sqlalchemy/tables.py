"""Reflection of the engine's own tables, from the engine's catalog."""

# Nothing but the conditions below is put into the texts of the queries.
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import interfaces, reflection

from dicomsql.integrations.sqlalchemy.types import type_of

DEFAULT_SCHEMA = "main"

# Tables of the database itself, and those that end with the connection.
_HERE = "database_name = current_database()"
_TEMPORARY = "database_name = 'temp'"
_ANYWHERE = f"({_HERE} OR {_TEMPORARY})"

_MATERIALIZED = "SHOW VIEWS WHERE kind = 'materialized view'"

# What a statement is cut into where its brackets and commas are looked for.
_PIECES = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|.""", re.DOTALL)
_PLAIN_NAME = re.compile(r'"((?:[^"]|"")+)"|(\w+)')
_CAST = re.compile(r"CAST\((\(.*\)) AS [^()]+(?:\([^()]*\))?\)", re.DOTALL)
_CHECK = re.compile(r"CHECK\s*\((.*)\)\s*", re.DOTALL | re.IGNORECASE)


class Column(interfaces.ReflectedColumn, total=False):
    """A column as it is reflected, with what `Column.info` is to be."""

    info: dict[str, Any]


def is_service(schema: str) -> bool:
    """Whether a schema is a service of a provider: the engine's have no dots."""
    return "." in schema


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

    @reflection.cache
    def get_temp_table_names(
        self,
        connection: Any,
        schema: str | None = None,  # noqa: ARG002
        **_kw: Any,
    ) -> list[str]:
        """The tables that end with the connection."""
        return _names(
            connection,
            f"SELECT table_name FROM duckdb_tables() WHERE {_TEMPORARY} ORDER BY table_name",
        )

    @reflection.cache
    def get_view_names(self, connection: Any, schema: str | None = None, **_kw: Any) -> list[str]:
        """The views of a schema; services have none."""
        return _names(
            connection,
            f"SELECT view_name FROM duckdb_views() WHERE {_HERE} AND NOT internal "
            "AND schema_name = ? ORDER BY view_name",
            schema or DEFAULT_SCHEMA,
        )

    @reflection.cache
    def get_materialized_view_names(
        self,
        connection: Any,
        schema: str | None = None,
        **_kw: Any,
    ) -> list[str]:
        """The materialized views of a schema, which are tables to everything else."""
        if (schema or DEFAULT_SCHEMA) != DEFAULT_SCHEMA:
            return []
        return _names(connection, _MATERIALIZED)

    @reflection.cache
    def get_temp_view_names(
        self,
        connection: Any,
        schema: str | None = None,  # noqa: ARG002
        **_kw: Any,
    ) -> list[str]:
        """The views that end with the connection."""
        return _names(
            connection,
            f"SELECT view_name FROM duckdb_views() WHERE {_TEMPORARY} AND NOT internal "
            "ORDER BY view_name",
        )

    @reflection.cache
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
        if not found and (schema or DEFAULT_SCHEMA) == DEFAULT_SCHEMA:
            kept = connection.exec_driver_sql(_MATERIALIZED)
            found = [sql for name, _, sql, *_ in kept if name.lower() == view_name.lower()]
        if not found:
            raise exc.NoSuchTableError(_shown(schema, view_name))
        return str(found[0])

    @reflection.cache
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
        sought = name, schema or DEFAULT_SCHEMA
        return bool(
            _names(
                connection,
                f"SELECT table_name FROM duckdb_tables() WHERE {_ANYWHERE} AND NOT internal "
                "AND lower(table_name) = lower(?) AND schema_name = ? UNION ALL "
                f"SELECT view_name FROM duckdb_views() WHERE {_ANYWHERE} AND NOT internal "
                "AND lower(view_name) = lower(?) AND schema_name = ?",
                *sought,
                *sought,
            )
        )

    # -- tables ----------------------------------------------------------------------------------

    def local_columns(self, connection: Any, name: str, schema: str | None) -> list[Column]:
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
        columns: list[Column] = []
        for column, kind, nullable, default, comment, generated, expression in rows:
            about: Column = {
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
    ) -> interfaces.ReflectedTableComment:
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

    @reflection.cache
    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> interfaces.ReflectedPrimaryKeyConstraint:
        """The primary key; a resource has none, since one row may come from several places."""
        for columns, *_ in self._constraints(connection, table_name, schema, "PRIMARY KEY"):
            return {"constrained_columns": columns, "name": None}
        return {"constrained_columns": [], "name": None}

    @reflection.cache
    def get_unique_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[interfaces.ReflectedUniqueConstraint]:
        """The constraints by which values are unique."""
        found = self._constraints(connection, table_name, schema, "UNIQUE")
        return [{"name": None, "column_names": columns} for columns, *_ in found]

    @reflection.cache
    def get_check_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[interfaces.ReflectedCheckConstraint]:
        """The conditions on rows."""
        checks: list[interfaces.ReflectedCheckConstraint] = []
        for _, text, *_ in self._constraints(connection, table_name, schema, "CHECK"):
            condition = _CHECK.fullmatch(text)
            checks.append({"name": None, "sqltext": condition[1] if condition else text})
        return checks

    @reflection.cache
    def get_foreign_keys(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[interfaces.ReflectedForeignKeyConstraint]:
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

    @reflection.cache
    def get_indexes(
        self, connection: Any, table_name: str, schema: str | None = None, **_kw: Any
    ) -> list[interfaces.ReflectedIndex]:
        """The indexes that were made as such."""
        if not self._check_local(connection, table_name, schema):
            return []
        rows = connection.exec_driver_sql(
            f"SELECT index_name, is_unique, sql FROM duckdb_indexes() WHERE {_ANYWHERE} "
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
        return schema is None or not is_service(schema)


def _computed(expression: str) -> str:
    """What a column is computed by, without the cast to its type that the engine puts around."""
    found = _CAST.fullmatch(expression)
    return found[1] if found else expression


def _index(name: str, unique: bool, sql: str) -> interfaces.ReflectedIndex:
    """An index from the statement that makes it; an expression that is no column stands as such."""
    texts = [_bare(text.strip()) for text in _members(sql)]
    plain = [_PLAIN_NAME.fullmatch(text) for text in texts]
    names = [(found[1] or found[2]).replace('""', '"') if found else None for found in plain]
    about: interfaces.ReflectedIndex = {
        "name": name,
        "unique": bool(unique),
        "column_names": names,
        "dialect_options": {},
    }
    if None in names:
        about["expressions"] = [n or t for n, t in zip(names, texts, strict=True)]
    return about


def _members(sql: str) -> list[str]:
    """What stands between the commas of the first brackets of a statement."""
    members, depth = [""], 0
    for piece in _PIECES.findall(sql):
        depth -= piece == ")"
        if depth == 0 and piece == ")":
            break
        if depth == 1 and piece == ",":
            members.append("")
        elif depth:
            members[-1] += piece
        depth += piece == "("
    return members


def _bare(expression: str) -> str:
    """An expression without the brackets that stand around the whole of it."""
    inside = _members(expression)
    return inside[0] if expression == f"({inside[0]})" else expression


def _names(connection: Any, sql: str, *values: str) -> list[str]:
    return [str(row[0]) for row in connection.exec_driver_sql(sql, values)]


def _shown(schema: str | None, name: str) -> str:
    return f"{schema}.{name}" if schema else name
