"""What an engine's database has by name: its tables and views, and the views that we keep there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.planning.views import view_of

if TYPE_CHECKING:
    from dicomsql.engine.duck import Engine
    from dicomsql.planning.answers import View

# Those that a name of one part finds stand first, TEMP ones before all.
_NAMES = """
    SELECT database_name, schema_name, name, comment,
        temporary OR (database_name = current_database() AND schema_name = current_schema())
    FROM (
        SELECT database_name, schema_name, table_name AS name, comment, temporary
        FROM duckdb_tables() WHERE NOT internal
        UNION ALL
        SELECT database_name, schema_name, view_name, comment, temporary
        FROM duckdb_views() WHERE NOT internal
    )
    ORDER BY temporary DESC
"""
_MAIN = "main"


def named(engine: Engine) -> tuple[frozenset[str], tuple[tuple[str, View], ...]]:
    """The tables and views, and those views among them that planning knows how to read.

    Returns:
        The lower-case names by which a statement can name them: of one part, and with their schema
        and database; and by these the views that we keep.
    """
    tables: set[str] = set()
    views: dict[str, View] = {}
    for database, schema, name, comment, near in engine.rows(_NAMES):
        view = view_of(str(name), str(comment) if comment is not None else None)
        for spelled in _spelled(str(database), str(schema), str(name), near=bool(near)):
            lowered = spelled.lower()
            if lowered in tables:
                continue  # the name means what was found before
            tables.add(lowered)
            if view is not None:
                views[lowered] = view
    return frozenset(tables), tuple(sorted(views.items()))


def _spelled(database: str, schema: str, name: str, *, near: bool) -> Iterator[str]:
    if near:
        yield name
    yield f"{schema}.{name}"
    if schema == _MAIN:
        yield f"{database}.{name}"
    yield f"{database}.{schema}.{name}"
