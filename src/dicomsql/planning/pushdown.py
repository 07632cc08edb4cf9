"""From what a query says of a search's rows to the filters that the server checks.

Why no row is lost: a fact holds for every row that can have an effect on the result
(`planning/facts.py`), and a filter is only made of it where the server's match, as the provider
document lists it, finds every row of which the fact is true. The engine checks every condition
again, so a filter may find too much and never too little. For each match of PS3.4 section C.2.2.2:

- `exact`: the value as it is stored, but for padding, and at least in the letters' own case. A text
  is sent that holds nothing that a server reads as a wildcard, a list or a separator, and has no
  padding of its own. A name is sent in the one form that no server spells otherwise: without
  carets at its end and spaces around its components. Numbers and times are not: `03` is the
  number 3, and `1030` the time 10:30:00, which a server that compares texts would miss.
- `list`: any of several values; `exact`, for each.
- `range`: dates, and times whose bounds are spelled so that servers that compare texts find them
  as well: the lower one as short as it may be, the upper one as long. What is stored with an
  offset may be compared by its instant, up to 26 hours from the time as written, so that ranges
  of DT are widened by that and given in days. A time goes with no date: together they may be
  taken for one moment (PS3.4 section C.2.2.2.5.3).
- `wildcard`: any text for `%` and for `_` as well, since one character may be several to a server.
- `fuzzy`: every name with a part that begins with the token that is sent, whatever its case and
  accents. The token is a run of letters and digits that begins the name or stands behind a caret
  or a space. One is sent: servers differ in whether several mean all of them or any.

Of an OR over several attributes each branch is a search of its own, and their union finds every row
of which the OR is true, if each branch has a filter. NOT, `<>` and IS NULL make no facts.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from dicomsql.dicom.columns import AttributeColumn, Kind
from dicomsql.dicom.columns import column as attribute_column
from dicomsql.planning.facts import Between, Equal, Facts, Pattern, Value
from dicomsql.planning.monotone import date_of
from dicomsql.planning.read_plan import Filter

if TYPE_CHECKING:
    from dicomsql.catalog.model import Attribute, DicomTable

__all__ = ["LITERAL", "VALUES_A_LIST", "Pushed", "names_of", "push"]

# Searches that are worth their calls; beyond, one walk is. UIDs find one row each.
_SEARCHES = 16
_IDENTIFIERS = 100

# Values of one list, and the characters that they may have together, so that URLs stay short.
VALUES_A_LIST = 100
_LIST_CHARACTERS = 4_000

# What every server takes for itself: nothing that some take for a wildcard, a list or a separator
# (PS3.4 section C.2.2.2), no padding at either end.
LITERAL = r"(?! )[^*?\\,\x00-\x1f\x7f]+(?<! )"

_SPECIAL = re.compile(r"[*?\\,\x00-\x1f\x7f]")
# Spellings of a name that servers bring to another form (PS3.5 section 6.2.1.1).
_LOOSE_NAME = re.compile(r"\^\Z| \^|\^ |=|  ")
_TOKEN = re.compile(r"[^\W_]+")

_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_DATETIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(?:[ T]?([0-9]{2}):?([0-9]{2})?:?([0-9]{2})?(\.[0-9]+)?)?"
)
# From the latest time zone to the earliest.
_ZONES = datetime.timedelta(hours=26)
_DAY = datetime.timedelta(days=1)

# What the ends of a range are read as.
_Point = TypeVar("_Point", datetime.date, datetime.datetime, int)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What goes to the server; see `plan.Scan` for both."""

    filters: tuple[Filter, ...] = ()
    alternatives: tuple[tuple[Filter, ...], ...] = ()


def push(dicom: DicomTable, facts: Facts, taken: Collection[str]) -> Pushed:
    """The filters of a search.

    Args:
        taken: keywords and parameters that the call's path or binds give values to.
    """
    if dicom.source != "search":
        return Pushed()
    pusher = _Pusher(dicom, frozenset(taken))
    common = pusher.filters(facts)
    if any(not f.values for f in common):
        # Two conditions that exclude each other: no row can satisfy them, so no call is made.
        return Pushed(tuple(f for f in common if not f.values))
    unions = [u for one in facts.either if (u := pusher.union(facts, common, one)) is not None]
    return min(unions, key=_searches, default=Pushed(common))


