"""The options of COPY: which there are, what their values may be, and which were given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dicomsql.errors import LanguageError, PlanningError, nearest
from dicomsql.planning.values import parameter_text

if TYPE_CHECKING:
    from dicomsql.language.statements import Fragment
    from dicomsql.planning.pieces import Pieces

# Makes an option's value of what was written; a ValueError says what is allowed.
Reader = Callable[[object], Any]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class Options:
    """The options of one COPY, by their names in lower case.

    Parameters:
        pieces: reads their values.
        given: (name, value expression) as written; the value of a bare name is empty.
    """

    def __init__(self, pieces: Pieces, given: Iterable[tuple[str, Fragment]]) -> None:
        self._pieces = pieces
        self._given: dict[str, tuple[str, Fragment]] = {}
        for name, fragment in given:
            if name.lower() in self._given:
                raise self._error(f"The option {name} is given twice", fragment)
            self._given[name.lower()] = name, fragment

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._given

    @property
    def names(self) -> frozenset[str]:
        """Lower-case names of all that are given."""
        return frozenset(self._given)

    def check(self, known: Iterable[str]) -> None:
        """Refuse what is no option.

        Args:
            known: as they are spelled.

        Raises:
            LanguageError: one of those that are given is none of them.
        """
        spelled = list(known)
        lowered = {name.lower() for name in spelled}
        for name, fragment in self._given.values():
            if name.lower() not in lowered:
                raise self._error(
                    f"COPY has no option {name} here.{nearest(name, spelled)} "
                    f"It takes {', '.join(spelled)}",
                    fragment,
                )

    def read(self, name: str, reader: Reader) -> Any:
        """The value of an option that is given.

        Raises:
            LanguageError: it is none that is allowed.
        """
        written, fragment = self._given[name.lower()]
        value: object = True  # a bare name switches something on
        if fragment.text:
            value = self._pieces.setting(fragment)
        if value is None:
            raise self._error(f"{written} is NULL; give it a value, or leave it out", fragment)
        try:
            return reader(value)
        except ValueError as error:
            raise self._error(f"{written} takes {error}", fragment) from None

    def get(self, name: str, reader: Reader, default: Any) -> Any:
        """The value of an option, or what holds where it is not given."""
        return self.read(name, reader) if name in self else default

    def texts(self, names: Iterable[str], prefix: str = "") -> dict[str, str]:
        """Values of those of these names that are given, with the prefix in front of them."""
        return {name: self.read(prefix + name, text) for name in names if prefix + name in self}

    def _error(self, message: str, fragment: Fragment) -> LanguageError:
        return LanguageError(message, text=self._pieces.statement.source, position=fragment.start)


def text(value: object) -> str:
    """A text that is not empty; a number is taken as it is written."""
    if isinstance(value, bool | float) or not isinstance(value, str | int) or value == "":
        raise ValueError("a text in quotes")
    return parameter_text(value)


def any_text(value: object) -> str:
    """A text, which may be empty."""
    return "" if value == "" else text(value)


def switch(value: object) -> bool:
    """TRUE or FALSE, or a word for one of them."""
    found = _SWITCHES.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


_SWITCHES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


def one_of(*words: str) -> Reader:
    """Reads one of some words, in any case."""
    *others, last = (f"'{word}'" for word in words)

    def read(value: object) -> str:
        if str(value).lower() not in words:
            raise ValueError(f"{', '.join(others)} or {last}" if others else last)
        return str(value).lower()

    return read


def whole(least: int, most: int) -> Reader:
    """Reads a whole number between two, both included."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least:,} to {most:,}")
        return value

    return read


def megabytes(most: int) -> Reader:
    """Reads a number of megabytes above 0, as bytes."""

    def read(value: object) -> int:
        from decimal import Decimal

        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            size = int(value * 1_000_000) if value == value else 0  # noqa: PLR0124 - not NaN
            if 0 < size <= most * 1_000_000:
                return size
        raise ValueError(f"a number of megabytes above 0, up to {most:,}")

    return read


def transfer_syntax(value: object) -> str:
    """`*` or a UID (PS3.5 section 9.1)."""
    if value == "*" or (isinstance(value, str) and len(value) <= 64 and _UID.fullmatch(value)):
        return str(value)
    raise ValueError("'*' for the bytes as stored, or the UID of a transfer syntax")


def uid(value: object) -> str:
    """A UID (PS3.5 section 9.1), as leniently as stores take it."""
    if isinstance(value, str) and 0 < len(value) <= 64 and _UID.fullmatch(value):
        return value
    raise ValueError("a UID in quotes")


def journal(value: object) -> str:
    """A path; empty for `off`."""
    if value is False or (isinstance(value, str) and value.lower() == "off"):
        return ""
    if not isinstance(value, str) or not value:
        raise ValueError("a path in quotes, or off")
    return value


def paths(value: object) -> tuple[str, ...]:
    """A path or a list of them.

    Raises:
        PlanningError: it is neither, or the list is empty.
    """
    import os

    listed = list(value) if isinstance(value, list | tuple) else [value]
    found = [os.fspath(p) if isinstance(p, os.PathLike) else p for p in listed]
    if not found or not all(isinstance(p, str) and p for p in found):
        raise PlanningError(
            "Files are named by a path in quotes, or a list of them: 'incoming/**/*.dcm', "
            "['a.dcm', 'b.zip']."
        )
    return tuple(str(p) for p in found)
