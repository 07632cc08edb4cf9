"""What the condition of a write says in constants: which parameters it fixes, and to what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import DataError
from dicomsql.planning.constants import Constants
from dicomsql.planning.read_plan import Constant
from dicomsql.planning.scopes import disjuncts
from dicomsql.planning.tokens import word_of
from dicomsql.planning.values import is_number, parameter_text

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.tables import Table
    from dicomsql.planning.text import QueryText


def parameter_constant(
    part: exp.Expr,
    table: Table,
    text: QueryText,
    alias: str,
    evaluate: Evaluate,
    *,
    methods: tuple[Method, ...],
) -> Constant | None:
    """A conjunct that is an equality or a list on one parameter, as a constant; else None.

    Args:
        table: what the condition may name.
        alias: the statement's name of the table; empty where it has none.
        methods: what may be called; only their parameters count.

    Raises:
        LanguageError: a name belongs to nothing.
        DataError: a UID is compared with a number.
    """
    alternatives = disjuncts(part)
    constants = Constants(text, evaluate)
    values: list[str] = []
    names: set[str] = set()
    listed = len(alternatives) > 1
    for alternative in alternatives:
        compared = _compared(alternative)
        if compared is None:
            return None
        column, others = compared
        listed = listed or isinstance(alternative, exp.In)
        found = table.column(column.name)
        if found is None:
            if column.table and column.table.lower() != alias.lower():
                return None  # a member of a column, perhaps: the query's names decide
            raise text.error(str(table.unknown(column.name)), column)
        if not _qualifies(column, table, alias):
            raise text.error(f"No table of this statement is called {column.table}", column)
        if not any(m.parameter(found.parameter) is not None for m in methods):
            return None
        for other in others:
            constant = constants.value(
                other, alternative if isinstance(alternative, exp.EQ) else None, column
            )
            if constant is None or constant[0] is None:
                return None
            number = is_number(other) or isinstance(constant[0], int | float)
            if found.attribute is not None and number:
                raise DataError(
                    f"{found.name} is text and is compared with a number; write it in quotes."
                )
            values.append(parameter_text(constant[0]))
        names.add(found.parameter)
    if len(names) != 1:
        return None
    return Constant(names.pop(), tuple(dict.fromkeys(values)), "statement", listed)


def condition_span(text: QueryText, condition: exp.Expr) -> tuple[int, int]:
    """Offsets of an equality or a list."""
    compared = _compared(condition)
    assert compared is not None
    column, _ = compared
    start, end = text.span(column)
    words = frozenset({"=", "==", "IN"})
    if condition.this is column:
        operator = text.token_between(end, len(text.text), words)
        assert operator is not None
        return start, text.operand_after(operator.end + 1)[1]
    before = [t for t in text.tokens if t.end < start and word_of(t) in words]
    return text.operand_before(before[-1].start)[0], end


def _compared(condition: exp.Expr) -> tuple[exp.Column, list[exp.Expr]] | None:
    """The column of an equality or a list, and what it is compared with."""
    if isinstance(condition, exp.EQ):
        for column, other in (
            (condition.this, condition.expression),
            (condition.expression, condition.this),
        ):
            if isinstance(column, exp.Column):
                return column, [other]
    if isinstance(condition, exp.In) and condition.expressions:
        column = condition.this
        return (column, list(condition.expressions)) if isinstance(column, exp.Column) else None
    return None


def _qualifies(column: exp.Column, table: Table, alias: str) -> bool:
    """Whether what stands in front of a column names the table that is written."""
    wanted = ".".join(p.name.lower() for p in column.parts[:-1])
    full = table.resource.full_name.lower()
    return not wanted or wanted == alias.lower() or full == wanted or full.endswith("." + wanted)
