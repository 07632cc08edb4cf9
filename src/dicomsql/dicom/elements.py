"""One element of a DICOM JSON dataset (PS3.18 Annex F) in the shapes that the decoder reads it in.

Two ways lead from JSON to a value. The strict shapes below say exactly what a well-behaved server
sends, so that msgspec builds nothing else and checks on the way; they are for whole pages. Where a
page holds anything else, its elements are read as `LooseElement`, and `converter` makes of each
what it can: a value that is not of its VR becomes None, and never another value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct

from dicomsql.dicom import values
from dicomsql.dicom.columns import AttributeColumn, Kind, Part

__all__ = [
    "NO_ELEMENT",
    "SEPARATOR",
    "Elements",
    "LooseElement",
    "Name",
    "SequenceElement",
    "converter",
    "forgiven_json",
    "loose_element",
    "raw_items",
    "raw_members",
    "raw_text",
    "sequence_text",
    "split_values",
    "strict_shape",
]

# The element of an attribute that a dataset lacks.
NO_ELEMENT = Raw(b"{}")

# JSON has no control characters but white space, and msgspec refuses them where it skips a value.
SEPARATOR = b"\x1e"


@dataclass(frozen=True, slots=True)
class Elements:
    """A page's elements of one attribute, one for each dataset.

    Attributes:
        data: their JSON in UTF-8, with `SEPARATOR` between them.
        count: how many there are.
    """

    data: bytes
    count: int

    @classmethod
    def of(cls, page: Sequence[Raw]) -> Elements:
        """Elements that were found one by one."""
        return cls(SEPARATOR.join(page), len(page))

    @property
    def json(self) -> bytes:
        """A JSON list of them."""
        return b"[%b]" % self.data.replace(SEPARATOR, b",")

    @property
    def repeated(self) -> bytes | None:
        """The JSON of the one element that all of several are, None where they differ."""
        end = self.data.find(SEPARATOR)
        first = self.data[:end]
        # Their lengths tell nearly all columns apart without a look at the text.
        if end < 0 or len(self.data) != self.count * (end + 1) - 1:
            return None
        return first if self.data == SEPARATOR.join([first] * self.count) else None

    def raws(self) -> list[Raw]:
        """Each by itself."""
        return list(map(Raw, self.data.split(SEPARATOR))) if self.count else []


# The shapes hold no reference cycles, so the garbage collector need not look at them.
class TextElement(Struct, frozen=True, gc=False):
    """At most one text."""

    Value: tuple[str | None] = (None,)


class TextsElement(Struct, frozen=True, gc=False):
    """Any number of texts."""

    Value: tuple[str | None, ...] | None = None


class IntegerElement(Struct, frozen=True, gc=False):
    """At most one whole number."""

    Value: tuple[int | None] = (None,)


class IntegersElement(Struct, frozen=True, gc=False):
    """Any number of whole numbers."""

    Value: tuple[int | None, ...] | None = None


class FloatElement(Struct, frozen=True, gc=False):
    """At most one number."""

    Value: tuple[float | None] = (None,)


class FloatsElement(Struct, frozen=True, gc=False):
    """Any number of numbers."""

    Value: tuple[float | None, ...] | None = None


class Name(Struct, frozen=True, gc=False):
    """The component groups of a person's name."""

    Alphabetic: str | None = None
    Ideographic: str | None = None
    Phonetic: str | None = None


class NameElement(Struct, frozen=True, gc=False):
    """At most one name."""

    Value: tuple[Name] = (Name(),)


class BulkElement(Struct, frozen=True, gc=False):
    """Where the value can be had."""

    BulkDataURI: str | None = None


class SequenceElement(Struct, frozen=True, gc=False):
    """A sequence's items, as the text they came in."""

    Value: Raw = Raw()


class LooseElement(Struct, frozen=True, gc=False):
    """An element of which nothing is expected."""

    Value: Any = None
    BulkDataURI: Any = None


class _RawElement(Struct, frozen=True, gc=False):
    Value: Raw = Raw()
    BulkDataURI: Raw = Raw()
    InlineBinary: Raw = Raw()


# (kind, whether there may be several) -> the strict shape; what is not listed is read loosely.
_SHAPES: dict[tuple[Kind, bool], type[Struct]] = {
    (Kind.TEXT, False): TextElement,
    (Kind.TEXT, True): TextsElement,
    (Kind.DATE, False): TextElement,
    (Kind.TIME, False): TextElement,
    (Kind.DATETIME, False): TextElement,
    (Kind.INTEGER, False): IntegerElement,
    (Kind.INTEGER, True): IntegersElement,
    (Kind.UNSIGNED, False): IntegerElement,
    (Kind.UNSIGNED, True): IntegersElement,
    (Kind.DECIMAL, False): FloatElement,
    (Kind.DECIMAL, True): FloatsElement,
    (Kind.FLOAT, False): FloatElement,
    (Kind.FLOAT, True): FloatsElement,
    (Kind.NAME, False): NameElement,
    (Kind.BULK, False): BulkElement,
    (Kind.SEQUENCE, False): SequenceElement,
}