def _searches(pushed: Pushed) -> int:
    shared = prod(len(f.values) for f in pushed.filters)
    return shared * sum(prod(len(f.values) for f in one) for one in pushed.alternatives)


@dataclass(frozen=True, slots=True)
class _Pusher:
    dicom: DicomTable
    taken: frozenset[str]

    def filters(self, facts: Facts) -> tuple[Filter, ...]:
        """What the server can check of facts; never more calls than one walk is worth."""
        identity = {keyword: parameter for parameter, keyword in self.dicom.identity}
        found: dict[str, Filter] = {}
        for attribute in self.dicom.attributes:
            parameter = identity.get(attribute.keyword, "")
            if not attribute.match or {attribute.keyword, parameter} & self.taken:
                continue
            column = attribute_column(attribute.keyword)
            if column is None:
                continue
            made = _Maker(attribute, column, self.dicom, _Known(facts, column, parameter)).filter()
            if made is not None:
                found[attribute.keyword] = made
        chosen: set[str] = set()
        calls = 1
        for name, made in sorted(found.items(), key=lambda f: len(f[1].values)):
            most = _IDENTIFIERS if name in identity else _SEARCHES
            several = max(1, len(made.values))
            if several > most or calls * several > _IDENTIFIERS:
                continue
            if made.operation == "fuzzy" and any(found[n].query for n in chosen):
                continue  # what makes a search fuzzy can be given once
            if name.endswith("Time") and name.removesuffix("Time") + "Date" in found:
                continue
            calls *= several
            chosen.add(name)
        return tuple(made for name, made in found.items() if name in chosen)

    def union(
        self, facts: Facts, common: tuple[Filter, ...], either: tuple[Facts, ...]
    ) -> Pushed | None:
        """The searches that find whatever satisfies one of the branches; None where none do.

        A branch's filters take in what holds for all rows, so that each attribute is filtered once.
        """
        shared = set(common)
        searches: list[tuple[Filter, ...]] = []
        empty: tuple[Filter, ...] = ()
        for branch in _branches(either):
            found = self.filters(facts.both(branch))
            if all(f in shared for f in found):
                return None
            nothing = tuple(f for f in found if not f.values)
            if nothing:
                empty = nothing
            else:
                searches.append(found)
        if not searches:
            return Pushed(empty)
        everywhere = {f for f in common if all(f in found for found in searches)}
        alternatives = dict.fromkeys(
            tuple(f for f in found if f not in everywhere) for found in searches
        )
        filters = tuple(f for f in common if f in everywhere)
        if () in alternatives:
            return Pushed(filters)
        pushed = Pushed(filters, tuple(alternatives))
        return pushed if _searches(pushed) <= _SEARCHES else None


def _branches(either: tuple[Facts, ...]) -> Iterator[Facts]:
    """The branches of an OR with those of an OR inside them."""
    for branch in either:
        if branch.either:
            for inner in _branches(branch.either[0]):
                yield Facts(branch.equal, branch.between, branch.pattern).both(inner)
        else:
            yield branch


def names_of(column: AttributeColumn, parameter: str) -> list[str]:
    """Lower-case names of the columns that hold an attribute's value."""
    tag = column.tag.lower()
    names = [column.name.lower(), tag, f"tag_{tag}"]
    return [*names, parameter.lower()] if parameter else names


