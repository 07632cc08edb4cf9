"""Consent: what a write would lose or bill is measured and said before its first call.

The number that is shown is what has to be allowed: exactly it with `SET allow_writes`, this
statement's with `--yes`, or by the shell's question. One instance needs no consent, and neither
does what is empty; since metrics lag behind writes, so small a number is looked at itself. A size
that could not be learned is never taken for a small one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dicomsql.errors import ApiError, ConsentError, NotFoundError, OperationalError
from dicomsql.execution.calls import CallValues, json_object, make_request, single
from dicomsql.execution.paging import pages
from dicomsql.transport.gate import PLAIN_PARAMETERS

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import MeasurePlan, WritePlan

# Metrics' names for people.
_BYTES = "bytes"

# How servers say that they do not have what was asked for: the thing, or such a call at all.
_NOT_THERE = frozenset({404, 405, 501})

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(slots=True)
class Allowed:
    """What the session allows.

    Attributes:
        number: exactly this many; None where no number was set.
        shown: whatever number this statement shows.
        ask: asks a person; None where there is none to ask.
        used: the number has been used up.
    """

    number: int | None = None
    shown: bool = False
    ask: Callable[[str], bool] | None = None
    used: bool = field(default=False, init=False)


@dataclass(slots=True)
class Size:
    """What a write touches.

    Attributes:
        number: what has to be allowed; None where it could not be learned.
        counts: label -> sum, in the order to show them.
        measured: the number comes from the server, not from counting calls.
    """

    number: int | None
    counts: dict[str, int]
    measured: bool

    def __str__(self) -> str:
        shown = [
            _size_text(v) if k == _BYTES else f"{v:,} {k if v != 1 else _singular(k)}"
            for k, v in self.counts.items()
        ]
        return ", ".join(shown)


def require(run: Run, plan: WritePlan, calls: list[CallValues], allowed: Allowed) -> str:
    """Make sure that what the calls do is allowed; the sentence about what they touch.

    Raises:
        ConsentError: it is not.
    """
    consent = plan.method.consent
    if consent is None or not calls:
        return ""
    if consent.kind == "bulk" and len(calls) == 1:
        return ""
    size = measure(run, plan, calls)
    sentence = describe(plan, calls, size)
    if not is_needed(plan, calls, size):
        return sentence
    # A number that is 0 or not known is none that somebody could have meant to allow.
    if size.number and allowed.number == size.number:
        allowed.used = True
        return sentence
    if allowed.shown:
        return sentence
    if allowed.ask is not None:
        if allowed.ask(sentence):
            return sentence
        raise ConsentError(
            f"{sentence} It was not allowed; nothing was changed.", number=size.number
        )
    said = f"{sentence} Nothing was changed."
    if allowed.number is not None and size.number:
        said += f" {allowed.number:,} is allowed, not {size.number:,}."
    raise ConsentError(f"{said} {how_to_allow(size)}", number=size.number)


def is_needed(plan: WritePlan, calls: list[CallValues], size: Size) -> bool:
    """Whether the calls have to be allowed."""
    consent = plan.method.consent
    if consent is None or not calls:
        return False
    if consent.kind == "bulk":
        return len(calls) > 1
    if consent.kind != "destructive" or consent.always or not size.measured:
        return True
    return size.number is None or size.number > 1


def how_to_allow(size: Size) -> str:
    """What allows a write of that size, as a sentence."""
    if not size.number:
        return "Allow it with --yes or yes=True."
    return f"Allow exactly this with SET allow_writes = {size.number}, or with --yes or yes=True."


def describe(plan: WritePlan, calls: list[CallValues], size: Size) -> str:
    """What the calls would do, as a sentence."""
    consent = plan.method.consent
    assert consent is not None
    number = len(calls)
    things = consent.things if number != 1 else _singular(consent.things)
    text = f"This statement would {consent.phrase} {number:,} {things}{_place(plan, calls)}"
    if size.number is None:
        text += f", whose size{'s' * (number != 1)} could not be learned from the server"
    elif size.counts:
        text += f", which {'hold' if number != 1 else 'holds'} {size}"
    return text + "."


def _place(plan: WritePlan, calls: list[CallValues]) -> str:
    """Where the calls write: the part of their paths that names places and no patient."""
    segments = plan.method.path.strip("/").split("/")
    named = [i for i, s in enumerate(segments) if (m := _PARAMETER.match(s)) and _is_place(m[1])]
    if not named:
        return ""
    # A version stands before the first collection.
    shown = segments[max(0, named[0] - 1) : named[-1] + 1]
    whole = not any(_PARAMETER.match(s) for s in segments[named[-1] + 1 :])
    places = set()
    for values in calls:
        filled = []
        for segment in shown:
            parameter = _PARAMETER.match(segment)
            filled.append(str(values.get(parameter[1], "")) if parameter else segment)
        places.add("/".join(filled))
    if len(places) == 1:
        (place,) = places
        return f" ({place})" if whole else f" of {place}"
    return "" if whole else f" in {len(places):,} places"


def _is_place(name: str) -> bool:
    return name in PLAIN_PARAMETERS


def measure(run: Run, plan: WritePlan, calls: list[CallValues]) -> Size:
    """What the calls touch, from the resources' own metrics."""
    if not plan.measures:
        return Size(len(calls), {}, measured=False)
    total = Size(0, {}, measured=True)
    for values in calls:
        for part in plan.measures:
            _add(run, plan, part, values, total)
    return total


