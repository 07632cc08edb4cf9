"""SHOW and DESCRIBE: the listing that a statement asks for, from the documents alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dicomsql.errors import PlanningError, nearest
from dicomsql.language.statements import Describe, Show, Statement
from dicomsql.planning.answers import MARK, Context, ListPlan

if TYPE_CHECKING:
    from dicomsql.catalog.about import Listing
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import View
    from dicomsql.planning.plan import EnginePlan

# The parts of a resource's name: provider, service, resource.
_WHOLE = 3

# What SHOW lists from the documents, and what the engine lists.
_SHOWS = ("providers", "services", "resources", "methods", "insert", "version", "views")
_ENGINE_SHOWS = ("tables", "all", "databases", "schemas", "variables")
# The views of the database: what our comments say of ours, and the engine's own text of others.
_OURS = f"comment LIKE '{{\"{MARK}\"%'"
# What stands before the query of a view that the engine keeps.
_HEAD = (
    r"^CREATE (?:OR REPLACE )?(?:TEMP(?:ORARY)? )?VIEW (?:IF NOT EXISTS )?"
    r'(?:"(?:[^"]|"")*"|[^" (])+ ?'
    r'(?:\((?:"(?:[^"]|"")*"|[^")])*\) )?AS '
)
_VIEWS = f"""
    SELECT view_name AS name, 'view' AS kind,
        CASE WHEN {_OURS} THEN json_extract_string(comment, '$.sql')
            ELSE rtrim(regexp_replace(sql, '{_HEAD}', ''), '; ') END AS definition,
        CAST(NULL AS VARCHAR) AS refreshed
    FROM duckdb_views() WHERE NOT internal AND sql NOT LIKE '%arrow_scan%'
    UNION ALL
    SELECT table_name, 'materialized view', json_extract_string(comment, '$.sql'),
        json_extract_string(comment, '$.refreshed')
    FROM duckdb_tables() WHERE {_OURS}
"""  # noqa: S608

# What other systems call it, where DESCRIBE is meant.
_OF_COLUMNS = ("columns", "fields")


def show(statement: Show, catalog: Catalog, context: Context) -> ListPlan:
    """Plan SHOW.

    Raises:
        PlanningError: there is nothing of that name.
    """
    listing = _shown(statement, catalog, context)
    if statement.like is not None:
        from dataclasses import replace

        at = listing.columns.index("name") if "name" in listing.columns else 0
        pattern = _pattern(statement.like)
        rows = tuple(r for r in listing.rows if pattern.fullmatch(r[at] or ""))
        listing = replace(listing, rows=rows)
    condition = statement.where.text if statement.where is not None else ""
    return ListPlan(listing, condition)


def describe(statement: Describe, catalog: Catalog, context: Context) -> ListPlan:
    """Plan DESCRIBE.

    Raises:
        LanguageError, PlanningError: there is nothing of that name.
    """
    from dicomsql.catalog import about

    detail = about.Detail.EXTENDED if statement.extended else about.Detail.BRIEF
    parts = statement.target.parts
    if statement.method:
        method = catalog.resolve_method(parts, context.use)
        return ListPlan(about.describe_method(catalog, method, detail))
    if len(parts) > _WHOLE:
        whole, column = ".".join(parts[:_WHOLE]), ".".join(parts[_WHOLE:])
        raise PlanningError(f"A column stands behind its table: DESCRIBE {whole} {column}.")
    resource = catalog.resolve(parts, context.use)
    listing = about.describe(resource, detail)
    if statement.columns or statement.like is not None:
        from dicomsql.planning.described import described

        like = _pattern(statement.like) if statement.like is not None else None
        listing = described(statement, resource, listing.columns, like)
    return ListPlan(listing)


def show_views(statement: Show) -> EnginePlan:
    """Plan SHOW VIEWS: the engine's own views, ours, and materialized ones."""
    from dicomsql.planning.plan import EnginePlan

    wanted = []
    if statement.like is not None:
        wanted.append("name ILIKE '" + statement.like.replace("'", "''") + "'")
    if statement.where is not None:
        wanted.append(f"({statement.where.text}\n)")
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    return EnginePlan(f"SELECT * FROM ({_VIEWS}){where} ORDER BY name")  # noqa: S608


def describe_view(view: View) -> ListPlan:
    """Plan DESCRIBE EXTENDED of a view: its columns, and what can be given to it."""
    from dicomsql.catalog.about import Listing

    columns = [(name, kind, "column") for name, kind in view.columns]
    shown = {name.lower() for name, _ in view.columns}
    taken = [(p, "VARCHAR", "parameter") for p in view.parameters if p.lower() not in shown]
    return ListPlan(Listing(("name", "type", "is"), (*columns, *taken)))


def check_shown(statement: Statement, context: Context) -> None:
    """Refuse SHOW of what neither the documents nor the engine knows.

    Raises:
        PlanningError: it is such a statement.
    """
    words = statement.text.split()
    if len(words) < 2 or words[0].upper() != "SHOW":
        return
    what = words[1].strip(";").lower()
    if what not in {*_ENGINE_SHOWS, *context.local_tables}:
        if what in _OF_COLUMNS:
            raise PlanningError(f"SHOW {words[1]} is not known; DESCRIBE lists a table's columns.")
        shown = sorted([*_SHOWS, *_ENGINE_SHOWS])
        raise PlanningError(
            f"SHOW {words[1]} is not known.{nearest(what, shown)} "
            f"SHOW takes {', '.join(s.upper() for s in shown)}, or a table of the engine."
        )


def _shown(statement: Show, catalog: Catalog, context: Context) -> Listing:
    from dicomsql.catalog import about

    detail = about.Detail.EXTENDED if statement.extended else about.Detail.BRIEF
    parts = statement.target.parts if statement.target is not None else ()
    match statement.kind:
        case "providers":
            return about.show_providers(catalog)
        case "services":
            (provider,) = _completed(parts, context.use, 1)
            return about.show_services(catalog, provider, detail)
        case "resources":
            provider, service = _completed(parts, context.use, 2)
            return about.show_resources(catalog, provider, service, detail)
        case "methods":
            return about.show_methods(catalog.resolve(parts, context.use), detail)
        case "insert":
            required = "REQUIRED" in statement.hints
            fields = about.Fields.REQUIRED if required else about.Fields.ALL
            return about.show_insert(catalog, catalog.resolve(parts, context.use), fields)
        case "version":
            from dicomsql.version import __version__

            return about.Listing(("version",), ((__version__,),))
    known = [s.upper() for s in _SHOWS]
    raise PlanningError(
        f"SHOW {statement.kind.upper()} is not known.{nearest(statement.kind, known)}"
    )


def _completed(parts: tuple[str, ...], use: tuple[str, ...], length: int) -> tuple[str, ...]:
    """A name with what USE says in front of it, where it is shorter than wanted."""
    if len(parts) < length:
        parts = (*use[: length - len(parts)], *parts)
    if len(parts) != length:
        wanted = ".".join(("provider", "service")[:length])
        raise PlanningError(
            f"Name the {wanted}, for example google.healthcare; or USE it before."
            if length == 2
            else f"Name the {wanted}, for example google."
        )
    return parts


def _pattern(pattern: str) -> re.Pattern[str]:
    """What LIKE's pattern matches, whatever the case."""
    parts = re.split(r"([%_])", pattern)
    made = "".join({"%": ".*", "_": "."}.get(p, re.escape(p)) for p in parts)
    return re.compile(made, re.IGNORECASE | re.DOTALL)
