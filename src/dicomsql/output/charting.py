"""Says which bars a result has: one for each category or time, or a histogram of its numbers.

Categories stay in the result's order. Times are put in theirs, with what is missing between them.
Where there are too many for the room, categories that are left out and times that are summed are
told. Only whole numbers are summed, which are counts but where their column's name says another
thing: the sum of means, of which a result does not tell how many they are of, would mean nothing.
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, NoReturn

from dicomsql.errors import InterfaceError
from dicomsql.output.cells import NULL, safe, type_text

if TYPE_CHECKING:
    from dicomsql.result import ResultColumn

# More bars than this are no chart.
_MOST_ROWS = 100_000
# Bars at most where they are not summed: more are no picture.
_MOST_BARS = 400
# Bars of a histogram at most: more show noise.
_MOST_BINS = 20
# So many times that are missing have a line of their own each; longer gaps have one.
_SHOWN_GAP = 2

_NUMBER = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|REAL|DECIMAL(\(.*\))?|BIGNUM|VARINT"
)
_WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BIGNUM|VARINT")
# Whole numbers that are no counts, by the name that the engine gives what has no other.
_NO_COUNT = re.compile(
    r"(arg_?)?(min|max|avg|mean|median|mode|quantile|any_value|first|last|arbitrary)(?![a-z])"
)
_TIME = re.compile(r"DATE|TIMESTAMP.*")
# Texts that are times: what strftime makes of months and days.
_TIME_TEXT = re.compile(r"\d{4}-\d\d(-\d\d)?")

_RIGHT = (
    "A chart is of two columns, a category or a time and a number, such as SELECT Modality, "
    "count(*) FROM ... GROUP BY ALL, or of one column of numbers, whose histogram it is."
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of a chart.

    Attributes:
        label: the category, the time, or the numbers from one to another.
        value: how long the bar is; None where there is none.
        text: the value as it is written, or what there is to say instead.
        is_null: the label stands for NULL.
        is_gap: it stands for times that have no rows.
    """

    label: str
    value: float | None
    text: str
    is_null: bool = False
    is_gap: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, what they are of, and what is to be said of them."""

    title: str
    bars: tuple[Bar, ...]
    notes: tuple[str, ...] = ()

    @property
    def low(self) -> float:
        """Where the bars begin: at zero, or where the longest below it ends."""
        return min(0.0, min((b.value for b in self.bars if b.value is not None), default=0.0))

    @property
    def high(self) -> float:
        """Where the longest bar ends."""
        return max(0.0, max((b.value for b in self.bars if b.value is not None), default=0.0))


class Gathered:
    """The rows of a result that is to be a chart.

    Attributes:
        count: rows that were added.

    Raises:
        InterfaceError: no chart can be made of such columns.
    """

    def __init__(self, columns: Sequence[ResultColumn]) -> None:
        self.count = 0
        self._names = [safe(column.name) for column in columns]
        types = [column.type for column in columns]
        numbers = [_NUMBER.fullmatch(kind) is not None for kind in types]
        if numbers == [True]:
            self._number, self._category = 0, -1
        elif len(columns) == 2 and any(numbers):
            # The number is the second of two, if both could be it.
            self._number = 1 if numbers[1] else 0
            self._category = 1 - self._number
        else:
            _refuse(types)
        self._sums = (
            _WHOLE.fullmatch(types[self._number]) is not None
            and _NO_COUNT.match(columns[self._number].name.lower()) is None
        )
        self._is_time = self._category >= 0 and _TIME.fullmatch(types[self._category]) is not None
        self._is_text = self._category >= 0 and types[self._category] == "VARCHAR"
        self._rows: list[tuple[str | None, str | None]] = []
        self._values = array("d")
        self._nulls = self._endless = 0

    def add(self, columns: Sequence[Sequence[str | None]]) -> None:
        """Take some rows, column by column, as texts.

        Raises:
            InterfaceError: there are more than a chart can have.
        """
        numbers = columns[self._number]
        self.count += len(numbers)
        if self._category >= 0:
            if self.count > _MOST_ROWS:
                raise InterfaceError(
                    f"A chart of more than {_MOST_ROWS:,} rows says nothing: group them, such as "
                    "by date_trunc('month', StudyDate)."
                )
            self._rows += zip(columns[self._category], numbers, strict=True)
            return
        for text in numbers:
            value = math.nan if text is None else float(text)
            if math.isfinite(value):
                self._values.append(value)
            self._nulls += text is None
            self._endless += text is not None and not math.isfinite(value)

    def chart(self, most: int) -> Chart:
        """The chart of what was added.

        Args:
            most: bars that there is room for; there are more where they cannot be summed.

        Raises:
            InterfaceError: they are far more.
        """
        if self._category < 0:
            return self._histogram(min(most, _MOST_BINS))
        title = f"{self._names[self._number]} by {self._names[self._category]}"
        times = self._times()
        if times is not None:
            bars, notes = _over_time(times, most, sums=self._sums)
            return Chart(title, (*bars, *self._bars_without_time()), notes)
        bars, notes = _greatest(
            [_bar(label, text) for label, text in self._rows], most, sums=self._sums
        )
        return Chart(title, bars, notes)

    def _times(self) -> list[tuple[datetime, str | None]] | None:
        """The rows by their times; None where the categories are none."""
        labels = [label for label, _ in self._rows if label is not None]
        if not labels or not (self._is_time or self._is_text):
            return None
        if self._is_text and not all(_TIME_TEXT.fullmatch(label) for label in labels):
            return None
        try:
            times = [(_time_of(label), text) for label, text in self._rows if label is not None]
        except ValueError:
            return None
        return sorted(times, key=itemgetter(0))

    def _bars_without_time(self) -> Iterator[Bar]:
        return (_bar(None, text) for label, text in self._rows if label is None)

    def _histogram(self, most: int) -> Chart:
        title = f"Histogram of {self._names[0]}"
        values = self._values
        apart = [f"{self._nulls:,} NULL"] if self._nulls else []
        apart += [f"{self._endless:,} NaN or infinite"] if self._endless else []
        left_out = (f"Left out: {', '.join(apart)}.",) if apart else ()
        if not values:
            return Chart(title, (), ("There are no numbers.", *left_out))
        from statistics import fmean, median

        low, high = min(values), max(values)
        if not math.isfinite(high - low):
            raise InterfaceError("The numbers lie too far apart for a histogram.")
        edges, label = _bins(low, high, most, whole=all(map(float.is_integer, values)))
        counts = [0] * len(edges)
        for value in values:
            counts[bisect_right(edges, value) - 1] += 1
        bars = tuple(
            Bar(label(edge), float(count), f"{count:,}")
            for edge, count in zip(edges, counts, strict=True)
        )
        said = (
            f"{len(values):,} value{'s' * (len(values) != 1)} from {_number(low)} to "
            f"{_number(high)}, median {_number(median(values))}, mean {_number(fmean(values))}."
        )
        return Chart(title, bars, (said, *left_out))


def _refuse(types: Sequence[str]) -> NoReturn:
    kinds = ", ".join(type_text(kind).partition("(")[0] for kind in types[:4])
    more = ", ..." if len(types) > 4 else ""
    columns = f"{len(types)} column{'s' * (len(types) != 1)}"
    raise InterfaceError(f"This result has {columns} ({kinds}{more}). {_RIGHT}")


def _bar(label: str | None, text: str | None) -> Bar:
    """A bar of a row."""
    shown = NULL if label is None else f"'{NULL}'" if label == NULL else safe(label)
    value = None if text is None else float(text)
    if value is None or not math.isfinite(value):
        return Bar(shown, None, NULL if text is None else str(text), label is None)
    return Bar(shown, value, _number(value), label is None)


def _greatest(bars: list[Bar], most: int, *, sums: bool) -> tuple[tuple[Bar, ...], tuple[str, ...]]:
    """The bars; the greatest of them, with a sentence on the others, if they are too many."""
    if not bars:
        return (), ("There are no rows.",)
    if len(bars) <= most:
        return tuple(bars), ()
    by_size = sorted(bars, key=lambda bar: -abs(bar.value or 0.0))
    shown, others = by_size[:most], by_size[most:]
    together = _number(math.fsum(bar.value or 0.0 for bar in others))
    rest = f"; the {len(others):,} others are {together} together" if sums else ""
    return tuple(shown), (f"The greatest {most:,} of {len(bars):,}{rest}.",)


# -- times ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of time.

    Attributes:
        name: of it.
        length: its days and seconds, or its months.
        floor: the one that a time lies in.
        form: how one is written, as strftime has it.
    """

    name: str
    length: timedelta | int
    floor: Callable[[datetime], datetime]
    form: str

    def after(self, time: datetime, count: int = 1) -> datetime:
        """The time so many steps later; where Python's calendar ends, that."""
        try:
            if isinstance(self.length, timedelta):
                return time + count * self.length
            months = time.year * 12 + time.month - 1 + count * self.length
            return time.replace(year=months // 12, month=months % 12 + 1)
        except (OverflowError, ValueError):
            return datetime.max

    def between(self, begin: datetime, end: datetime) -> int:
        """How many of it lie between two."""
        if isinstance(self.length, timedelta):
            return (end - begin) // self.length
        return ((end.year - begin.year) * 12 + end.month - begin.month) // self.length


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


# From fine to coarse.
_STEPS = (
    _Step("second", timedelta(seconds=1), lambda t: t.replace(microsecond=0), "%Y-%m-%d %H:%M:%S"),
    _Step(
        "minute",
        timedelta(minutes=1),
        lambda t: t.replace(second=0, microsecond=0),
        "%Y-%m-%d %H:%M",
    ),
    _Step(
        "hour",
        timedelta(hours=1),
        lambda t: t.replace(minute=0, second=0, microsecond=0),
        "%Y-%m-%d %H:%M",
    ),
    _Step("day", timedelta(days=1), _midnight, "%Y-%m-%d"),
    _Step("week", timedelta(days=7), lambda t: _midnight(t) - timedelta(t.weekday()), "%Y-%m-%d"),
    _Step("month", 1, lambda t: _midnight(t).replace(day=1), "%Y-%m"),
    _Step("year", 12, lambda t: _midnight(t).replace(month=1, day=1), "%Y"),
)
# Times are not summed by it: people look for months.
_UNASKED = "week"


def _over_time(
    times: list[tuple[datetime, str | None]], most: int, *, sums: bool
) -> tuple[tuple[Bar, ...], tuple[str, ...]]:
    """Bars in the order of time, and what was summed so that they have room.

    Raises:
        InterfaceError: they cannot be summed, and are far more than there is room for.
    """
    own = _step_of([time for time, _ in times])
    bars = [_bar(own.floor(time).strftime(own.form), text) for time, text in times]
    lines = tuple(
        _with_gaps([(own.floor(t), b) for (t, _), b in zip(times, bars, strict=True)], own)
    )
    if len(lines) <= most or (not sums and len(lines) <= _MOST_BARS):
        return lines, ()
    if not sums:
        raise InterfaceError(
            f"A chart of {len(lines):,} lines has no room, and numbers that may be means or "
            "extremes are not summed: group by a longer time, such as "
            "date_trunc('year', StudyDate)."
        )
    for step in _STEPS[_STEPS.index(own) + 1 :]:
        if step.name == _UNASKED:
            continue
        together: dict[datetime, float] = {}
        for (time, _), bar in zip(times, bars, strict=True):
            start = step.floor(time)
            together[start] = together.get(start, 0.0) + (bar.value or 0.0)
        summed = [
            (start, Bar(start.strftime(step.form), value, _number(value)))
            for start, value in together.items()
        ]
        lines = tuple(_with_gaps(summed, step))
        if len(lines) <= most:
            break
    else:
        step = _STEPS[-1]
    return lines, (f"Summed by {step.name}: there are {len(times):,} {own.name}s.",)


def _step_of(times: Sequence[datetime]) -> _Step:
    """The coarsest step that all the times lie on."""
    for step in reversed(_STEPS):
        if all(step.floor(time) == time for time in times):
            return step
    return _STEPS[0]


def _with_gaps(bars: Sequence[tuple[datetime, Bar]], step: _Step) -> Iterator[Bar]:
    """The bars, and lines for the times between them that have none."""
    due: datetime | None = None
    for time, bar in bars:
        missing = step.between(due, time) if due is not None else 0
        if missing > _SHOWN_GAP:
            yield Bar("⋮", None, f"{missing:,} {step.name}s without rows", is_gap=True)
        elif due is not None:
            for count in range(missing):
                yield Bar(step.after(due, count).strftime(step.form), None, "", is_gap=True)
        yield bar
        due = step.after(time)


def _time_of(label: str) -> datetime:
    """The time of a text, as its own clock has it.

    Raises:
        ValueError: it is none, or out of what Python counts.
    """
    return datetime.fromisoformat(f"{label}-01" if len(label) == 7 else label).replace(tzinfo=None)


# -- numbers -------------------------------------------------------------------------------------


# Numbers of more digits than these, before and after the point, are written with a power of ten.
_LONGEST = 1e15
_MOST_DIGITS = 6


def _bins(
    low: float, high: float, most: int, *, whole: bool
) -> tuple[list[float], Callable[[float], str]]:
    """The bins' lower edges, and how a bin is written."""
    if whole and high - low < most:
        return [low + i for i in range(int(high - low) + 1)], _number
    if low == high:
        return [low], _number
    step = _round_step((high - low) / most)
    if whole:
        step = max(1.0, step)
    first = math.floor(low / step)
    edges = [first * step]
    while len(edges) <= most and (first + len(edges)) * step <= high:
        edges.append((first + len(edges)) * step)
    digits = max(0, -math.floor(math.log10(step)))

    def label(edge: float) -> str:
        if whole and step >= 1 and max(abs(low), abs(high)) < _LONGEST:
            return f"{edge:,.0f} - {edge + step - 1:,.0f}" if step > 1 else f"{edge:,.0f}"
        if max(abs(low), abs(high)) >= _LONGEST or digits > _MOST_DIGITS:
            return f"{_short(edge, step)} - <{_short(edge + step, step)}"
        return f"{edge:,.{digits}f} - <{edge + step:,.{digits}f}"

    return edges, label


def _short(edge: float, step: float) -> str:
    """An edge with a power of ten, in as many digits as tell it from the next."""
    edge = 0.0 if abs(edge) < step / 2 else edge
    digits = math.floor(math.log10(abs(edge) / step)) + 1 if edge else 0
    text, _, power = f"{edge:.{min(16, max(0, digits))}e}".partition("e")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}e{int(power)}" if int(power) else text


def _round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, ... that is no less."""
    scale = 10.0 ** math.floor(math.log10(least))
    return next(n * scale for n in (1, 2, 5, 10, 20) if n * scale >= least)


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"