def _add(run: Run, plan: WritePlan, part: MeasurePlan, values: CallValues, total: Size) -> None:
    scope = {k: v for k, v in values.items() if part.method.parameter(k) is not None}
    if part.each is None:
        _add_one(run, plan, part, scope, total)
        return
    given = {k: v for k, v in values.items() if part.each.parameter(k) is not None}
    names = _listed(run, plan, part.each, given)
    if names is None:
        total.number = None
        return
    for name in names:
        _add_one(run, plan, part, {**scope, part.each_parameter: name}, total)


def _add_one(run: Run, plan: WritePlan, part: MeasurePlan, values: CallValues, total: Size) -> None:
    """Add what one thing holds, or that nobody can tell."""
    try:
        page = single(run, make_request(part.method, plan.base_url, values))
    except ApiError as error:
        if error.failure.status not in _NOT_THERE:
            raise
        # Either the thing is not there, or the server keeps no metrics: the thing itself tells.
        seen = _probed(run, plan, part.probe, values) if part.probe is not None else 0
        if seen is None:
            return  # it is not there, as the write itself will say
        if seen == 1 and total.number is not None:
            total.number += 1
        else:
            # Two rows may be any number, and none may be what such a server says of anything.
            total.number = None
        return
    found = json_object(page, part.method.full_name)
    counts = {label: _count(found.get(column), part.method) for label, column in part.counts}
    number = _count(found.get(part.number), part.method) if part.number else sum(counts.values())
    if number <= 1 and part.probe is not None:
        seen = _probed(run, plan, part.probe, values) or 0
        number = max(number, seen)
        label = next((label for label, column in part.counts if column == part.number), "")
        if label:
            counts[label] = max(counts[label], seen)
    for label, value in counts.items():
        total.counts[label] = total.counts.get(label, 0) + value
    if total.number is not None:
        total.number += number


def _count(value: object, method: Method) -> int:
    """A count of the metrics; they leave out what is zero."""
    try:
        return int(str(value)) if value else 0
    except ValueError:
        raise OperationalError(
            f"{method.full_name}: the metrics hold something that is no number, so that the size "
            f"cannot be learned. Nothing was changed."
        ) from None


def _listed(run: Run, plan: WritePlan, method: Method, values: CallValues) -> list[str] | None:
    """The ids of the resources that a method lists; None where the server has no such list."""
    request = make_request(method, plan.base_url, values)
    names = []
    try:
        for page in pages(run, method, request, None):
            found: Any = json_object(page, method.full_name)
            for member in method.object_key.removeprefix("$").strip(".").split("."):
                found = found.get(member) if isinstance(found, dict) else None
            for row in found or ():
                name = row.get(method.row_name) if isinstance(row, dict) else None
                if not isinstance(name, str) or not name:
                    raise OperationalError(
                        f"{method.full_name}: the list holds something without a "
                        f"{method.row_name}, so that the size cannot be learned. Nothing was "
                        f"changed."
                    )
                names.append(name.rsplit("/", 1)[-1])
    except ApiError as error:
        if error.failure.status not in _NOT_THERE:
            raise
        return None
    return names


def _probed(run: Run, plan: WritePlan, method: Method, values: CallValues) -> int | None:
    """How many rows are there, where up to two are told apart; None where it is not there."""
    from dicomsql.dicom.decode import count

    given = {k: v for k, v in values.items() if method.parameter(k) is not None}
    request = make_request(method, plan.base_url, given)
    rows = 0
    try:
        for page in pages(run, method, request, 2):
            rows += count(page.body)
    except NotFoundError:
        return None
    return rows


def _singular(word: str) -> str:
    if word == "series" or not word.endswith("s"):
        return word
    return word[:-3] + "y" if word.endswith("ies") else word[:-1]


def _size_text(value: int) -> str:
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{value:,} bytes"
