"""Which columns of joined tables are one value, so that their name alone is not ambiguous.

They are where the joins equate them, and where they are an attribute of a study, series or instance
that the joins say is the same one: two tables that agree in a UID agree in all that stands at its
level or above. An outer join says so of the rows that it matches: the value of the side that it
keeps is the one to read, never that of the side that it may fill with NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.dicom.columns import Part
from dicomsql.planning.scopes import conjuncts
from dicomsql.planning.tables import LEVELS, UIDS, TableColumn

if TYPE_CHECKING:
    from dicomsql.planning.scopes import Scope, Source

    Owners = Callable[[exp.Column, Scope], Sequence[tuple[Source, TableColumn | None]]]

# A column of a source: the source's id, and what it is called there by each of its names.
_Node = tuple[int, str]


class Agreement:
    """What the joins of one SELECT equate.

    Args:
        owners: gives the sources that a column may restrict, the one that it reads from first.
    """

    def __init__(self, scope: Scope, owners: Owners) -> None:
        self._scope = scope
        self._owners = owners
        # From each column to those that have its value wherever they have one.
        self._same: dict[_Node, set[_Node]] = {}
        self._read_conditions()
        self._read_using()

    def is_equated(self, source: Source, rival: Source, name: str) -> bool:
        """Whether a column has the value of another source's of that name, or that one has none."""
        return self._reaches(_node(source, name), _node(rival, name))

    def is_identified(self, source: Source, rival: Source, name: str) -> bool:
        """Whether two tables of one service join what a column says something of: its own row.

        This holds within one store alone. Two readings of one table are never meant, since a name
        would not say which.
        """
        mine, its = source.table, rival.table
        column = mine.column(name) if mine is not None else None
        if mine is None or its is None or mine.dicom is None or its.dicom is None:
            return False
        if column is None or column.attribute is None or mine.resource is its.resource:
            return False
        if column.attribute.part in {Part.DATASET, Part.DROPPED}:
            return False  # what each answer held
        lowest = min(source.level, rival.level)
        # Of which level a private attribute is, nobody knows.
        highest = min(LEVELS.index(column.attribute.level), lowest)
        return any(
            self.is_equated(source, rival, UIDS[level]) for level in LEVELS[highest : lowest + 1]
        )

    def _reaches(self, start: _Node, end: _Node) -> bool:
        found, left = {start}, [start]
        while left:
            new = self._same.get(left.pop(), set()) - found
            found |= new
            left += new
        return end in found

    def _add(self, held: _Node, other: _Node, side: str) -> None:
        """Note that two columns are equal where a join of that side matches."""
        if side != "RIGHT":
            self._same.setdefault(held, set()).add(other)
        if side != "LEFT":
            self._same.setdefault(other, set()).add(held)

    def _read_conditions(self) -> None:
        for condition in self._scope.where():
            self._read(condition, None)
        for source in self._scope.sources:
            on = source.join.args.get("on") if source.join is not None else None
            for condition in conjuncts(on) if on is not None else []:
                self._read(condition, source)

    def _read(self, condition: exp.Expr, joined: Source | None) -> None:
        """Note an equality; one of an outer join says something of the joined table alone."""
        if not isinstance(condition, exp.EQ):
            return
        left, right = self._column(condition.this), self._column(condition.expression)
        if left is None or right is None:
            return
        (one, its), (other, others) = left, right
        side = _side(joined) if joined is not None else ""
        if not side:
            self._add(its, others, "")
        elif side in {"LEFT", "RIGHT"} and (one is joined) != (other is joined):
            held, new = (others, its) if one is joined else (its, others)
            self._add(held, new, side)

    def _column(self, node: exp.Expr) -> tuple[Source, _Node] | None:
        node = node.unnest()
        if not isinstance(node, exp.Column) or len(node.parts) < 2:
            return None
        owners = self._owners(node, self._scope)
        if not owners or owners[0][0].scope is not self._scope:
            return None
        source, column = owners[0]
        if column is not None and column.type.endswith("]"):
            return None  # equality of a list is that of any member
        return source, _node(source, node.name)

    def _read_using(self) -> None:
        for name in {n.lower() for _, n in self._scope.using()}:
            joined = [s for s, n in self._scope.using() if n.lower() == name]
            held: Source | None = next(
                (s for s in self._scope.merged(name) if s not in joined), None
            )
            for source in joined:
                side = _side(source)
                if held is not None and side != "FULL":
                    self._add(_node(held, name), _node(source, name), side)
                if side == "RIGHT":
                    held = source
                elif side == "FULL":
                    held = None  # the value of the one or of the other


def _node(source: Source, name: str) -> _Node:
    """A column, whichever of its names is written."""
    column = source.table.column(name) if source.table is not None else None
    if column is None:
        return id(source), name.lower()
    known = column.attribute.name if column.attribute is not None else column.name
    return id(source), known.lower()


def _side(source: Source) -> str:
    return (source.join.side or "").upper() if source.join is not None else ""
