"""Comparisons and functions whose meaning for DICOM or StackQL is not the engine's own.

Dates in DICOM's spelling become SQL's, a list is compared by any of its members, an identifier is
never compared with a number, and `json_extract` gives a scalar as that scalar.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import DataError
from dicomsql.planning.plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

Owner = Callable[[exp.Column, "Scope"], tuple["Source", "TableColumn | None"] | None]

# The engine's name of the function that stands behind `json_extract`.
JSON_EXTRACT = "dicomsql_json_extract"

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_OPERATORS = frozenset({"=", "==", "<>", "!=", "LIKE", "ILIKE", "IN"})

_DA = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TM = re.compile(r"(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?")
_DT = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})?(\d{2})?(\d{2})?(\.\d{1,6})?")


def rewrite_comparisons(text: QueryText, scopes: list[Scope], owner: Owner) -> None:
    """Edit the text where a comparison with a DICOM attribute means something else to the engine.

    Raises:
        DataError: a text identifier is compared with a number, or a date with what is none.
    """
    for scope in scopes:
        for column in scope.columns:
            parent = column.parent
            found = owner(column, scope)
            if found is None or found[1] is None or parent is None:
                continue
            others = _operands(parent, column)
            if others:
                _rewrite(text, column, found[1], parent, others)


def _operands(parent: exp.Expr, column: exp.Column) -> list[exp.Expr]:
    """What a column is compared with by its parent."""
    if isinstance(parent, _COMPARISONS):
        return [parent.expression if parent.this is column else parent.this]
    if isinstance(parent, exp.In) and parent.this is column:
        return list(parent.expressions)
    if isinstance(parent, exp.Between) and parent.this is column:
        return [parent.args["low"], parent.args["high"]]
    if isinstance(parent, exp.Like | exp.ILike) and parent.this is column:
        return [parent.expression]
    return []


def _rewrite(
    text: QueryText,
    column: exp.Column,
    meant: TableColumn,
    parent: exp.Expr,
    others: list[exp.Expr],
) -> None:
    for other in others:
        if meant.kind is ColumnKind.PARAMETER and meant.type == "VARCHAR":
            if _is_number(other) and not isinstance(parent, exp.Like | exp.ILike):
                start, end = text.span(other)
                text.replace(start, end, f"'{text.text[start:end]}'")
            continue
        attribute = meant.attribute
        if attribute is None or attribute.part is not Part.VALUE:
            continue
        if attribute.kind in {Kind.TEXT, Kind.NAME}:
            _refuse_number(text, meant, other)
        elif attribute.kind in {Kind.DATE, Kind.TIME, Kind.DATETIME}:
            if isinstance(parent, exp.Like | exp.ILike):
                raise DataError(
                    f"{meant.name} is a {meant.type}, which LIKE cannot match; "
                    f"compare {meant.name}_raw with the text, or use a range."
                )
            _date_literal(text, meant, attribute.kind, other)
    if meant.attribute is not None and meant.attribute.many:
        _any_member(text, column, meant, parent)


def _is_number(node: exp.Expr) -> bool:
    if isinstance(node, exp.Neg):
        node = node.this
    return isinstance(node, exp.Literal) and not node.is_string


def _refuse_number(text: QueryText, meant: TableColumn, other: exp.Expr) -> None:
    value = text.values.get(str(other.this or "")) if isinstance(other, exp.Placeholder) else None
    if _is_number(other) or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise DataError(
            f"{meant.name} is text ({meant.attribute.vr if meant.attribute else 'VARCHAR'}) and is "
            f"compared with a number, which could match another identifier ('00123' = 123). "
            f"Write the value in quotes."
        )


def _date_literal(text: QueryText, meant: TableColumn, kind: Kind, other: exp.Expr) -> None:
    """Turn DICOM's spelling of a date, a time or both into SQL's."""
    if isinstance(other, exp.Placeholder):
        name = str(other.this or "")
        value = text.values.get(name)
        if isinstance(value, str):
            text.values[name] = _sql_time(meant, kind, value)
        return
    if isinstance(other, exp.Literal) and other.is_string:
        value = _sql_time(meant, kind, str(other.this))
        if value != other.this:
            start, end = text.span(other)
            text.replace(start, end, f"'{value}'")


def _sql_time(meant: TableColumn, kind: Kind, value: str) -> str:
    converted = {Kind.DATE: _sql_date, Kind.TIME: _sql_clock, Kind.DATETIME: _sql_timestamp}[kind](
        value.strip()
    )
    if converted is None:
        example = {
            Kind.DATE: "'20260131' or '2026-01-31'",
            Kind.TIME: "'134500' or '13:45:00'",
            Kind.DATETIME: "'20260131134500' or '2026-01-31 13:45:00'",
        }[kind]
        raise DataError(
            f"{meant.name} is compared with a text that is no {meant.type}; write it as {example}."
        )
    return converted


def _sql_date(value: str) -> str | None:
    if match := _DA.fullmatch(value):
        value = "-".join(match.groups())
    try:
        return value if datetime.date.fromisoformat(value[:10]) else None
    except ValueError:
        return None


def _sql_clock(value: str) -> str | None:
    if match := _TM.fullmatch(value):
        hour, minute, second, fraction = match.groups()
        value = f"{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"
    try:
        return value if datetime.time.fromisoformat(value) is not None else None
    except ValueError:
        return None


def _sql_timestamp(value: str) -> str | None:
    if match := _DT.fullmatch(value):
        year, month, day, hour, minute, second, fraction = match.groups()
        clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}"
        value = f"{year}-{month}-{day} {clock}"
    try:
        return value if datetime.datetime.fromisoformat(value) else None
    except ValueError:
        return None


def _any_member(
    text: QueryText, column: exp.Column, meant: TableColumn, parent: exp.Expr
) -> None:
    """A list compared with a value means any of its members."""
    start, end = text.span(column)
    name = text.render(start, end)
    if isinstance(parent, exp.EQ | exp.NEQ) and parent.this is column:
        operator = text.token_between(end, len(text.text), _OPERATORS)
        assert operator is not None
        first, last = text.operand_after(operator.end + 1)
        if not isinstance(parent.expression, exp.Literal | exp.Placeholder):
            return
        negation = "NOT " if isinstance(parent, exp.NEQ) else ""
        text.replace(start, last, f"{negation}list_contains({name}, {text.render(first, last)})")
    elif isinstance(parent, exp.In) and parent.expressions:
        first, last = text.group_around(text.span(parent.expressions[0])[0])
        members = text.render(first + 1, last - 1)
        # NOT stands in front of the whole or behind the column: `x NOT IN (...)`.
        inside = text.token_between(end, first, frozenset({"NOT"}))
        negation = "NOT " if inside is not None else ""
        text.replace(start, last, f"{negation}list_has_any({name}, [{members}])")
    elif isinstance(parent, exp.Like | exp.ILike):
        operator = text.token_between(end, len(text.text), _OPERATORS)
        assert operator is not None
        first, last = text.operand_after(operator.end + 1)
        inside = text.token_between(end, operator.start, frozenset({"NOT"}))
        negation = "NOT " if inside is not None else ""
        pattern = f"lambda member: member {operator.text} {text.render(first, last)}"
        text.replace(start, last, f"{negation}(len(list_filter({name}, {pattern})) > 0)")


def rewrite_functions(text: QueryText) -> None:
    """Put our own function behind `json_extract` where its path names one place."""
    for node in text.tree.find_all(exp.JSONExtract):
        if "start" not in node.meta:
            continue
        start, end = node.meta["start"], node.meta["end"] + 1
        if text.text[start:end].lower() != "json_extract":
            continue
        path = node.expression.sql() if node.expression is not None else ""
        if "*" not in path and ":" not in path and isinstance(node.expression, exp.JSONPath):
            text.replace(start, end, JSON_EXTRACT)
