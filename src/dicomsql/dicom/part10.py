"""DICOM files (PS3.10) to the DICOM JSON model (PS3.18 Annex F), reading no pixels.

A reader of its own instead of pydicom's, for three reasons: it is many times faster, it needs no
start-up time, and it says nothing on standard error about values that break their VR's rules.
Such values are kept as they are; what breaks the structure of the file is an error.

`skim` reads chosen elements of a file that it does not hold.
"""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from dicomsql.dicom import charset
from dicomsql.dicom.tags import lookup

Element = dict[str, Any]
Dataset = dict[str, Element]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"

# Stands in stored JSON for the URL of the instance. No JSON writer leaves this character
# unescaped, so no value of a data set can look like it.
BASE = "\x01"
# binary values over this many bytes are given by a BulkDataURI
BULK_BYTES = 1024
# what an element costs beside its value, and what a file's meta information may take
_OVERHEAD, _META_BYTES = 32, 1024 * 1024


class InvalidDicom(Exception):
    """The bytes are no DICOM file; the text says what is wrong and holds no value of it."""


class Bulk(NamedTuple):
    """Where a binary value stands in `Instance.buffer`; `length` is None for encapsulated data."""

    vr: str
    offset: int
    length: int | None


@dataclass(slots=True)
class Instance:
    """A file's data set.

    Attributes:
        transfer_syntax: its UID, as in the file's meta information.
        dataset: DICOM JSON, in which each BulkDataURI begins with `BASE`.
        bulk: `TAG` or `TAG/ITEM/TAG` (items from 0) -> place of each binary value.
        buffer: what the places in `bulk` count in; the file, or its inflated data set.
        little: the byte order of the values.
    """

    transfer_syntax: str
    dataset: Dataset = field(default_factory=dict)
    bulk: dict[str, Bulk] = field(default_factory=dict)
    buffer: Any = b""
    little: bool = True


@dataclass(slots=True)
class Budget:
    """How much of a data set is kept in memory as JSON.

    Attributes:
        largest: bytes of a value, or of a sequence of the data set itself; what is longer is given
            by a BulkDataURI, a sequence as it is encoded.
        left: bytes of all others that may still be read.
    """

    largest: int
    left: int

    def spend(self, length: int) -> None:
        """Count an element.

        Raises:
            InvalidDicom: nothing is left.
        """
        self.left -= length + _OVERHEAD
        if self.left < 0:
            raise InvalidDicom("the data set is too large even without its long values")


def read(buffer: Any) -> Instance:
    """Read a file from bytes or a memory map.

    Raises:
        InvalidDicom: no preamble, no transfer syntax, or an element that runs past the end.
    """
    meta, start = head(buffer)
    syntax = text(meta, "00020010")
    if syntax == DEFLATED_LITTLE:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            buffer, start = inflating.decompress(buffer[start:]), 0
        except zlib.error:
            raise InvalidDicom("the deflated data set is damaged") from None
        if not inflating.eof:
            raise InvalidDicom("the deflated data set is not complete")
    return body(buffer, start, syntax)


def head(buffer: Any) -> tuple[Dataset, int]:
    """A file's meta information, and where its data set begins.

    Raises:
        InvalidDicom: no preamble, no transfer syntax.
    """
    if len(buffer) < 132 or bytes(buffer[128:132]) != b"DICM":
        raise InvalidDicom("no DICM prefix after 128 bytes: not a DICOM file")
    walk = Walk(buffer, EXPLICIT, {}, Budget(_META_BYTES, _META_BYTES))
    meta, start = walk.elements(132, len(buffer), stop_after_group=0x0002)
    if not text(meta, "00020010"):
        raise InvalidDicom("the file meta information has no TransferSyntaxUID")
    return meta, start


