"""What a query's conditions say of one table's columns: equalities, lists, ranges, joins.

A `Fact` holds for every row of the table that can have an effect on the result (see
`Scope.conditions`), so that rows which break it need not be fetched. The engine checks all
conditions again; a fact that is missed here costs requests, never a wrong answer.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import DatabaseError
from dicomsql.planning.scopes import disjuncts
from dicomsql.planning.text import word_of

if TYPE_CHECKING:
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

# What an expression without columns may hold that gives no single value.
_VARIES = (exp.Column, exp.Query, exp.Star, exp.Interval, exp.Any, exp.All, exp.Rand, exp.Uuid)
_VOLATILE = frozenset({"nextval", "currval", "setseed", "gen_random_uuid", "uuidv4", "uuidv7"})

# A value that a condition compares with, as the statement gives it.
Value = str | int | float | bool | datetime.date | None


@dataclass(slots=True)
class Equal:
    """The column is one of these values.

    Attributes:
        listed: the statement gave a list, whose members may be missing on the server.
        condition: the whole conjunct, so that one that is used up entirely can be told.
    """

    values: tuple[Value, ...]
    listed: bool
    condition: exp.Expr


@dataclass(slots=True)
class Between:
    """The column lies between two values, both included where they are not None."""

    low: Value
    high: Value


@dataclass(slots=True)
class Joined:
    """The column equals an expression over other tables of the query.

    Attributes:
        expression: the other side.
        place: its offsets in the text; None where it is a USING column of `others`.
        others: the tables that it reads.
    """

    expression: exp.Expr | None
    place: tuple[int, int] | None
    others: tuple[Source, ...]


@dataclass(slots=True)
class InQuery:
    """The column is in the result of a subquery.

    Attributes:
        place: offsets of the subquery with its parentheses.
    """

    node: exp.Expr
    place: tuple[int, int]


@dataclass(slots=True)
class Facts:
    """All facts of one table, by the column's name in lower case."""

    equal: dict[str, list[Equal]] = field(default_factory=dict)
    between: dict[str, list[Between]] = field(default_factory=dict)
    joined: dict[str, list[Joined]] = field(default_factory=dict)
    queries: dict[str, list[InQuery]] = field(default_factory=dict)


Resolver = Callable[[exp.Column], tuple["Source", "TableColumn"] | None]


