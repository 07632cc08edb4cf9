"""What an engine's database has by name: its tables and views, and the views that we keep there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.language.statements import dotted
from dicomsql.planning.views import view_of

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine
    from dicomsql.planning.answers import View

__all__ = ["Listed", "listed", "spelled"]

# Those that a shorter name finds stand first: TEMP ones, then by the place of their schema among
# those that a name is looked for in.
_LISTED = """
    SELECT database_name, schema_name, name, is_view, temporary,
        temporary OR database_name = current_database() AS here,
        temporary OR (here AND schema_name IN path) AS near,
        comment
    FROM (SELECT list_prepend(current_schema(), current_schemas(false)) AS path) CROSS JOIN (
        SELECT database_name, schema_name, table_name AS name, false AS is_view, temporary, comment
        FROM duckdb_tables() WHERE NOT internal
        UNION ALL
        SELECT database_name, schema_name, view_name, true, temporary, comment
        FROM duckdb_views() WHERE NOT internal
    )
    ORDER BY temporary DESC, here DESC, list_position(path, schema_name)
"""
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class Listed:
    """A table or view as the database lists it.

    Attributes:
        is_view: it is a view.
        temporary: it is bound to its connection.
        here: it is the connection's database's, so that its schema's name finds it.
        near: a name of one part finds it.
    """

    database: str
    schema: str
    name: str
    is_view: bool
    temporary: bool
    here: bool
    near: bool
    comment: str | None


def listed(engine: Engine) -> list[Listed]:
    """The tables and views of all of an engine's databases."""
    return [
        Listed(
            str(database),
            str(schema),
            str(name),
            is_view=bool(is_view),
            temporary=bool(temporary),
            here=bool(here),
            near=bool(near),
            comment=str(comment) if comment is not None else None,
        )
        for database, schema, name, is_view, temporary, here, near, comment in engine.rows(_LISTED)
    ]


def spelled(tables: Iterable[Listed]) -> tuple[frozenset[str], tuple[tuple[str, View], ...]]:
    """The names by which a statement can name tables and views, and the views that we keep.

    Returns:
        The lower-case names, of one part and with schema and database; and by these the views that
        planning knows how to read.
    """
    names: set[str] = set()
    views: dict[str, View] = {}
    for table in tables:
        view = view_of(table.name, table.comment)
        for name in _spelled(table):
            lowered = name.lower()
            if lowered in names:
                continue  # the name means what was found before
            names.add(lowered)
            if view is not None:
                views[lowered] = view
    return frozenset(names), tuple(sorted(views.items()))


def _spelled(table: Listed) -> Iterator[str]:
    if table.near:
        yield dotted((table.name,))
    if table.here:
        yield dotted((table.schema, table.name))
    if table.schema == _MAIN:
        yield dotted((table.database, table.name))
    yield dotted((table.database, table.schema, table.name))
