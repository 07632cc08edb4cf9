"""An identifier is never compared with a number: `'00204' = 204` would be another patient's row.

The engine would read the text as a number. What stands opposite to an attribute of a text VR (PS3.5
section 6.2) is looked at wherever two values are compared, USING included. Where its type cannot be
known before the statement runs, the engine is given a macro that looks then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from sqlglot import exp

from dicomsql.dicom.columns import Kind, Part
from dicomsql.errors import DataError, NotSupportedError
from dicomsql.planning.derived import items_of, selects, shown
from dicomsql.planning.kinds import is_number_type
from dicomsql.planning.values import is_number

if TYPE_CHECKING:
    from dicomsql.planning.derived import Shown
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import TableColumn
    from dicomsql.planning.text import QueryText

# The engine's macro that gives a value as text, and fails where it is a number.
AS_TEXT = "dicomsql_as_text"
NUMBER_MACRO = f"""CREATE MACRO {AS_TEXT}(value, name) AS
    CASE WHEN regexp_full_match(typeof(value),
                                'U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BIGNUM|DECIMAL.*|DOUBLE|FLOAT')
         THEN error(name || ' is text and is compared with a column of numbers, which could match '
                    || 'another identifier. Read that column as text.')
         ELSE CAST(value AS VARCHAR) END"""

_TEXTS = frozenset({Kind.TEXT, Kind.NAME})
_TWO = (
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ),
    *(exp.Like, exp.ILike),
)
# The nodes that compare values with each other.
COMPARING = (*_TWO, exp.In, exp.Between, exp.Case)


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Checks one query, whose names are resolved."""

    text: QueryText
    names: Names
    # The columns that are being looked at.
    _following: set[tuple[int, str, str]] = field(default_factory=set)

    def check(self) -> None:
        """Refuse numbers opposite to identifiers, and guard what may turn out to be one.

        Raises:
            DataError: an identifier is compared with a number.
            NotSupportedError: USING joins one with what can be read only once.
        """
        scopes = {id(scope.node): scope for scope in self.names.scopes}
        if all(s.table is None for scope in self.names.scopes for s in scope.sources):
            return
        for node in self.text.tree.find_all(*COMPARING):
            scope = scope_of(node, scopes)
            for one, other in compared(node) if scope is not None else ():
                assert scope is not None
                self._check(one, other, scope)
                self._check(other, one, scope)
        for scope in self.names.scopes:
            for name in dict.fromkeys(name for _, name in scope.using()):
                self._check_using(name, scope)
        for both in self.text.tree.find_all(exp.SetOperation):
            # UNION ALL compares nothing.
            if not isinstance(both, exp.Union) or both.args.get("distinct"):
                self._check_rows(both)

    def _check(self, here: exp.Expr, there: exp.Expr, scope: Scope) -> None:
        """Refuse an identifier on one side where the other is a number."""
        if isinstance(here, exp.Literal):
            return
        meant = self._identifier(here, scope)
        if meant is None:
            return
        if is_number(there) or self._is_number(there, scope):
            self._refuse(meant, there, scope)
        if isinstance(there, exp.Column) and not meant.type.endswith("]"):
            self._guard(meant, there, scope)

    def _check_using(self, name: str, scope: Scope) -> None:
        merged = scope.merged(name)
        columns = [exp.column(name, table=source.alias) for source in merged]
        meanings = [self.names.meaning(column, scope) for column in columns]
        meant = next((m for m in meanings if m is not None and _is_identifier(m)), None)
        if meant is None:
            return
        for source, column in zip(merged, columns, strict=True):
            if self._is_number(column, scope):
                self._refuse(meant, column, scope)
            if source.table is None and self.names.kinds.is_read_once(source):
                raise NotSupportedError(
                    f"Whether {source.alias}.{name} is text cannot be seen before it is read, and "
                    f"it can be read only once. CREATE TABLE ... AS keeps its rows; join that."
                )

    def _check_rows(self, node: exp.SetOperation) -> None:
        """INTERSECT, EXCEPT and UNION tell equal rows, column by column."""
        sides = [
            [items_of(scope, self.names) for scope in selects(side, self.names)]
            for side in (node.this, node.expression)
        ]
        for ones, others in (sides, sides[::-1]):
            for one in ones:
                for other in others:
                    for here, there in _columns_together(node, one or [], other or []):
                        meant = self._identifier(*here)
                        if meant is not None and self._is_number(*there):
                            self._refuse(meant, *there)

    # -- what the sides are ----------------------------------------------------------------------

    def _identifier(self, node: exp.Expr, scope: Scope) -> TableColumn | None:
        """The attribute that an expression shows as text."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Column):
            meant = self.names.meaning(node, scope)
            if meant is not None:
                return meant if _is_identifier(meant) else None
            parts = self._parts(node, scope)
            return next((m for part in parts if (m := self._identifier(*part)) is not None), None)
        inside = {id(column) for column in node.find_all(exp.Column)}
        for at in self.names.scopes:
            for column in at.columns:
                if id(column) not in inside:
                    continue
                meant = self._identifier(column, at)
                if meant is not None:
                    return meant if self.names.kinds.of(node, scope) == "VARCHAR" else None
        return None

    def _parts(self, column: exp.Column, scope: Scope) -> Iterator[Shown]:
        """What a column stands for, but for what is being looked at already."""
        place = (id(scope), column.table.lower(), column.name.lower())
        if place not in self._following:
            self._following.add(place)
            try:
                yield from shown(column, scope, self.names)
            finally:
                self._following.discard(place)

    def _is_number(self, node: exp.Expr, scope: Scope) -> bool:
        """Whether a value is a number, or is one before a UNION makes text of it."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Placeholder):
            value = self.text.values.get(str(node.this or ""))
            return isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(node, exp.Null) or (isinstance(node, exp.Literal) and node.is_string):
            return False
        if is_number_type(self.names.kinds.of(node, scope)):
            return True
        if isinstance(node, exp.Column):
            return any(self._is_number(*part) for part in self._parts(node, scope))
        if isinstance(node, exp.Query):
            first = (items_of(at, self.names) for at in selects(node, self.names))
            return any(self._is_number(*items[0][1]) for items in first if items)
        return False

    def _guard(self, meant: TableColumn, column: exp.Column, scope: Scope) -> None:
        """Let the engine look at a column that nothing is known of yet."""
        owners = self.names.owners(column, scope)
        if owners and owners[0][0].table is None and not self.names.kinds.of(column, scope):
            start, end = self.text.span(column)
            shown = self.text.render(start, end)
            self.text.replace(start, end, f"{AS_TEXT}({shown}, '{meant.name}')")

    def _refuse(self, meant: TableColumn, other: exp.Expr, scope: Scope) -> NoReturn:
        vr = meant.attribute.vr if meant.attribute is not None else ""
        text = (
            f"{meant.name} is text ({vr}) and is compared with a number, which could match another "
            f"identifier ('00123' = 123). "
        )
        source = self._read_from(other, scope)
        if not source:
            raise DataError(f"{text}Write the value in quotes, or cast it to VARCHAR.")
        raise DataError(
            f"{text}The engine read it from {source} as a number, so that leading zeros are gone. "
            f"Read it as text: a CSV file by read_csv('...', all_varchar = true)."
        )

    def _read_from(self, node: exp.Expr, scope: Scope) -> str:
        """The name of the file or table that a value comes from; empty for none."""
        for at in self.names.scopes:
            for column in at.columns:
                if any(c is column for c in node.find_all(exp.Column)):
                    return self._engines(column, at)
        return self._engines(node, scope) if isinstance(node, exp.Column) else ""

    def _engines(self, column: exp.Column, scope: Scope) -> str:
        owners = self.names.owners(column, scope)
        source: Source | None = owners[0][0] if owners else None
        if source is None or source.table is not None or isinstance(source.node, exp.Values):
            return ""
        return source.alias or "a file"