# PS3.5 section 6.2: VRs whose values are of the default repertoire. The code of its backslash,
# which parts values, is a yen sign in ISO-IR 14; servers that decode them by it send one.
_DEFAULT_REPERTOIRE = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})
_YEN = "\u00a5"

# PS3.5 section 6.2: spaces before the text mean something in these.
_LEADING_SPACES_COUNT = frozenset({"LT", "PN", "ST", "UC", "UR", "UT"})

DATES = values.Memo(values.parse_date)
TIMES = values.Memo(values.parse_time)
DATETIMES = values.Memo(values.parse_datetime)
OFFSETS = values.Memo(values.parse_offset)

# What a name of empty components is made of.
_NOTHING = f"^{values.PADDING}"

_NAME_GROUPS = {
    Part.VALUE: "Alphabetic",
    Part.IDEOGRAPHIC: "Ideographic",
    Part.PHONETIC: "Phonetic",
}

_loose = msgspec.json.Decoder(LooseElement)
_raw_element = msgspec.json.Decoder(_RawElement)
_raw_members = msgspec.json.Decoder(dict[str, Raw])
_raw_list = msgspec.json.Decoder(list[Raw])


def strict_shape(kind: Kind, *, many: bool) -> type[Struct]:
    """The shape that a well-behaved server's elements of that kind have."""
    return _SHAPES.get((kind, many), LooseElement)


def name_group(part: Part) -> str:
    """The member of a PN value that a part means."""
    return _NAME_GROUPS[part]


def keeps_leading_spaces(vr: str) -> bool:
    """Whether spaces before a text of that VR are part of its value."""
    return vr in _LEADING_SPACES_COUNT


def converter(column: AttributeColumn) -> Callable[[LooseElement], object]:
    """The function from an element of any form to the column's value, None where it has none.

    For a DT it gives what `values.parse_datetime` gives: the caller chooses the part.
    """
    if column.kind is Kind.BULK:
        return _uri
    member = _member(column)
    if column.many:
        return partial(_several, member=member, vr=column.vr)
    if column.kind is Kind.NAME:
        return partial(_joined, member=member, types=(str, dict))
    if column.kind is Kind.TEXT:
        return partial(_joined, member=member, types=(str,))
    return partial(_only, member=member)


def split_values(text: str, vr: str) -> list[str]:
    """The values of an element that a server left in one text."""
    if vr in _DEFAULT_REPERTOIRE:
        text = text.replace(_YEN, "\\")
    return text.split("\\")


def loose_element(element: Raw) -> LooseElement:
    """An element of any form; what is no object is as if it had no value."""
    try:
        return _loose.decode(element)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        found = forgiven_json(bytes(element).decode())
    except (json.JSONDecodeError, RecursionError):
        return LooseElement()
    if not isinstance(found, dict):
        return LooseElement()
    return LooseElement(found.get("Value"), found.get("BulkDataURI"))


def forgiven_json(text: str) -> object:
    """What a JSON text holds, by a parser that also takes NaN, raw line ends and their like.

    Numbers that no double or no VR can hold are given as text.

    Raises:
        json.JSONDecodeError: it is no JSON even so.
        RecursionError: it is nested too deeply.
    """
    return json.loads(
        text, parse_constant=str, parse_float=_float, parse_int=_whole_number, strict=False
    )


def _float(text: str) -> float | str:
    """A number; as text where a double cannot hold it, so that it is not taken for infinite."""
    value = float(text)
    return value if math.isfinite(value) else text


def _whole_number(text: str) -> int | str:
    """A whole number; as text where it has more digits than any VR allows."""
    return int(text) if len(text) <= 40 else text


def raw_text(element: Raw) -> str | None:
    """What an element holds, as text: strings as they are, anything else as its JSON text.

    Several values are joined by backslashes, an empty one among them is empty. Of bulk data it is
    the URI or the base64 text; of what is no element at all, its JSON text.
    """
    if bytes(element) == b"null":
        return None
    try:
        parts = _raw_element.decode(element)
        if not parts.Value:
            return _json_text(parts.BulkDataURI or parts.InlineBinary) or None
        return "\\".join(map(_json_text, _listed(parts.Value))) or None
    except msgspec.DecodeError:
        return bytes(element).decode()


def raw_items(element: Raw) -> list[Raw]:
    """The values of an element, each as its JSON text; none of what is no element."""
    try:
        value = _raw_element.decode(element).Value
    except msgspec.DecodeError:
        value = raw_members(element).get("Value", Raw())
    return _listed(value) if value and bytes(value) != b"null" else []


