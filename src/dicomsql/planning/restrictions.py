"""What a query says of one of its tables alone, as SQL that can be run on that table's rows.

The rows that fail it have no effect on the result, so that nothing more has to be fetched for them;
the query itself checks everything again. What is left out here costs requests, never an answer. So
only what gives the same answer whenever it is run is taken: nothing random, nothing of the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.direct import row_limit
from dicomsql.planning.scopes import correlated, cte_of, is_inside
from dicomsql.planning.tokens import CLOSERS, OPENERS, word_of
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.planning.binding import Binder
    from dicomsql.planning.scopes import Scope, Source

# Words that end WHERE where they stand outside of parentheses.
_AFTER_WHERE = frozenset(
    {
        *("GROUP", "HAVING", "QUALIFY", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "USING"),
        *("UNION", "EXCEPT", "INTERSECT", "RETURNING", "SELECT", ";"),
    }
)

# Parts of a SELECT after which its rows are not a selection of its table's.
_MAKES_ROWS = (
    *("group", "having", "distinct", "qualify", "windows", "joins", "laterals", "pivots"),
    *("sample", "with_", "connect"),
)
# What picks some of several rows that are as good.
_ANY_ROWS = (exp.Limit, exp.Fetch, exp.TableSample, exp.Offset)

# Values of the moment that are written without parentheses.
_OF_THE_CLOCK = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
# What the engine cannot promise to answer alike twice; of a macro nothing is known.
_UNSTABLE = (
    "SELECT string_agg(lower(function_name), ' ') FROM duckdb_functions() "
    "WHERE stability IS DISTINCT FROM 'CONSISTENT'"
)


@dataclass(frozen=True, slots=True)
class Restriction:
    """Which rows of a table can have an effect on the query's result.

    Attributes:
        conditions: each for the table's rows under the query's alias.
        head: the WITH clause that must stand before a query with them; may be empty.
        first: a QUALIFY clause that keeps the rows that LIMIT shows; may be empty.
        picked: whether others would do as well as those of `first`, so that the query must find no
            others: without ORDER BY, it may take any.
    """

    conditions: tuple[str, ...] = ()
    head: str = ""
    first: str = ""
    picked: bool = False

    @property
    def clauses(self) -> str:
        """What stands behind FROM."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        return where + self.first


