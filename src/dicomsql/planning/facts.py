"""What a query's conditions say of one table's columns: equalities, ranges, patterns, joins.

A `Fact` holds for every row of the table that can have an effect on the result (see
`Scope.conditions`), so that rows which break it need not be fetched. The engine checks all
conditions again; a fact that is missed here costs requests, never a wrong answer. A fact may say
less than its condition (a strict bound becomes an inclusive one), never more.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sqlglot import exp

from dicomsql.planning.around import around, holders, restricted
from dicomsql.planning.constants import Constants, Value, is_constant
from dicomsql.planning.monotone import DateView, date_view, first_date, last_date, text_dates
from dicomsql.planning.scopes import conjuncts, correlated, disjuncts, is_inside

if TYPE_CHECKING:
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

__all__ = [
    "Between",
    "Equal",
    "FactFinder",
    "Facts",
    "InQuery",
    "Joined",
    "Pattern",
    "Value",
    "is_constant",
]


_UPPER = (exp.LT, exp.LTE)
_LOWER = (exp.GT, exp.GTE)

# Branches of an OR beyond which it is no union of searches any more.
_MOST_BRANCHES = 32


@dataclass(slots=True)
class Equal:
    """The column is one of these values.

    Attributes:
        listed: the statement gave a list, whose members may be missing on the server.
        condition: the whole conjunct, so that one that is used up entirely can be told; None where
            the conjunct says more than this.
    """

    values: tuple[Value, ...]
    listed: bool
    condition: exp.Expr | None


@dataclass(slots=True)
class Between:
    """The column lies between two values, both included where they are not None."""

    low: Value
    high: Value


@dataclass(slots=True)
class Pattern:
    """The column's text is these pieces, in this order, with any text between each two of them.

    The first piece begins the text and the last one ends it; either may be empty. One piece is the
    whole text.

    Attributes:
        folded: the case of letters does not count.
    """

    pieces: tuple[str, ...]
    folded: bool


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
    """All facts of one table, by the column's name in lower case.

    Attributes:
        either: of each OR over several columns, the facts of its branches: those of one branch
            hold, at least.
    """

    equal: dict[str, list[Equal]] = field(default_factory=dict)
    between: dict[str, list[Between]] = field(default_factory=dict)
    pattern: dict[str, list[Pattern]] = field(default_factory=dict)
    either: list[tuple[Facts, ...]] = field(default_factory=list)
    joined: dict[str, list[Joined]] = field(default_factory=dict)
    queries: dict[str, list[InQuery]] = field(default_factory=dict)

    def of_constants(self, names: Collection[str]) -> Facts:
        """The facts that compare columns of these names with constants."""
        branches = [tuple(f.of_constants(names) for f in one) for one in self.either]
        return Facts(
            equal={k: v for k, v in self.equal.items() if k in names},
            between={k: v for k, v in self.between.items() if k in names},
            pattern={k: v for k, v in self.pattern.items() if k in names},
            either=[one for one in branches if all(f.says_something for f in one)],
        )

    @property
    def says_something(self) -> bool:
        """Whether any column is compared with a constant."""
        return bool(self.equal or self.between or self.pattern or self.either)

    def both(self, other: Facts) -> Facts:
        """What holds where these facts and others hold, of constants."""
        return Facts(
            _merged(self.equal, other.equal),
            _merged(self.between, other.between),
            _merged(self.pattern, other.pattern),
            [*self.either, *other.either],
        )


_Listed = TypeVar("_Listed")


def _merged(
    one: dict[str, list[_Listed]], other: dict[str, list[_Listed]]
) -> dict[str, list[_Listed]]:
    return {k: one.get(k, []) + other.get(k, []) for k in (*one, *other)}


Resolver = Callable[[exp.Column], tuple["Source", "TableColumn"] | None]


class FactFinder:
    """Finds the facts of the sources of a query.

    Args:
        text: the query.
        names: where the query's names belong.
        evaluate: the value of a constant expression that only the engine can compute.
    """

    def __init__(
        self,
        text: QueryText,
        names: Names,
        evaluate: Callable[[str, tuple[tuple[str, object], ...]], Value],
    ) -> None:
        self._text = text
        self._names = names
        # Of the condition that is looked at; None for the source's own.
        self._scope: Scope | None = None
        self._constants = Constants(text, evaluate)

    def find(self, source: Source) -> Facts:
        """The facts of a source that is a resource."""
        facts = Facts()
        for condition in source.scope.conditions(source):
            self._add(condition, source, facts)
        self._add_using(source, facts)
        for condition, scope in around(source, self._names):
            self._scope = scope
            self._add(condition, source, facts)
        self._scope = None
        for holder in holders(source, self._names):
            self._add_using_around(holder, source, facts)
        return facts

    def branches(self, condition: exp.Or, source: Source) -> list[Facts]:
        """What each branch of an OR says of a source, those of an OR inside among them."""
        found: list[Facts] = []
        for part in disjuncts(condition):
            parts = conjuncts(part)
            found.append(self._facts_of(parts, source))
            for inner in parts:
                found += self.branches(inner, source) if isinstance(inner, exp.Or) else []
        return found

    def given(self, scope: Scope, alias: str = "") -> list[tuple[str, tuple[Value, ...], bool]]:
        """(name, values, listed) of equalities and lists on names without a table, in WHERE.

        Args:
            alias: of a table whose own names count too.
        """
        return self._of_names(scope.where(), alias.lower())

    def _of_names(
        self, conditions: list[exp.Expr], alias: str = ""
    ) -> list[tuple[str, tuple[Value, ...], bool]]:
        found: list[tuple[str, tuple[Value, ...], bool]] = []
        for condition in conditions:
            if isinstance(condition, exp.Or):
                found += self._of_names_in_all(condition, alias)
                continue
            if isinstance(condition, exp.EQ):
                sides = (condition.this, condition.expression)
                pairs = [(sides[0], [sides[1]]), (sides[1], [sides[0]])]
            elif isinstance(condition, exp.In) and condition.expressions:
                pairs = [(condition.this, condition.expressions)]
            else:
                continue
            for column, others in pairs:
                if not isinstance(column, exp.Column) or column.table.lower() not in {"", alias}:
                    continue
                values = [self._constants.literal(other) for other in others]
                if all(value is not None for value in values):
                    kept = tuple(v[0] for v in values if v is not None and v[0] is not None)
                    found.append((column.name, kept, isinstance(condition, exp.In)))
        return found

    def _of_names_in_all(
        self, condition: exp.Or, alias: str
    ) -> list[tuple[str, tuple[Value, ...], bool]]:
        """The names that each branch of an OR gives values to, with the values of all branches."""
        branches: list[dict[str, tuple[Value, ...]]] = []
        for part in disjuncts(condition):
            said: dict[str, tuple[Value, ...]] = {}
            for name, values, _ in self._of_names(conjuncts(part), alias):
                known = said.setdefault(name.lower(), values)
                said[name.lower()] = min(known, values, key=len)
            branches.append(said)
        first, *others = branches
        return [
            (name, tuple(dict.fromkeys(v for said in branches for v in said[name])), True)
            for name in first
            if all(name in said for said in others)
        ]

    def _add(self, condition: exp.Expr, source: Source, facts: Facts) -> None:
        if isinstance(condition, exp.EQ | exp.NullSafeEQ):
            for here, there in (
                (condition.this, condition.expression),
                (condition.expression, condition.this),
            ):
                name = self._column_of(here, source)
                if name is not None:
                    self._add_equality(
                        condition, name, here=here, there=there, source=source, facts=facts
                    )
            self._add_comparison(condition, source, facts)
        elif isinstance(condition, exp.In):
            self._add_in(condition, source, facts)
        elif isinstance(condition, exp.Or):
            self._add_alternatives(condition, source, facts)
        elif isinstance(condition, exp.Between):
            self._add_between(condition, source, facts)
        elif isinstance(condition, (*_UPPER, *_LOWER)):
            self._add_comparison(condition, source, facts)
        else:
            self._add_pattern(condition, source, facts)

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
        null_is_equal = isinstance(condition, exp.NullSafeEQ)
        constant = self._constants.value(there, condition, here)
        if constant is not None:
            if constant[0] is None and null_is_equal:
                return
            values = () if constant[0] is None else constant
            facts.equal.setdefault(name, []).append(Equal(values, False, condition))
            return
        others = self._sources_of(there, source) if not null_is_equal else ()
        if others:
            place = self._constants.operand(condition, here)
            facts.joined.setdefault(name, []).append(Joined(there, place, others))

    def _add_in(self, condition: exp.In, source: Source, facts: Facts) -> None:
        name = self._column_of(condition.this, source)
        query = condition.args.get("query")
        members = [self._constants.value(e) for e in condition.expressions]
        values = tuple(m[0] for m in members if m is not None and m[0] is not None)
        known = bool(members) and all(m is not None for m in members)
        if name is None:
            view = self._view_of(condition.this, source)
            if view is not None and known:
                spans = [(first_date(view[1], v), last_date(view[1], v)) for v in values]
                self._add_spans(view[0], spans, facts)
        elif query is not None:
            if not correlated(query, self._scope or source.scope, self._names.owners):
                try:
                    place = self._text.group_around(self._text.span(query)[0])
                except LookupError:
                    return
                facts.queries.setdefault(name, []).append(InQuery(query, place))
        elif known:
            facts.equal.setdefault(name, []).append(Equal(values, True, condition))

    def _add_alternatives(self, condition: exp.Or, source: Source, facts: Facts) -> None:
        """`a = 1 OR a = 2` says the same as `a IN (1, 2)`; other branches are told apart.

        What each branch says of a parameter without which no call is made is known of it even
        where they say more than that.
        """
        parts = disjuncts(condition)
        branches = [self._facts_of(conjuncts(part), source) for part in parts]
        is_all = not any(isinstance(part, exp.And) for part in parts)
        said = _said_by_all(branches)
        one_column = is_all and bool(said)
        for name, values in said.items():
            # Of other columns a union of searches says more, and which values belong together.
            if is_all or _is_required(name, source):
                used = condition if is_all else None
                facts.equal.setdefault(name, []).append(Equal(values, True, used))
        if (
            not one_column
            and len(parts) <= _MOST_BRANCHES
            and all(branch.says_something for branch in branches)
        ):
            facts.either.append(tuple(branches))

    def _facts_of(self, conditions: list[exp.Expr], source: Source) -> Facts:
        found = Facts()
        for condition in conditions:
            self._add(condition, source, found)
        return found

    def _add_between(self, condition: exp.Between, source: Source, facts: Facts) -> None:
        if condition.args.get("symmetric"):
            return
        low = self._constants.bound(condition, condition.args["low"], "BETWEEN")
        high = self._constants.bound(condition, condition.args["high"], "AND")
        name = self._column_of(condition.this, source)
        if name is not None:
            values = Between(low[0] if low else None, high[0] if high else None)
            if values.low is not None or values.high is not None:
                facts.between.setdefault(name, []).append(values)
            return
        view = self._view_of(condition.this, source)
        if view is not None:
            first = first_date(view[1], low[0]) if low else None
            last = last_date(view[1], high[0]) if high else None
            self._add_spans(view[0], [(first, last)], facts)

    def _add_comparison(self, condition: exp.Expr, source: Source, facts: Facts) -> None:
        """Bounds of a column, or of a monotone function of one.

        A strict bound is searched as an inclusive one; the engine checks again.
        """
        for here, there, mirrored in (
            (condition.this, condition.expression, False),
            (condition.expression, condition.this, True),
        ):
            upper = isinstance(condition, _LOWER if mirrored else _UPPER)
            lower = isinstance(condition, _UPPER if mirrored else _LOWER)
            name = self._column_of(here, source)
            view = self._view_of(here, source) if name is None else None
            if view is None and (name is None or not (upper or lower)):
                continue
            constant = self._constants.value(there, condition, here)
            if constant is None or constant[0] is None:
                continue
            value = constant[0]
            if name is not None:
                bound = Between(None, value) if upper else Between(value, None)
                facts.between.setdefault(name, []).append(bound)
            elif view is not None:
                first = first_date(view[1], value) if not upper else None
                last = last_date(view[1], value) if not lower else None
                self._add_spans(view[0], [(first, last)], facts)

    def _add_pattern(self, condition: exp.Expr, source: Source, facts: Facts) -> None:
        """LIKE, ILIKE and starts_with; an ESCAPE stands around its LIKE and is left alone."""
        if condition.args.get("negate"):
            return  # NOT LIKE
        if isinstance(condition, exp.Like | exp.ILike | exp.StartsWith):
            here, there = condition.this, condition.expression
        elif isinstance(condition, exp.Anonymous) and condition.name.lower() == "prefix":
            if len(condition.expressions) != 2:
                return
            here, there = condition.expressions
        else:
            return
        value = self._constants.literal(there)
        if value is None or not isinstance(value[0], str):
            return
        is_like = isinstance(condition, exp.Like | exp.ILike)
        pieces = tuple(re.split("[%_]+", value[0])) if is_like else (value[0], "")
        folded = isinstance(condition, exp.ILike)
        if isinstance(here, exp.Lower | exp.Upper):
            here, folded = here.this, True
        name = self._column_of(here, source)
        if name is not None:
            facts.pattern.setdefault(name, []).append(Pattern(pieces, folded))
            return
        view = self._view_of(here, source)
        if view is not None and not folded:
            span = text_dates(pieces[0], view[1])
            self._add_spans(view[0], [span or (None, None)], facts)

    def _add_spans(
        self,
        name: str,
        spans: list[tuple[datetime.date | None, datetime.date | None]],
        facts: Facts,
    ) -> None:
        """The dates from the least first to the greatest last one."""
        firsts = [first for first, _ in spans if first is not None]
        lasts = [last for _, last in spans if last is not None]
        low = min(firsts) if firsts and len(firsts) == len(spans) else None
        high = max(lasts) if lasts and len(lasts) == len(spans) else None
        if low is not None or high is not None:
            facts.between.setdefault(name, []).append(Between(low, high))

    def _add_using(self, source: Source, facts: Facts) -> None:
        """USING equates this table's column with the earlier tables' (or a later one's)."""
        for joined, name in source.scope.using():
            merged = source.scope.merged(name)
            if source not in merged:
                continue  # another level's is the one that is joined
            before = [s for s in source.scope.sources if 0 < s.position < joined.position]
            if any(_side(s) in {"RIGHT", "FULL"} for s in before):
                continue  # the merged column may hold a value that no row of this table has
            side, kind = _side(joined), (joined.join.kind if joined.join is not None else "")
            others: list[Source] = []
            if joined is source and side in {"", "LEFT"}:
                having = [
                    s for s in merged if s.position < source.position and s.has(name) is not False
                ]
                others = [s for s in having if s is having[0] or _side(s) == ""]
            elif joined.position > source.position and side in {"", "RIGHT"} and kind != "ANTI":
                others = [joined] if source.has(name) else []
            for other in others:
                fact = Joined(None, None, (other,))
                facts.joined.setdefault(name.lower(), []).append(fact)

    def _add_using_around(self, holder: Source, source: Source, facts: Facts) -> None:
        """What USING says of this table through the derived table that shows its column."""
        said = Facts()
        self._add_using(holder, said)
        for name, joined in said.joined.items():
            column = exp.column(name, table=holder.alias)
            found = restricted(column, holder.scope, source, self._names)
            # The rows that bind it are found by the name that both have.
            if found is not None and found[1] is not None and found[1].name.lower() == name:
                facts.joined.setdefault(name, []).extend(joined)

    # -- parts of conditions ---------------------------------------------------------------------

    def _column_of(self, node: exp.Expr, source: Source) -> str | None:
        """The lower-case name of this source's column that a node is, else None."""
        while isinstance(node, exp.Paren):
            node = node.this
        column = self._own_column(node, source)
        return column.name.lower() if column is not None else None

    def _own_column(self, node: exp.Expr, source: Source) -> TableColumn | None:
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            return None
        found = restricted(node, self._scope or source.scope, source, self._names)
        return found[1] if found is not None else None

    def _view_of(self, node: exp.Expr, source: Source) -> tuple[str, DateView] | None:
        """The name of this source's column of dates, and the monotone function of it."""
        while isinstance(node, exp.Paren):
            node = node.this
        view = date_view(node)
        column = self._own_column(view.column, source) if view is not None else None
        if view is None or column is None or column.type not in {"DATE", "TIMESTAMP"}:
            return None
        return column.name.lower(), view

    def _sources_of(self, node: exp.Expr, source: Source) -> tuple[Source, ...]:
        """The other tables that an expression reads; nothing where it reads this one as well."""
        if node.find(exp.Query, exp.AggFunc, exp.Window) is not None:
            return ()
        found: list[Source] = []
        for column in node.find_all(exp.Column):
            owners = [o for o, _ in self._names.owners(column, self._scope or source.scope)]
            if not owners or any(is_inside(source.node, o.node) for o in owners):
                return ()
            if owners[0] not in found:
                found.append(owners[0])
        return tuple(found)


def _least(branch: Facts, name: str) -> tuple[Value, ...]:
    """The values of a column, where one value says more than a list."""
    return min((equal.values for equal in branch.equal[name]), key=len)


def _said_by_all(branches: list[Facts]) -> dict[str, tuple[Value, ...]]:
    """The columns that each branch of an OR gives values to, with the values of all of them."""
    first, *others = branches
    return {
        name: tuple(dict.fromkeys(v for branch in branches for v in _least(branch, name)))
        for name in first.equal
        if all(name in branch.equal for branch in others)
    }


def _is_required(name: str, source: Source) -> bool:
    """Whether no call can be made without a value for a column."""
    assert source.table is not None
    column = source.table.column(name)
    methods = source.table.methods
    return column is not None and all(column.parameter in m.required for m in methods)


def _side(source: Source) -> str:
    return (source.join.side or "").upper() if source.join is not None else ""
