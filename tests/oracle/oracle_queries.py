"""Queries from chance: each as dicomsql takes it and as plain DuckDB does over the oracle's tables.

Where dicomsql means something of its own (a list is any of its members, a date may be spelled
DICOM's way, a joined level's attributes are the higher level's) the two texts differ; everywhere
else they are the same. A strategy of Hypothesis makes them, so that what fails shrinks.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from oracle_reading import COLUMNS, KEYS, TABLES, Rows, Spec

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Order(Enum):
    """What of the rows' order a query promises."""

    NONE = "none"
    TOTAL = "total"
    SOME = "some"  # LIMIT without an order: any so many of the rows of `Query.whole`


@dataclass(frozen=True)
class Query:
    """One question in both spellings.

    Attributes:
        ours, plain: the texts.
        order: see `Order`.
        whole: the plain text of all the rows of which some are asked for; else empty.
    """

    ours: str
    plain: str
    order: Order = Order.NONE
    whole: str = ""


@dataclass(frozen=True)
class Text:
    """A piece of SQL in both spellings."""

    ours: str
    plain: str

    def __add__(self, other: Text | str) -> Text:
        other = same(other) if isinstance(other, str) else other
        return Text(self.ours + other.ours, self.plain + other.plain)

    def __radd__(self, other: str) -> Text:
        return same(other) + self


def same(text: str) -> Text:
    return Text(text, text)


def joined(separator: str, pieces: Sequence[Text]) -> Text:
    return Text(separator.join(p.ours for p in pieces), separator.join(p.plain for p in pieces))