def raw_members(json_object: Raw | bytes) -> dict[str, Raw]:
    """The members of a JSON object, each as its JSON text; none of what is no object."""
    try:
        return _raw_members.decode(json_object)
    except msgspec.DecodeError:
        found = json.loads(bytes(json_object))
    if not isinstance(found, dict):
        return {}
    return {name: Raw(json.dumps(member).encode()) for name, member in found.items()}


def _listed(value: Raw) -> list[Raw]:
    """The values of an element, of which some servers send a single one without its array."""
    try:
        return _raw_list.decode(value)
    except msgspec.DecodeError:
        found = json.loads(bytes(value))
    return [Raw(json.dumps(one).encode()) for one in found] if isinstance(found, list) else [value]


def sequence_text(items: Raw) -> str | None:
    """The JSON text of a sequence's items, None where there are none."""
    text = bytes(items).decode()
    return None if text in ("", "null", "[]") else text


def _json_text(value: Raw) -> str:
    text = bytes(value).decode()
    if text.startswith('"'):
        found = msgspec.json.decode(value)
        assert isinstance(found, str)
        return found
    return "" if text == "null" else text


def _uri(element: LooseElement) -> str | None:
    return _text(element.BulkDataURI, str.strip)


def _members(element: LooseElement) -> list[object]:
    """The values of an element, of which some servers send a single one without its array."""
    value = element.Value
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _only(element: LooseElement, member: Callable[[object], object]) -> object:
    found = _members(element)
    return member(found[0]) if len(found) == 1 else None


def _joined(
    element: LooseElement, member: Callable[[object], object], types: tuple[type, ...]
) -> str | None:
    """Texts where there should be one, with the backslashes that stood between them in the file.

    Most likely a backslash was part of the text, and a server took it for the separator.
    """
    texts = []
    for value in _members(element):
        text = member(value)
        # An empty value among several keeps its place; one that is no text spoils the whole.
        if text is None and value is not None:
            lost = value.strip(_NOTHING) if isinstance(value, str) else False
            if lost or not isinstance(value, types):
                return None
        texts.append(str(text or ""))
    return "\\".join(texts) or None


def _several(
    element: LooseElement, member: Callable[[object], object], vr: str
) -> list[object] | None:
    found: list[object] = []
    for value in _members(element):
        if isinstance(value, str) and vr != "PN":
            found += split_values(value, vr)
        else:
            found.append(value)
    if not found or found in ([None], [""]):
        return None
    return [member(value) for value in found]


def _member(column: AttributeColumn) -> Callable[[object], object]:
    """The function from one value, of any type, to what it means in the column."""
    strip = str_stripper(column.vr)
    match column.kind:
        case Kind.NAME:
            return partial(_name, group=name_group(column.part), strip=strip)
        case Kind.DATE:
            return partial(_remembered, memo=DATES)
        case Kind.TIME:
            return partial(_remembered, memo=TIMES)
        case Kind.DATETIME:
            return partial(_remembered, memo=DATETIMES)
        case Kind.INTEGER:
            return partial(_integer, allowed=values.INT64)
        case Kind.UNSIGNED:
            return partial(_integer, allowed=values.UINT64)
        case Kind.DECIMAL:
            return partial(_number, parse=values.parse_decimal)
        case Kind.FLOAT:
            return partial(_number, parse=values.parse_float)
        case _:
            return partial(_text, strip=strip)


def has_name(text: str) -> bool:
    """Whether a component group holds more than delimiters of empty components (PS3.5 6.2.1)."""
    return bool(text.strip(_NOTHING))


def str_stripper(vr: str) -> Callable[[str, str], str]:
    """How padding is taken off a text of that VR."""
    return str.rstrip if keeps_leading_spaces(vr) else str.strip


def _text(value: object, strip: Callable[[str, str], str]) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which is no character
        return None
    return strip(value, values.PADDING) or None


def _name(value: object, group: str, strip: Callable[[str, str], str]) -> str | None:
    if isinstance(value, str):
        # The form of the file: Alphabetic=Ideographic=Phonetic (PS3.5 section 6.2.1).
        value = dict(zip(_NAME_GROUPS.values(), value.split("="), strict=False))
    text = _text(value.get(group), strip) if isinstance(value, dict) else None
    return text if text is not None and has_name(text) else None


def _remembered(value: object, memo: values.Memo[Any]) -> object:
    return memo[value] if isinstance(value, str) else None


def _integer(value: object, allowed: range) -> int | None:
    if isinstance(value, str):
        value = values.parse_integer(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in allowed else None


def _number(value: object, parse: Callable[[str], float | None]) -> float | None:
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number that is too large for a double
        return None
