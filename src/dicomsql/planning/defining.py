"""CREATE VIEW, CREATE, REFRESH and DROP MATERIALIZED VIEW into plans.

A view over nothing but the engine's own tables and files is the engine's. One over resources is
looked through here: its names are checked, its columns described, and what it gives no value to is
left open. A materialized view is a table with the query that fills it, in its comment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import NotSupportedError, PlanningError
from dicomsql.language.statements import CreateView, Fragment, MaterializedView, Name
from dicomsql.planning.answers import View
from dicomsql.planning.named import bound_columns
from dicomsql.planning.names import Names
from dicomsql.planning.plan import EnginePlan
from dicomsql.planning.query import plan_query
from dicomsql.planning.reach import NO_FILES
from dicomsql.planning.read_plan import REFRESHED, ReadPlan
from dicomsql.planning.stars import is_star
from dicomsql.planning.text import QueryText
from dicomsql.planning.views import UNREAD, comment_of, expand, qualified, references

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.planning.answers import Context, Evaluate
    from dicomsql.planning.parameters import Parameters

# What makes a query one whose rows are kept: none of them is given out as it is fetched.
_KEPT = "CREATE TABLE kept AS "

# The origins of parameters' values that a view takes from outside.
_FROM_OUTSIDE = frozenset({"session", "open"})


@dataclass(frozen=True, slots=True)
class Definer:
    """Plans the statements that make, fill and drop views.

    Attributes:
        evaluate: computes a constant expression.
    """

    catalog: Catalog
    context: Context
    evaluate: Evaluate

    def create(self, statement: CreateView, parameters: Parameters) -> ReadPlan | EnginePlan:
        """Plan CREATE VIEW and CREATE MATERIALIZED VIEW.

        Raises:
            LanguageError, PlanningError: the query cannot be a view's.
        """
        self._check_name(statement.target)
        text = QueryText(statement.query, source=statement.source, parameters=parameters)
        if text.values:
            raise PlanningError(
                "A view keeps its text, and no values of placeholders: write them into the text, "
                "or leave the parameter out, so that a query of the view gives it."
            )
        view = self._view(statement, text)
        if view is None:
            return EnginePlan(statement.text)
        if statement.materialized:
            return self._filled(view, statement.target, statement)
        return self._stand_in(view, statement)

    def refresh(self, statement: MaterializedView) -> ReadPlan:
        """Plan REFRESH MATERIALIZED VIEW: all of its rows are replaced, or none.

        Raises:
            LanguageError, PlanningError: there is no such view, or its query cannot be run now.
        """
        view = self._materialized(statement)
        return self._filled(view, statement.target, None)

    def drop(self, statement: MaterializedView) -> EnginePlan:
        """Plan DROP MATERIALIZED VIEW."""
        name = _name(statement.target)
        if statement.if_exists and str(statement.target).lower() not in self.context.local_tables:
            return EnginePlan(f"DROP TABLE IF EXISTS {name}")
        self._materialized(statement)
        return EnginePlan(f"DROP TABLE {name}")

    # -- views -----------------------------------------------------------------------------------

    def _check_name(self, target: Name) -> None:
        """A view is the engine's: it has none of a resource's names."""
        known = {p.name.lower() for p in self.catalog.providers()}
        if len(target.parts) > 1 and target.parts[0].lower() in known:
            raise PlanningError(
                f"A view is kept by the engine, and {target} is the name of a provider's resource; "
                f"give it a name of one part."
            )

    def _materialized(self, statement: MaterializedView) -> View:
        name = str(statement.target).lower()
        view = dict(self.context.views).get(name)
        if view is not None and view.materialized:
            return view
        if name in self.context.local_tables:
            kind = "view, which reads its rows anew each time" if view else "table, or view, alone"
            raise PlanningError(
                f"{statement.target} is no materialized view but a {kind}: "
                f"CREATE MATERIALIZED VIEW ... AS keeps rows with the query that gives them."
            )
        raise PlanningError(f"There is no materialized view {statement.target}.")

    def _view(self, statement: CreateView, text: QueryText) -> View | None:
        """What is kept of a view; None where the engine itself can keep it."""
        if not isinstance(text.tree, exp.Query | exp.Pivot):
            raise text.error("A view is made of a query", text.tree)
        names = Names(text, self.catalog, self.context, self.evaluate)
        names.resolve()
        sources = [s for scope in names.scopes for s in scope.sources]
        resources = {
            id(s.node): (s.node, s.table.resource.full_name)
            for s in sources
            if s.table is not None and not s.table.local and isinstance(s.node, exp.Table)
        }
        files = any(s.table is not None and s.table.local for s in sources)
        if files and not self.context.files:
            raise NotSupportedError(NO_FILES)
        views = {name for name, view in self.context.views if not view.materialized}
        local = {name for _, name in references(text.tree, self.context.local_tables)}
        if not (statement.materialized or resources or files or local & views):
            return None
        sql = qualified(text, resources, statement.query)
        view = View(
            str(statement.target),
            sql,
            tables=tuple(sorted(local)),
            materialized=statement.materialized,
            defaults=self.context.defaults if statement.materialized else (),
        )
        plan = self._planned(view, statement)
        columns = bound_columns(plan, self.evaluate)
        return self._shown(view, plan, columns, statement, stars=_has_star(text.tree))

    def _planned(self, view: View, statement: CreateView) -> ReadPlan:
        """The plan of a view's query; what has no value is left open."""
        fragment = statement.query

        def text() -> QueryText:
            made = QueryText(fragment, source=statement.source, prefix=_KEPT)
            return expand(made, self.context, (str(statement.target).lower(),))

        try:
            return plan_query(text(), self.catalog, self.context, self.evaluate)
        except PlanningError as error:
            if view.materialized or not error.missing:
                raise
        context = replace(self.context, open_parameters=True)
        return plan_query(text(), self.catalog, context, self.evaluate)

    def _shown(
        self,
        view: View,
        plan: ReadPlan,
        columns: tuple[tuple[str, str], ...],
        statement: CreateView,
        *,
        stars: bool,
    ) -> View:
        shown = [name for name, _ in columns]
        given = [str(name) for name in statement.columns]
        if len(given) > len(shown):
            raise PlanningError(
                f"The view {view.name} names {len(given)} columns, and its query has {len(shown)}."
            )
        named = [*given, *shown[len(given) :]]
        lowered = [name.lower() for name in (named if given else shown)]
        twice = next((n for n in lowered if lowered.count(n) > 1), None)
        inner = [name.lower() for name in shown]
        twice = twice or next((n for n in inner if inner.count(n) > 1), None)
        if twice is not None:
            raise PlanningError(
                f"The view {view.name} would have two columns {twice}; name them by AS in it."
            )
        kinds = [kind for _, kind in columns]
        return replace(
            view,
            columns=tuple(zip(named, kinds, strict=True)),
            shows=tuple(shown) if given or stars else (),
            parameters=self._open(plan),
        )

    def _open(self, plan: ReadPlan) -> tuple[str, ...]:
        """The parameters that a query gives no value to."""
        found: dict[str, None] = {}
        for scan in plan.scans:
            fixed = {c.parameter for c in scan.constants if c.origin not in _FROM_OUTSIDE}
            fixed |= {p for b in scan.binds for p in b.parameters}
            resource = self.catalog.resolve(tuple(scan.resource.split(".")), ())
            for method in resource.for_verb("select"):
                found |= {p.name: None for p in method.parameters if p.name not in fixed}
        return tuple(found)

    # -- statements of the engine ----------------------------------------------------------------

    def _stand_in(self, view: View, statement: CreateView) -> ReadPlan:
        name = _name(statement.target)
        listed = ", ".join(f"CAST(NULL AS {kind}) AS {_quoted(n)}" for n, kind in view.columns)
        unread = _text(UNREAD.format(name=view.name))
        head = "CREATE OR REPLACE" if statement.replace else "CREATE"
        kind = " TEMP" if statement.temporary else ""
        if statement.if_not_exists and str(statement.target).lower() in self.context.local_tables:
            return ReadPlan(f"CREATE VIEW IF NOT EXISTS {name} AS SELECT 1")
        made = f"{head}{kind} VIEW {name} AS SELECT {listed} WHERE CAST(error({unread}) AS BOOLEAN)"
        return ReadPlan(made, after=(f"COMMENT ON VIEW {name} IS {_text(comment_of(view))}",))

    def _filled(self, view: View, target: Name, statement: CreateView | None) -> ReadPlan:
        """The rows of a materialized view into its table, with its definition.

        Args:
            statement: that makes it; None where it is filled anew.
        """
        context = replace(self.context, defaults=view.defaults)
        text = QueryText(Fragment(view.sql, 0), source=view.sql, prefix=_KEPT, view=view)
        plan = plan_query(
            expand(text, context, (view.name.lower(),)), self.catalog, context, self.evaluate
        )
        name, query = _name(target), plan.sql
        if view.shows:
            listed = ", ".join(
                f"{_quoted(shown)} AS {_quoted(named)}"
                for shown, (named, _) in zip(view.shows, view.columns, strict=True)
            )
            query = f"SELECT {listed} FROM ({query}\n)"  # noqa: S608
        head = "CREATE TABLE"
        if statement is None or statement.replace:
            head = "CREATE OR REPLACE TABLE"
        elif statement.if_not_exists and str(target).lower() in self.context.local_tables:
            return ReadPlan(f"CREATE TABLE IF NOT EXISTS {name} (kept INTEGER)")
        comment = comment_of(replace(view, refreshed=REFRESHED))
        return replace(
            plan,
            sql=f"{head} {name} AS {query}",
            after=(f"COMMENT ON TABLE {name} IS {_text(comment)}",),
        )


def _has_star(tree: exp.Expr) -> bool:
    """Whether the columns of a query are not all named in it."""
    select = tree
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    items = select.args.get("expressions") or []
    return not isinstance(select, exp.Select) or any(map(is_star, items)) or not items


def _name(target: Name) -> str:
    return ".".join(map(_quoted, target.parts))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
