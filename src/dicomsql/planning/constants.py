"""The value of an expression that has one for the whole statement, and its place in the text.

Literals and placeholders are read as they stand; all else is computed by the engine. What depends
on the clock is computed once: its value takes its place in the text, so that the engine compares
with what was planned for.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from sqlglot import exp

from dicomsql.errors import DatabaseError
from dicomsql.planning.monotone import date_of
from dicomsql.planning.tokens import word_of

if TYPE_CHECKING:
    from dicomsql.planning.text import QueryText

__all__ = ["Constants", "Value", "is_constant"]

# What an expression without columns may hold that gives no single value.
_VARIES = (exp.Column, exp.Query, exp.Star, exp.Any, exp.All, exp.Rand, exp.Uuid)
_VOLATILE = frozenset({"nextval", "currval", "setseed", "gen_random_uuid", "uuidv4", "uuidv7"})

# What gives another value from one moment to the next; the statement has the one of its planning.
_CLOCKS = (exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentTime, exp.CurrentDatetime)
_CLOCK_NAMES = frozenset(
    {"now", "today", "get_current_timestamp", "transaction_timestamp", "localtimestamp"}
)

_INSTANT = "TIMESTAMP WITH TIME ZONE"
_OPERATORS = frozenset({"=", "==", "<", "<=", ">", ">="})

# A value that a condition compares with, as the statement gives it.
_PLAIN = (str, int, float, bool, datetime.date, datetime.time, Decimal, UUID)
Value = str | int | float | bool | datetime.date | datetime.time | Decimal | UUID | None


class Constants:
    """Finds the values of the constant expressions of a query.

    Args:
        evaluate: the value of a constant expression that only the engine can compute.
    """

    def __init__(
        self,
        text: QueryText,
        evaluate: Callable[[str, tuple[tuple[str, object], ...]], Value],
    ) -> None:
        self._text = text
        self._evaluate = evaluate

    def value(
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
        if condition is None or here is None or isinstance(condition, exp.NullSafeEQ):
            return None
        return self._computed(node, self.operand(condition, here)) if _is_single(node) else None

    def _computed(self, node: exp.Expr, place: tuple[int, int]) -> tuple[Value] | None:
        """The value that the engine gives a constant expression at a place of the text."""
        sql = self._text.render(*place)
        values = self._text.values_in(sql)
        # An instant as text: the engine's own way to Python needs a package that we do not.
        written = f"SELECT CASE WHEN typeof({sql}) = '{_INSTANT}' THEN CAST({sql} AS VARCHAR) END"
        try:
            instant = self._evaluate(written, values)
            value = self._evaluate(f"SELECT {sql}", values) if instant is None else None
            if isinstance(instant, str):
                value = datetime.datetime.fromisoformat(instant)
        except (DatabaseError, ValueError):
            return None  # the engine says what is wrong, if it comes to compute it at all
        if value is not None and not isinstance(value, _PLAIN):
            return None
        if isinstance(value, datetime.date | datetime.time) and _tells_time(node):
            # A statement that runs over midnight must not be checked against another day.
            self._text.replace(*place, f"{_type_of(value)} '{value}'")
        return (value,)

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
            # Anything else compares by its own type, so it does not become a text here.
            return (value,) if value is None or isinstance(value, _PLAIN) else None
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
            kind = node.args["to"].this
            if kind in {exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR}:
                # The engine writes a number in its own way: 007 is '7', 1e3 is '1000.0'.
                return (str(node.this.this),) if node.this.is_string else None
            if kind == exp.DataType.Type.DATE:
                # A date is no text: compared with a text, that would be read as a date.
                day = date_of(str(node.this.this), 0)
                return (day,) if day is not None else None
        return None

    def bound(self, condition: exp.Between, node: exp.Expr, word: str) -> tuple[Value] | None:
        """The value of one of BETWEEN's bounds, which stands behind a word of its own."""
        simple = self.literal(node)
        if simple is not None or not _is_single(node):
            return simple
        _, behind = self._text.span(condition.this)
        length = len(self._text.text)
        at = self._text.token_between(behind, length, frozenset({"BETWEEN"}))
        if at is not None and word == "AND":
            # An operand ends before the AND that belongs to its BETWEEN.
            _, behind = self._text.operand_after(at.end + 1)
            at = self._text.token_between(behind, length, frozenset({"AND"}))
        return self._computed(node, self._text.operand_after(at.end + 1)) if at else None

    def operand(self, condition: exp.Expr, here: exp.Expr) -> tuple[int, int]:
        """Offsets of the operand opposite to the column `here`."""
        start, end = self._text.span(here)
        if condition.this is here:
            operator = self._text.token_between(end, len(self._text.text), _OPERATORS)
            assert operator is not None
            return self._text.operand_after(operator.end + 1)
        before = [t for t in self._text.tokens if t.end < start and word_of(t) in _OPERATORS]
        return self._text.operand_before(before[-1].start)


def is_constant(node: exp.Expr) -> bool:
    """Whether an expression has one value for the whole statement."""
    if node.find(*_VARIES) is not None:
        return False
    called = {f.name.lower() for f in node.find_all(exp.Anonymous)}
    return not called & _VOLATILE


def _is_single(node: exp.Expr) -> bool:
    """Whether an expression is a value that stands for itself in a comparison."""
    if isinstance(node, exp.Interval) or node.find(exp.Collate) is not None:
        return False
    return is_constant(node)


def _tells_time(node: exp.Expr) -> bool:
    called = {f.name.lower() for f in node.find_all(exp.Anonymous)}
    return node.find(*_CLOCKS) is not None or bool(called & _CLOCK_NAMES)


def _type_of(value: datetime.date | datetime.time) -> str:
    """The engine's type of a moment."""
    if isinstance(value, datetime.time):
        return "TIMETZ" if value.tzinfo is not None else "TIME"
    if isinstance(value, datetime.datetime):
        return "TIMESTAMPTZ" if value.tzinfo is not None else "TIMESTAMP"
    return "DATE"


def _number(text: str) -> int | float | str:
    """A number's value; its text where another number is written alike (1.20, 007)."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if str(value) == text else text
    return text
