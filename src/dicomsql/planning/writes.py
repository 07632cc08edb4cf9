"""INSERT, UPDATE, REPLACE, DELETE and EXEC into a `WritePlan`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.catalog.about import BODY_PREFIX
from dicomsql.catalog.body import body_fields, check_body, coerce_field
from dicomsql.errors import LanguageError, PlanningError, nearest
from dicomsql.language.statements import Delete, Exec, Fragment, Insert, Name, Statement, Update
from dicomsql.planning.answers import Context, Evaluate
from dicomsql.planning.choice import choose, none_fits, usable_defaults
from dicomsql.planning.outputs import gives_bytes
from dicomsql.planning.parameters import Parameters
from dicomsql.planning.pieces import Pieces
from dicomsql.planning.plan import Field, MeasurePlan, RetrievePlan, Returning, WritePlan
from dicomsql.planning.query import plan_query
from dicomsql.planning.read_plan import Constant, ReadPlan
from dicomsql.planning.targets import Condition, Targets, method_for
from dicomsql.planning.text import QueryText
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
        method, constants = method_for(self.context, resource, "insert", {}, given)
        fields = tuple(self._field(method, n) for n in statement.columns)
        twice = next((n for n, f in zip(names, fields, strict=True) if fields.count(f) > 1), None)
        if twice is not None:
            raise PlanningError(f"INSERT INTO {resource.full_name} names {twice} twice.")
        text = self._parsed(self._with_its_tables(statement))
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
        self._refuse_with(statement, statement.verb.upper())
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
        condition = self._condition(resource, statement.verb, statement)
        # An expression over the row's own columns needs the row.
        needs_rows = any(t.tree.find(exp.Column) is not None for t in assigned)
        target = self.targets.queried(condition) if needs_rows else self.targets.target(condition)
        method = target.method
        source, fields = self.targets.source(target, sets, values)
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
        self._refuse_with(statement, "DELETE")
        condition = self._condition(resource, "delete", statement)
        target = self.targets.target(condition)
        source, fields = (None, ()) if target.where is None else self.targets.source(target, [], {})
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

    def execute(self, statement: Exec) -> WritePlan | RetrievePlan:
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
        body, file, output = self._payloads(statement, method, members)
        if output and not gives_bytes(self.catalog, method):
            from dicomsql.planning.outputs import retrieved

            shown = self._copied(statement.returning)
            return retrieved(
                self.catalog,
                self.context,
                method,
                constants=tuple(constants),
                folder=output,
                returning=shown,
            )
        return self._finish(
            "exec",
            resource,
            method,
            statement.returning,
            constants=tuple(constants),
            body=body,
            file=file,
            output=output,
        )

    @property
    def targets(self) -> Targets:
        """What finds which calls a WHERE means."""
        return Targets(self.catalog, self.context, self.evaluate)

    # -- parts -----------------------------------------------------------------------------------

    @property
    def _pieces(self) -> Pieces:
        return Pieces(self.statement, self.parameters, self.context, self.evaluate)

    def _parsed(self, fragment: Fragment, prefix: str = "") -> QueryText:
        return self._pieces.parsed(fragment, prefix)

    def _value(self, fragment: Fragment) -> object:
        return self._pieces.value(fragment)

    def _with_its_tables(self, statement: Insert) -> Fragment:
        """The query of an INSERT with the table expressions that stand before the INSERT."""
        before, query = statement.with_, statement.query
        if before is None:
            return query
        if query.text[:4].upper() == "WITH":
            raise LanguageError(
                "WITH stands before this INSERT and before its query; write one of them, with the "
                "table expressions of both",
                text=statement.source,
                position=query.start,
            )
        # Blanks for what stands between, so that each place is still that of the user's text.
        between = " " * (query.start - before.start - len(before.text))
        return Fragment(f"{before.text}{between}{query.text}", before.start)

    def _refuse_with(self, statement: Update | Delete, verb: str) -> None:
        if statement.with_ is not None:
            raise LanguageError(
                f"WITH cannot stand before {verb} of a resource; put it into the subquery that "
                f"reads its tables, as in WHERE a IN (WITH x AS (...) SELECT ...)",
                text=statement.source,
                position=statement.with_.start,
            )

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

    def _condition(self, resource: Resource, verb: str, statement: Update | Delete) -> Condition:
        where = statement.where
        head = self.targets.head(resource, statement.alias)
        text = self._parsed(where, prefix=head) if where is not None else None
        return self.targets.condition(resource, verb, statement.alias, text)

    def _payloads(
        self, statement: Exec, method: Method, members: dict[str, object]
    ) -> tuple[str | None, str, str]:
        """The body of an EXEC: JSON text, or the name of a file; and the folder of its answer."""
        body: str | None = None
        file = output = given = ""
        for name, fragment in statement.payloads:
            value = self._value(fragment)
            lowered = name.lower()
            if lowered == "file":
                file = parameter_text(value)
            elif lowered == "output":
                if not isinstance(value, str) or not value:
                    raise PlanningError(f"{method.full_name}: @@output takes a folder's name.")
                output = value
            else:
                body, given = parameter_text(value), name
        if not method.body and (body is not None or file or members):
            raise PlanningError(f"{method.full_name} takes no body.{_meant(given)}")
        if file:
            if body is not None or members:
                raise PlanningError(
                    f"{method.full_name}: give a file or JSON as the body, not both."
                )
            return None, file, output
        if body is None and not members:
            if method.body and method.body_required:
                check_body(self.catalog, method, {})
            if method.body_media and "json" not in method.body_media:
                raise PlanningError(
                    f"{method.full_name} needs a body of {method.body_media}: "
                    f"@@file = 'path' sends a file."
                )
            return None, "", output
        try:
            found = json.loads(body) if body is not None else {}
        except ValueError as error:
            place = (
                f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            )
            raise PlanningError(
                f"{method.full_name}: @@{given} holds no JSON{place}.{_meant(given)}"
            ) from None
        if members:
            found = {**found, **members}
        check_body(self.catalog, method, found)
        return json.dumps(found), "", output

    def _copied(self, returning: Fragment | None) -> Returning | None:
        """RETURNING of a call whose answer goes into a folder."""
        if returning is None:
            return None
        from dicomsql.planning.copies import returning_of

        return returning_of(returning, self._pieces)

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
        output: str = "",
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
            output=output,
            more=self._more(method),
            mask=mask,
            returning=sql,
            returning_values=values,
            identity=_identity(resource, method),
            wait=self.context.wait or "AWAIT" in self.statement.hints,
            measures=tuple(self._measure(m, method) for m in measures),
        )

    def _more(self, method: Method) -> Method | None:
        """What gives the further pages of a method's answer, where that has columns of its own."""
        if method.rowset is None:
            return None
        resource, _, name = method.rowset.more.partition(".")
        found = self.catalog.resource(method.provider, method.service, resource)
        return self.catalog.method(found, name)

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


