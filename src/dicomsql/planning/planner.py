"""A statement into its Plan: the one entrance of planning, for every kind of statement."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from dicomsql.errors import LanguageError, NotSupportedError, PlanningError, nearest
from dicomsql.language.parse import literal
from dicomsql.language.statements import (
    Delete,
    Describe,
    Engine,
    Exec,
    Explain,
    Fragment,
    Insert,
    Name,
    Query,
    Set,
    Show,
    Statement,
    Update,
    Use,
)
from dicomsql.planning.answers import Context, ListPlan, SettingPlan

if TYPE_CHECKING:
    from dicomsql.catalog.about import Listing
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.plan import Plan
    from dicomsql.planning.query import Evaluate
    from dicomsql.planning.text import Parameters


def plan_statement(
    statement: Statement,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters = None,
) -> Plan:
    """Plan a statement. Sends nothing.

    Args:
        evaluate: computes a constant expression that only the engine understands.
        parameters: values of the statement's placeholders.

    Raises:
        LanguageError, PlanningError, DataError: the statement is wrong; see `dicomsql.errors`.
    """
    # SHOW and its like must not wait for the parser and the engine to be imported.
    if isinstance(statement, Show):
        return _show(statement, catalog, context)
    if isinstance(statement, Describe):
        return ListPlan(_describe(statement, catalog, context))
    if isinstance(statement, Use):
        return SettingPlan("use", _used(statement.target, catalog))
    if isinstance(statement, Explain):
        from dicomsql.planning.plan import ExplainPlan

        inner = plan_statement(statement.statement, catalog, context, evaluate, parameters)
        mode = "analyze" if statement.analyze else "explain"
        return ExplainPlan(inner, mode, statement.format)
    from dicomsql.planning.text import QueryText, check_parameters

    check_parameters(statement.text, parameters)
    if isinstance(statement, Set):
        if statement.value is None:
            return SettingPlan(statement.name, None)
        return SettingPlan(statement.name, _setting_value(statement, evaluate, parameters))
    if isinstance(statement, Query):
        from dicomsql.planning.query import plan_query

        text = QueryText(
            statement.query,
            source=statement.source,
            parameters=parameters,
            dialect=context.dialect,
        )
        return plan_query(text, catalog, context, evaluate)
    return _write(statement, catalog, context, evaluate, parameters)


def _write(
    statement: Statement,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters,
) -> Plan:
    from dicomsql.planning.writes import WritePlanner

    if isinstance(statement, Engine) or _is_local(getattr(statement, "target", None), context):
        return _engine(statement, catalog, context, evaluate, parameters)
    planner = WritePlanner(catalog, context, evaluate, statement, parameters)
    if isinstance(statement, Insert):
        return planner.insert(statement)
    if isinstance(statement, Update):
        return planner.update(statement)
    if isinstance(statement, Delete):
        return planner.delete(statement)
    if isinstance(statement, Exec):
        return planner.execute(statement)
    raise NotSupportedError(f"{type(statement).__name__.upper()} statements cannot be run.")


def _is_local(target: Name | None, context: Context) -> bool:
    return (
        target is not None
        and len(target.parts) == 1
        and target.parts[0].lower() in context.local_tables
    )


def _engine(
    statement: Statement,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters,
) -> Plan:
    """A statement about the engine's own tables; the queries in it may read resources."""
    from sqlglot import exp

    from dicomsql.planning.plan import EnginePlan
    from dicomsql.planning.query import plan_query
    from dicomsql.planning.text import QueryText

    _check_shown(statement, context)
    fragment = Fragment(statement.text, statement.start)
    try:
        text = QueryText(fragment, source=statement.source, parameters=parameters)
    except LanguageError:
        return EnginePlan(statement.text)  # grammar that only the engine knows
    if isinstance(text.tree, exp.Command):
        return EnginePlan(statement.text)
    plan = plan_query(text, catalog, context, evaluate)
    if plan.scans and text.tree.args.get("kind") == "VIEW":
        raise NotSupportedError(
            "A view cannot read a provider's resources; CREATE TABLE ... AS keeps their rows."
        )
    return plan


def _check_shown(statement: Statement, context: Context) -> None:
    """Refuse SHOW of what neither the documents nor the engine knows."""
    words = statement.text.split()
    if len(words) < 2 or words[0].upper() != "SHOW":
        return
    what = words[1].strip(";").lower()
    if what not in {*_ENGINE_SHOWS, *context.local_tables}:
        shown = sorted([*_SHOWS, *_ENGINE_SHOWS])
        raise PlanningError(
            f"SHOW {words[1]} is not known.{nearest(what, shown)} "
            f"SHOW takes {', '.join(s.upper() for s in shown)}, or a table of the engine."
        )


# What SHOW lists from the documents, and what the engine lists.
_SHOWS = ("providers", "services", "resources", "methods", "insert", "version")
_ENGINE_SHOWS = ("tables", "all", "databases", "schemas", "variables")


def _setting_value(statement: Set, evaluate: Evaluate, parameters: Parameters) -> object:
    assert statement.value is not None
    # A word stands for itself (SET on_error = skip), as in DuckDB.
    with suppress(LanguageError):
        return literal(statement.value)
    from dicomsql.planning.text import QueryText

    text = QueryText(
        statement.value, source=statement.source, parameters=parameters, prefix="SELECT "
    )
    sql = text.render()
    return evaluate(f"SELECT {sql}", text.values_in(sql))


def _used(target: Name, catalog: Catalog) -> tuple[str, ...]:
    """The prefix that USE names, in the documents' spelling."""
    parts = target.parts
    provider = catalog.provider(parts[0])
    if len(parts) == 1:
        return (provider.name,)
    service = catalog.service(parts[0], parts[1])
    if len(parts) == 2:
        return provider.name, service.name
    raise PlanningError(f"USE takes provider or provider.service, not {target}.")


def _show(statement: Show, catalog: Catalog, context: Context) -> ListPlan:
    listing = _shown(statement, catalog, context)
    if statement.like is not None:
        from dataclasses import replace

        at = listing.columns.index("name") if "name" in listing.columns else 0
        pattern = _like(statement.like)
        rows = tuple(r for r in listing.rows if pattern.fullmatch(r[at] or ""))
        listing = replace(listing, rows=rows)
    condition = statement.where.text if statement.where is not None else ""
    return ListPlan(listing, condition)


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


def _like(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"([%_])", pattern)
    made = "".join({"%": ".*", "_": "."}.get(p, re.escape(p)) for p in parts)
    return re.compile(made, re.IGNORECASE | re.DOTALL)


def _describe(statement: Describe, catalog: Catalog, context: Context) -> Listing:
    from dicomsql.catalog import about

    detail = about.Detail.EXTENDED if statement.extended else about.Detail.BRIEF
    if statement.method:
        method = catalog.resolve_method(statement.target.parts, context.use)
        return about.describe_method(catalog, method, detail)
    return about.describe(catalog.resolve(statement.target.parts, context.use), detail)
