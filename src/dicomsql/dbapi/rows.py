"""Row factories: what a row is to the one who fetches it (a tuple, a mapping, an object).

A factory is asked once for each result, with its cursor, and gives what makes a row of a tuple of
values. `connect(row_factory=...)`, `connection.cursor(row_factory=...)` and the attribute
`cursor.row_factory` take one; the type of what `fetchone` gives follows.
"""

from __future__ import annotations

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dicomsql.errors import InterfaceError, ProgrammingError

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
    "check_factory",
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
    make: Callable[[TupleRow], NamedTuple] = _row_class(tuple(_names(cursor)))._make
    return make


def class_row(of: Callable[..., Of], /) -> RowFactory[Of]:
    """A factory of objects that are made with the columns as keyword arguments, as dataclasses are.

    Args:
        of: the class.

    Raises:
        InterfaceError: it is nothing that can be called.
        ProgrammingError (once there are rows to make): it does not take those columns, or needs
            others.
    """
    if not callable(of):
        raise InterfaceError(f"class_row takes a class, no {type(of).__name__}.")

    def factory(cursor: Cursor[Any], /) -> Callable[[TupleRow], Of]:
        shown = getattr(of, "__name__", "the class")
        names = _distinct(cursor, shown)
        try:
            signature = inspect.signature(of)
        except ValueError:
            signature = None  # a class of Python's own, which does not tell what it takes
        try:
            if signature is not None:
                signature.bind(**dict.fromkeys(names))
        except TypeError as error:
            raise ProgrammingError(
                f"The columns {', '.join(names)} do not make a {shown}: {error}. Name them in the "
                "SELECT as the class does."
            ) from None

        def make(values: TupleRow) -> Of:
            return of(**dict(zip(names, values, strict=True)))

        return make

    return factory


def check_factory(factory: object) -> None:
    """Make sure that it is a row factory, as far as one can see before there are rows.

    Raises:
        InterfaceError: it is none.
    """
    if not callable(factory):
        raise InterfaceError(
            "A row factory is a function, such as dicomsql.dict_row or class_row(C), no "
            f"{type(factory).__name__}."
        )
    # A class may be one if its objects can be called: they make the rows.
    if isinstance(factory, type) and not any("__call__" in c.__dict__ for c in factory.__mro__):
        raise InterfaceError(
            f"{factory.__name__} is a class and no row factory: write "
            f"class_row({factory.__name__})."
        )


@functools.lru_cache(maxsize=256)
def _row_class(names: tuple[str, ...]) -> Any:
    """The class of named tuples with these columns, whose rows can be pickled."""
    made = namedtuple("Row", names, rename=True)  # type: ignore[misc]

    def reduced(row: TupleRow) -> tuple[object, ...]:
        return _row_of, (names, tuple(row))

    setattr(made, "__reduce__", reduced)  # noqa: B010 - a type checker takes it for a method
    return made


def _row_of(names: tuple[str, ...], values: TupleRow) -> Any:
    return _row_class(names)._make(values)


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