class _Known:
    """What is known of one attribute."""

    def __init__(self, facts: Facts, column: AttributeColumn, parameter: str) -> None:
        names = names_of(column, parameter)
        self.equal: list[Equal] = [e for n in names for e in facts.equal.get(n, [])]
        self.between: list[Between] = [b for n in names for b in facts.between.get(n, [])]
        self.pattern: list[Pattern] = [p for n in names for p in facts.pattern.get(n, [])]


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the filter of one attribute."""

    attribute: Attribute
    column: AttributeColumn
    dicom: DicomTable
    known: _Known

    def filter(self) -> Filter | None:
        """The narrowest filter that the server can check, or None."""
        kind = self.column.kind
        if kind in {Kind.TEXT, Kind.NAME}:
            return self._texts() or self._wildcard() or self._fuzzy()
        if self.column.many:
            return None
        if kind is Kind.DATE:
            return self._dates()
        if "range" in self.attribute.match and kind is Kind.TIME:
            return self._times()
        if "range" in self.attribute.match and kind is Kind.DATETIME:
            return self._datetimes()
        return None

    def _made(self, values: Collection[str], operation: str) -> Filter:
        return Filter(self.attribute.keyword, tuple(dict.fromkeys(values)), operation)

    # -- texts -----------------------------------------------------------------------------------

    def _texts(self) -> Filter | None:
        match = self.attribute.match
        if "exact" not in match and "list" not in match:
            return None
        wholes = [p.pieces for p in self.known.pattern if len(p.pieces) == 1 and not p.folded]
        for given in sorted([*(e.values for e in self.known.equal), *wholes], key=len):
            # No column of DICOM holds an empty text.
            texts = [v for v in given if v != ""]
            values = [v for v in texts if isinstance(v, str) and self._is_literal(v)]
            if len(values) < len(texts):
                continue
            if "list" in match and (len(values) > 1 or "exact" not in match):
                return self._made(list(_chunks(values, self.dicom.separator)), "list")
            return self._made(values, "exact")
        return None

    def _is_literal(self, text: str) -> bool:
        if not re.fullmatch(LITERAL, text) or self.dicom.separator in text:
            return False
        return self._is_sent_whole(text) and not (
            self.column.kind is Kind.NAME and _LOOSE_NAME.search(text)
        )

    def _is_sent_whole(self, text: str) -> bool:
        """Whether the server reads in the URL what the text says."""
        return not self.dicom.sendable or re.fullmatch(self.dicom.sendable, text) is not None

    def _wildcard(self) -> Filter | None:
        if "wildcard" not in self.attribute.match:
            return None
        for pattern in self.known.pattern:
            literal = "".join(pattern.pieces)
            if pattern.folded or len(pattern.pieces) < 2 or _SPECIAL.search(literal):
                continue
            text = "*".join(pattern.pieces)
            if self.column.kind is Kind.NAME:
                # Carets at the end may be gone from the name that the server searches.
                shortened = text.rstrip("^*")
                text = text if shortened == text else shortened + "*"
                if _LOOSE_NAME.search(text):
                    continue
            text = re.sub(r"\*+", "*", text)
            sent = self._is_sent_whole(text)
            if text.strip("*") and text == text.strip() and sent:
                return self._made([text], "wildcard")
        return None

    def _fuzzy(self) -> Filter | None:
        if "fuzzy" not in self.attribute.match or self.column.kind is not Kind.NAME:
            return None
        patterns = [p.pieces for p in self.known.pattern]
        for equal in self.known.equal:
            if len(equal.values) == 1 and isinstance(value := equal.values[0], str):
                patterns.append((value,))
        token = max((_token(pieces) for pieces in patterns), key=len, default="")
        if not token or not self._is_sent_whole(token):
            return None
        return Filter(self.attribute.keyword, (token,), "fuzzy", (self.dicom.fuzzy,))

    # -- dates and times -------------------------------------------------------------------------

    def _dates(self) -> Filter | None:
        match = self.attribute.match
        spans = _spans(self.known.between, date_of)
        for equal in sorted(self.known.equal, key=lambda e: len(e.values)):
            days = _spans([Between(v, v) for v in equal.values], date_of)
            if any(first is None or last is None for first, last in days):
                continue
            # An instant is one day's or the other's, as the engine's time zone has it.
            single = all(first == last for first, last in days)
            if "exact" in match and single and len(days) <= _SEARCHES:
                return self._made([_da(first) for first, _ in days if first is not None], "exact")
            if not days:
                return self._made([], "exact")
            spans.append(_hull(days))
        return self._range(spans, _da, _da) if "range" in match else None

    def _times(self) -> Filter | None:
        known = _spans(self.known.between, _micros)
        for equal in self.known.equal:
            known.append(_hull(_spans([Between(v, v) for v in equal.values], _micros)))
        return self._range(known, _shortest_tm, _longest_tm)

    def _datetimes(self) -> Filter | None:
        known = _spans(self.known.between, _moment)
        for equal in self.known.equal:
            known.append(_hull(_spans([Between(v, v) for v in equal.values], _moment)))
        return self._range(known, _day_before, _day_behind)

    def _range(
        self,
        spans: list[tuple[_Point | None, _Point | None]],
        spell_low: Callable[[_Point], str],
        spell_high: Callable[[_Point], str],
    ) -> Filter | None:
        """The range in which all spans lie over each other."""
        low = max((first for first, _ in spans if first is not None), default=None)
        high = min((last for _, last in spans if last is not None), default=None)
        if low is None and high is None:
            return None
        if low is not None and high is not None and low > high:
            return self._made([], "range")
        try:
            first = spell_low(low) if low is not None else ""
            last = spell_high(high) if high is not None else ""
        except OverflowError:
            return None
        return self._made([f"{first}-{last}"], "range")


def _spans(
    ranges: list[Between], read: Callable[[Value, int], _Point | None]
) -> list[tuple[_Point | None, _Point | None]]:
    """Ranges as the points that they begin and end with; None where they are open or not known."""
    found = []
    for one in ranges:
        try:
            found.append((read(one.low, -1), read(one.high, 1)))
        except OverflowError:
            found.append((None, None))
    return found


def _hull(
    spans: list[tuple[_Point | None, _Point | None]],
) -> tuple[_Point | None, _Point | None]:
    """The span from the first beginning to the last end; open where one of them is."""
    firsts = [first for first, _ in spans if first is not None]
    lasts = [last for _, last in spans if last is not None]
    return (
        min(firsts) if firsts and len(firsts) == len(spans) else None,
        max(lasts) if lasts and len(lasts) == len(spans) else None,
    )


def _da(day: datetime.date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _micros(value: Value, side: int) -> int | None:  # noqa: ARG001 - a time is one point
    """Microseconds since midnight of a value that a TM is compared with."""
    if isinstance(value, datetime.time) and value.tzinfo is None:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return seconds * 1_000_000 + value.microsecond
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups()[:3])
    if hour > 23 or minute > 59 or second > 59:
        return None
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((found[4] or "").ljust(6, "0"))


def _longest_tm(micros: int) -> str:
    """A time to its last digit: a text that begins so is no greater."""
    seconds, fraction = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}{minutes % 60:02}{second:02}.{fraction:06}"


def _shortest_tm(micros: int) -> str:
    """A time without what is zero at its end: the least text that means it."""
    clock, _, fraction = _longest_tm(micros).partition(".")
    if fraction.strip("0"):
        return f"{clock}.{fraction.rstrip('0')}"
    for zeros in ("0000", "00"):
        if clock.endswith(zeros) and len(clock) - len(zeros) >= 2:
            return clock[: -len(zeros)]
    return clock


def _moment(value: Value, side: int) -> datetime.datetime | None:
    """A value that a DT is compared with; a day is its beginning or, with side 1, its end."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            return value
        # The column's times are those of the engine's zone, whichever that is.
        return value.astimezone(datetime.UTC).replace(tzinfo=None) + side * _DAY
    if isinstance(value, str):
        found = _DATETIME.fullmatch(value.strip())
        if found is None:
            return None
        numbers = [int(part or 0) for part in found.groups()[:6]]
        if found[4] is not None:
            try:
                # A fraction is left to the widening.
                return datetime.datetime(*numbers)  # type: ignore[arg-type]
            except ValueError:
                return None
    day = date_of(value, side)
    clock = datetime.time.max if side > 0 else datetime.time.min
    return datetime.datetime.combine(day, clock) if day is not None else None