class FactFinder:
    """Finds the facts of the sources of a query.

    Args:
        text: the query.
        owners: gives the sources that an (un)qualified column may restrict, with the column.
        evaluate: the value of a constant expression that only the engine can compute.
    """

    def __init__(
        self,
        text: QueryText,
        owners: Callable[[exp.Column, Scope], list[tuple[Source, TableColumn | None]]],
        evaluate: Callable[[str, tuple[tuple[str, object], ...]], Value],
    ) -> None:
        self._text = text
        self._owners = owners
        self._evaluate = evaluate

    def find(self, source: Source) -> Facts:
        """The facts of a source that is a resource."""
        facts = Facts()
        for condition in source.scope.conditions(source):
            self._add(condition, source, facts)
        self._add_using(source, facts)
        return facts

    def unqualified(self, scope: Scope) -> list[tuple[str, tuple[Value, ...], bool]]:
        """(name, values, listed) of equalities and lists on names without a table, in WHERE."""
        found: list[tuple[str, tuple[Value, ...], bool]] = []
        for condition in scope.where():
            if isinstance(condition, exp.EQ):
                sides = (condition.this, condition.expression)
                pairs = [(sides[0], [sides[1]]), (sides[1], [sides[0]])]
            elif isinstance(condition, exp.In) and condition.expressions:
                pairs = [(condition.this, condition.expressions)]
            else:
                continue
            for column, others in pairs:
                if not isinstance(column, exp.Column) or column.table:
                    continue
                values = [self.literal(other) for other in others]
                if all(value is not None for value in values):
                    kept = tuple(v[0] for v in values if v is not None and v[0] is not None)
                    found.append((column.name, kept, isinstance(condition, exp.In)))
        return found

    def _add(self, condition: exp.Expr, source: Source, facts: Facts) -> None:
        if isinstance(condition, exp.EQ):
            for here, there in (
                (condition.this, condition.expression),
                (condition.expression, condition.this),
            ):
                name = self._column_of(here, source)
                if name is not None:
                    self._add_equality(
                        condition, name, here=here, there=there, source=source, facts=facts
                    )
        elif isinstance(condition, exp.In):
            self._add_in(condition, source, facts)
        elif isinstance(condition, exp.Or):
            self._add_alternatives(condition, source, facts)
        elif isinstance(condition, exp.Between):
            name = self._column_of(condition.this, source)
            if name is not None:
                low, high = (self.constant(condition.args[k]) for k in ("low", "high"))
                if low is not None and high is not None:
                    facts.between.setdefault(name, []).append(Between(low[0], high[0]))
        elif isinstance(condition, exp.GT | exp.GTE | exp.LT | exp.LTE):
            self._add_comparison(condition, source, facts)

    def _add_equality(
        self,
        condition: exp.Expr,
        name: str,
        *,
        here: exp.Expr,
        there: exp.Expr,
        source: Source,
        facts: Facts,
    ) -> None:
        constant = self.constant(there, condition, here)
        if constant is not None:
            values = () if constant[0] is None else constant
            facts.equal.setdefault(name, []).append(Equal(values, False, condition))
            return
        others = self._sources_of(there, source)
        if others:
            place = self._operand(condition, here)
            facts.joined.setdefault(name, []).append(Joined(there, place, others))

    def _add_in(self, condition: exp.In, source: Source, facts: Facts) -> None:
        name = self._column_of(condition.this, source)
        if name is None:
            return
        query = condition.args.get("query")
        if query is not None:
            if not correlated(query, source.scope, self._owners):
                try:
                    place = self._text.group_around(self._text.span(query)[0])
                except LookupError:
                    return
                facts.queries.setdefault(name, []).append(InQuery(query, place))
            return
        members = [self.constant(e) for e in condition.expressions]
        if members and all(m is not None for m in members):
            values = tuple(m[0] for m in members if m is not None and m[0] is not None)
            facts.equal.setdefault(name, []).append(Equal(values, True, condition))

    def _add_alternatives(self, condition: exp.Or, source: Source, facts: Facts) -> None:
        """`a = 1 OR a = 2` says the same as `a IN (1, 2)`."""
        inner = Facts()
        parts = disjuncts(condition)
        for part in parts:
            self._add(part, source, inner)
        for name, found in inner.equal.items():
            if len(found) == len(parts):
                values = tuple(dict.fromkeys(v for equal in found for v in equal.values))
                facts.equal.setdefault(name, []).append(Equal(values, True, condition))

    def _add_comparison(self, condition: exp.Expr, source: Source, facts: Facts) -> None:
        less = isinstance(condition, exp.LT | exp.LTE)
        for here, there, upper in (
            (condition.this, condition.expression, less),
            (condition.expression, condition.this, not less),
        ):
            name = self._column_of(here, source)
            constant = self.constant(there) if name is not None else None
            if name is not None and constant is not None and constant[0] is not None:
                # A strict bound is searched as an inclusive one; the engine checks again.
                bound = Between(None, constant[0]) if upper else Between(constant[0], None)
                facts.between.setdefault(name, []).append(bound)

    def _add_using(self, source: Source, facts: Facts) -> None:
        """USING equates this table's column with the earlier tables' (or a later one's)."""
        for joined, name in source.scope.using():
            before = [s for s in source.scope.sources if 0 < s.position < joined.position]
            if any(_side(s) in {"RIGHT", "FULL"} for s in before):
                continue  # the merged column may hold a value that no row of this table has
            side, kind = _side(joined), (joined.join.kind if joined.join is not None else "")
            others: list[Source] = []
            if joined is source and side in {"", "LEFT"}:
                having = [
                    s
                    for s in source.scope.sources
                    if s.position < source.position and s.has(name) is not False
                ]
                others = [s for s in having if s is having[0] or _side(s) == ""]
            elif joined.position > source.position and side in {"", "RIGHT"} and kind != "ANTI":
                others = [joined] if source.has(name) else []
            for other in others:
                fact = Joined(None, None, (other,))
                facts.joined.setdefault(name.lower(), []).append(fact)

    # -- parts of conditions ---------------------------------------------------------------------

    def _column_of(self, node: exp.Expr, source: Source) -> str | None:
        """The lower-case name of this source's column that a node is, else None."""
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            return None
        for owner, column in self._owners(node, source.scope):
            if owner is source and column is not None:
                return column.name.lower()
        return None

    def _sources_of(self, node: exp.Expr, source: Source) -> tuple[Source, ...]:
        """The other tables that an expression reads; nothing where it reads this one as well."""
        if node.find(exp.Query, exp.AggFunc, exp.Window) is not None:
            return ()
        found: list[Source] = []
        for column in node.find_all(exp.Column):
            owners = [o for o, _ in self._owners(column, source.scope)]
            if not owners or source in owners:
                return ()
            if owners[0] not in found:
                found.append(owners[0])
        return tuple(found)

    def _operand(self, condition: exp.Expr, here: exp.Expr) -> tuple[int, int]:
        """Offsets of the operand opposite to the column `here`."""
        start, end = self._text.span(here)
        if condition.this is here:
            operator = self._text.token_between(end, len(self._text.text), frozenset({"=", "=="}))
            assert operator is not None
            return self._text.operand_after(operator.end + 1)
        before = [t for t in self._text.tokens if t.end < start and word_of(t) in {"=", "=="}]
        return self._text.operand_before(before[-1].start)

    def constant(
        self,
        node: exp.Expr,
        condition: exp.Expr | None = None,
        here: exp.Expr | None = None,
    ) -> tuple[Value] | None:
        """The value of a constant in a one-element tuple, or None where it is no constant.

        Args:
            condition, here: the comparison, and the column that the constant is compared with;
                without them only literals and placeholders are constants.
        """
        simple = self.literal(node)
        if simple is not None:
            return simple
        if condition is None or here is None or not is_constant(node):
            return None
        start, end = self._operand(condition, here)
        sql = self._text.render(start, end)
        try:
            return (self._evaluate(f"SELECT {sql}", self._text.values_in(sql)),)
        except DatabaseError:
            return None  # the engine says what is wrong, if it comes to compute it at all

    def literal(self, node: exp.Expr) -> tuple[Value] | None:
        """The value of a literal, a placeholder or a cast of one."""
        if isinstance(node, exp.Paren):
            return self.literal(node.this)
        if isinstance(node, exp.Literal):
            return (str(node.this) if node.is_string else _number(str(node.this)),)
        if isinstance(node, exp.Boolean):
            return (bool(node.this),)
        if isinstance(node, exp.Null):
            return (None,)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
            return (_number(f"-{node.this.this}"),)
        if isinstance(node, exp.Placeholder):
            value = self._text.values.get(str(node.this or ""))
            if value is None or isinstance(value, str | int | float | bool | datetime.date):
                return (value,)
            return (str(value),)
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
            kind = node.args["to"].this
            if kind in {exp.DataType.Type.DATE, exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR}:
                return (str(node.this.this),)
        return None


