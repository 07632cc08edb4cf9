"""The text of single DICOM values, read strictly by VR: a value, or None, never a guess.

Dates and times become the integers that Arrow stores: days since 1970-01-01, microseconds since
midnight, microseconds since 1970-01-01 00:00. All follow PS3.5 section 6.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

__all__ = [
    "INT64",
    "PADDING",
    "UINT64",
    "Memo",
    "parse_date",
    "parse_datetime",
    "parse_decimal",
    "parse_float",
    "parse_integer",
    "parse_offset",
    "parse_time",
    "to_utc",
]

INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)

# A dataset that is written to text with padding has spaces, or the NUL that pads UIDs, at its ends.
PADDING = " \0"

_T = TypeVar("_T")

_MICROSECOND = timedelta(microseconds=1)
_MINUTE = 60_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# YYYYMMDD; HH, HHMM, HHMMSS and HHMMSS.F to HHMMSS.FFFFFF. ACR-NEMA's YYYY.MM.DD and HH:MM:SS are
# no values of these VRs today, and servers that compare texts find them in no range: were they read
# as dates, a pushed condition would lose rows that the same condition keeps where it is not pushed.
_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_TIME = re.compile(r"([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_DATETIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})"
    r"(?:\.([0-9]{1,6}))?)?)?)?)?)?([+-][0-9]{4})?"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,24}(?:\.0*)?")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# What JSON has no number for stands as text in DICOM JSON (PS3.18 section F.2.3).
_NOT_FINITE = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
}


def parse_date(text: str) -> int | None:
    """Days since 1970-01-01 of a DA value."""
    found = _DATE.fullmatch(text.strip(PADDING))
    if found is None:
        return None
    year, month, day = found.groups()
    try:
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


def parse_time(text: str) -> int | None:
    """Microseconds since midnight of a TM value; what is left off at its end counts as zero.

    The leap second :60, which DICOM allows, has no place in a SQL TIME: None.
    """
    found = _TIME.fullmatch(text.strip(PADDING))
    if found is None:
        return None
    hours, minutes, seconds, fraction = found.groups(default="0")
    h, m, s = int(hours), int(minutes), int(seconds)
    if h > 23 or m > 59 or s > 59:
        return None
    return ((h * 60 + m) * 60 + s) * 1_000_000 + int(fraction.ljust(6, "0"))


def parse_datetime(text: str) -> tuple[int, int | None] | None:
    """Of a DT value: microseconds since 1970-01-01 00:00 as written, and its offset.

    What is left off at its end is the least that it may be. The offset from UTC is in minutes,
    None where the value has none; it is not applied.
    """
    found = _DATETIME.fullmatch(text.strip(PADDING))
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    offset = None
    if zone is not None and (offset := parse_offset(zone)) is None:
        return None
    try:
        written = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "0").ljust(6, "0")),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return (written - _EPOCH) // _MICROSECOND, offset


def to_utc(micros: int, offset: int) -> int:
    """The instant of a time as it was written at `offset` minutes from UTC."""
    return micros - offset * _MINUTE


def parse_offset(text: str) -> int | None:
    """Minutes from UTC of `+HHMM` or `-HHMM`, from -1200 to +1400; `-0000` is no offset."""
    text = text.strip(PADDING)
    if not re.fullmatch(r"[+-][0-9]{4}", text) or text == "-0000":
        return None
    hours, minutes = int(text[1:3]), int(text[3:])
    if minutes > 59:
        return None
    offset = hours * 60 + minutes
    if text[0] == "-":
        offset = -offset
    return offset if -12 * 60 <= offset <= 14 * 60 else None


def parse_integer(text: str) -> int | None:
    """The whole number that an IS value, or an integer written as text, stands for."""
    text = text.strip(PADDING)
    return int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else None


def parse_decimal(text: str) -> float | None:
    """The number of a DS value; None where it is too large for a double."""
    text = text.strip(PADDING)
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def parse_float(text: str) -> float | None:
    """The number of an FL or FD value written as text: also NaN and the infinities."""
    value = parse_decimal(text)
    return value if value is not None else _NOT_FINITE.get(text.strip(PADDING).lower())


class Memo(dict[str | None, _T | None]):
    """A parser that remembers: dates repeat within a page more often than they differ.

    An empty or missing text is None. It forgets all where it has grown too large, so that values
    that never repeat cost no memory.
    """

    LIMIT = 100_000

    def __init__(self, parse: Callable[[str], _T | None]) -> None:
        super().__init__()
        self._parse = parse
        self._forget()

    def __missing__(self, text: str | None) -> _T | None:
        if not text:  # remembered, but for the moment in which another thread forgets
            return None
        if len(self) >= self.LIMIT:
            self._forget()
        value = self[text] = self._parse(text)
        return value

    def _forget(self) -> None:
        self.clear()
        self[None] = self[""] = None
