"""INSERT, UPDATE, REPLACE, DELETE and EXEC into a `WritePlan`.

Where the condition is nothing but equalities and lists on parameters, the write is those calls.
With any other condition it is a query first: the rows are read, checked against all of it, and
exactly they are written, one call each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.catalog.about import BODY_PREFIX
from dicomsql.catalog.body import body_fields, check_body, coerce_field
from dicomsql.errors import PlanningError, nearest
from dicomsql.language.statements import Delete, Exec, Fragment, Insert, Name, Statement, Update
from dicomsql.planning.answers import Context
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.conditions import condition_span, parameter_constant
from dicomsql.planning.plan import (
    Constant,
    Field,
    MeasurePlan,
    ReadPlan,
    WritePlan,
)
from dicomsql.planning.query import Evaluate, Purpose, plan_query
from dicomsql.planning.scopes import conjuncts
from dicomsql.planning.tables import Table
from dicomsql.planning.text import Parameters, QueryText, count_question_marks
from dicomsql.planning.values import parameter_text, quoted

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Measure, Method, Resource

# The name of what a write gave back, for RETURNING.
RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class WritePlanner:
    """Plans the writes of one statement.

    Attributes:
        statement: the statement, for its text and hints.
        parameters: values of its placeholders.
    """

    catalog: Catalog
    context: Context
    evaluate: Evaluate
    statement: Statement
    parameters: Parameters

    def insert(self, statement: Insert) -> WritePlan:
        """Plan INSERT: one call for each row of its query."""
        resource = self.catalog.resolve(statement.target.parts, self.context.use)
        methods = resource.for_verb("insert")
        if not statement.columns:
            raise PlanningError(
                f"INSERT INTO {resource.full_name} has to name its columns: "
                f"SHOW INSERT INTO {resource.full_name} prints a statement to fill in.",
                resource=resource.full_name,
            )
        names = [".".join(n.parts) for n in statement.columns]
        given = [n for n in names if any(m.parameter(n) is not None for m in methods)]
        method, constants = self._method(resource, methods, "insert", {}, given)
        fields = tuple(self._field(method, n) for n in statement.columns)
        twice = next((n for n, f in zip(names, fields, strict=True) if fields.count(f) > 1), None)
        if twice is not None:
            raise PlanningError(f"INSERT INTO {resource.full_name} names {twice} twice.")
        text = self._parsed(statement.query)
        _check_width(text, len(fields), resource.full_name)
        source = plan_query(text, self.catalog, self.context, self.evaluate)
        return self._finish(
            "insert",
            resource,
            method,
            statement.returning,
            source=source,
            fields=fields,
            constants=constants,
        )

    def update(self, statement: Update) -> WritePlan:
        """Plan UPDATE or REPLACE."""
        resource = self.catalog.resolve(statement.target.parts, self.context.use)
        sets: list[tuple[Field, str]] = []
        values: dict[str, object] = {}
        assigned: list[QueryText] = []
        for assignment in statement.assignments:
            text = self._parsed(assignment.value, prefix="SELECT ")
            assigned.append(text)
            sets.append(
                (self._assigned(resource, statement.verb, assignment.target), text.render())
            )
            values |= text.values
        condition = self._condition(resource, statement.verb, statement.alias, statement.where)
        # An expression over the row's own columns needs the row.
        needs_rows = any(t.tree.find(exp.Column) is not None for t in assigned)
        target = self._queried(condition) if needs_rows else self._target(condition)
        method = target.method
        source, fields = self._source(target, sets, values)
        mask: tuple[str, ...] = ()
        masked = {c.parameter for c in target.constants}
        if method.mask and method.mask not in masked:
            identifiers = {m.row_name for m in resource.for_verb("select") if m.row_name}
            mask = tuple(
                ".".join(f.path)
                for f, _ in sets
                if f.where == "body" and f.path[0] not in identifiers
            )
        return self._finish(
            statement.verb,
            resource,
            method,
            statement.returning,
            source=source,
            fields=fields,
            constants=target.constants,
            queried=target.where is not None,
            mask=mask,
        )

    def delete(self, statement: Delete) -> WritePlan:
        """Plan DELETE."""
        resource = self.catalog.resolve(statement.target.parts, self.context.use)
        condition = self._condition(resource, "delete", statement.alias, statement.where)
        target = self._target(condition)
        source, fields = (None, ()) if target.where is None else self._source(target, [], {})
        return self._finish(
            "delete",
            resource,
            target.method,
            statement.returning,
            source=source,
            fields=fields,
            constants=target.constants,
            queried=target.where is not None,
        )

    def execute(self, statement: Exec) -> WritePlan:
        """Plan EXEC: one call of a method by its name."""
        method = self.catalog.resolve_method(statement.target.parts, self.context.use)
        resource = self.catalog.resolve(_resource_parts(method), ())
        given: dict[str, Constant] = {}
        members: dict[str, object] = {}
        fields = body_fields(self.catalog, method)
        for name, fragment in statement.variables:
            value = self._value(fragment)
            if value is None:
                raise PlanningError(f"{method.full_name}: @{name} is NULL; give it a value.")
            declared = method.parameter(name)
            plain = name.removeprefix(BODY_PREFIX)
            if declared is not None:
                values = _several(value) if declared.repeated else (parameter_text(value),)
                given[declared.name] = Constant(declared.name, values, "statement")
            elif plain in fields:
                members[plain] = coerce_field(self.catalog, method, plain, value)
            elif method.open_query:
                given[name] = Constant(name, _several(value), "statement")
            else:
                known = [p.name for p in method.parameters] + list(fields)
                raise PlanningError(
                    f"{method.full_name} has no parameter {name}.{nearest(name, known)}",
                    resource=resource.full_name,
                )
        defaults = usable_defaults(resource, (method,), dict(self.context.defaults))
        if any(r not in given and r not in defaults for r in method.required):
            raise none_fits(resource, (method,), "exec", list(given), list(defaults))
        constants = [*given.values()]
        constants += [
            Constant(r, (defaults[r],), "session") for r in method.required if r not in given
        ]
        body, file = self._payloads(statement, method, members)
        return self._finish(
            "exec",
            resource,
            method,
            statement.returning,
            constants=tuple(constants),
            body=body,
            file=file,
        )

    # -- parts -----------------------------------------------------------------------------------

    def _parsed(self, fragment: Fragment, prefix: str = "") -> QueryText:
        head = self.statement.source[self.statement.start : fragment.start]
        return QueryText(
            fragment,
            source=self.statement.source,
            parameters=self.parameters,
            before=count_question_marks(head),
            dialect=self.context.dialect if not prefix else "",
            prefix=prefix,
        )

    def _value(self, fragment: Fragment) -> object:
        text = self._parsed(fragment, prefix="SELECT ")
        if text.tree.find(exp.Column) is not None:
            raise text.error("A value is expected here; texts stand in single quotes", text.tree)
        sql = text.render()
        return self.evaluate(f"SELECT {sql}", text.values_in(sql))

    def _method(
        self,
        resource: Resource,
        methods: tuple[Method, ...],
        verb: str,
        constants: Mapping[str, Constant],
        columns: list[str],
    ) -> tuple[Method, tuple[Constant, ...]]:
        """The method, and its constants with those of the session."""
        defaults = usable_defaults(resource, methods, dict(self.context.defaults))
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

    def _field(self, method: Method, name: Name) -> Field:
        """Where a column of INSERT goes."""
        first = name.parts[0]
        parameter = method.parameter(".".join(name.parts))
        if parameter is not None:
            return Field("parameter", (parameter.name,))
        plain = first.removeprefix(BODY_PREFIX)
        fields = body_fields(self.catalog, method)
        spelled = next((f for f in fields if f.lower() == plain.lower()), None)
        if fields and spelled is None:
            known = [p.name for p in method.parameters] + list(fields)
            raise PlanningError(
                f"{method.full_name} takes no {plain}.{nearest(plain, known)}",
                resource=f"{method.provider}.{method.service}.{method.resource}",
            )
        return Field("body", (spelled or plain, *name.parts[1:]))

    def _assigned(self, resource: Resource, verb: str, name: Name) -> Field:
        methods = resource.for_verb(verb)
        if not methods:
            raise none_fits(resource, methods, verb, (), ())
        field = self._field(methods[0], name)
        if field.where == "parameter":
            raise PlanningError(
                f"{field.path[0]} is a request parameter of {resource.full_name}; it stands in "
                f"WHERE, not in SET.",
                resource=resource.full_name,
            )
        return field

    def _condition(
        self, resource: Resource, verb: str, alias: str, where: Fragment | None
    ) -> _Condition:
        """What WHERE says: constants of parameters, and whether that is all."""
        methods = resource.for_verb(verb)
        shown = f" AS {quoted(alias)}" if alias else ""
        text = self._parsed(
            where if where is not None else Fragment("TRUE", 0),
            prefix=f"SELECT * FROM {resource.full_name}{shown} WHERE ",  # noqa: S608
        )
        table = Table(resource, (*methods, *resource.for_verb("select")))
        found: list[tuple[exp.Expr, Constant]] = []
        parts = conjuncts(text.tree.args["where"].this) if where is not None else []
        for part in parts:
            constant = parameter_constant(part, table, text, alias, self.evaluate, methods=methods)
            if constant is not None:
                found.append((part, constant))
        names = {c.parameter for _, c in found}
        plain = len(found) == len(parts) == len(names)
        return _Condition(resource, methods, verb, alias, text, tuple(found), plain)

    def _target(self, condition: _Condition) -> _Target:
        """The method of a write: by its constants alone where they say all, else by its rows."""
        if condition.plain:
            constants = {c.parameter: c for _, c in condition.constants}
            try:
                method, given = self._method(
                    condition.resource, condition.methods, condition.verb, constants, []
                )
            except PlanningError:
                # An instance is named by its own UID; its study and series can be looked up.
                if not _names_datasets(condition.resource, constants):
                    raise
                return self._queried(condition)
            if all(method.parameter(name) is not None for name in constants):
                return _Target(condition.resource, condition.alias, method, given, None)
        return self._queried(condition)

    def _queried(self, condition: _Condition) -> _Target:
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
        method, _ = self._method(resource, condition.methods, condition.verb, extra, columns)
        return _Target(resource, condition.alias, method, tuple(extra.values()), text)

    def _source(
        self, target: _Target, sets: list[tuple[Field, str]], values: dict[str, object]
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
            shown = f" AS {quoted(target.alias)}" if target.alias else ""
            composed = (
                f"SELECT DISTINCT {', '.join([*map(quoted, names), *listed])} "  # noqa: S608
                f"FROM {target.resource.full_name}{shown} WHERE {target.where.render()}"
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

    def _payloads(
        self, statement: Exec, method: Method, members: dict[str, object]
    ) -> tuple[str | None, str]:
        """The body of an EXEC: JSON text, or the name of a file."""
        body: str | None = None
        file = given = ""
        for name, fragment in statement.payloads:
            value = self._value(fragment)
            lowered = name.lower()
            if lowered == "file":
                file = parameter_text(value)
            elif lowered == "output":
                raise PlanningError(
                    f"{method.full_name}: @@output is not supported; the answer is the "
                    f"statement's result, which --outfile writes to a file."
                )
            else:
                body, given = parameter_text(value), name
        if not method.body and (body is not None or file or members):
            raise PlanningError(f"{method.full_name} takes no body.")
        if file:
            if body is not None or members:
                raise PlanningError(
                    f"{method.full_name}: give a file or JSON as the body, not both."
                )
            return None, file
        if body is None and not members:
            if method.body and method.body_required:
                check_body(self.catalog, method, {})
            if method.body_media and "json" not in method.body_media:
                raise PlanningError(
                    f"{method.full_name} needs a body of {method.body_media}: "
                    f"@@file = 'path' sends a file."
                )
            return None, ""
        try:
            found = json.loads(body) if body is not None else {}
        except ValueError as error:
            place = (
                f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            )
            raise PlanningError(f"{method.full_name}: @@{given} holds no JSON{place}.") from None
        if members:
            found = {**found, **members}
        check_body(self.catalog, method, found)
        return json.dumps(found), ""

    def _finish(
        self,
        verb: str,
        resource: Resource,
        method: Method,
        returning: Fragment | None,
        *,
        source: ReadPlan | None = None,
        fields: tuple[Field, ...] = (),
        constants: tuple[Constant, ...] = (),
        queried: bool = False,
        body: str | None = None,
        file: str = "",
        mask: tuple[str, ...] = (),
    ) -> WritePlan:
        sql: str | None = None
        values: tuple[tuple[str, object], ...] = ()
        if returning is not None:
            text = self._parsed(returning, prefix="SELECT ")
            _hide_parameters(text, method)
            rendered = text.render()
            sql, values = f"SELECT {rendered}\nFROM {RETURNED}", text.values_in(rendered)
        consent = method.consent
        measures = consent.measures if consent is not None else ()
        return WritePlan(
            verb=verb,
            resource=resource.full_name,
            method=method,
            base_url=self.context.base_url(method),
            source=source,
            queried=queried,
            fields=fields,
            constants=constants,
            body=body,
            file=file,
            mask=mask,
            returning=sql,
            returning_values=values,
            wait=self.context.wait or "AWAIT" in self.statement.hints,
            measures=tuple(self._measure(m, method) for m in measures),
        )

    def _measure(self, measure: Measure, method: Method) -> MeasurePlan:
        def reading(name: str, given: set[str]) -> Method:
            resource = self.catalog.resource(method.provider, method.service, name)
            found = choose(resource.for_verb("select"), given, ())
            if found is None:
                raise none_fits(resource, resource.for_verb("select"), "select", list(given), ())
            return found

        given = set(method.path_parameters)
        each = reading(measure.each, given) if measure.each else None
        each_parameter = ""
        if each is not None:
            listed = self.catalog.resource(method.provider, method.service, measure.each)
            each_parameter = listed.own_id
        of_one = given | ({each_parameter} if each_parameter else set())
        return MeasurePlan(
            method=reading(measure.resource, of_one),
            counts=measure.counts,
            number=measure.number,
            each=each,
            each_parameter=each_parameter,
            probe=reading(measure.probe, of_one) if measure.probe else None,
        )


@dataclass(frozen=True, slots=True)
class _Condition:
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
class _Target:
    """What a write calls.

    Attributes:
        where: the condition to query the rows with; None where the constants say all.
    """

    resource: Resource
    alias: str
    method: Method
    constants: tuple[Constant, ...]
    where: QueryText | None


def _check_width(text: QueryText, columns: int, resource: str) -> None:
    """Refuse a query that gives more or fewer values than there are columns."""
    tree = text.tree
    rows = tree.expressions if isinstance(tree, exp.Values) else [tree]
    for row in rows:
        given = row.expressions if isinstance(row, exp.Select | exp.Tuple) else None
        if given is None or any(e.is_star or isinstance(e, exp.Columns) for e in given):
            continue
        if len(given) != columns:
            raise text.error(
                f"INSERT INTO {resource} names {columns} column{'s' * (columns != 1)}, but is "
                f"given {len(given)} value{'s' * (len(given) != 1)}",
                given[0] if given else None,
            )


def _hide_parameters(text: QueryText, method: Method) -> None:
    """Keep the request's parameters out of RETURNING *."""
    given = {c.name.lower() for c in method.columns}
    hidden = [quoted(p) for p in method.path_parameters if p.lower() not in given]
    if method.operation or not hidden:
        return
    for star in text.tree.args.get("expressions") or []:
        if isinstance(star, exp.Star) and "end" in star.meta and not star.args.get("except_"):
            text.insert(star.meta["end"] + 1, f" EXCLUDE ({', '.join(hidden)})")


def _names_datasets(resource: Resource, constants: Mapping[str, Constant]) -> bool:
    """Whether a study, a series or an instance is named, not only the store that holds it."""
    identity = resource.dicom.identity if resource.dicom is not None else ()
    return any(parameter in constants for parameter, _ in identity)


def _resource_parts(method: Method) -> tuple[str, ...]:
    return method.provider, method.service, method.resource


def _several(value: object) -> tuple[str, ...]:
    return (
        tuple(parameter_text(v) for v in value)
        if isinstance(value, list | tuple)
        else (parameter_text(value),)
    )