# What a query's columns are usually about, so that most of them need no metadata.
_USUAL = {
    "studies": (
        *("StudyInstanceUID", "PatientID", "PatientName", "PatientSex", "PatientBirthDate"),
        *("AccessionNumber", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID"),
    ),
    "series": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "instances": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns"),
}
_FILTERED = (
    *("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate"),
    *("ReferringPhysicianName", "SeriesInstanceUID", "Modality", "SOPInstanceUID"),
)


class Maker:
    """Makes queries about rows that are known, so that what they look for is often there.

    Parameters:
        leave_out: columns that no query is to have.
    """

    def __init__(self, rows: Rows, leave_out: frozenset[str] = frozenset()) -> None:
        self.rows = rows
        self.columns = {
            table: {n: s for n, s in specs.items() if n not in leave_out}
            for table, specs in COLUMNS.items()
        }
        self.values = {
            table: {name: self._values(table, name) for name in specs}
            for table, specs in self.columns.items()
        }

    def _values(self, table: str, name: str) -> list[Any]:
        """Some values of a column, members of lists singly, in an order that is always the same."""
        found: dict[Any, None] = {}
        for row in getattr(self.rows, table).values():
            value = row.get(name)
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    found[one] = None
        listed = list(found)
        return listed[:: max(1, len(listed) // 40)]

    def queries(self, kind: str) -> st.SearchStrategy[Query]:
        """Queries of a kind: `columns`, `groups`, `newest`, `joins` or `memberships`."""
        make = {
            "columns": self._plain,
            "groups": self._grouped,
            "newest": self._newest,
            "joins": self._join,
            "memberships": self._semi,
        }[kind]
        return st.composite(make)()

    # -- kinds -----------------------------------------------------------------------------------

    def _plain(self, draw: Draw) -> Query:
        """Columns of one table, conditions, perhaps DISTINCT, an order or a limit."""
        table = draw(st.sampled_from(TABLES))
        columns = self._projection(draw, table)
        tail = self._where(draw, table, "")
        ending = draw(st.sampled_from(("", "", "", "DISTINCT", "ORDER", "LIMIT")))
        start = f"SELECT {'DISTINCT ' if ending == 'DISTINCT' else ''}{columns} FROM {table}"
        text = same(start) + tail
        if ending == "ORDER":
            key = KEYS[TABLES.index(table)]
            by = draw(st.sampled_from([c for c, s in self.columns[table].items() if not s.many]))
            how = draw(st.sampled_from(("", " DESC", " NULLS FIRST", " DESC NULLS FIRST")))
            written = self.columns[table][by].written or by
            text += f" ORDER BY {written}{how}, {key} LIMIT {draw(st.integers(0, 12))}"
            text += draw(st.sampled_from(("", " OFFSET 1", " OFFSET 7")))
            return self._query(text, Order.TOTAL)
        if ending == "LIMIT":
            limited = text + f" LIMIT {draw(st.integers(0, 30))}"
            limited += draw(st.sampled_from(("", "", " OFFSET 3")))
            query = self._query(limited, Order.SOME)
            return Query(query.ours, query.plain, Order.SOME, self._query(text).plain)
        return self._query(text)

    def _grouped(self, draw: Draw) -> Query:
        """Counts and extremes, for all rows or by groups."""
        table = draw(st.sampled_from(TABLES))
        names = [n for n, s in self.columns[table].items() if not s.many]
        keys = [k for k in KEYS if k in self.columns[table]]
        one = st.sampled_from(
            [
                *("count(*)", "count(*)", *(f"count(DISTINCT {k})" for k in keys)),
                *(f"min({self._written(table, n)})" for n in names if n != "acme_01"),
                *(f"max({n})" for n in names if "." not in n and n != "acme_01"),
                *("count(PatientID)", "count(DISTINCT PatientID)"),
            ]
        )
        measures = draw(st.lists(one, min_size=1, max_size=3))
        groups = draw(
            st.lists(st.sampled_from(self._likely(table)), max_size=2, unique=True)
            | st.just(["year(StudyDate)"])
        )
        groups = [g if "(" in g else self._written(table, g) for g in groups]
        text = same(f"SELECT {', '.join([*groups, *measures])} FROM {table}")
        text += self._where(draw, table, "")
        if groups:
            text += f" GROUP BY {', '.join(groups)}"
            if draw(st.booleans()):
                text += f" HAVING count(*) > {draw(st.integers(0, 3))}"
        return self._query(text)

    def _newest(self, draw: Draw) -> Query:
        """The newest few, in an order that is total, or by a date that alone is shown."""
        table = draw(st.sampled_from(TABLES))
        key = KEYS[TABLES.index(table)]
        way = draw(st.sampled_from((" DESC", " DESC", " DESC NULLS LAST", "", " DESC NULLS FIRST")))
        count = draw(st.sampled_from((1, 2, 5, 20, 10_000)))
        alone = draw(st.booleans())
        columns = "StudyDate" if alone else self._projection(draw, table)
        text = same(f"SELECT {columns} FROM {table}") + self._where(draw, table, "")
        text += f" ORDER BY StudyDate{way}{'' if alone else ', ' + key} LIMIT {count}"
        text += draw(st.sampled_from(("", "", " OFFSET 2")))
        return self._query(text, Order.TOTAL)

    def _join(self, draw: Draw) -> Query:
        """Two or three levels on their UIDs."""
        tables = draw(
            st.sampled_from(
                (("studies", "series"), ("series", "instances"), ("studies", "instances"), TABLES)
            )
        )
        aliases = {"studies": "st", "series": "se", "instances": "i"}
        how = draw(st.sampled_from(("JOIN", "JOIN", "LEFT JOIN")))
        text = same(f" FROM {tables[0]} AS {aliases[tables[0]]}")
        using = draw(st.booleans())
        for above, table in pairwise(tables):
            keys = KEYS[: TABLES.index(above) + 1]
            if not using and draw(st.booleans()):
                keys = keys[-1:]
            b = aliases[table]
            if using:
                text += f" {how} {table} AS {b} USING ({', '.join(keys)})"
                continue
            text += f" {how} {table} AS {b} ON "
            text += " AND ".join(f"{aliases[above]}.{k} = {b}.{k}" for k in keys)
            if draw(st.integers(0, 4)) == 0:
                text += " AND " + self._condition(draw, table, b)
        columns = [
            f"{aliases[table]}.{name}"
            for table in tables
            for name in draw(st.lists(st.sampled_from(self._likely(table)), min_size=1, max_size=2))
            if not self.columns[table][name].written
        ] or [f"{aliases[tables[0]]}.PatientID"]
        conditions = [
            self._condition(draw, table, aliases[table])
            for table in tables
            if draw(st.integers(0, 2)) > 0
        ]
        if conditions:
            text += same(" WHERE ") + joined(" AND ", conditions)
        if draw(st.integers(0, 3)) == 0:
            groups = ", ".join(dict.fromkeys(columns[:1]))
            head = same(
                f"SELECT {groups}, count(*), count(DISTINCT {aliases[tables[-1]]}.{KEYS[0]})"
            )
            return self._query(head + text + f" GROUP BY {groups}")
        # An attribute that joined levels share is the higher one's, so it needs no table's name.
        bare = draw(st.booleans())
        head = same("SELECT ") + joined(
            ", ", [self._of_join(c, tables, aliases, bare=bare) for c in columns]
        )
        return self._query(head + text)

    def _of_join(
        self, column: str, tables: Sequence[str], aliases: dict[str, str], *, bare: bool
    ) -> Text:
        name = column.partition(".")[2]
        if not bare:
            return same(column)
        first = next(t for t in tables if name in self.columns[t])
        return Text(name, f"{aliases[first]}.{name}")

    def _semi(self, draw: Draw) -> Query:
        """Rows whose UID is among those of a subquery, a list or a CTE."""
        table = draw(st.sampled_from(TABLES))
        levels = TABLES.index(table) + 1
        key = KEYS[draw(st.integers(0, levels - 1))]
        columns = self._projection(draw, table)
        where = self._where(draw, table, "", " AND ")
        kind = draw(st.sampled_from(("values", "cte", "subquery", "not in", "exists")))
        if kind in {"values", "cte"}:
            known = self.values[table][key]
            most = draw(st.sampled_from((8, 60)))  # calls for each, or one walk
            uids = draw(st.lists(st.sampled_from([*known, "1.9.9", ""]), min_size=1, max_size=most))
            rows = ", ".join(f"({literal(uid)})" for uid in uids)
            if kind == "values":
                text = same(f"SELECT {columns} FROM {table} WHERE {key} IN (SELECT u FROM ")
                return self._query(text + f"(VALUES {rows}) AS v(u))" + where)
            text = same(f"WITH c(u) AS (VALUES {rows}) SELECT {columns} FROM {table}")
            if draw(st.booleans()):
                return self._query(text + f" WHERE {key} IN (SELECT u FROM c)" + where)
            return self._query(text + f" JOIN c ON c.u = {key}" + where)
        inner = draw(st.sampled_from([t for t in TABLES if key in self.columns[t]]))
        if kind == "exists":
            text = same(f"SELECT {columns} FROM {table} AS o WHERE EXISTS (SELECT 1 FROM {inner}")
            text += same(f" AS n WHERE n.{key} = o.{key}") + self._where(draw, inner, "n", " AND ")
            return self._query(text + ")")
        text = same(
            f"SELECT {columns} FROM {table} WHERE {key} {'NOT ' if kind == 'not in' else ''}"
        )
        text += same(f"IN (SELECT {key} FROM {inner}") + self._where(draw, inner, "") + ")"
        return self._query(text + where)

    # -- pieces ----------------------------------------------------------------------------------

    def _query(self, text: Text, order: Order = Order.NONE) -> Query:
        plain = text.plain
        for spec in self.columns["instances"].values():
            if spec.written:
                plain = plain.replace(spec.written, f'"{spec.name}"')
        return Query(text.ours, plain, order)

    def _written(self, table: str, name: str) -> str:
        return self.columns[table][name].written or name

    def _likely(self, table: str) -> list[str]:
        """Names of columns, the usual ones of the level more often."""
        usual = [n for t in TABLES[: TABLES.index(table) + 1] for n in _USUAL[t]]
        names = [*usual, *_USUAL[table], *_USUAL[table], *self.columns[table]]
        return [n for n in names if n in self.columns[table]]

    def _projection(self, draw: Draw, table: str) -> str:
        pieces = draw(st.lists(st.sampled_from(self._likely(table)), min_size=1, max_size=4))
        return ", ".join(self._written(table, n) for n in pieces)

    def _where(self, draw: Draw, table: str, alias: str, start: str = " WHERE ") -> Text:
        if draw(st.integers(0, 3)) == 0:
            return same("")
        return start + self._condition(draw, table, alias)

    def _condition(self, draw: Draw, table: str, alias: str, depth: int = 0) -> Text:
        kind = (
            draw(st.sampled_from(("one", "one", "one", "and", "or", "not"))) if depth < 3 else "one"
        )
        if kind == "one":
            return self._predicate(draw, table, alias)
        if kind == "not":
            return "NOT (" + self._condition(draw, table, alias, depth + 1) + ")"
        sides = [self._condition(draw, table, alias, depth + 1) for _ in range(2)]
        return "(" + joined(f" {kind.upper()} ", sides) + ")"

    def _predicate(self, draw: Draw, table: str, alias: str) -> Text:
        filtered = [n for n in _FILTERED if n in self.columns[table]]
        name = draw(st.sampled_from([*filtered, *filtered, *self._likely(table)]))
        spec = self.columns[table][name]
        if alias and spec.written:
            spec, name = self.columns[table]["PatientID"], "PatientID"
        column = f"{alias}.{name}" if alias else spec.written or name
        if draw(st.integers(0, 9)) == 0:
            return same(f"{column} IS {draw(st.sampled_from(('', 'NOT ')))}NULL")
        values = self.values[table][name]
        return _PREDICATES["list" if spec.many else spec.element](draw, column, spec, values)


# -- predicates by type --------------------------------------------------------------------------


def literal(value: Any) -> str:
    """A value as a literal of SQL, in its usual spelling."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value.isoformat(' ')}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, datetime.time):
        return f"TIME '{value.isoformat()}'"
    return repr(value)


def _spelled(draw: Draw, value: Any) -> Text:
    """A literal; of a date or time also the spellings that dicomsql knows besides."""
    plain = literal(value)
    if isinstance(value, datetime.datetime):
        forms = [plain, f"'{value.isoformat(' ')}'"]
        if not value.microsecond:
            forms.append(f"'{value:%Y%m%d%H%M%S}'")
    elif isinstance(value, datetime.date):
        forms = [plain, f"'{value.isoformat()}'", f"'{value:%Y%m%d}'"]
    elif isinstance(value, datetime.time):
        forms = [plain, f"'{value.isoformat()}'"]
        if not value.microsecond:
            forms.append(f"'{value:%H%M%S}'")
    else:
        return same(plain)
    return Text(draw(st.sampled_from(forms)), plain)


def _texts(draw: Draw, column: str, spec: Spec, values: list[Any]) -> Text:
    value = draw(st.sampled_from([*values, *values, "", "nothing", "%", "a,b", "x*"]))
    changed = draw(
        st.sampled_from((value, value, value, value.lower(), value.upper(), value + " "))
    )
    kind = draw(st.sampled_from(("=", "=", "=", "IN", "LIKE", "ILIKE", "<>", "BETWEEN", "<=", "f")))
    if kind == "IN":
        more = draw(st.lists(st.sampled_from([*values, "nobody"]), min_size=1, max_size=4))
        negated = draw(st.sampled_from(("", "", "", "NOT ")))
        return same(f"{column} {negated}IN ({', '.join(map(literal, [changed, *more]))})")
    if kind in {"LIKE", "ILIKE"}:
        cut = draw(st.integers(0, len(changed)))
        pattern = draw(
            st.sampled_from((changed[:cut] + "%", "%" + changed[cut:] + "%", changed[:cut] + "_%"))
        )
        return same(f"{column} {kind} {literal(pattern)}")
    if kind == "BETWEEN":
        other = draw(st.sampled_from([*values, "Z"]))
        return same(f"{column} BETWEEN {literal(changed)} AND {literal(other)}")
    if kind == "f":
        function = draw(st.sampled_from(("lower", "upper", "trim")))
        return same(f"{function}({column}) = {literal(changed.lower())}")
    if draw(st.integers(0, 5)) == 0 and kind == "=":
        return same(f"{literal(changed)} = {column}")
    return same(f"{column} {kind} {literal(changed)}")


def _ordered(draw: Draw, column: str, spec: Spec, values: list[Any]) -> Text:
    """Dates, times and numbers."""
    value = draw(st.sampled_from(values or [_NONE[spec.element]]))
    kind = draw(st.sampled_from(("=", "<", "<=", ">", ">=", "<>", "BETWEEN", "IN", "flip", "f")))
    if kind == "BETWEEN":
        other = draw(st.sampled_from(values or [value]))
        return column + same(" BETWEEN ") + _spelled(draw, value) + " AND " + _spelled(draw, other)
    if kind == "IN":
        several = [value, *draw(st.lists(st.sampled_from(values or [value]), max_size=3))]
        return f"{column} IN (" + joined(", ", [_spelled(draw, v) for v in several]) + ")"
    if kind == "flip":
        return _spelled(draw, value) + f" >= {column}"
    if kind == "f" and spec.element in {"DATE", "TIMESTAMP"}:
        part = draw(st.sampled_from(("year", "year", "month")))
        operator = draw(st.sampled_from(("=", ">=", "<", "IN")))
        number = getattr(value, part)
        right = f"({number}, {number + 1})" if operator == "IN" else str(number)
        return same(f"{part}({column}) {operator} {right}")
    return f"{column} {'=' if kind == 'f' else kind} " + _spelled(draw, value)


def _members(draw: Draw, column: str, spec: Spec, values: list[Any]) -> Text:
    """A list: what holds for any of its members."""
    value = draw(st.sampled_from(values or [_NONE[spec.element]]))
    kind = draw(st.sampled_from(("=", "IN", "LIKE") if spec.element == "VARCHAR" else ("=", "IN")))
    if kind == "IN":
        several = [value, *draw(st.lists(st.sampled_from(values or [value]), max_size=2))]
        right = f"IN ({', '.join(map(literal, several))})"
    elif kind == "LIKE":
        right = "LIKE " + literal(value[: draw(st.integers(0, len(value)))] + "%")
    else:
        right = f"= {literal(value)}"
    some = f"list_filter({column}, lambda x: x {right})"
    plain = f"(CASE WHEN {column} IS NOT NULL THEN len({some}) > 0 END)"
    return Text(f"{column} {right}", plain)


_NONE: dict[str, Any] = {
    "VARCHAR": "nothing",
    "DATE": datetime.date(2024, 2, 29),
    "TIME": datetime.time(8, 30),
    "TIMESTAMP": datetime.datetime(2024, 2, 29),
    "BIGINT": 1,
    "DOUBLE": 0.5,
}
_PREDICATES: dict[str, Callable[[Draw, str, Spec, list[Any]], Text]] = {
    "VARCHAR": _texts,
    **dict.fromkeys(("DATE", "TIME", "TIMESTAMP", "BIGINT", "DOUBLE"), _ordered),
    "list": _members,
}
