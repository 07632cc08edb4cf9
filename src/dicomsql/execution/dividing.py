"""How a search is divided whose end offsets do not reach: by ranges of dates, then by study.

A range that is still too long is halved, down to a single day, whose studies are then searched one
by one. A range finds nothing that has no date: where that is wanted too, all studies are listed,
and those that no range found are searched one by one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from dicomsql.errors import IncompleteError
from dicomsql.execution.seams import Course
from dicomsql.execution.searches import Call
from dicomsql.execution.seen import Seen

if TYPE_CHECKING:
    from dicomsql.planning.read_plan import Split

# What nearly all dates of studies lie between; what is before and after is searched by itself.
_FIRST = datetime.date(1850, 1, 1)
_MARGIN = datetime.timedelta(days=400)
_DAY = datetime.timedelta(days=1)


class Role(StrEnum):
    """What a search is for."""

    PLAIN = "plain"  # the scan's own
    RANGE = "range"  # of one range of dates
    STUDIES = "studies"  # lists studies, which are then searched one by one
    STUDY = "study"  # of one study


@dataclass(frozen=True, slots=True)
class Range:
    """Days from `low` to `high`, both included."""

    low: datetime.date
    high: datetime.date

    def __str__(self) -> str:
        if self.low == self.high:
            return _written(self.low)
        return f"{_written(self.low)}-{_written(self.high)}"

    def halves(self) -> tuple[Range, Range]:
        """Both halves; a single day has none."""
        middle = self.low + (self.high - self.low) // 2
        return Range(self.low, middle), Range(middle + _DAY, self.high)


@dataclass(frozen=True, slots=True)
class Search:
    """A call, and what it is for.

    Attributes:
        alone: it is the only search of its place, so that no row should come twice.
        course: its walks, as far as they came.
        division: what it is a part of; None where it is the scan's own.
        days: its range of dates, None for all.
    """

    call: Call
    role: Role = Role.PLAIN
    alone: bool = False
    division: Division | None = None
    days: Range | None = None
    course: Course = field(default_factory=Course)


@dataclass(eq=False)
class Division:
    """The parts of one search.

    Attributes:
        what: the resource, for people.
        waiting: ranges that have not been searched to their ends.
    """

    split: Split
    call: Call
    what: str
    today: datetime.date = field(default_factory=datetime.date.today)
    waiting: int = 0
    _found: Seen = field(default_factory=Seen)

    @property
    def dated(self) -> bool:
        """Whether the search itself is for dates, so that nothing without one is wanted."""
        return self._own() is not None

    def first(self) -> list[Search]:
        """The searches of ranges that stand for the whole, but for what has no date.

        Raises:
            IncompleteError: it is for a single day of studies.
        """
        whole = self._own() or Range(datetime.date.min, datetime.date.max)
        pieces = _cut(whole, self.today + _MARGIN)
        # The whole did not fit, so its longest part is not asked for once more.
        longest = next((p for p in pieces if p.low >= _FIRST), pieces[0])
        found = [self._ranged(p) for p in pieces if p is not longest]
        return [*self.parts(longest), *found]

    def parts(self, days: Range) -> list[Search]:
        """The searches that stand for a range that is too long.

        Raises:
            IncompleteError: it is a single day of studies, which cannot be divided.
        """
        if days.low < days.high:
            return [self._ranged(half) for half in days.halves()]
        if self.split.studies is None:
            raise IncompleteError(
                f"{self.what}: more studies have the same {self.split.attribute} than the server "
                f"gives for one search. Narrow it by another attribute, for example PatientID."
            )
        return [self._studies(days)]

    def undated(self) -> list[Search]:
        """The list of all studies, for those that no range found; empty where there is none."""
        return [self._studies(None)] if self.split.studies is not None else []

    def found(self, studies: Sequence[str | None]) -> None:
        """Note which studies a range has found."""
        if self.split.studies is not None:
            self._found.add([hash(uid) for uid in dict.fromkeys(studies) if uid is not None])

    def each(self, studies: Sequence[str], days: Range | None) -> Iterator[Search]:
        """A search for each of the studies of a list, but those that are found."""
        split = self.split
        assert split.narrower is not None
        for uid in dict.fromkeys(studies):
            # Without its UID a study cannot be asked for.
            if self._found.add([hash(uid)]):
                continue
            values = {**self.call.values, split.parameter: uid}
            place = tuple(values.get(name, "") for name in split.narrower.path_parameters)
            pairs = tuple(p for p in self.call.filters if p[0] != split.attribute)
            call = Call(split.narrower, values, pairs, member=True, place=place)
            yield Search(call, Role.STUDY, division=self, days=days)

    def close(self) -> None:
        """Free what is held."""
        self._found.close()

    def _own(self) -> Range | None:
        """The range of dates that the search itself is for."""
        split = self.split
        given = dict(self.call.filters).get(split.attribute)
        if given is None:
            given = f"{split.low}-{split.high}"
        low, dash, high = given.partition("-")
        if not low and not high:
            return None
        return Range(_day(low, datetime.date.min), _day(high if dash else low, datetime.date.max))

    def _ranged(self, days: Range) -> Search:
        call = replace(self.call, filters=self._pairs(days))
        self.waiting += 1
        return Search(call, Role.RANGE, division=self, days=days)

    def _pairs(self, days: Range) -> tuple[tuple[str, str], ...]:
        name = self.split.attribute
        return (*(p for p in self.call.filters if p[0] != name), (name, str(days)))

    def _studies(self, days: Range | None) -> Search:
        method = self.split.studies
        assert method is not None
        values = {k: v for k, v in self.call.values.items() if k in method.path_parameters}
        pairs = ((self.split.attribute, str(days)),) if days is not None else ()
        call = Call(method, values, pairs, member=False, place=self.call.place)
        return Search(call, Role.STUDIES, division=self, days=days)


def _cut(days: Range, last: datetime.date) -> list[Range]:
    """A range cut where dates of studies begin and end to be usual."""
    cuts = [c for c in (_FIRST, last + _DAY) if days.low < c <= days.high]
    starts, ends = [days.low, *cuts], [*(c - _DAY for c in cuts), days.high]
    return [Range(low, high) for low, high in zip(starts, ends, strict=True)]


def _written(day: datetime.date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _day(text: str, otherwise: datetime.date) -> datetime.date:
    if len(text) != 8 or not text.isdigit():
        return otherwise
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return otherwise
