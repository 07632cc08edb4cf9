"""A query of BigQuery's SQL: what it is about, and what it is in DuckDB's SQL.

Only queries are read: nothing that writes, no scripts, no legacy SQL.

One thing is easier here than at Google: eight digits that are compared with a DATE are a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError, TableName
from dicomsql.emulator.neighbours.googlesql import translate

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Parsed", "Question", "in_duckdb", "parse"]

_LONGEST_TEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """A query with what it is about.

    Attributes:
        project: of tables that are named without one.
        dataset: of tables that are named by nothing else: project and dataset, or None.
        parameters: QueryParameters as the API has them.
    """

    sql: str
    project: str
    dataset: tuple[str, str] | None = None
    parameters: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query, parsed, with its parameters in their places.

    Attributes:
        tables: those that it reads, by the names that stand for them.
    """

    tree: exp.Query
    tables: dict[str, TableName]


def parse(question: Question) -> Parsed:
    """Read a query.

    Raises:
        NeighbourError: INVALID_ARGUMENT for a query that is none, UNIMPLEMENTED for what is not
            emulated.
    """
    if len(question.sql) > _LONGEST_TEXT:
        raise NeighbourError("INVALID_ARGUMENT", "The query is too large: it is of 1 MB at most.")
    try:
        tree = _parsed(question.sql)
        _bind(tree, question.parameters)
        _name_members(tree)
        return Parsed(tree, _tables(tree, question))
    except RecursionError:
        raise NeighbourError("INVALID_ARGUMENT", "The query is nested too deeply.") from None


def in_duckdb(parsed: Parsed, columns: Mapping[str, Sequence[Column]]) -> str:
    """A query in DuckDB's SQL, which calls the macros of `macros`.

    Args:
        columns: of each table that it reads.

    Raises:
        NeighbourError: UNIMPLEMENTED for what is not emulated.
    """
    from sqlglot import exp
    from sqlglot.errors import ErrorLevel, SqlglotError

    tree = parsed.tree.copy()
    every = [column for of in columns.values() for column in of]
    _read_dates(tree, every)
    try:
        translate(tree, every)
        select: exp.Expr = tree
        while isinstance(select, exp.SetOperation | exp.Subquery):
            select = select.this
        if isinstance(select, exp.Select):
            _name_columns(select)
        return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
    except SqlglotError:
        raise NeighbourError("UNIMPLEMENTED", "The emulator cannot translate this query.") from None
    except RecursionError:
        raise NeighbourError("INVALID_ARGUMENT", "The query is nested too deeply.") from None


