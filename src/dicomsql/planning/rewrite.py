"""Comparisons and functions whose meaning for DICOM or StackQL is not the engine's own.

Dates in DICOM's spelling become SQL's, a list is compared by any of its members, an identifier is
never compared with a number, and `json_extract` gives a scalar as that scalar.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.dicom.values import parse_decimal
from dicomsql.errors import DatabaseError, DataError
from dicomsql.planning.facts import is_constant
from dicomsql.planning.identifiers import COMPARING, Identifiers, compared, scope_of
from dicomsql.planning.read_plan import ColumnKind
from dicomsql.planning.tokens import word_of
from dicomsql.planning.values import is_number

if TYPE_CHECKING:
    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

# The engine's name of the function that stands behind `json_extract`.
JSON_EXTRACT = "dicomsql_json_extract"

_COMPARISONS = (
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE),
    *(exp.NullSafeEQ, exp.NullSafeNEQ),
)
_PATTERNS = (exp.Like, exp.ILike)
_MOMENT_TYPES = {"DATE": Kind.DATE, "TIME": Kind.TIME, "TIMESTAMP": Kind.DATETIME}
_TYPES = {kind: name for name, kind in _MOMENT_TYPES.items()}
_MOMENTS = frozenset({Kind.DATE, Kind.TIME, Kind.DATETIME})
_NUMBERS = frozenset({Kind.INTEGER, Kind.UNSIGNED, Kind.DECIMAL, Kind.FLOAT})
_SPELLINGS: dict[type[exp.Expr], frozenset[str]] = {
    exp.EQ: frozenset({"=", "=="}),
    exp.NEQ: frozenset({"<>", "!="}),
    exp.GT: frozenset({">"}),
    exp.GTE: frozenset({">="}),
    exp.LT: frozenset({"<"}),
    exp.LTE: frozenset({"<="}),
}
_LIKES = frozenset({"LIKE", "ILIKE", "~~", "~~*"})
# `!~~` is two tokens.
_NOT = frozenset({"NOT", "!"})

_DA = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TM = re.compile(r"(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?")
_DT = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})?(\d{2})?(\d{2})?(\.\d{1,6})?")

_EXAMPLES = {
    Kind.DATE: "'20260131' or '2026-01-31'",
    Kind.TIME: "'134500' or '13:45:00'",
    Kind.DATETIME: "'20260131134500' or '2026-01-31 13:45:00'",
}


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Edits the text of one query; its names are resolved.

    Attributes:
        evaluate: computes a constant expression.
    """

    text: QueryText
    names: Names
    evaluate: Evaluate
    # What was rewritten to a text of our own.
    _internal: list[exp.Expr] = field(default_factory=list)

    def rewrite(self) -> None:
        """Edit what means something else to the engine.

        Raises:
            DataError: a text identifier is compared with a number, or a date with what is none.
        """
        Identifiers(self.text, self.names).check()
        for scope in self.names.scopes:
            for column in scope.columns:
                parent = column.parent
                if parent is None:
                    continue
                # The operands first: most columns are compared with nothing.
                others = _operands(parent, column)
                query = parent.args.get("query") if isinstance(parent, exp.In) else None
                if not others and query is None:
                    continue
                meant = self.names.meaning(column, scope)
                if meant is not None:
                    self._comparison(column, meant, parent, others, scope)
        self._moments()
        self._functions()
        self._name_items()

    def _comparison(
        self,
        column: exp.Column,
        meant: TableColumn,
        parent: exp.Expr,
        others: list[exp.Expr],
        scope: Scope,
    ) -> None:
        attribute = meant.attribute
        if attribute is None:
            if meant.kind is ColumnKind.PARAMETER and meant.type == "VARCHAR":
                self._quote_numbers(parent, others)
            return
        for other in others if attribute.part is Part.VALUE else ():
            if attribute.kind in _MOMENTS:
                if isinstance(parent, _PATTERNS):
                    raise DataError(
                        f"{meant.name} is a {meant.type}, which LIKE cannot match; "
                        f"compare {meant.name}_raw with the text, or use a range."
                    )
                self._moment(meant, attribute.kind, other)
            elif attribute.kind in _NUMBERS and not isinstance(parent, _PATTERNS):
                self._number(meant, other)
        # A parameter that means a UID is one text, as its attribute is.
        if attribute.many and parent.arg_key != "ifs":
            self._internal.append(parent)
            self._any_member(column, parent, others, scope)

    # -- numbers ---------------------------------------------------------------------------------

    def _quote_numbers(self, parent: exp.Expr, others: list[exp.Expr]) -> None:
        """A parameter is text for the engine; `projectsId = 123` means the project `123`."""
        for other in others:
            if is_number(other) and not isinstance(parent, _PATTERNS):
                start, end = self._literal_place(other)
                self.text.replace(start, end, f"'{self.text.text[start:end]}'")

    def _number(self, meant: TableColumn, other: exp.Expr) -> None:
        """Refuse a text that is no number; the engine would not say of which column."""
        node, value = self._given(other)
        if not isinstance(value, str) or parse_decimal(value) is not None:
            return
        kind = meant.type.removesuffix("[]")
        if self.evaluate(f"SELECT TRY_CAST($number AS {kind}) IS NOT NULL", (("number", value),)):
            return
        message = (
            f"{meant.name} is a number ({kind}) and is compared with a text that is none; "
            f"compare {meant.name}_raw with the text"
        )
        # A placeholder's value stands nowhere in the text.
        raise DataError(
            f"{message}."
            if isinstance(node, exp.Placeholder)
            else str(self.text.error(message, node))
        )

    def _literal_place(self, node: exp.Expr) -> tuple[int, int]:
        start, end = self.text.span(node)
        if isinstance(node, exp.Neg):
            start = self.text.text.rindex("-", 0, start)
        return start, end

    def _type_of(self, sql: str) -> str:
        try:
            found = self.evaluate(f"SELECT typeof({sql})", self.text.values_in(sql))
        except DatabaseError:
            return ""  # the engine says what is wrong, where it runs the statement
        return str(found)

    # -- dates and times -------------------------------------------------------------------------

    def _moment(self, meant: TableColumn, kind: Kind, other: exp.Expr) -> None:
        """Turn DICOM's spelling of a date, a time or both into SQL's."""
        other, value = self._given(other)
        if isinstance(value, int | float):
            raise DataError(
                f"{meant.name} is a {meant.type} and is compared with a number; "
                f"write it in quotes, as {_EXAMPLES[kind]}."
            )
        if not isinstance(value, str):
            return
        converted = _CONVERTERS[kind](value.strip())
        if converted is None and not self._is_read(value, kind):
            raise DataError(
                f"{meant.name} is compared with a text that is no {meant.type}; "
                f"write it as {_EXAMPLES[kind]}."
            )
        self._spell(other, value, converted)

    def _given(self, node: exp.Expr) -> tuple[exp.Expr, object]:
        """A literal or placeholder, without what stands around it, and its value."""
        while isinstance(node, exp.Paren | exp.Cast):
            node = node.this
        if isinstance(node, exp.Placeholder):
            return node, self.text.values.get(str(node.this or ""))
        if isinstance(node, exp.Literal):
            return node, str(node.this) if node.is_string else 0
        return node, None

    def _is_read(self, value: str, kind: Kind) -> bool:
        """Whether the engine itself reads a text as a moment: `infinity`, `24:00:00`."""
        asked = f"SELECT TRY_CAST($moment AS {_TYPES[kind]}) IS NOT NULL"
        return self.evaluate(asked, (("moment", value),)) is True

    def _spell(self, other: exp.Expr, value: str, converted: str | None) -> None:
        """Put the engine's spelling of a moment in the place of another."""
        if converted is None or converted == value:
            return
        if isinstance(other, exp.Placeholder):
            self.text.values[str(other.this)] = converted
        else:
            start, end = self.text.span(other)
            self.text.replace(start, end, f"'{converted}'")

    def _moments(self) -> None:
        """The same opposite to any expression that gives a date or a time, `max(StudyDate)`."""
        scopes = {id(scope.node): scope for scope in self.names.scopes}
        if all(s.table is None for scope in self.names.scopes for s in scope.sources):
            return
        for node in self.text.tree.find_all(*COMPARING):
            scope = scope_of(node, scopes)
            for pair in compared(node) if scope is not None else ():
                assert scope is not None
                for one, other in (pair, pair[::-1]):
                    self._moment_of(one, other, scope)

    def _moment_of(self, node: exp.Expr, other: exp.Expr, scope: Scope) -> None:
        other, value = self._given(other)
        if not isinstance(value, str):
            return
        if not _DT.fullmatch(value.strip()) and not _TM.fullmatch(value.strip()):
            return
        column = node if isinstance(node, exp.Column) else None
        opposite = _operands(node.parent, column) if column and node.parent else []
        if column is not None and opposite and self.names.meaning(column, scope) is not None:
            return  # an attribute's, which is spelled already
        kind = _MOMENT_TYPES.get(self.names.kinds.of(node, scope))
        if kind is not None:
            self._spell(other, value, _CONVERTERS[kind](value.strip()))

    # -- lists -----------------------------------------------------------------------------------

    def _any_member(
        self, column: exp.Column, parent: exp.Expr, others: list[exp.Expr], scope: Scope
    ) -> None:
        """A list compared with a value means any of its members."""
        text = self.text
        if isinstance(parent, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
            if not self._is_list(others[0], scope):
                self._one_member(column, parent)
            return
        if isinstance(parent, exp.Between):
            if not any(self._is_list(other, scope) for other in others):
                self._between(column, parent)
            return
        start, end = text.span(column)
        name = text.render(start, end)
        if isinstance(parent, exp.In) and parent.this is column:
            opening = text.token_between(end, len(text.text), frozenset({"IN"}))
            assert opening is not None
            first = next(t.start for t in text.tokens if t.start > opening.end)
            first, last = text.group_around(first + 1)
            inside = text.token_between(end, first, frozenset({"NOT"}))
            negation = "NOT " if inside is not None else ""
            members = text.render(first + 1, last - 1)
            listed = f"ARRAY({members})" if parent.args.get("query") else f"[{members}]"
            found = f"list_has_any({name}, {listed})"
            # A NULL among the members leaves open what is not found.
            if any(self._is_null(other) for other in others):
                found = f"({found} OR NULL)"
            text.replace(start, last, negation + found)
        elif isinstance(parent, _PATTERNS):
            operator = text.token_between(end, len(text.text), _LIKES)
            assert operator is not None
            first, last = self._operand_after(operator.end + 1, parent)
            inside = text.token_between(end, operator.start, _NOT)
            negation = "NOT " if inside is not None else ""
            pattern = f"member {operator.text} {text.render(first, last)}"
            text.replace(start, last, negation + _any_of(name, pattern))

    def _one_member(self, column: exp.Column, parent: exp.Expr) -> None:
        """`list = value`, `list < value` and their like, in either order."""
        text = self.text
        start, end = text.span(column)
        name = text.render(start, end)
        operators = _SPELLINGS[type(parent)]
        if parent.this is column:
            operator = text.token_between(end, len(text.text), operators)
            assert operator is not None
            first, last = self._operand_after(operator.end + 1, parent)
            place = (start, last)
        else:
            operator = [t for t in text.tokens if t.end < start and word_of(t) in operators][-1]
            first, last = text.operand_before(operator.start)
            place = (first, end)
        value = text.render(first, last)
        if isinstance(parent, exp.EQ | exp.NEQ):
            negation = "NOT " if isinstance(parent, exp.NEQ) else ""
            text.replace(*place, f"{negation}list_contains({name}, {value})")
            return
        sides = ("member", value) if parent.this is column else (value, "member")
        text.replace(*place, _any_of(name, f"{sides[0]} {operator.text} {sides[1]}"))

    def _between(self, column: exp.Column, parent: exp.Expr) -> None:
        """`list [NOT] BETWEEN low AND high`."""
        text = self.text
        start, end = text.span(column)
        operator = text.token_between(end, len(text.text), frozenset({"BETWEEN"}))
        assert operator is not None
        _, between = self._operand_after(operator.end + 1, parent)
        both = text.token_between(between, len(text.text), frozenset({"AND"}))
        assert both is not None
        _, last = self._operand_after(both.end + 1, parent)
        inside = text.token_between(end, operator.start, frozenset({"NOT"}))
        negation = "NOT " if inside is not None else ""
        condition = f"member BETWEEN {text.render(operator.end + 1, last).strip()}"
        text.replace(start, last, negation + _any_of(text.render(start, end), condition))

    def _operand_after(self, place: int, parent: exp.Expr) -> tuple[int, int]:
        """The last operand of a comparison, without the name that a SELECT gives to it."""
        first, last = self.text.operand_after(place)
        alias = next(
            (a.args["alias"] for a in _ancestors(parent) if isinstance(a, exp.Alias)), None
        )
        named = alias.meta.get("start", last) if isinstance(alias, exp.Identifier) else last
        if first < named < last:
            last = max(t.end for t in self.text.tokens if t.start < named) + 1
        return first, last

    def _is_list(self, node: exp.Expr, scope: Scope) -> bool:
        """Whether an expression is a list itself, or may be one."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal | exp.Null):
            return False
        if isinstance(node, exp.Placeholder):
            value = self.text.values.get(str(node.this or ""))
            return isinstance(value, list | tuple)
        if isinstance(node, exp.Column):
            meant = self.names.meaning(node, scope)
            return meant is None or meant.type.endswith("]")
        if not is_constant(node):
            return True
        kind = self._type_of(node.sql(dialect="duckdb"))
        return not kind or kind.endswith("]")

    def _is_null(self, node: exp.Expr) -> bool:
        if isinstance(node, exp.Placeholder):
            return self.text.values.get(str(node.this or "")) is None
        return isinstance(node, exp.Null)

    # -- functions -------------------------------------------------------------------------------

    def _functions(self) -> None:
        """Put our own function behind `json_extract` where its path names one place."""
        for node in self.text.tree.find_all(exp.JSONExtract):
            if "start" not in node.meta:
                continue
            start, end = node.meta["start"], node.meta["end"] + 1
            if self.text.text[start:end].lower() != "json_extract":
                continue
            path = node.expression.sql() if node.expression is not None else ""
            if "*" not in path and ":" not in path and isinstance(node.expression, exp.JSONPath):
                self.text.replace(start, end, JSON_EXTRACT)
                self._internal.append(node)

    def _name_items(self) -> None:
        """Give what a SELECT shows under no name the user's own text as its name."""
        named: set[int] = set()
        for node in self._internal:
            around = [node, *_ancestors(node)]
            item = next((a for a in around if a.arg_key == "expressions" and _is_item(a)), None)
            if item is None or isinstance(item, exp.Alias) or id(item) in named:
                continue
            named.add(id(item))
            start, end = self.text.item_around(*self.text.span(item))
            shown = self.text.text[start:end].replace('"', '""')
            self.text.insert(end, f' AS "{shown}"')


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    at = node.parent
    while at is not None:
        yield at
        at = at.parent


def _is_item(node: exp.Expr) -> bool:
    """Whether a node is one of what a SELECT shows."""
    return isinstance(node.parent, exp.Select)


def _any_of(name: str, condition: str) -> str:
    """That a condition on `member` holds for any member of a list."""
    return f"(len(list_filter({name}, lambda member: {condition})) > 0)"


def _operands(parent: exp.Expr, column: exp.Column) -> list[exp.Expr]:
    """What a column is compared with by its parent."""
    if isinstance(parent, _COMPARISONS):
        return [parent.expression if parent.this is column else parent.this]
    if isinstance(parent, exp.In) and parent.this is column:
        return list(parent.expressions)
    if isinstance(parent, exp.Between) and parent.this is column:
        return [parent.args["low"], parent.args["high"]]
    if isinstance(parent, _PATTERNS) and parent.this is column:
        return [parent.expression]
    if isinstance(parent, exp.Case) and parent.this is column:
        return [branch.this for branch in parent.args.get("ifs") or []]
    return []


def _sql_date(value: str) -> str | None:
    if match := _DA.fullmatch(value):
        value = "-".join(match.groups())
    try:
        return value if datetime.datetime.fromisoformat(value) else None
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


_CONVERTERS: dict[Kind, Callable[[str], str | None]] = {
    Kind.DATE: _sql_date,
    Kind.TIME: _sql_clock,
    Kind.DATETIME: _sql_timestamp,
}
