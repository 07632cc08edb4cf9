"""Meta-commands that show what there is: services, resources, methods, local tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomsql.shell.meta.table import Command, named
from dicomsql.shell.running import MetaError

if TYPE_CHECKING:
    from dicomsql.session import Session
    from dicomsql.shell.running import Shell

_GROUP = "What there is"

_LOCAL = """
    SELECT schema_name AS "schema", table_name AS name,
        CASE WHEN temporary THEN 'temporary table' ELSE 'table' END AS kind,
        column_count AS columns, estimated_size AS "rows"
    FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT schema_name, view_name,
        CASE WHEN temporary THEN 'temporary view' ELSE 'view' END, column_count, NULL
    FROM duckdb_views() WHERE NOT internal
    ORDER BY 1, 2
"""

_USAGE = (
    "\\d takes the name of a service, a resource or a local table: \\d google.healthcare.studies"
)
_METHODS = "\\dm takes the name of a resource: \\dm google.healthcare.dicom_stores"


def _describe(shell: Shell, arguments: str) -> bool:
    return _describe_as(shell, arguments, extended=False)


def _describe_more(shell: Shell, arguments: str) -> bool:
    return _describe_as(shell, arguments, extended=True)


def _describe_as(shell: Shell, arguments: str, *, extended: bool) -> bool:
    more = "EXTENDED " if extended else ""
    session = shell.state.session
    if not arguments:
        if len(session.prefix) == 2:
            return shell.ask(f"SHOW {more}RESOURCES IN {'.'.join(session.prefix)}")
        return _services(shell, "")
    name = named(arguments, _USAGE)
    parts = name.split(".")
    providers = {provider.name for provider in session.catalog.providers()}
    if parts[0] in providers and len(parts) == 1:
        return shell.ask(f"SHOW {more}SERVICES IN {name}")
    if parts[0] in providers and len(parts) == 2:
        return shell.ask(f"SHOW {more}RESOURCES IN {name}")
    if len(parts) == 4:
        return shell.ask(f"DESCRIBE METHOD {more}{name}")
    described = shell.ask(f"DESCRIBE {more}{name}")
    if described and not extended and _is_resource(session, parts):
        shell.talk.say(f"\\d+ {name} shows every column that can be named, and what each is.")
    return described


def _methods(shell: Shell, arguments: str) -> bool:
    if not arguments:
        raise MetaError(_METHODS)
    name = named(arguments, _METHODS)
    prefix = shell.state.session.prefix
    if len(name.split(".")) + len(prefix) > 3:
        return shell.ask(f"DESCRIBE METHOD EXTENDED {name}")
    return shell.ask(f"SHOW METHODS IN {name}")


def _services(shell: Shell, arguments: str) -> bool:
    catalog = shell.state.session.catalog
    if arguments:
        return shell.ask(f"SHOW SERVICES IN {named(arguments, 'It takes the name of a provider.')}")
    lines = []
    for provider in catalog.providers():
        for entry in catalog.entries(provider.name):
            lines.append((f"{provider.name}.{entry.name}", entry.title))
    width = max((len(name) for name, _ in lines), default=0)
    shell.show_lines("\n".join(f"{name.ljust(width)}  {title}".rstrip() for name, title in lines))
    shell.talk.say("\\d NAME shows a service's resources; \\dt shows local tables.")
    return True


def _tables(shell: Shell, _arguments: str) -> bool:
    listed = shell.ask(_LOCAL)
    if listed and shell.state.last is not None and not shell.state.last.rows:
        shell.talk.say("There are no local tables; \\d shows what servers have.")
    return listed


def _is_resource(session: Session, parts: list[str]) -> bool:
    """Whether a name is a resource's, and of no local table."""
    from contextlib import suppress

    from dicomsql.errors import Error

    with suppress(Error):
        return bool(session.catalog.resolve(tuple(parts), session.prefix).full_name)
    return False


COMMANDS = (
    Command(
        ("d", "schema"),
        "[NAME]",
        "services; a service's resources; the columns of a resource or a local table",
        _GROUP,
        _describe,
        takes="resource",
    ),
    Command(
        ("d+",),
        "[NAME]",
        "the same with what documents say of each",
        _GROUP,
        _describe_more,
        takes="resource",
    ),
    Command(
        ("dm",),
        "NAME",
        "the methods of a resource, or what a method takes",
        _GROUP,
        _methods,
        takes="method",
    ),
    Command(("dn", "ds", "databases"), "[PROVIDER]", "services", _GROUP, _services),
    Command(("dt", "dv", "tables"), "", "local tables and views", _GROUP, _tables),
)
