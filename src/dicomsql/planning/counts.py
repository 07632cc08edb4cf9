"""Counting by the cheapest exact way: by the search of a level above, or by metrics if allowed.

A study has at least one series and a series at least one instance, and a server knows its studies
and series by attributes that are the same in all their datasets: those that its search returns of
every one. Others may differ within a study against the standard, so only these count. A query over
instances that names nothing but such attributes, and to which it does not matter how often a row
comes, gives the same over studies; and where it counts rows, each study stands for as many as the
number that its search returns with it. A study without that number stops the statement: it is never
taken for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Part
from dicomsql.errors import PlanningError
from dicomsql.planning.read_plan import ColumnKind
from dicomsql.planning.tables import LEVELS, Table
from dicomsql.planning.tokens import word_of
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText

# The engine's name of the function that adds up such numbers.
TOTAL = "dicomsql_total"
# How its text begins where one of them is missing.
MISSING = "The server gave rows without their "

# Of a level and one below it: the attribute that tells how many of the lower one it has.
_NUMBERS = {
    ("study", "series"): "NumberOfStudyRelatedSeries",
    ("study", "instance"): "NumberOfStudyRelatedInstances",
    ("series", "instance"): "NumberOfSeriesRelatedInstances",
}

# All of these attributes.
NUMBERS = tuple(_NUMBERS.values())

_PLURAL = {"study": "studies", "series": "series", "instance": "instances"}

# Aggregates to which it does not matter how often a value comes.
_ANY_TIMES = (*(exp.Min, exp.Max, exp.AnyValue, exp.LogicalAnd, exp.LogicalOr, exp.ApproxDistinct),)

# Functions of one row that give the same for the same arguments. Any other may be an aggregate
# that sqlglot does not know, may give rows of its own, or differ from row to row.
_OF_ONE_ROW = (
    *(exp.And, exp.Or, exp.Cast, exp.TryCast, exp.Case, exp.If, exp.Coalesce, exp.Nullif),
    *(exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.Length, exp.Left, exp.Right, exp.Concat),
    *(exp.StartsWith, exp.RegexpLike, exp.ArrayContains, exp.TimeToStr, exp.Abs, exp.Round),
    *(exp.Year, exp.Month, exp.Day, exp.Quarter, exp.DayOfWeek, exp.Monthname, exp.Extract),
    *(exp.TimestampTrunc, exp.DateTrunc, exp.CurrentDate, exp.CurrentTimestamp),
)

# Parts of a SELECT that see its table's rows one by one, or more than its one table.
_SEES_ROWS = ("qualify", "windows", "joins", "laterals", "pivots", "sample", "with_", "connect")


@dataclass(frozen=True, slots=True)
class Recount:
    """What was done to a query.

    Attributes:
        source: whose rows are now another table's.
        reason: of the scan, for people.
        note: on the result; empty where it is exact.
    """

    source: Source
    reason: str
    note: str = ""


def missing(number: str) -> str:
    """What the engine says where rows came without a number that tells how many others they have.

    Args:
        number: the attribute, one of `NUMBERS`, or what stands for it in a text of SQL.
    """
    return (
        f"{MISSING}{number}, so that they cannot be counted by it. "
        "count(DISTINCT ...) of the UID that tells the rows apart counts them one by one."
    )


def recount(text: QueryText, names: Names) -> list[Recount]:
    """Let queries that only count read less, by a change of their table and text.

    To be called once the names are resolved, before anything else reads them.
    """
    done: list[Recount] = []
    for scope in names.scopes:
        counting = _Counting.of(scope, names)
        if counting is None:
            continue
        found = counting.by_metrics(text, names) if names.context.approximate_counts else None
        found = found or counting.by_level_above(text, names)
        if found is not None:
            done.append(found)
    return done


@dataclass(frozen=True, slots=True)
class _Counting:
    """A SELECT over one search table to which only the numbers of equal rows matter.

    Attributes:
        counts: the aggregates that count rows.
        columns: what else it names of the table.
    """

    scope: Scope
    source: Source
    counts: tuple[exp.Count, ...]
    columns: tuple[exp.Column, ...]

    @classmethod
    def of(cls, scope: Scope, names: Names) -> _Counting | None:
        """The SELECT of a scope as one that counts; None where it may be more than that."""
        select = scope.node
        if not isinstance(select, exp.Select) or scope.children or len(scope.sources) != 1:
            return None
        (source,) = scope.sources
        table = source.table
        if table is None or table.dicom is None or table.dicom.source != "search":
            return None
        if source.reshaped or id(source) in names.outer or scope.stars:
            return None
        if any(select.args.get(part) for part in _SEES_ROWS):
            return None
        distinct = select.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is not None:
            return None
        counts: list[exp.Count] = []
        aggregates = 0
        for node in _functions(select):
            if isinstance(node, exp.Count) and not isinstance(node.this, exp.Distinct):
                if not _counts_rows(node, source) or isinstance(node.parent, exp.Filter):
                    return None
                counts.append(node)
            elif not isinstance(node, (*_ANY_TIMES, *_OF_ONE_ROW, exp.Count)):
                return None
            aggregates += isinstance(node, exp.AggFunc)
        if not (aggregates or distinct is not None or select.args.get("group") is not None):
            return None
        if _is_read_again(select, counts):
            return None
        inside = {id(c) for count in counts for c in count.find_all(exp.Column)}
        columns = []
        for column in scope.columns:
            if id(column) in inside:
                continue
            owners = names.owners(column, scope)
            if not owners and not column.table and column.name.lower() in scope.select_aliases():
                continue
            if len(owners) != 1 or owners[0][0] is not source or len(column.parts) > 2:
                return None
            if column.table and column.table.lower() != source.alias.lower():
                return None
            columns.append(column)
        if not all(_can_be_named(count) for count in counts):
            return None
        return cls(scope, source, tuple(counts), tuple(columns))

    def by_level_above(self, text: QueryText, names: Names) -> Recount | None:
        """Read the highest level that has all that the query names."""
        table = self.source.table
        assert table is not None and table.dicom is not None
        resources = dict(table.dicom.tables)
        for level in LEVELS[: table.level]:
            if level not in resources:
                continue
            higher = _table(names, table, resources[level])
            number = _NUMBERS[level, table.dicom.level] if self.counts else ""
            if higher is None or not all(self._stands_in(higher, c.name) for c in self.columns):
                continue
            if number and not _is_returned(higher, number):
                continue
            if number:
                counted = f"{quoted(self.source.alias)}.{quoted(number)}"
                made = f"{TOTAL}({counted}, '{number}')"
                if not self._replace(text, made):
                    return None
            self._read(higher, names, number)
            by = f" by their {number}" if number else ""
            reason = (
                f"the query names nothing below the {level}, so the {_PLURAL[table.dicom.level]} "
                f"are counted from the {_PLURAL[level]}{by}"
                if self.counts
                else f"the query names nothing below the {level}, so the {_PLURAL[level]} are read"
            )
            return Recount(self.source, reason)
        return None

    def by_metrics(self, text: QueryText, names: Names) -> Recount | None:
        """Take the number from metrics, where that is all that the query gives."""
        table, select = self.source.table, self.scope.node
        assert table is not None and table.dicom is not None
        shown = [e.unalias() for e in select.expressions]
        only_counts = shown and all(any(e is c for c in self.counts) for e in shown)
        if not only_counts or select.args.get("group") or select.args.get("having"):
            return None
        given = {c.name.lower() for c in _equated(self.scope)}
        given |= {name.lower() for name, _ in names.context.defaults}
        for name, column in table.dicom.sizes:
            metrics = _table(names, table, name)
            if metrics is None or metrics.column(column) is None:
                continue
            if not any(_all_given(m, given) for m in metrics.methods):
                continue
            parameters = [metrics.column(c.name) for c in self.columns]
            if not all(p is not None and p.kind is ColumnKind.PARAMETER for p in parameters):
                continue
            counted = f"{quoted(self.source.alias)}.{quoted(column)}"
            if not self._replace(text, f"CAST(coalesce(sum({counted}), 0) AS BIGINT)"):
                return None
            full = table.resource.full_name
            self._read(metrics, names, column)
            return Recount(
                self.source,
                "SET approximate_counts takes the number from metrics",
                f"{full}: counted by the server's metrics; they may lag behind what was written.",
            )
        return None

    def _stands_in(self, higher: Table, name: str) -> bool:
        """Whether a column is the same in the rows of a level above, and comes with its search."""
        table = self.source.table
        assert table is not None
        mine = table.column(name)
        found = higher.column(name)
        if mine is None or found is None or mine.kind is not found.kind or mine.type != found.type:
            return False
        attribute = found.attribute
        if found.kind is ColumnKind.PARAMETER:
            return True
        if attribute is None or attribute.part in {Part.DATASET, Part.DROPPED}:
            return False
        known = higher.attributes.get(higher.keyword(attribute).lower())
        return known is not None and known.returned == "default"

    def _read(self, table: Table, names: Names, number: str) -> None:
        """Make the source's rows those of another table."""
        source = self.source
        source.table = table
        source.needed = {}
        inside = {id(c) for count in self.counts for c in count.find_all(exp.Column)}
        self.scope.columns = [c for c in self.scope.columns if id(c) not in inside]
        for column in self.columns:
            for _, found in names.owners(column, self.scope):
                if found is not None:
                    source.needed[found.name.lower()] = found.name
        if number:
            source.needed[number.lower()] = number

    def _replace(self, text: QueryText, made: str) -> bool:
        """Put an expression in the place of each count; False where one's place is not known."""
        places = [_place(text, count) for count in self.counts]
        if any(place is None for place in places):
            return False
        for count, place in zip(self.counts, places, strict=True):
            assert place is not None
            start, end = place
            # The column keeps the name that the engine would have given it.
            name = _shown_name(text.text[start:end], count)
            named = f" AS {quoted(name)}" if _is_shown_bare(count) else ""
            text.replace(start, end, made + named)
        return True