def body(buffer: Any, start: int, syntax: str, budget: Budget | None = None) -> Instance:
    """Read the data set that begins at `start`, inflated where the syntax is a deflated one.

    Raises:
        InvalidDicom: an element that runs past the end, no element, or over the budget.
    """
    encoding = ENCODINGS.get(syntax, EXPLICIT)
    instance = Instance(syntax, buffer=buffer, little=encoding.little)
    walk = Walk(buffer, encoding, instance.bulk, budget)
    instance.dataset, _ = walk.elements(start, len(buffer))
    if not instance.dataset:
        raise InvalidDicom("the file has no data set")
    return instance


def bulk_element(vr: str, where: str) -> Element:
    """A binary value that is not in the JSON; `where` is its key in `Instance.bulk`."""
    return {"vr": vr, "BulkDataURI": f"{BASE}/bulkdata/{where}"}


def codecs_of(dataset: Dataset) -> tuple[str, ...]:
    """The codecs of a data set's text, by its Specific Character Set."""
    terms = dataset.get("00080005", {}).get("Value", [])
    return charset.codecs_for([term or "" for term in terms])


def text(dataset: Dataset, tag: str) -> str:
    """The first value of an attribute as text; of a person's name, all its component groups."""
    values = dataset.get(tag, {}).get("Value")
    if not values or values[0] is None:
        return ""
    value = values[0]
    if isinstance(value, dict):
        groups = [value.get(k, "") for k in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return str(value)


class Encoding(NamedTuple):
    """How a transfer syntax writes elements (PS3.5 A.1 to A.3)."""

    explicit: bool
    little: bool
    order: str
    tag: Struct
    short: Struct
    long: Struct


def _encoding(*, explicit: bool, little: bool) -> Encoding:
    order = "<" if little else ">"
    return Encoding(
        explicit, little, order, Struct(order + "HH"), Struct(order + "H"), Struct(order + "I")
    )


EXPLICIT = _encoding(explicit=True, little=True)
IMPLICIT = _encoding(explicit=False, little=True)
ENCODINGS = {
    IMPLICIT_LITTLE: IMPLICIT,
    EXPLICIT_BIG: _encoding(explicit=True, little=False),
}

# PS3.5 table 7.1-2: these carry a 16 bit length, all others (and those to come) 32 bits
SHORT_LENGTH = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_NUMBERS = {"SS": "h", "US": "H", "SL": "i", "UL": "I", "SV": "q", "UV": "Q", "FL": "f", "FD": "d"}
_TEXT = frozenset({"LT", "ST", "UR", "UT"})
_BY_CHARSET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_WORDS = frozenset({"AE", "AS", "AT", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})
_KNOWN = _WORDS | _TEXT | BINARY | {"SQ", "UC"}
PIXELS = frozenset({"7FE00008", "7FE00009", "7FE00010"})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
DEPTH = 48
_CHARACTER_SET = 0x00080005
# the VRs that a value of undefined length is a sequence under
SEQUENCES = frozenset({"SQ", "UN"})
_INTEGER = re.compile(r"[+-]?\d{1,18}")


class Walk:
    """Walks the elements of one buffer."""

    def __init__(
        self, buffer: Any, encoding: Encoding, bulk: dict[str, Bulk], budget: Budget | None = None
    ) -> None:
        self._buffer = buffer
        self._encoding = encoding
        self._bulk = bulk
        self._budget = budget

    def elements(
        self,
        position: int,
        end: int,
        *,
        codecs: tuple[str, ...] = charset.DEFAULT,
        path: str = "",
        depth: int = 0,
        stop_after_group: int | None = None,
    ) -> tuple[Dataset, int]:
        """The data set from `position` up to `end`, an item's delimiter or a group's end."""
        if depth > DEPTH:
            raise InvalidDicom(f"sequences are nested more than {DEPTH} levels deep")
        tag_at = self._encoding.tag.unpack_from
        found: Dataset = {}
        while position < end:
            if position + 8 > end:
                raise InvalidDicom("the file ends within an element's header")
            group, number = tag_at(self._buffer, position)
            if stop_after_group is not None and group > stop_after_group:
                break
            tag = group << 16 | number
            if tag == ITEM_END and depth:
                return found, position + 8
            position = self.element(
                found, position, end, tag, codecs=codecs, path=path, depth=depth
            )
            if tag == _CHARACTER_SET and "00080005" in found:
                codecs = codecs_of(found)
        return found, position

    def element(
        self,
        found: Dataset,
        position: int,
        end: int,
        tag: int,
        *,
        codecs: tuple[str, ...],
        path: str = "",
        depth: int = 0,
    ) -> int:
        """Read the element of that tag at `position` into `found`; the position after it."""
        buffer, encoding = self._buffer, self._encoding
        key = f"{tag:08X}"
        vr, length, position = self._header(position, end, tag, found)
        where = path + key
        walk = self
        if vr == "UN" and encoding.explicit:
            # PS3.5 6.2.2: a value of unknown VR is in implicit little endian, whatever the
            # file is in; a writer that did not know the attribute may have copied it so
            walk = Walk(buffer, IMPLICIT, self._bulk, self._budget)
            vr = dictionary_vr(tag, found)
        if self._budget is not None:
            after = walk._leave_out(found, vr, position, length, end, where=where, depth=depth)
            if after is not None:
                return after
        if length == UNDEFINED:
            if vr in SEQUENCES:
                items, position = walk.items(
                    position, end, stop=None, codecs=codecs, path=where, depth=depth
                )
                found[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
                return position
            self._bulk[where] = Bulk(vr, position, None)
            found[key] = bulk_element(vr, where)
            return self._skip_fragments(position, end)
        if position + length > end:
            raise InvalidDicom(f"element {key} is longer than what is left of the file")
        if vr == "SQ":
            items, _ = walk.items(
                position,
                position + length,
                stop=position + length,
                codecs=codecs,
                path=where,
                depth=depth,
            )
            found[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif tag & 0xFFFF:  # group lengths say nothing in JSON
            found[key] = walk._element(vr, position, length, codecs=codecs, where=where)
        return position + length

    def items(
        self,
        position: int,
        end: int,
        *,
        stop: int | None,
        codecs: tuple[str, ...],
        path: str,
        depth: int,
    ) -> tuple[list[Dataset], int]:
        """The items of a sequence that ends at `stop`, or at its delimiter if `stop` is None."""
        encoding = self._encoding
        found: list[Dataset] = []
        while stop is None or position < stop:
            if position + 8 > end:
                raise InvalidDicom("the file ends within a sequence")
            group, number = encoding.tag.unpack_from(self._buffer, position)
            length = encoding.long.unpack_from(self._buffer, position + 4)[0]
            tag = group << 16 | number
            position += 8
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise InvalidDicom(f"found {tag:08X} where a sequence's item should begin")
            if length != UNDEFINED and position + length > end:
                raise InvalidDicom("a sequence's item is longer than what is left of the file")
            item_end = end if length == UNDEFINED else position + length
            dataset, position = self.elements(
                position,
                item_end,
                codecs=codecs,
                path=f"{path}/{len(found)}/",
                depth=depth + 1,
            )
            if length == UNDEFINED:
                group, number = encoding.tag.unpack_from(self._buffer, position - 8)
                if group << 16 | number != ITEM_END:
                    raise InvalidDicom("the file ends within a sequence's item")
            found.append(dataset)
        return found, position

    def _leave_out(
        self,
        found: Dataset,
        vr: str,
        position: int,
        length: int,
        end: int,
        *,
        where: str,
        depth: int,
    ) -> int | None:
        """Give a long value by a BulkDataURI; the position after it, or None where it is short."""
        budget = self._budget
        assert budget is not None
        sequence = vr in SEQUENCES if length == UNDEFINED else vr == "SQ"
        if length == UNDEFINED:
            if depth or not sequence:
                budget.spend(0)
                return None
            after = self._after_items(position, end, 0)
            size = after - position - 8  # the delimiter is no part of the value
        else:
            after, size = position + length, length
        in_json = not depth if sequence else vr not in BINARY
        if size <= budget.largest or not in_json:
            budget.spend(0 if sequence or size > budget.largest else size)
            return None
        if after > end:
            raise InvalidDicom(f"element {where[-8:]} is longer than what is left of the file")
        budget.spend(0)
        vr = "SQ" if sequence else vr
        self._bulk[where] = Bulk(vr, position, size)
        found[where[-8:]] = bulk_element(vr, where)
        return after

    def _after_items(self, position: int, end: int, depth: int) -> int:
        """The position after a sequence of undefined length, of which nothing is kept."""
        if depth > DEPTH:
            raise InvalidDicom(f"sequences are nested more than {DEPTH} levels deep")
        encoding = self._encoding
        while True:
            if position + 8 > end:
                raise InvalidDicom("the file ends within a sequence")
            group, number = encoding.tag.unpack_from(self._buffer, position)
            length = encoding.long.unpack_from(self._buffer, position + 4)[0]
            tag = group << 16 | number
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM:
                raise InvalidDicom(f"found {tag:08X} where a sequence's item should begin")
            if length == UNDEFINED:
                position = self._after_item(position, end, depth)
            elif position + length > end:
                raise InvalidDicom("a sequence's item is longer than what is left of the file")
            else:
                position += length

    def _after_item(self, position: int, end: int, depth: int) -> int:
        """The position after an item of undefined length."""
        while True:
            if position + 8 > end:
                raise InvalidDicom("the file ends within a sequence's item")
            group, number = self._encoding.tag.unpack_from(self._buffer, position)
            tag = group << 16 | number
            if tag == ITEM_END:
                return position + 8
            vr, length, position = self._header(position, end, tag, {})
            if length != UNDEFINED:
                position += length
            elif vr in SEQUENCES:
                walk = self
                if vr == "UN" and self._encoding.explicit:
                    walk = Walk(self._buffer, IMPLICIT, self._bulk)
                position = walk._after_items(position, end, depth + 1)
            else:
                position = self._skip_fragments(position, end)

    def _header(self, position: int, end: int, tag: int, found: Dataset) -> tuple[str, int, int]:
        """VR, length and the position of the value."""
        buffer, encoding = self._buffer, self._encoding
        if not encoding.explicit:
            length = encoding.long.unpack_from(buffer, position + 4)[0]
            return dictionary_vr(tag, found), length, position + 8
        letters = bytes(buffer[position + 4 : position + 6])
        if letters in SHORT_LENGTH:
            return (
                letters.decode(),
                encoding.short.unpack_from(buffer, position + 6)[0],
                position + 8,
            )
        if not (letters.isalpha() and letters.isupper()):
            raise InvalidDicom(f"element {tag:08X} has no VR")
        if position + 12 > end:
            raise InvalidDicom("the file ends within an element's header")
        length = encoding.long.unpack_from(buffer, position + 8)[0]
        return known_vr(letters), length, position + 12

    def _skip_fragments(self, position: int, end: int) -> int:
        """The position after encapsulated pixel data (PS3.5 A.4)."""
        while position + 8 <= end:
            group, number = self._encoding.tag.unpack_from(self._buffer, position)
            length = self._encoding.long.unpack_from(self._buffer, position + 4)[0]
            tag = group << 16 | number
            position += 8
            if tag == SEQUENCE_END:
                return position
            if tag != ITEM or position + length > end:
                break
            position += length
        raise InvalidDicom("the encapsulated pixel data is not complete")

    def _element(
        self,
        vr: str,
        position: int,
        length: int,
        *,
        codecs: tuple[str, ...],
        where: str,
    ) -> Element:
        key = where[-8:]
        if not length:
            return {"vr": vr}
        if vr in BINARY:
            self._bulk[where] = Bulk(vr, position, length)
            if length > BULK_BYTES or key in PIXELS:
                return bulk_element(vr, where)
            raw = bytes(self._buffer[position : position + length])
            if not self._encoding.little:
                raw = swapped(raw, vr)
            return {"vr": vr, "InlineBinary": base64.b64encode(raw).decode()}
        raw = bytes(self._buffer[position : position + length])
        values: list[Any]
        if vr in _NUMBERS:
            values = self._numbers(vr, raw)
        elif vr == "AT":
            pair = self._encoding.tag
            values = [f"{a:04X}{b:04X}" for a, b in pair.iter_unpack(raw[: len(raw) // 4 * 4])]
        else:
            content = charset.decode(raw, codecs if vr in _BY_CHARSET else ("ascii",))
            if vr in _TEXT:
                stripped = content.rstrip("\0 ")
                values = [stripped] if stripped else []
            else:
                values = [_CONVERT.get(vr, _plain)(part) for part in content.split("\\")]
                if values == [None]:
                    values = []
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _numbers(self, vr: str, raw: bytes) -> list[Any]:
        packed = Struct(self._encoding.order + _NUMBERS[vr])
        whole = raw[: len(raw) // packed.size * packed.size]
        numbers = [value for (value,) in packed.iter_unpack(whole)]
        if vr in {"FL", "FD"}:
            return [n if math.isfinite(n) else _not_finite(n) for n in numbers]
        return numbers


def swapped(raw: bytes, vr: str, unit: int | None = None) -> bytes:
    """The bytes of a binary value in the other byte order; `unit` is the size of one number."""
    size = unit or _UNITS.get(vr, 1)
    if size == 1:
        return raw
    whole = len(raw) // size * size
    out = bytearray(raw)
    for i in range(size):
        out[i:whole:size] = raw[size - 1 - i : whole : size]
    return bytes(out)


_UNITS = {
    "OW": 2,
    "OF": 4,
    "OL": 4,
    "OD": 8,
    "OV": 8,
    "AT": 2,
    "SS": 2,
    "US": 2,
    "SL": 4,
    "UL": 4,
    "FL": 4,
    "FD": 8,
    "SV": 8,
    "UV": 8,
}


def _not_finite(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _plain(part: str) -> str | None:
    return part.rstrip("\0 ") or None


def _code(part: str) -> str | None:
    return part.strip("\0 ") or None


def _integer(part: str) -> int | str | None:
    value = part.strip("\0 ")
    return int(value) if _INTEGER.fullmatch(value) else value or None


def _decimal(part: str) -> float | int | str | None:
    value = part.strip("\0 ")
    if _INTEGER.fullmatch(value):
        return int(value)
    try:
        number = float(value)
    except ValueError:
        return value or None
    return number if math.isfinite(number) and "_" not in value else value


def _name(part: str) -> dict[str, str] | None:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), part.split("="), strict=False)
    return {kind: text for kind, group in groups if (text := group.strip("\0 "))} or None


_CONVERT: dict[str, Callable[[str], Any]] = {
    "AE": _code,
    "CS": _code,
    "DA": _code,
    "DS": _decimal,
    "IS": _integer,
    "PN": _name,
    "TM": _code,
    "UI": _code,
}


def known_vr(letters: bytes) -> str:
    """The VR as an element writes it; one that is not known is read as UN (PS3.5 6.2)."""
    vr = letters.decode("latin_1")
    return vr if vr in _KNOWN or vr in _NUMBERS else "UN"


def dictionary_vr(tag: int, found: Dataset) -> str:
    """The VR of an element whose file does not say it (PS3.5 A.1, and PS3.6's table).

    Args:
        found: the elements before it in its data set.
    """
    vr = _listed_vr(tag)
    if vr == "US or SS":
        return "SS" if found.get("00280103", {}).get("Value") == [1] else "US"
    return vr


@lru_cache(maxsize=8192)
def _listed_vr(tag: int) -> str:
    if tag >> 16 & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    if tag & 0xFFFF == 0:
        return "UL"
    known = lookup(f"{tag:08X}")
    if known is None:
        return "UN"
    # PS3.5 A.1: what may be OB or OW is OW in implicit VR
    return "OW" if " or " in known.vr and known.vr != "US or SS" else known.vr
