"""Functions of a date that keep its order, and the dates that a comparison of one leaves.

`year(StudyDate) = 2024` says the same as a range of dates. For a function f that never falls where
the date rises, every date with f(date) >= v lies at or behind some first date, and every one with
f(date) <= v at or before some last one; `first_date` and `last_date` give such dates, never too
tight. What is not certain to be monotone (`month`, `dayofweek`) is no `DateView`.
"""

from __future__ import annotations

import calendar
import datetime
import math
import re
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp

__all__ = ["DateView", "Form", "date_of", "date_view", "first_date", "last_date", "text_dates"]

_DAY = datetime.timedelta(days=1)
_DATE = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")

# Units of date_trunc and the months that they have; weeks and days are counted apart.
_MONTHS = {"YEAR": 12, "QUARTER": 3, "MONTH": 1}
_YEAR_NAMES = frozenset({"year", "years", "yr", "y"})

# The formats of strftime whose texts sort as the dates do: how many parts, what separates them.
_FORMATS = {
    "%Y": (1, "-"),
    "%Y-%m": (2, "-"),
    "%Y-%m-%d": (3, "-"),
    "%Y%m": (2, ""),
    "%Y%m%d": (3, ""),
}

_MOMENTS = frozenset(
    {
        exp.DataType.Type.DATE,
        exp.DataType.Type.TIMESTAMP,
        exp.DataType.Type.TIMESTAMPNTZ,
        exp.DataType.Type.DATETIME,
    }
)
_TEXTS = frozenset({exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR})


class Form(StrEnum):
    """What a function makes of a date."""

    YEAR = "year"  # its year, a number
    START = "start"  # the first day of the unit that it lies in
    TEXT = "text"  # its text, the greater parts first


@dataclass(frozen=True, slots=True)
class DateView:
    """A monotone function of a column.

    Attributes:
        unit: of `START`: YEAR, QUARTER, MONTH, WEEK or DAY.
        separator: of `TEXT`: what stands between year, month and day.
        parts: of `TEXT`: how many of these three it has.
    """

    column: exp.Column
    form: Form
    unit: str = "DAY"
    separator: str = "-"
    parts: int = 3


def date_view(node: exp.Expr) -> DateView | None:
    """The monotone function of a column that an expression is, or None."""
    if isinstance(node, exp.Year):
        return _view(node.this, Form.YEAR)
    if isinstance(node, exp.Extract) and node.name.upper() == "YEAR":
        return _view(node.expression, Form.YEAR)
    if isinstance(node, exp.Anonymous) and node.name.lower() in {"date_part", "datepart"}:
        part, *rest = node.expressions
        if isinstance(part, exp.Literal) and part.name.lower() in _YEAR_NAMES and len(rest) == 1:
            return _view(rest[0], Form.YEAR)
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc):
        unit = str(getattr(node.args.get("unit"), "name", "")).upper()
        if unit in {*_MONTHS, "WEEK", "DAY"}:
            return _view(node.this, Form.START, unit=unit)
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
        kind = node.args["to"].this
        if kind in _MOMENTS:
            return _view(node.this, Form.START)
        if kind in _TEXTS:
            return _view(node.this, Form.TEXT)
    if isinstance(node, exp.TimeToStr):
        form = _FORMATS.get(str(getattr(node.args.get("format"), "name", "")))
        if form is not None:
            return _view(node.this, Form.TEXT, parts=form[0], separator=form[1])
    return None


def _view(
    node: object, form: Form, unit: str = "DAY", separator: str = "-", parts: int = 3
) -> DateView | None:
    while isinstance(node, exp.Paren):
        node = node.this
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
        return None
    return DateView(node, form, unit, separator, parts)


def first_date(view: DateView, value: object) -> datetime.date | None:
    """A date before which no date's view is at least `value`; None where that is not known."""
    span = _span(view, value)
    return span[0] if span is not None else None


def last_date(view: DateView, value: object) -> datetime.date | None:
    """A date behind which no date's view is at most `value`; None where that is not known."""
    span = _span(view, value)
    return span[1] if span is not None else None


def _span(view: DateView, value: object) -> tuple[datetime.date, datetime.date] | None:
    try:
        if view.form is Form.YEAR:
            return _year(value)
        if view.form is Form.TEXT:
            return text_dates(value, view) if isinstance(value, str) else None
        first, last = date_of(value, -1), date_of(value, 1)
        # What lies in a unit that begins at or before a day, ends at or before that unit's end.
        return (first, _end(last, view.unit)) if first is not None and last is not None else None
    except (ValueError, OverflowError):
        return None


def _year(value: object) -> tuple[datetime.date, datetime.date] | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    year = math.floor(value)
    return datetime.date(year, 1, 1), datetime.date(year, 12, 31)


def text_dates(text: str, view: DateView) -> tuple[datetime.date, datetime.date] | None:
    """First and last date whose text begins with the whole parts that a text begins with.

    Texts of other dates sort before or behind all of these, whatever follows the whole parts. Only
    the parts that the view shows count: `2024` sorts before `2024-03` in each of its months.
    """
    apart = re.escape(view.separator)
    found = re.match(rf"([0-9]{{4}})(?:{apart}([0-9]{{2}})(?:{apart}([0-9]{{2}}))?)?", text)
    if found is None:
        return None
    year = int(found[1])
    if not datetime.MINYEAR <= year <= datetime.MAXYEAR:
        return None
    month = int(found[2] or 0) if view.parts > 1 else 0
    if not 1 <= month <= 12:
        return datetime.date(year, 1, 1), datetime.date(year, 12, 31)
    days = calendar.monthrange(year, month)[1]
    day = int(found[3] or 0) if view.parts > 2 else 0
    if not 1 <= day <= days:
        return datetime.date(year, month, 1), datetime.date(year, month, days)
    return datetime.date(year, month, day), datetime.date(year, month, day)


def date_of(value: object, side: int) -> datetime.date | None:
    """The day of a value that a date is compared with, in SQL's spelling or DICOM's.

    Args:
        side: -1 or 1: an instant may be the day before or behind, as the engine's time zone has it.

    Raises:
        OverflowError: the day lies outside of the calendar.
    """
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            return value.date()
        return value.astimezone(datetime.UTC).date() + side * _DAY
    if isinstance(value, datetime.date):
        return value
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return datetime.date(*map(int, found.groups()))
    except ValueError:
        return None


def _end(day: datetime.date, unit: str) -> datetime.date:
    """The last day of the unit that a day lies in."""
    if unit == "DAY":
        return day
    if unit == "WEEK":
        return day + (6 - day.weekday()) * _DAY
    months = _MONTHS[unit]
    month = (day.month - 1) // months * months + months
    return datetime.date(day.year, month, calendar.monthrange(day.year, month)[1])
