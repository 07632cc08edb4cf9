"""A statement into its Plan: the one entrance of planning, for every kind of statement."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dicomsql.errors import LanguageError, NotSupportedError, PlanningError
from dicomsql.language.parse import literal
from dicomsql.language.statements import (
    CopyIn,
    CopyOut,
    CreateView,
    Delete,
    Describe,
    Engine,
    Exec,
    Explain,
    Fragment,
    Insert,
    MaterializedView,
    Name,
    Query,
    Set,
    Show,
    Statement,
    Update,
    Use,
    dotted,
)
from dicomsql.planning.answers import Context, ListPlan, SettingPlan
from dicomsql.planning.listings import check_shown, describe, describe_view, show, show_views

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
    plan = _planned(statement, catalog, context, evaluate, parameters)
    if not context.files and not isinstance(plan, ListPlan | SettingPlan):
        from dicomsql.planning.reach import check_no_files

        check_no_files(plan)
    return plan


def _planned(
    statement: Statement,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters,
) -> Plan:
    # SHOW and its like must not wait for the parser and the engine to be imported.
    if isinstance(statement, Show):
        if statement.kind == "views":
            return show_views(statement)
        return show(statement, catalog, context)
    if isinstance(statement, Describe) and not _is_local(statement.target, context):
        return describe(statement, catalog, context)
    if isinstance(statement, Describe) and statement.extended:
        view = dict(context.views).get(str(statement.target).lower())
        if view is not None:
            return describe_view(view)
    if isinstance(statement, Use):
        return SettingPlan("use", _used(statement.target, catalog))
    if isinstance(statement, Explain):
        from dicomsql.planning.plan import ExplainPlan

        inner = _planned(statement.statement, catalog, context, evaluate, parameters)
        mode = "analyze" if statement.analyze else "explain"
        return ExplainPlan(inner, mode, statement.format)
    from dicomsql.planning.parameters import check_parameters
    from dicomsql.planning.text import QueryText

    check_parameters(statement.text, parameters)
    if isinstance(statement, CreateView | MaterializedView):
        return _defined(statement, catalog, context, evaluate, parameters)
    if isinstance(statement, Set):
        if statement.value is None:
            return SettingPlan(statement.name, None)
        return SettingPlan(statement.name, _setting_value(statement, evaluate, parameters))
    if isinstance(statement, Query):
        from dicomsql.planning.query import Purpose, plan_query
        from dicomsql.planning.views import expand

        text = QueryText(
            statement.query,
            source=statement.source,
            parameters=parameters,
            dialect=context.dialect,
        )
        expanded = expand(text, context)
        return plan_query(expanded, catalog, context, evaluate, Purpose.SHOW)
    return _write(statement, catalog, context, evaluate, parameters)


def _defined(
    statement: CreateView | MaterializedView,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters,
) -> Plan:
    from dicomsql.planning.defining import Definer

    definer = Definer(catalog, context, evaluate)
    if isinstance(statement, CreateView):
        return definer.create(statement, parameters)
    return definer.refresh(statement) if statement.verb == "refresh" else definer.drop(statement)


def _write(
    statement: Statement,
    catalog: Catalog,
    context: Context,
    evaluate: Evaluate,
    parameters: Parameters,
) -> Plan:
    from dicomsql.planning.writes import WritePlanner

    if isinstance(statement, Engine):
        _check_form(statement, catalog, context)
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


def _check_form(statement: Engine, catalog: Catalog, context: Context) -> None:
    """Refuse a form of a write that resources do not have, of one of them."""
    target = statement.target
    if target is None or _is_local(target, context):
        return
    # What is no resource either, the engine judges.
    with suppress(PlanningError):
        full = catalog.resolve(target.parts, context.use).full_name
        raise LanguageError(
            f"{statement.form} works on the engine's own tables only, and {full} is a resource",
            text=statement.source,
            position=target.start,
        )


def _is_local(target: Name | None, context: Context) -> bool:
    return target is not None and str(target).lower() in context.local_tables


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
    from dicomsql.planning.views import check_written, expand

    check_shown(statement, context)
    if isinstance(statement, Engine) and statement.target is not None:
        check_written(str(statement.target), context.views, statement.form)
    fragment = Fragment(statement.text, statement.start)
    try:
        text = QueryText(fragment, source=statement.source, parameters=parameters)
    except LanguageError:
        return EnginePlan(statement.text)  # grammar that only the engine knows
    if isinstance(text.tree, exp.Command):
        return EnginePlan(statement.text)
    if isinstance(text.tree, exp.Copy):
        _check_copied(text, catalog, context)
    if isinstance(text.tree, exp.Comment):
        _check_commented(text, context)
    _check_shaped(text, catalog, context)
    _check_kept(text, context)
    return plan_query(expand(text, context), catalog, context, evaluate)


def _check_shaped(text: QueryText, catalog: Catalog, context: Context) -> None:
    """Refuse what makes, changes or drops a table by a name that is a provider's."""
    from sqlglot import exp

    tree = text.tree
    if not isinstance(tree, exp.Create | exp.Drop | exp.Alter | exp.TruncateTable | exp.Comment):
        return
    named = [*(tree.args.get("tables") or []), *(tree.args.get("expressions") or []), tree.this]
    providers = {provider.name.lower() for provider in catalog.providers()}
    for found in named:
        node = found
        while isinstance(node, exp.Index | exp.Schema | exp.UserDefinedFunction):
            node = node.args.get("table") or node.this
        if not isinstance(node, exp.Table | exp.Column):
            continue
        parts = [part.name for part in node.parts if part.name]
        parts = parts[:-1] if isinstance(node, exp.Column) else parts
        name = dotted(parts)
        # A schema of the engine may be called like a provider.
        least = 2 if str(tree.args.get("kind")).upper() == "SCHEMA" else 3
        if name.lower() in context.local_tables or len(parts) < least:
            continue
        if parts[0].lower() in providers:
            verb = "TRUNCATE" if isinstance(tree, exp.TruncateTable) else tree.key.upper()
            raise text.error(
                f"{verb} works on the engine's own tables only, and the names of {parts[0]} are "
                f"resources, which its servers have; their rows are written by INSERT, UPDATE and "
                f"DELETE",
                node,
            )