@dataclass(slots=True)
class Restrictions:
    """Finds the restrictions of the tables of one query; see the module."""

    binder: Binder
    _scopes: dict[int, Scope] = field(default_factory=dict)
    _unstable: frozenset[str] | None = None

    def of(
        self, source: Source, columns: Collection[str], keys: tuple[str, ...] = ()
    ) -> Restriction:
        """The restriction of a table that is about to be planned, or is.

        Args:
            columns: lower-case names of those that its rows have.
            keys: columns that tell its rows apart; without them LIMIT does not count.
        """
        if source.reshaped:
            return Restriction()
        own = self._own(source, columns)
        head = self.binder.head() if any(n.find(exp.Query) for n, _ in own) else ""
        conditions = (*(sql for _, sql in own), *self._joined(source, columns))
        first, picked = "", False
        enough = self._enough(source, columns) if keys else None
        if enough is not None:
            ordered = self.binder.text.tree.args.get("order") is not None
            sorting = self._order(source, columns) if ordered else _sorted_by(source, keys)
            # Of rows that sort alike each may be among the first.
            numbers = "rank" if ordered else "row_number"
            first = f" QUALIFY {numbers}() OVER (ORDER BY {sorting}) <= {enough}"
            first, picked = (first, not ordered) if sorting else ("", False)
        return Restriction(conditions, head, first, picked)

    def repeats(self, query: exp.Expr, place: tuple[int, int]) -> bool:
        """Whether a subquery gives the same rows each time it is run.

        Args:
            place: offsets of its text.
        """
        return self._repeats(query) and self._is_stable(*place)

    def _enough(self, source: Source, columns: Collection[str]) -> int | None:
        """How many of the table's own rows the query shows, where its rows are some of them."""
        text, select = self.binder.text, self.binder.text.tree
        enough = row_limit(text)
        if enough is None or not isinstance(select, exp.Select) or source.scope.node is not select:
            return None
        if len(self.binder.names.scopes) > 1 or len(source.scope.sources) > 1:
            return None
        if any(select.args.get(part) for part in _MAKES_ROWS):
            return None
        if any(map(_makes_rows, select.expressions)):
            return None
        where = select.args.get("where")
        return enough if len(self._own(source, columns)) == len(_ands(where)) else None

    def _order(self, source: Source, columns: Collection[str]) -> str:
        """What ORDER BY sorts by, where the table's own rows decide it; else nothing."""
        text, order = self.binder.text, self.binder.text.tree.args["order"]
        aliases = source.scope.select_aliases()
        for key in order.expressions:
            found = list(key.find_all(exp.Column))
            if not found or any(c.name.lower() in aliases for c in found):
                return ""
            if not all(self._is_own(c, source, columns) for c in found):
                return ""
        start, end = self._order_place(order)
        return text.render(start, end) if start >= 0 and self._is_stable(start, end) else ""

    # -- conditions of WHERE ---------------------------------------------------------------------

    def _own(self, source: Source, columns: Collection[str]) -> list[tuple[exp.Expr, str]]:
        """The conjuncts of WHERE that the table's rows alone decide, with their text."""
        where = source.scope.node.args.get("where")
        if where is None:
            return []
        found = []
        optional = _is_optional(source)
        for node, (start, end) in self._places(where):
            # An outer join that finds no partner any more would give NULL, which may be accepted.
            if optional and not _rejects_null(node):
                continue
            if self._concerns(node, source, columns) and self._is_stable(start, end):
                found.append((node, f"({self.binder.text.render(start, end)})"))
        return found

    def _places(self, where: exp.Expr) -> Iterator[tuple[exp.Expr, tuple[int, int]]]:
        """The conjuncts with their offsets in the text; nothing where they cannot be told."""
        text = self.binder.text
        try:
            first, last = text.span(where.this)
        except LookupError:
            return  # nothing but TRUE and its like
        before = [t for t in text.tokens if t.end < first and word_of(t) == "WHERE"]
        if not before:
            return
        pieces: list[tuple[int, int]] = []
        start = end = -1
        depth = ranges = cases = 0
        for token in text.tokens:
            if token.start <= before[-1].end:
                continue
            word = word_of(token)
            if depth == 0 and (word in _AFTER_WHERE or word in CLOSERS):
                break
            inside = depth > 0 or cases > 0
            if word == "AND" and not inside and ranges == 0:
                pieces.append((start, end))
                start = -1
                continue
            if not inside:
                ranges += (word == "BETWEEN") - (word == "AND")
            depth += (word in OPENERS) - (word in CLOSERS)
            cases += (word == "CASE") - (word == "END" and cases > 0)
            start = token.start if start < 0 else start
            end = token.end + 1
        pieces.append((start, end))
        nodes = _ands(where)
        if len(nodes) == 1:
            pieces = [(pieces[0][0], pieces[-1][1])]
        if len(nodes) != len(pieces) or last > pieces[-1][1]:
            return
        for node, (start, end) in zip(nodes, pieces, strict=True):
            with suppress(LookupError):
                inner, outer = text.span(node)
                if start <= inner and outer <= end:
                    yield node, (start, end)

    def _concerns(self, node: exp.Expr, source: Source, columns: Collection[str]) -> bool:
        """Whether a condition reads the table, and else only what is known already."""
        binder = self.binder
        if any(not isinstance(s.parent, exp.Count) for s in node.find_all(exp.Star)):
            return False
        if node.find(exp.Columns) is not None:
            return False
        queries = list(node.find_all(exp.Query))
        for query in queries:
            if correlated(query, source.scope, binder.names.owners) or not self._repeats(query):
                return False
            if any(id(s) not in binder.done for s in binder.resources_in(query)):
                return False
        return all(
            self._is_own(column, source, columns)
            for column in node.find_all(exp.Column)
            if not any(is_inside(column, query) for query in queries)
        )

    def _repeats(self, query: exp.Expr) -> bool:
        """Whether a subquery gives the same rows each time; its own functions aside."""
        if query.find(*_ANY_ROWS) is not None:
            return False
        tables = [t for t in query.find_all(exp.Table) if t.name]
        if all(cte_of(t, t.name.lower()) is None for t in tables):
            return True
        text = self.binder.text
        ctes = list(text.tree.find_all(exp.CTE))
        return all(c.find(*_ANY_ROWS) is None for c in ctes) and self._is_stable(0, len(text.text))

    def _is_own(self, column: exp.Column, source: Source, columns: Collection[str]) -> bool:
        if self._scope_of(column) is not source.scope:
            return False
        owners = self.binder.names.owners(column, source.scope)
        if not owners or owners[0][0] is not source or owners[0][1] is None:
            return False
        if source.scope.used_in_using(column.name) and _keeps_strangers(source.scope):
            return False  # the merged column may be another table's
        return owners[0][1].name.lower() in columns

    def _scope_of(self, column: exp.Column) -> Scope | None:
        if not self._scopes:
            self._scopes = {id(c): s for s in self.binder.names.scopes for c in s.columns}
        return self._scopes.get(id(column))

    # -- joins -----------------------------------------------------------------------------------

    def _joined(self, source: Source, columns: Collection[str]) -> Iterator[str]:
        """That a joined table which is planned already has a row with the column's value."""
        for column, found in self.binder.facts[id(source)].joined.items():
            for joined in found if column in columns else ():
                place = joined.place
                if place is not None and not self._is_stable(*place):
                    continue
                rows = self.binder.rows_of(joined, column, source)
                if rows is None or rows[0].reshaped:
                    continue
                other, expression, origin = rows
                planned = self.binder.done[id(other)]
                theirs = {c.name.lower() for c in planned.columns}
                if joined.place is None and column not in theirs:
                    continue
                own = self._own(other, theirs)
                plain = [sql for node, sql in own if node.find(exp.Query) is None]
                where = f" WHERE {' AND '.join(plain)}" if plain else ""
                name = source.table.column(column) if source.table is not None else None
                if name is None:
                    continue
                values = f"SELECT {expression} FROM {origin}{where}"  # noqa: S608
                yield f"{quoted(source.alias)}.{quoted(name.name)} IN ({values})"

    # -- text ------------------------------------------------------------------------------------

    def _order_place(self, order: exp.Expr) -> tuple[int, int]:
        """The offsets of what ORDER BY sorts by."""
        text = self.binder.text
        first, last = text.span(order)
        before = [t for t in text.tokens if t.end < first and word_of(t) == "ORDER"]
        end = last
        depth = 0
        for token in text.tokens:
            if not before or token.start <= before[-1].end:
                continue
            word = word_of(token)
            if depth == 0 and word in {"LIMIT", "OFFSET", "FETCH", ";"}:
                break
            depth += (word in OPENERS) - (word in CLOSERS)
            if depth < 0:
                return -1, -1
            end = token.end + 1
        if not before:
            return -1, -1
        # `ORDER BY` is one token.
        return next(t.start for t in text.tokens if t.start > before[-1].end), end

    def _is_stable(self, start: int, end: int) -> bool:
        """Whether a piece of the text has the same value whenever it is computed."""
        words = {t.text.lower() for t in self.binder.text.tokens if start <= t.start < end}
        return not words & self._unstable_names()

    def _unstable_names(self) -> frozenset[str]:
        if self._unstable is None:
            found = str(self.binder.evaluate(_UNSTABLE, ()) or "")
            self._unstable = _OF_THE_CLOCK.union(found.split())
        return self._unstable


