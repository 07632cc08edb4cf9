"""What UPDATE, REPLACE and DELETE call: the method, and for which constants or for which rows.

Where the condition is nothing but equalities and lists on parameters, the write is those calls.
With any other condition it is a query first: the rows are read, checked against all of it, and
exactly they are written, one call each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import PlanningError
from dicomsql.language.statements import Fragment
from dicomsql.planning.answers import Context, Evaluate
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.conditions import condition_span, parameter_constant
from dicomsql.planning.plan import Field
from dicomsql.planning.query import Purpose, plan_query
from dicomsql.planning.read_plan import Constant, ReadPlan
from dicomsql.planning.scopes import conjuncts
from dicomsql.planning.tables import Table
from dicomsql.planning.text import QueryText
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method, Resource


@dataclass(frozen=True, slots=True)
class Condition:
    """A write's WHERE.

    Attributes:
        constants: the conjuncts that are equalities or lists on parameters, as constants.
        plain: they are all of it, each parameter once.
    """

    resource: Resource
    methods: tuple[Method, ...]
    verb: str
    alias: str
    text: QueryText
    constants: tuple[tuple[exp.Expr, Constant], ...]
    plain: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What a write calls.

    Attributes:
        where: the condition to query the rows with; None where the constants say all.
    """

    resource: Resource
    alias: str
    method: Method
    constants: tuple[Constant, ...]
    where: QueryText | None


@dataclass(frozen=True, slots=True)
class Targets:
    """Finds the targets of writes that have a WHERE.

    Attributes:
        evaluate: computes a constant expression.
    """

    catalog: Catalog
    context: Context
    evaluate: Evaluate

    def head(self, resource: Resource, alias: str) -> str:
        """What stands before a condition to make it a query."""
        return f"SELECT * FROM {_named(resource, alias)} WHERE "  # noqa: S608

    def condition(
        self, resource: Resource, verb: str, alias: str, where: QueryText | None
    ) -> Condition:
        """What WHERE says: constants of parameters, and whether that is all.

        Args:
            where: it, behind what `head` gives; None where the statement has none.
        """
        methods = resource.for_verb(verb)
        text = where
        if text is None:
            text = QueryText(Fragment("TRUE", 0), prefix=self.head(resource, alias))
        table = Table(resource, (*methods, *resource.for_verb("select")))
        found: list[tuple[exp.Expr, Constant]] = []
        parts = conjuncts(text.tree.args["where"].this) if where is not None else []
        for part in parts:
            constant = parameter_constant(part, table, text, alias, self.evaluate, methods=methods)
            if constant is not None:
                found.append((part, constant))
        names = {c.parameter for _, c in found}
        plain = len(found) == len(parts) == len(names)
        return Condition(resource, methods, verb, alias, text, tuple(found), plain)

    def target(self, condition: Condition) -> Target:
        """The method of a write: by its constants alone where they say all, else by its rows."""
        if condition.plain:
            constants = {c.parameter: c for _, c in condition.constants}
            try:
                method, given = method_for(
                    self.context, condition.resource, condition.verb, constants, []
                )
            except PlanningError:
                # An instance is named by its own UID; its study and series can be looked up.
                if not _names_datasets(condition.resource, constants):
                    raise
                return self.queried(condition)
            if all(method.parameter(name) is not None for name in constants):
                return Target(condition.resource, condition.alias, method, given, None)
        return self.queried(condition)

    def queried(self, condition: Condition) -> Target:
        """The method of a write whose rows are read first."""
        resource, text = condition.resource, condition.text
        reads = Table(resource, resource.for_verb("select"))
        extra: dict[str, Constant] = {}
        for part, constant in condition.constants:
            # What only the write takes (an update mask) is no condition on rows.
            if reads.column(constant.parameter) is None:
                if len(constant.values) != 1 or constant.parameter in extra:
                    raise PlanningError(
                        f"{constant.parameter} takes one value.", resource=resource.full_name
                    )
                extra[constant.parameter] = constant
                text.replace(*condition_span(text, part), "TRUE")
        columns = [
            p for m in condition.methods for p in m.path_parameters if reads.column(p) is not None
        ]
        method, _ = method_for(self.context, resource, condition.verb, extra, columns)
        return Target(resource, condition.alias, method, tuple(extra.values()), text)

    def source(
        self, target: Target, sets: list[tuple[Field, str]], values: dict[str, object]
    ) -> tuple[ReadPlan, tuple[Field, ...]]:
        """The query that gives a row for each call, and where its columns go."""
        # A line comment may end a value.
        listed = [f"({sql}\n) AS set_{i}" for i, (_, sql) in enumerate(sets, 1)]
        fields = [field for field, _ in sets]
        context = self.context
        if target.where is None:
            composed = "SELECT " + ", ".join(listed)
        else:
            names = list(target.method.path_parameters)
            composed = (
                f"SELECT DISTINCT {', '.join([*map(quoted, names), *listed])} "  # noqa: S608
                f"FROM {_named(target.resource, target.alias)} WHERE {target.where.render()}"
            )
            fields = [*(Field("parameter", (n,)) for n in names), *fields]
            values = {**values, **target.where.values}
            if target.method.consent is not None and target.method.consent.explicit:
                context = replace(context, defaults=())
        text = QueryText(Fragment(composed, 0), parameters=values)
        purpose = Purpose.WRITE if target.where is not None else Purpose.READ
        try:
            plan = plan_query(text, self.catalog, context, self.evaluate, purpose)
        except PlanningError as error:
            if context is self.context or not error.missing:
                raise
            method = target.method
            raise none_fits(target.resource, (method,), method.verb, error.given, ()) from None
        return plan, tuple(fields)


def method_for(
    context: Context,
    resource: Resource,
    verb: str,
    constants: Mapping[str, Constant],
    columns: list[str],
) -> tuple[Method, tuple[Constant, ...]]:
    """The method of a write, and its constants with those of the session.

    Args:
        constants: by parameter, from the statement.
        columns: names of what each row gives.

    Raises:
        PlanningError: no method has all that it requires.
    """
    methods = resource.for_verb(verb)
    defaults = usable_defaults(resource, methods, dict(context.defaults))
    spelled = {
        p.name
        for m in methods
        for p in m.parameters
        if p.name.lower() in {c.lower() for c in columns}
    }
    given = {*constants, *spelled}
    method = choose(methods, given, defaults.keys())
    if method is None:
        raise none_fits(resource, methods, verb, list(given), list(defaults))
    found = [c for c in constants.values() if method.parameter(c.parameter) is not None]
    found += [Constant(r, (defaults[r],), "session") for r in method.required if r not in given]
    return method, tuple(found)


def _named(resource: Resource, alias: str) -> str:
    return f"{resource.full_name} AS {quoted(alias)}" if alias else resource.full_name


def _names_datasets(resource: Resource, constants: Mapping[str, Constant]) -> bool:
    """Whether a study, a series or an instance is named, not only the store that holds it."""
    identity = resource.dicom.identity if resource.dicom is not None else ()
    return any(parameter in constants for parameter, _ in identity)