def _columns_together(
    node: exp.SetOperation, one: list[tuple[str, Shown]], other: list[tuple[str, Shown]]
) -> Iterator[tuple[Shown, Shown]]:
    """The columns of two SELECTs that a set operation compares, as far as they are known."""
    if node.args.get("by_name") or len(one) != len(other):
        named = dict(other)
        yield from ((here, named[name]) for name, here in one if name in named)
        return
    yield from ((here, there) for (_, here), (_, there) in zip(one, other, strict=True))


def _is_identifier(column: TableColumn) -> bool:
    attribute = column.attribute
    return attribute is not None and attribute.part is Part.VALUE and attribute.kind in _TEXTS


def scope_of(node: exp.Expr, scopes: dict[int, Scope]) -> Scope | None:
    at = node.parent
    while at is not None and id(at) not in scopes:
        at = at.parent
    return scopes[id(at)] if at is not None else None


def compared(node: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """The values that a node compares with each other."""
    if isinstance(node, _TWO):
        yield from _by_member(node.this, node.expression)
    elif isinstance(node, exp.In):
        query = node.args.get("query")
        for other in [*node.expressions, *([query] if query is not None else [])]:
            yield from _by_member(node.this, other)
    elif isinstance(node, exp.Between):
        yield node.this, node.args["low"]
        yield node.this, node.args["high"]
    elif isinstance(node, exp.Case) and node.this is not None:
        for branch in node.args.get("ifs") or []:
            yield node.this, branch.this


def _by_member(one: exp.Expr, other: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """The two, or the members of two tuples; between a tuple and a query the engine is strict."""
    one, other = _plain(one), _plain(other)
    if isinstance(other, exp.Tuple) and not isinstance(one, exp.Tuple):
        one, other = other, one
    if not isinstance(one, exp.Tuple):
        yield one, other
    elif isinstance(other, exp.Tuple):
        yield from zip(one.expressions, other.expressions, strict=False)


def _plain(node: exp.Expr) -> exp.Expr:
    """Without parentheses, and without ANY or ALL around a subquery."""
    while isinstance(node, exp.Paren | exp.Any | exp.All):
        node = node.this
    return node
