"""A statement into its Plan: the one entrance of planning, for every kind of statement."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dicomsql.errors import LanguageError, NotSupportedError, PlanningError
from dicomsql.language.parse import literal
from dicomsql.language.statements import (
    CopyIn,
    CopyOut,
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
from dicomsql.planning.answers import Context, SettingPlan
from dicomsql.planning.listings import check_shown, describe, show

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.parameters import Parameters
    from dicomsql.planning.plan import Plan
    from dicomsql.planning.text import QueryText


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
        return show(statement, catalog, context)
    if isinstance(statement, Describe) and not _is_local(statement.target, context):
        return describe(statement, catalog, context)
    if isinstance(statement, Use):
        return SettingPlan("use", _used(statement.target, catalog))
    if isinstance(statement, Explain):
        from dicomsql.planning.plan import ExplainPlan

        inner = plan_statement(statement.statement, catalog, context, evaluate, parameters)
        mode = "analyze" if statement.analyze else "explain"
        return ExplainPlan(inner, mode, statement.format)
    from dicomsql.planning.parameters import check_parameters
    from dicomsql.planning.text import QueryText

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
    if isinstance(statement, CopyIn | CopyOut):
        from dicomsql.planning.copies import CopyPlanner

        plan = CopyPlanner(catalog, context, evaluate, statement, parameters).plan()
        return plan or _engine(statement, catalog, context, evaluate, parameters)
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

    check_shown(statement, context)
    fragment = Fragment(statement.text, statement.start)
    try:
        text = QueryText(fragment, source=statement.source, parameters=parameters)
    except LanguageError:
        return EnginePlan(statement.text)  # grammar that only the engine knows
    if isinstance(text.tree, exp.Command):
        return EnginePlan(statement.text)
    if isinstance(text.tree, exp.Copy):
        _check_copied(text, catalog, context)
    plan = plan_query(text, catalog, context, evaluate)
    if (plan.scans or plan.files) and text.tree.args.get("kind") == "VIEW":
        raise NotSupportedError(
            "A view cannot read a provider's resources, nor read_dicom; CREATE TABLE ... AS keeps "
            "their rows."
        )
    return plan


def _check_copied(text: QueryText, catalog: Catalog, context: Context) -> None:
    """Refuse COPY of a resource by its name, which the engine would not find."""
    from sqlglot import exp

    named = text.tree.this
    named = named.this if isinstance(named, exp.Schema) else named
    if not isinstance(named, exp.Table):
        return
    parts = tuple(p.name for p in named.parts)
    if len(parts) == 1 and parts[0].lower() in context.local_tables:
        return
    with suppress(PlanningError):
        full = catalog.resolve(parts, context.use).full_name
        raise text.error(
            f"COPY takes the rows of a query: COPY (SELECT ... FROM {full}) TO ...; and files as "  # noqa: S608
            f"COPY {full} FROM 'folder'",
            named,
        )


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