def _parsed(sql: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    try:
        trees = [tree for tree in sqlglot.parse(sql, read="bigquery") if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        line, column = details[0].get("line"), details[0].get("col")
        at = f" at [{line}:{column}]" if line else ""
        raise NeighbourError("INVALID_ARGUMENT", f"Syntax error{at}.") from None
    if not trees:
        raise NeighbourError("INVALID_ARGUMENT", "The query is empty.")
    if len(trees) > 1 or not isinstance(trees[0], exp.Query):
        raise NeighbourError(
            "UNIMPLEMENTED", "The emulator runs single queries: SELECT, WITH, UNION."
        )
    return trees[0]


def _bind(tree: exp.Expr, parameters: Sequence[Mapping[str, Any]]) -> None:
    """Put the parameters in their places, as literals of their types."""
    from sqlglot import exp

    named = {str(p["name"]).lower(): p for p in parameters if p.get("name")}
    positional = [p for p in parameters if not p.get("name")]
    for node in list(tree.find_all(exp.Parameter)):
        parameter = named.get(node.name.lower())
        if parameter is None:
            raise NeighbourError("INVALID_ARGUMENT", f"Query parameter '{node.name}' not found.")
        node.replace(_literal(parameter.get("parameterType"), parameter.get("parameterValue")))
    places = list(tree.find_all(exp.Placeholder, bfs=False))
    if len(places) > len(positional):
        raise NeighbourError("INVALID_ARGUMENT", "There are more ? than query parameters.")
    for place, parameter in zip(places, positional, strict=False):
        place.replace(_literal(parameter.get("parameterType"), parameter.get("parameterValue")))


def _literal(kind: Any, value: Any) -> exp.Expr:
    from sqlglot import exp

    kind, value = dict(kind or {}), dict(value or {})
    name = str(kind.get("type", "")).upper()
    if name == "ARRAY":
        members = [_literal(kind.get("arrayType"), v) for v in value.get("arrayValues", ())]
        return exp.Array(expressions=members)
    if not re.fullmatch(r"STRING|BYTES|INT64|INTEGER|FLOAT(64)?|NUMERIC|BOOL(EAN)?|DATE|TIME"
                        r"|TIMESTAMP|DATETIME|JSON", name):  # fmt: skip
        raise NeighbourError("UNIMPLEMENTED", "The emulator takes parameters that are scalars.")
    text = value.get("value")
    literal = exp.Null() if text is None else exp.Literal.string(str(text))
    return exp.cast(literal, name, dialect="bigquery")


def _tables(tree: exp.Expr, question: Question) -> dict[str, TableName]:
    """Give every table that is kept a name of its own; which one stands for which."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    found: dict[TableName, str] = {}
    done: set[int] = set()  # a table is a source of the scopes within its own one, too
    for scope in traverse_scope(tree):
        for source in list(scope.sources.values()):
            if not isinstance(source, exp.Table) or id(source) in done:
                continue
            done.add(id(source))
            if not isinstance(source.this, exp.Identifier):
                raise NeighbourError("UNIMPLEMENTED", "The emulator has no table functions.")
            if source.args.get("version") or source.args.get("sample"):
                raise NeighbourError(
                    "UNIMPLEMENTED", "The emulator has no versions and no samples of tables."
                )
            name = _full_name(source, question)
            shown = found.setdefault(name, f"table {len(found)}")
            alias = source.args.get("alias") or exp.TableAlias(
                this=exp.to_identifier(name.table, quoted=True)
            )
            source.set("alias", alias)
            source.set("this", exp.to_identifier(shown, quoted=True))
            source.set("db", None)
            source.set("catalog", None)
    return {shown: name for name, shown in found.items()}


def _name_members(tree: exp.Expr) -> None:
    """`FROM t, t.items`: the members of an array under its own name.

    To BigQuery `items` is then a member, to DuckDB it is still the array; so the member gets a name
    that no column has.
    """
    from sqlglot import exp

    for unnest in list(tree.find_all(exp.Unnest)):
        array, alias = unnest.expressions[0], unnest.args.get("alias")
        names = alias.columns if alias else []
        name = names[0].name if names else alias.name if alias else array.name
        select = unnest.find_ancestor(exp.Select)
        if not isinstance(array, exp.Column) or name.lower() != array.name.lower():
            continue
        member = exp.to_identifier(f"member of {name}", quoted=True)
        for column in list(select.find_all(exp.Column)) if select else ():
            if column.find_ancestor(exp.Unnest) is unnest:
                continue
            if column.table.lower() == name.lower():
                column.set("table", member.copy())
            elif not column.table and column.name.lower() == name.lower():
                whole = exp.Column(this=member.copy())
                selected = isinstance(column.parent, exp.Select)
                column.replace(exp.alias_(whole, name, quoted=True) if selected else whole)
        place = exp.to_identifier(f"array of {name}", quoted=True)
        unnest.set("alias", exp.TableAlias(this=place, columns=[member]))


def _full_name(source: exp.Table, question: Question) -> TableName:
    if not source.db and question.dataset is None:
        raise NeighbourError(
            "INVALID_ARGUMENT",
            f'Table "{source.name}" must be qualified with a dataset (e.g. dataset.table).',
        )
    if source.name.endswith("*"):
        raise NeighbourError("UNIMPLEMENTED", "The emulator has no wildcard tables.")
    parts = ".".join((source.catalog, source.db, source.name)).upper().split(".")
    if "INFORMATION_SCHEMA" in parts:
        raise NeighbourError("UNIMPLEMENTED", "The emulator has no INFORMATION_SCHEMA.")
    if not source.db and question.dataset is not None:
        return TableName(*question.dataset, source.name)
    return TableName(source.catalog or question.project, source.db, source.name)


def _name_columns(select: exp.Select) -> None:
    """Give what has no name the name that BigQuery gives it: f0_, f1_ ..."""
    from sqlglot import exp

    count = 0
    for node in list(select.expressions):
        if isinstance(node, exp.Dot) and node.name:
            node.replace(exp.alias_(node.copy(), node.name))
            continue
        if isinstance(node, exp.Alias | exp.Column | exp.Star):
            continue
        node.replace(exp.alias_(node.copy(), f"f{count}_"))
        count += 1


def _read_dates(tree: exp.Expr, columns: Iterable[Column]) -> None:
    """`StudyDate >= '20260101'`: DICOM's form of a date, where a DATE is compared with it."""
    from sqlglot import exp

    dates = {
        column.name.lower()
        for column in columns
        if column.type == "DATE" and column.mode != "REPEATED"
    }
    for node in tree.find_all(
        exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In
    ):
        parts = [*node.iter_expressions()]
        if not any(isinstance(p, exp.Column) and p.name.lower() in dates for p in parts):
            continue
        for part in parts:
            if isinstance(part, exp.Literal) and part.is_string:
                match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", part.name)
                if match:
                    part.replace(exp.Literal.string("-".join(match.groups())))
