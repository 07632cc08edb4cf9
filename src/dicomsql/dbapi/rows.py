"""Row factories: what a row is to the one who fetches it (a tuple, a mapping, an object).

A factory is asked once for each result, with its cursor, and gives what makes a row of a tuple of
values. `connect(row_factory=...)`, `connection.cursor(row_factory=...)` and the attribute
`cursor.row_factory` take one; the type of what `fetchone` gives follows.
"""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dicomsql.errors import ProgrammingError

if TYPE_CHECKING:
    # Type checkers know it without the package, which nothing here needs when it runs.
    from typing_extensions import TypeVar

    from dicomsql.dbapi.cursor import Cursor

    Row = TypeVar("Row", default=tuple[Any, ...])
    Made_co = TypeVar("Made_co", covariant=True)
    Of = TypeVar("Of")
else:
    from typing import TypeVar

    Row = TypeVar("Row")
    Made_co = TypeVar("Made_co", covariant=True)
    Of = TypeVar("Of")

__all__ = [
    "Row",
    "RowFactory",
    "TupleRow",
    "class_row",
    "dict_row",
    "namedtuple_row",
    "tuple_row",
]

TupleRow = tuple[Any, ...]


class RowFactory(Protocol[Made_co]):
    """Gives what makes a row of the values of one, for the result that a cursor has."""

    def __call__(self, cursor: Cursor[Any], /) -> Callable[[TupleRow], Made_co]:
        """Raises ProgrammingError where the columns do not fit; the rows stay to be fetched."""


def tuple_row(cursor: Cursor[Any], /) -> Callable[[TupleRow], TupleRow]:  # noqa: ARG001
    """Rows as tuples: what is used where nothing is said."""
    return tuple


def dict_row(cursor: Cursor[Any], /) -> Callable[[TupleRow], dict[str, Any]]:
    """Rows as dictionaries by the columns' names.

    Raises:
        ProgrammingError: two columns have the same name, so that one would be lost.
    """
    names = _distinct(cursor, "a dictionary")

    def make(values: TupleRow) -> dict[str, Any]:
        return dict(zip(names, values, strict=True))

    return make


def namedtuple_row(cursor: Cursor[Any], /) -> Callable[[TupleRow], NamedTuple]:
    """Rows as named tuples.

    A column whose name is no identifier, or was there before, is `_` and its place (`_2`).
    """
    made = namedtuple("Row", _names(cursor), rename=True)  # type: ignore[misc]
    return made._make


def class_row(of: Callable[..., Of], /) -> RowFactory[Of]:
    """A factory of objects that are made with the columns as keyword arguments, as dataclasses are.

    Args:
        of: the class.

    Raises (once there are rows to make):
        ProgrammingError: it does not take those columns, or needs others.
    """

    def factory(cursor: Cursor[Any], /) -> Callable[[TupleRow], Of]:
        shown = getattr(of, "__name__", "the class")
        names = _distinct(cursor, shown)
        try:
            inspect.signature(of).bind(**dict.fromkeys(names))
        except TypeError as error:
            raise ProgrammingError(
                f"The columns {', '.join(names)} do not make a {shown}: {error}. Name them in the "
                "SELECT as the class does."
            ) from None

        def make(values: TupleRow) -> Of:
            return of(**dict(zip(names, values, strict=True)))

        return make

    return factory


def _names(cursor: Cursor[Any]) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def _distinct(cursor: Cursor[Any], what: str) -> list[str]:
    names = _names(cursor)
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ProgrammingError(
            f"Two columns are called {twice}, of which {what} would hold one. Give them names of "
            "their own with AS, or take the rows as tuples."
        )
    return names