def _sorted_by(source: Source, keys: tuple[str, ...]) -> str:
    return ", ".join(f"{quoted(source.alias)}.{quoted(key)}" for key in keys)


def _ands(where: exp.Expr | None) -> list[exp.Expr]:
    """The conjuncts of WHERE as they stand beside each other, without parentheses around them."""
    if where is None:
        return []

    def parts(node: exp.Expr) -> list[exp.Expr]:
        if isinstance(node, exp.And):
            return parts(node.this) + parts(node.expression)
        return [node]

    return parts(where.this)


def _keeps_strangers(scope: Scope) -> bool:
    """Whether a join keeps rows of the later table that match none of the earlier ones."""
    joins = [s.join for s in scope.sources if s.join is not None]
    return any((join.side or "").upper() in {"RIGHT", "FULL"} for join in joins)


def _is_optional(source: Source) -> bool:
    """Whether a join may put NULL in the place of a table's columns."""
    for joined in source.scope.sources:
        if joined.join is None:
            continue
        side = (joined.join.side or "").upper()
        sides = {"LEFT", "FULL"} if joined is source else {"RIGHT", "FULL"}
        if joined.position >= source.position and side in sides:
            return True
        if joined.join.method == "POSITIONAL":
            return True
    return False


def _rejects_null(node: exp.Expr) -> bool:
    """Whether a condition cannot hold where all columns are NULL, as far as its form tells."""
    negated = False
    while isinstance(node, exp.Paren | exp.Not):
        negated = negated or isinstance(node, exp.Not)
        node = node.this
    if isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
        return isinstance(node.this, exp.Column) or isinstance(node.expression, exp.Column)
    if isinstance(node, exp.In):
        # `NOT IN` an empty list or query holds of NULL too.
        return isinstance(node.this, exp.Column) and not negated
    return isinstance(node, exp.Between | exp.Like | exp.ILike) and isinstance(
        node.this, exp.Column
    )


def _makes_rows(expression: exp.Expr) -> bool:
    """Whether an expression of SELECT gives other rows than one for each of the table's."""
    if expression.find(exp.AggFunc, exp.Window, exp.Explode, exp.Unnest, exp.Query) is not None:
        return True
    called = {f.name.lower() for f in expression.find_all(exp.Anonymous)}
    # Of a function that the parser does not know, nobody knows whether it is an aggregate.
    return bool(called)
