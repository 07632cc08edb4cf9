"""Parameters that a view leaves open, and that conditions around it give.

A view that shows a parameter has it as a column like any other. One that does not takes it by `=`
or IN in the WHERE of the query that reads it: the value goes to the calls of the resources inside,
and the comparison holds of every row that they give. The engine finds the value in the name's
place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import PlanningError
from dicomsql.planning.constants import Constants, Value
from dicomsql.planning.scopes import conjuncts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.planning.answers import Evaluate, View
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText


@dataclass(frozen=True, slots=True)
class _Given:
    """The values of a parameter in the WHERE of one query.

    Attributes:
        column: its name there.
    """

    column: exp.Column
    values: tuple[Value, ...]


@dataclass(slots=True)
class Arguments:
    """The parameters of the views that a query reads."""

    text: QueryText
    evaluate: Evaluate
    _views: dict[int, list[tuple[Source, View]]] = field(default_factory=dict)

    def place(self, column: exp.Column, scope: Scope) -> bool:
        """Put the value of a view's parameter in the place of its name.

        Returns:
            Whether the name is such a parameter's.

        Raises:
            LanguageError: no value, or no single one, is given to it where one is read.
        """
        meant = list(self._meant(column, scope))
        if not meant:
            return False
        name, given = column.name, self._given(scope)
        found: _Given | None = None
        for source, view in meant:
            mine = [g for g in given if _is_of(g.column, name, source)]
            if not mine:
                raise self.text.error(
                    f"{view.name} does not show {name}, which its resources take as a parameter: "
                    f"give it by = or IN in WHERE, or add it to the view's columns",
                    column,
                )
            if len(mine) > 1:
                raise self.text.error(f"{name} of {view.name} is given twice", mine[1].column)
            (found,) = mine
            if None in found.values:
                raise self.text.error(f"{name} of {view.name} is NULL; give it a value", column)
            if column is not found.column and len(found.values) > 1:
                raise self.text.error(
                    f"{view.name} does not show {name}, and several are given; add it to the "
                    f"view's columns",
                    column,
                )
        assert found is not None
        shown = _literal(found.values[0])
        if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
            shown += ' AS "' + name.replace('"', '""') + '"'
        start, end = column.parts[0].meta["start"], column.parts[-1].meta["end"] + 1
        self.text.replace(start, end, shown)
        return True

    def _meant(self, column: exp.Column, scope: Scope) -> Iterator[tuple[Source, View]]:
        """The views that a name is a parameter of; none where it is anything else."""
        name = column.name.lower()
        if len(column.parts) > 2 or "start" not in column.parts[0].meta:
            return
        if not column.table and any(s.has(name) is not False for s in scope.sources):
            return
        for source, view in self._of(scope):
            is_open = name in _lowered(view.parameters) and source.has(name) is False
            if is_open and column.table.lower() in {"", source.alias.lower()}:
                yield source, view

    def _of(self, scope: Scope) -> list[tuple[Source, View]]:
        """The views that a SELECT reads."""
        if id(scope) not in self._views:
            found = []
            for source in scope.sources:
                inset = self.text.inset_of(source.node)
                if inset is not None and inset.text.view is not None:
                    found.append((source, inset.text.view))
            self._views[id(scope)] = found
        return self._views[id(scope)]

    def _given(self, scope: Scope) -> list[_Given]:
        """The names in WHERE that are compared with constants."""
        constants = Constants(self.text, self.evaluate)
        found = []
        where = scope.node.args.get("where")
        for condition in conjuncts(where.this) if where is not None else []:
            if isinstance(condition, exp.EQ):
                sides = (condition.this, condition.expression)
                pairs = [(sides[0], [sides[1]]), (sides[1], [sides[0]])]
            elif isinstance(condition, exp.In) and condition.expressions:
                pairs = [(condition.this, condition.expressions)]
            else:
                continue
            for column, others in pairs:
                values = [constants.literal(other) for other in others]
                if isinstance(column, exp.Column) and None not in values:
                    listed = tuple(v[0] for v in values if v is not None)
                    found.append(_Given(column, listed))
        return found


def _is_of(column: exp.Column, name: str, source: Source) -> bool:
    """Whether a name in WHERE may be a parameter of a view."""
    alike = column.name.lower() == name.lower()
    return alike and column.table.lower() in {"", source.alias.lower()}


def _lowered(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _literal(value: Value) -> str:
    """A parameter's value in the engine's SQL."""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise PlanningError("A parameter's value is a text or a number.")