def _check_kept(text: QueryText, context: Context) -> None:
    """Refuse what writes or changes a materialized view as if it were a table."""
    from sqlglot import exp

    from dicomsql.planning.views import check_written

    tree = text.tree
    writes = exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.TruncateTable
    if isinstance(tree, exp.Copy) and not tree.args.get("kind"):
        return
    if not isinstance(tree, writes | exp.Alter | exp.Drop | exp.Copy):
        return
    for node in (
        tree.this,
        *(tree.args.get("expressions") or []),
        *(tree.args.get("tables") or []),
    ):
        table = node.this if isinstance(node, exp.Schema) else node
        if isinstance(table, exp.Table):
            name = ".".join(part.name for part in table.parts)
            check_written(name, context.views, tree.key)


def _check_commented(text: QueryText, context: Context) -> None:
    """Refuse a comment where the database keeps a view's query."""
    from sqlglot import exp

    named = text.tree.this
    name = dotted(p.name for p in named.parts).lower() if isinstance(named, exp.Table) else ""
    if name in dict(context.views):
        raise text.error(
            f"The comment of {named.name} holds the view's query; columns can have comments",
            named,
        )


def _check_copied(text: QueryText, catalog: Catalog, context: Context) -> None:
    """Refuse COPY of a resource by its name, which the engine would not find."""
    from sqlglot import exp

    named = text.tree.this
    named = named.this if isinstance(named, exp.Schema) else named
    if not isinstance(named, exp.Table):
        return
    parts = tuple(p.name for p in named.parts)
    if dotted(parts).lower() in context.local_tables:
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
