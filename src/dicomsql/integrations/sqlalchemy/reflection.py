"""What SQLAlchemy's inspector finds: services as schemas, resources as tables, the engine's own.

A schema with a dot (`google.healthcare`) is a service of a provider, whose documents are asked by
SHOW and DESCRIBE; no server is. Any other is one of the engine.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc, schema, sql
from sqlalchemy.engine import interfaces, reflection
from sqlalchemy.sql.compiler import IdentifierPreparer

from dicomsql.errors import ProgrammingError
from dicomsql.integrations.sqlalchemy.tables import Column, LocalTables, is_service
from dicomsql.integrations.sqlalchemy.types import type_of

# SQL verbs in their order; EXEC has no columns.
_VERBS = ("SELECT", "INSERT", "UPDATE", "REPLACE", "DELETE")

# The types of parameters and body fields that are no text, as documents spell them.
_KINDS = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "object": "JSON",
    "array": "JSON",
}

# What DESCRIBE EXTENDED says of DICOM attributes besides name, type and description.
_ABOUT = ("vr", "tag", "level", "source", "filter")


class HiddenColumn(schema.Column[Any]):
    """A column that `SELECT *` leaves out: of its table, and of the table under an alias.

    Of a subquery it is a column like any other, since somebody has chosen it there.
    """

    inherit_cache = True

    def _make_proxy(self, selectable: Any, *args: Any, **kw: Any) -> Any:
        key, made = super()._make_proxy(selectable, *args, **kw)
        renamed = isinstance(selectable, sql.Alias | sql.TableSample)
        made._omit_from_statements = self._omit_from_statements and renamed
        return key, made


class ServiceInspector(reflection.Inspector):
    """Reflects tables so that `select(table)` has the columns of `SELECT *`."""

    def reflect_table(self, table: Any, *args: Any, **kw: Any) -> None:
        super().reflect_table(table, *args, **kw)
        for column in table.columns:
            if column.info.get("hidden"):
                # SQLAlchemy makes the columns, and does not ask of which class.
                column.__class__ = HiddenColumn
                column._omit_from_statements = True


class Reflection(LocalTables):
    """The part of the dialect that answers the inspector."""

    identifier_preparer: IdentifierPreparer

    @reflection.cache
    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        """The engine's schemas, then the services."""
        return [*self.local_schemas(connection), *self._services(connection, **kw)]

    @reflection.cache
    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """The tables of a schema of the engine, or the resources of a service."""
        if schema is None or not is_service(schema):
            return self.local_tables(connection, schema)
        return list(self._resources(connection, schema, **kw))

    @reflection.cache
    def has_table(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Whether there is a table, view or resource of that name, in any case."""
        if schema is None or not is_service(schema):
            return self.has_local(connection, table_name, schema)
        resources = self._resources(connection, schema, **kw)
        return table_name.lower() in {name.lower() for name in resources}

    @reflection.cache
    def get_columns(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[interfaces.ReflectedColumn]:
        """The columns of a table.

        Those of a resource are what its rows have, then its parameters and what can be written.
        Their `info` says:
            parameter: it is a request parameter, or a field that can only be written.
            required: the verbs (`select`, `insert`, ...) that need it in each of their methods.
            hidden: `SELECT *` leaves it out, and `select(table)` too.
            vr, tag, level, source, filter: of DICOM attributes, as DESCRIBE EXTENDED says it.
        """
        if schema is None or not is_service(schema):
            return [*self.local_columns(connection, table_name, schema)]
        if not self.has_table(connection, table_name, schema, **kw):
            raise exc.NoSuchTableError(f"{schema}.{table_name}")
        resource = self._name(schema, table_name)
        found = {c["name"].lower(): c for c in self._attributes(connection, resource)}
        self._add_inputs(connection, resource, found)
        return list(found.values())

    @reflection.cache
    def get_table_comment(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> interfaces.ReflectedTableComment:
        """What a table is."""
        if schema is None or not is_service(schema):
            return self.local_comment(connection, table_name, schema)
        resources = self._resources(connection, schema, **kw)
        if table_name not in resources:
            raise exc.NoSuchTableError(f"{schema}.{table_name}")
        return {"text": resources[table_name] or None}

    # -- services --------------------------------------------------------------------------------

    @reflection.cache
    def _services(self, connection: Any, **_kw: Any) -> list[str]:
        names = []
        for provider, *_ in _rows(connection, "SHOW PROVIDERS"):
            shown = _rows(connection, f"SHOW SERVICES IN {self._name(provider)}")
            names += [f"{provider}.{name}" for _, name, *_ in shown]
        return names

    @reflection.cache
    def _resources(self, connection: Any, schema: str, **kw: Any) -> dict[str, str]:
        """Names of a service's resources -> what they are; none where there is no such service."""
        if schema.lower() not in {name.lower() for name in self._services(connection, **kw)}:
            return {}
        shown = _rows(connection, f"SHOW EXTENDED RESOURCES IN {self._name(schema)}")
        return {name: about or title for name, _, title, about in shown}

    def _attributes(self, connection: Any, resource: str) -> list[Column]:
        """The columns of a resource's rows, and of a DICOM table its parameters."""
        try:
            usual = {name for name, *_ in _rows(connection, f"DESCRIBE {resource}")}
        except exc.ProgrammingError as error:
            if isinstance(error.orig, ProgrammingError):
                # It gives no rows, but may take some.
                return []
            raise
        columns = []
        for name, kind, about, *rest in _rows(connection, f"DESCRIBE EXTENDED {resource}"):
            column = _column(name, type_of(kind), about, hidden=name not in usual)
            info = column["info"]
            info.update(zip(_ABOUT, rest, strict=False))
            info["parameter"] = info.get("source") == "parameter"
            columns.append(column)
        return columns

    def _add_inputs(self, connection: Any, resource: str, found: dict[str, Column]) -> None:
        """Add what methods take, and say by which verbs it is needed.

        Args:
            found: the columns by their names in lower case.
        """
        methods = [
            (name, verb)
            for name, _, verb in _rows(connection, f"SHOW METHODS IN {resource}")
            if verb in _VERBS
        ]
        needed: dict[str, dict[str, int]] = {}
        for method, verb in methods:
            told = _rows(connection, f"DESCRIBE METHOD EXTENDED {resource}.{self._name(method)}")
            for name, kind, role, _, about in told:
                if role == "output":
                    continue
                if name.lower() not in found:
                    column = _column(name, type_of(_KINDS.get(kind, "VARCHAR")), about, hidden=True)
                    column["info"]["parameter"] = True
                    found[name.lower()] = column
                if role == "input_required":
                    verbs = needed.setdefault(name.lower(), {})
                    verbs[verb] = verbs.get(verb, 0) + 1
        for lowered, verbs in needed.items():
            required = [
                verb
                for verb in _VERBS
                if verb in verbs and verbs[verb] == sum(v == verb for _, v in methods)
            ]
            column = found[lowered]
            column["info"]["required"] = tuple(verb.lower() for verb in required)
            if required:
                note = f"Required by {', '.join(required)}."
                column["comment"] = f"{note} {column['comment'] or ''}".rstrip()

    def _name(self, *dotted: str) -> str:
        """Names, each of which may be dotted, as a statement writes them."""
        quote = self.identifier_preparer.quote
        return ".".join(quote(part) for name in dotted for part in name.split("."))


def _rows(connection: Any, statement: str) -> list[Any]:
    return list(connection.exec_driver_sql(statement))


def _column(name: str, type_: Any, about: str | None, *, hidden: bool) -> Column:
    return {
        "name": name,
        "type": type_,
        "nullable": True,
        "default": None,
        "comment": about or None,
        "info": {"parameter": False, "required": (), "hidden": hidden},
    }