def _functions(select: exp.Select) -> Iterator[exp.Expr]:
    """The functions of a SELECT; windows, and what gives rows, come as themselves."""
    for node in select.walk():
        if isinstance(node, exp.Func | exp.Window | exp.Query) and node is not select:
            yield node


def _counts_rows(count: exp.Count, source: Source) -> bool:
    """Whether a count is that of the rows: of all, of a constant, or of a UID that each has."""
    if count.expressions:
        return False
    inner = count.this
    if inner is None or isinstance(inner, exp.Star):
        return True
    if isinstance(inner, exp.Literal):
        return True
    if not isinstance(inner, exp.Column) or source.table is None or source.table.dicom is None:
        return False
    uids = {keyword.lower() for _, keyword in source.table.dicom.identity}
    mine = not inner.table or inner.table.lower() == source.alias.lower()
    return mine and len(inner.parts) <= 2 and inner.name.lower() in uids


def _is_read_again(select: exp.Select, counts: list[exp.Count]) -> bool:
    """Whether the alias of a count stands for it anywhere but as what ORDER BY sorts by.

    The engine would have to write what the count becomes a second time, and refuses to: it may end
    the statement.
    """
    named = {
        shown.alias.lower()
        for shown in select.expressions
        if isinstance(shown, exp.Alias) and any(c in counts for c in shown.find_all(exp.Count))
    }
    return any(
        not column.table
        and column.name.lower() in named
        and not (isinstance(column.parent, exp.Ordered) and column.parent.parent_select is select)
        for column in select.find_all(exp.Column)
    )