def is_constant(node: exp.Expr) -> bool:
    """Whether an expression has one value for the whole statement."""
    if node.find(*_VARIES) is not None:
        return False
    called = {f.name.lower() for f in node.find_all(exp.Anonymous)}
    return not called & _VOLATILE


def _number(text: str) -> int | float | str:
    """A number's value; its text where another number is written alike (1.20, 007)."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if str(value) == text else text
    return text


def _side(source: Source) -> str:
    return (source.join.side or "").upper() if source.join is not None else ""


def correlated(
    query: exp.Expr,
    scope: Scope,
    owners: Callable[[exp.Column, Scope], list[tuple[Source, TableColumn | None]]],
) -> bool:
    """Whether a subquery reads columns of the query around it."""
    inside = [c for c in _descendants(scope) if _inside(c.node, query)]
    for one in inside:
        for column in one.columns:
            found = owners(column, one)
            if found and found[0][0].scope not in inside:
                return True
    return False


def _inside(node: exp.Expr, ancestor: exp.Expr) -> bool:
    at: exp.Expr | None = node
    while at is not None:
        if at is ancestor:
            return True
        at = at.parent
    return False


def _descendants(scope: Scope) -> list[Scope]:
    found = []
    for child in scope.children:
        found.append(child)
        found += _descendants(child)
    return found