def _meant(name: str) -> str:
    """Which of the payloads that are no body was meant, if one was; a body may have any name."""
    return nearest(f"@@{name}", [f"@@{known}" for known in ("file", "output")]) if name else ""


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


def _identity(resource: Resource, method: Method) -> tuple[tuple[str, str], ...]:
    """Attribute -> parameter of a method that means the same, as its resource's rows have it."""
    known = dict(resource.dicom.identity) if resource.dicom is not None else {}
    return tuple((known[name], name) for name in method.path_parameters if name in known)


def _hide_parameters(text: QueryText, method: Method) -> None:
    """Keep the request's parameters out of RETURNING *."""
    given = {c.name.lower() for c in method.columns}
    hidden = [quoted(p) for p in method.path_parameters if p.lower() not in given]
    if method.operation or not hidden:
        return
    for star in text.tree.args.get("expressions") or []:
        if isinstance(star, exp.Star) and "end" in star.meta and not star.args.get("except_"):
            text.insert(star.meta["end"] + 1, f" EXCLUDE ({', '.join(hidden)})")


def _resource_parts(method: Method) -> tuple[str, ...]:
    return method.provider, method.service, method.resource


def _several(value: object) -> tuple[str, ...]:
    return (
        tuple(parameter_text(v) for v in value)
        if isinstance(value, list | tuple)
        else (parameter_text(value),)
    )