def _can_be_named(count: exp.Count) -> bool:
    """Whether the column that shows a count keeps its name when the text of the count changes."""
    at: exp.Expr = count
    while at.parent is not None and not isinstance(at.parent, exp.Select):
        if isinstance(at.parent, exp.Alias):
            return True
        at = at.parent
    return at is count or at.arg_key != "expressions"


def _is_shown_bare(count: exp.Count) -> bool:
    return isinstance(count.parent, exp.Select) and count.arg_key == "expressions"


def _shown_name(written: str, count: exp.Count) -> str:
    """The engine's name of a column that shows a count without a name of its own."""
    if count.this is None or isinstance(count.this, exp.Star):
        return "count_star()"
    return "count(" + written.partition("(")[2].rpartition(")")[0].strip() + ")"


def _place(text: QueryText, count: exp.Count) -> tuple[int, int] | None:
    """Offsets of a count with its parentheses."""
    start = count.meta.get("start")
    following = [t for t in text.tokens if start is not None and t.start >= start][:2]
    if [word_of(t) for t in following] != ["COUNT", "("]:
        return None
    return following[0].start, text.group_around(following[1].end + 1)[1]


def _table(names: Names, beside: Table, resource: str) -> Table | None:
    """A resource of the same service as a table."""
    here = beside.resource
    try:
        found = names.catalog.resource(here.provider, here.service, resource)
    except PlanningError:
        return None
    return Table(found, found.for_verb("select"))


def _is_returned(table: Table, keyword: str) -> bool:
    """Whether a table's own search is known to return an attribute, by itself or when asked."""
    found = table.attributes.get(keyword.lower())
    return found is not None and found.returned in {"default", "include"}


def _equated(scope: Scope) -> Iterator[exp.Column]:
    """The columns that WHERE equates with something."""
    for condition in scope.where():
        if isinstance(condition, exp.EQ | exp.In):
            for side in (condition.this, condition.args.get("expression")):
                if isinstance(side, exp.Column):
                    yield side


def _all_given(method: Method, given: set[str]) -> bool:
    return all(name.lower() in given for name in method.required)