def _day_before(at: datetime.datetime) -> str:
    return _da((at - _ZONES).date())


def _day_behind(at: datetime.datetime) -> str:
    return _da((at + _ZONES + _DAY).date())


# -- parts of texts --------------------------------------------------------------------------------


def _chunks(values: list[str], separator: str) -> Iterator[str]:
    """Values joined to lists that keep a URL short; no list at all where there are none."""
    chunk: list[str] = []
    size = 0
    for value in values:
        longer = size + len(quote(value, safe="")) + 3
        if chunk and (len(chunk) == VALUES_A_LIST or longer > _LIST_CHARACTERS):
            yield separator.join(chunk)
            chunk, longer = [], len(value) + 3
        chunk.append(value)
        size = longer
    if chunk:
        yield separator.join(chunk)


def _token(pieces: tuple[str, ...]) -> str:
    """The longest run of letters and digits that is certain to begin a part of the name."""
    best = ""
    for place, piece in enumerate(pieces):
        for found in _TOKEN.finditer(piece):
            start, end = found.span()
            if (piece[start - 1] not in "^ ") if start else place > 0:
                continue
            token = found[0]
            if end < len(piece) and unicodedata.combining(piece[end]):
                token = token[:-1]  # an accent that follows makes another letter of the last one
            best = max(best, token, key=len)
    return best
